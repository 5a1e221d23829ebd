"""Newey and West's covariance: ordinary least squares, with standard errors that allow autocorrelation of unknown kind.

Coefficients are those of ordinary least squares (OLS). Their covariance sums the products of the scores ``q_t e_t``
(row t of the design times its residual) over pairs of rows up to ``maxlags`` apart, with Bartlett weights that keep
it positive semi-definite (Newey and West 1987):

    cov = n / (n - rank) * sum_l w_l sum_t e_t e_(t-l) (q_t q_(t-l)' + q_(t-l) q_t') / (2 if l == 0 else 1)
    w_l = 1 - l / (maxlags + 1)

in orthonormal coordinates q of the design, where (X'X)^-1 is the identity. Pairs of rows never cross the start of a
context.

No noise model is assumed, but lags beyond ``maxlags`` are ignored, and blocks are usually longer than that, so p
values are too small where noise lasts: with AR(1) noise, tests at .05 reject .07 for rho .3, .08 to .10 for .5 and
.17 to .20 for .8 (600 rows, blocks of 50 and 100; ``tests/benchmarks/calibration.py``), where ``"ar1"`` stays near
.05.

The residuals need the coefficients, so the rows are read twice, which a stream cannot do. Cost: ``(maxlags + 1) *
rank * (rank + 1)`` flops a row and unit; memory ``rank**2`` floats a unit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tl_fbn.analysis.glm.moments import Basis


def default_maxlags(n_rows: int) -> int:
    """``4 * (n / 100) ** (2 / 9)``, rounded down: Newey and West's (1994) rule for this kernel."""
    return int(4 * (n_rows / 100) ** (2 / 9))


def add_scores(
    total: Float[np.ndarray, "unit rank rank"],
    basis: Basis,
    residuals: Float[np.ndarray, "row unit"],
    rows: slice,
    maxlags: int,
) -> None:
    """Add the products of the scores of some rows with those of up to ``maxlags`` rows before them.

    Args:
        total: (unit, rank, rank) sums over all rows so far; the new products are added in place.
        basis: The design of the whole run in orthonormal coordinates.
        residuals: (row, unit) OLS residuals of ``rows``, preceded by those of up to ``maxlags`` rows before them
            (fewer at the beginning of the run).
        rows: The rows of the run whose scores are added, each with its predecessors; every row is given once.
        maxlags: Largest distance, in rows, of two rows whose scores are multiplied.
    """
    i, j = np.triu_indices(basis.rank)  # the products are symmetric: upper triangle only, mirrored below
    first_known = rows.stop - len(residuals)  # row of the run that residuals[0] belongs to
    number = np.arange(first_known, rows.stop)
    # each row's distance from the start of its context: its number minus that of the latest start seen
    distance = number - np.maximum.accumulate(np.where(basis.starts[first_known : rows.stop], number, first_known))
    # The first rows may be in a context that began before the rows at hand, at an unknown distance. Both rows of every
    # pair at hand then lie in it, so a distance that passes for every lag is right.
    distance += np.where(distance == number - first_known, maxlags, 0) * (not basis.starts[first_known])
    q = basis.q[first_known : rows.stop]
    for lag in range(maxlags + 1):
        # later row t of every pair, as an index into residuals; the earlier one, t - lag, must be at hand too
        late = np.arange(max(rows.start - first_known, lag), len(residuals))
        q_late = q[late]
        q_early = q[late - lag]
        # q_t q_(t-l)' + q_(t-l) q_t'; at lag 0 both terms are the same, which the formula halves
        pairs = q_late[:, i] * q_early[:, j]
        if lag:
            pairs = pairs + q_early[:, i] * q_late[:, j]
        # 0 for pairs that cross the start of a context, else the Bartlett weight w_l = 1 - lag / (maxlags + 1)
        pairs *= ((distance[late] >= lag) * (1.0 - lag / (maxlags + 1.0)))[:, None]
        # sum over rows of e_t e_(t-l) times the pairs, (unit, pair), for all units in one product
        products = (residuals[late] * residuals[late - lag]).T @ pairs
        total[:, i, j] += products
        total[:, j[i != j], i[i != j]] += products[:, i != j]  # mirrored into the lower triangle


def covariance_of(total: Float[np.ndarray, "unit rank rank"], basis: Basis) -> Float[np.ndarray, "unit rank rank"]:
    """Covariance of the coordinates, from the sums of all rows."""
    # n / (n - rank) is the small-sample correction for the degrees of freedom that the fit used
    return total * (basis.n_rows / (basis.n_rows - basis.rank))
