"""Newey and West's covariance: ordinary least squares, made honest about autocorrelation of unknown kind.

Coefficients are OLS; their covariance sums the products of scores, ``q_t e_t``, over rows up to ``maxlags`` apart, with
weights ``1 - l / (maxlags + 1)`` that keep it positive (Newey and West 1987):

    cov = n / (n - rank) * sum_l w_l sum_t e_t e_(t-l) (q_t q_(t-l)' + q_(t-l) q_t') / (2 if l == 0 else 1)

in orthonormal coordinates q of the design, where (X'X)^-1 is the identity. Pairs of rows never cross the start of a context. No
noise model is assumed, but blocks are long and ``maxlags`` is not: with AR(1) noise it rejects .07 at .05 for rho .3, .08 to .10 for .5
and .17 to .20 for .8 (600 rows, blocks of 50 and 100; ``tests/benchmarks/calibration.py``), where ``"ar1"`` stays near .05.

It looks at the rows twice, so it cannot be had from a stream. Cost: ``(maxlags + 1) * rank * (rank + 1)`` flops a row and unit;
memory ``rank**2`` floats a unit.
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
    """Add the products of scores of some rows with those up to ``maxlags`` before them.

    Args:
        total: What is added to, in place.
        basis: The design.
        residuals: Of OLS, of these rows and of as many before them as there are, up to ``maxlags``.
        rows: Which they are.
        maxlags: As said.
    """
    i, j = np.triu_indices(basis.rank)
    origin = rows.stop - len(residuals)
    number = np.arange(origin, rows.stop)
    place = number - np.maximum.accumulate(np.where(basis.starts[origin : rows.stop], number, origin))
    place += np.where(place == number - origin, maxlags, 0) * (not basis.starts[origin])  # its start is out of sight
    q = basis.q[origin : rows.stop]
    for lag in range(maxlags + 1):
        late = np.arange(max(rows.start - origin, lag), len(residuals))
        here = q[late]
        before = q[late - lag]
        pairs = here[:, i] * before[:, j]
        if lag:
            pairs = pairs + before[:, i] * here[:, j]
        pairs *= ((place[late] >= lag) * (1.0 - lag / (maxlags + 1.0)))[:, None]
        found = (residuals[late] * residuals[late - lag]).T @ pairs
        total[:, i, j] += found
        total[:, j[i != j], i[i != j]] += found[:, i != j]


def covariance_of(total: Float[np.ndarray, "unit rank rank"], basis: Basis) -> Float[np.ndarray, "unit rank rank"]:
    """Covariance of the coordinates, from the sums of all rows."""
    return total * (basis.n_rows / (basis.n_rows - basis.rank))
