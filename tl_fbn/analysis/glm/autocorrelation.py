"""Autocorrelation of the noise of every unit, from its residuals, corrected for what the design does to residuals.

Residuals of a regression are less autocorrelated than the noise, because the design absorbs part of it. With Q the
orthonormal design of T rows, R = I - QQ' takes it off, and V(rho) is the noise correlation, ``rho ** |s - t|`` for
rows s and t of one segment. The sample lag-one correlation r of the residuals R y estimates not rho but

    f(rho) = tr1(R V(rho) R) / tr(R V(rho) R),      tr1 = sum of the entries that link neighbours in a segment,

one curve for each design, shared by all units. Reading rho off the inverse curve keeps the false-positive rate of t
tests near its nominal level: .048 to .057 at .05 for rho 0 to .8, where the plain estimate gives up to .063 (600
rows, boxcars of 50 and 100 rows, with and without drift columns; ``tests/benchmarks/calibration.py`` prints the
table).

No row-by-row matrix is formed: V Q solves a tridiagonal system, and with M = Q' V Q

    tr(RVR)  = T - tr M
    tr1(RVR) = pairs * rho - sum_t [q_t (VQ)_(t+1) + (VQ)_t q_(t+1)] + tr(M sum_t q_(t+1) q_t').

where "pairs" is the number of neighbouring rows within segments. All terms are sums over the entries of V Q, so M
itself is not formed either. Cost: rows x rank**2 + grid x rows x rank, once a design. Reference: the bias is that
treated by Worsley et al. (2002) with a linear correction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import solveh_banded

from tl_fbn.analysis.glm.moments import Basis, Moments, Quadratic

# rho at which the curve is computed: closer together near 1; between them the curve is taken as straight
GRID = np.concatenate([np.linspace(-0.9, 0.8, 35), np.linspace(0.82, 0.98, 9)])


def residual_autocorrelation(basis: Basis, quadratic: Quadratic, moments: Moments) -> Float[np.ndarray, " unit"]:
    """Lag-one correlation of every unit's OLS residuals, from the sums alone; NaN where no variance is left."""
    a, b, _ = moments.cross  # coordinates are orthonormal, so the OLS fit is a itself
    squares, lagged, _ = moments.squares
    # residual sum of squares y'y - a'a, and e'N e, which counts each product of neighbours twice
    residual = squares - np.einsum("kn,kn->n", a, a)
    linked = lagged - 2 * np.einsum("kn,kn->n", a, b) + np.einsum("kn,kl,ln->n", a, quadratic[1], a, optimize=True)
    varies = residual > 1e-12 * np.maximum(squares, np.finfo(float).tiny)  # a smaller residual is rounding
    return np.where(varies, 0.5 * linked / np.where(varies, residual, 1.0), np.nan)


def expected_autocorrelation(basis: Basis, grid: Float[np.ndarray, " rho"] = GRID) -> Float[np.ndarray, " rho"]:
    """f(rho) on a grid: what the residuals of this design show on average when the noise has that rho."""
    q = basis.q
    linked = ~basis.starts[1:]  # True where row t + 1 is in the segment of row t
    before = q[:-1][linked]
    after = q[1:][linked]
    # tr(M K) with K = sum_t q_(t+1) q_t' is the sum over the entries of V Q times those of Q K
    weights = np.asfortranarray(q @ (after.T @ before))  # as LAPACK returns V Q: the sums run along memory
    # less the neighbour terms q_t (VQ)_(t+1) + (VQ)_t q_(t+1), so that one sum over V Q holds both
    weights[1:][linked] -= before
    weights[:-1][linked] -= after
    flat_q = np.asfortranarray(q).ravel("K")
    flat_weights = weights.ravel("K")
    curve = np.empty(len(grid))
    for i, rho in enumerate(grid):  # one rho at a time: V Q is as large as Q
        vq = np.asfortranarray(_covariance_times(basis, rho)).ravel("K")
        # tr1(RVR) / tr(RVR); Q . VQ is tr M, and tr V is the number of rows
        curve[i] = (linked.sum() * rho + flat_weights @ vq) / (basis.n_rows - flat_q @ vq)
    return curve


def unbiased_rho(curve: Float[np.ndarray, " rho"], sample: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """The noise's rho for each unit's residual autocorrelation: the inverse of the curve, held within its grid.

    Args:
        curve: (rho,) what residuals of this design show at each rho of the default grid, from
            :func:`expected_autocorrelation`.
        sample: (unit,) lag-one correlation of the unit's residuals, from :func:`residual_autocorrelation`; where it
            is NaN, rho is 0.

    Returns:
        (unit,) rho of the noise, from the lowest to the highest of the grid.
    """
    # only where the curve rises can it be inverted; elsewhere two values of rho would show the same residuals
    highest = np.maximum.accumulate(curve)
    rising = np.concatenate([[True], curve[1:] > highest[:-1]])
    if rising.sum() < 2:  # every row is its own context: no neighbours, no autocorrelation
        return np.zeros_like(sample)
    return np.nan_to_num(np.interp(sample, curve[rising], GRID[rising]))


def _covariance_times(basis: Basis, rho: float) -> Float[np.ndarray, "row rank"]:
    """V(rho) Q by solving with its inverse, (I - rho N + rho**2 J) / (1 - rho**2), which is tridiagonal.

    Of the two bands that LAPACK takes, the first is the upper diagonal (0 where a segment begins), the second the
    main one.
    """
    bands = np.empty((2, basis.n_rows))
    bands[0] = np.where(basis.starts, 0.0, -rho)
    bands[1] = 1.0 + rho**2 * basis.interior
    return solveh_banded(bands, (1.0 - rho**2) * basis.q, check_finite=False)
