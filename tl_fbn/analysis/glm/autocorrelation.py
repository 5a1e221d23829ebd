"""How strongly a unit's residuals follow each other, freed of what the design does to residuals.

Residuals of a regression are less autocorrelated than the noise, because the design absorbs part of it: the sample
lag-one correlation r of the residuals R y, R = I - QQ', estimates not rho but

    f(rho) = tr1(R V(rho) R) / tr(R V(rho) R),      tr1 = sum of the entries that link neighbours in a segment,

one curve a design, shared by all units. Reading rho off the inverse curve keeps the false-positive rate of t tests near
its nominal level: .048 to .057 at .05 for rho 0 to .8, where the plain estimate gives up to .063 (600 rows, boxcars of 50
and 100 rows, with and without drift columns; ``tests/benchmarks/calibration.py`` prints the table).

No row-by-row matrix is formed: V Q solves a tridiagonal system, and with M = Q' V Q

    tr(RVR)  = T - tr M
    tr1(RVR) = pairs * rho - sum_t [q_t (VQ)_(t+1) + (VQ)_t q_(t+1)] + tr(M sum_t q_(t+1) q_t').

All terms are sums over the entries of V Q, so M itself is not formed either. Cost: rows x rank**2 + grid x rows x rank, once a
design. Reference: the bias is that treated by Worsley et al. (2002) with a linear
correction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import solveh_banded

from tl_fbn.analysis.glm.moments import Basis, Moments, Quadratic

GRID = np.concatenate([np.linspace(-0.9, 0.8, 35), np.linspace(0.82, 0.98, 9)])


def residual_autocorrelation(basis: Basis, quadratic: Quadratic, moments: Moments) -> Float[np.ndarray, " unit"]:
    """Lag-one correlation of every unit's OLS residuals, from the sums alone; NaN for units without residual variance."""
    a, b, _ = moments.cross  # coordinates are orthonormal, so the OLS fit is a itself
    squares, lagged, _ = moments.squares
    residual = squares - np.einsum("kn,kn->n", a, a)
    linked = lagged - 2 * np.einsum("kn,kn->n", a, b) + np.einsum("kn,kl,ln->n", a, quadratic[1], a, optimize=True)
    solid = residual > 1e-12 * np.maximum(squares, np.finfo(float).tiny)
    return np.where(solid, 0.5 * linked / np.where(solid, residual, 1.0), np.nan)


def expected_autocorrelation(basis: Basis, grid: Float[np.ndarray, " rho"] = GRID) -> Float[np.ndarray, " rho"]:
    """f(rho) on a grid: what the residuals of this design show on average when the noise has that rho."""
    q = basis.q
    linked = ~basis.starts[1:]
    here = q[:-1][linked]
    after = q[1:][linked]
    turned = np.asfortranarray(q @ (after.T @ here))  # as LAPACK returns V Q: the sums run along memory
    # one sum over the entries of V Q holds both that link neighbours, and the trace with M
    turned[1:][linked] -= here
    turned[:-1][linked] -= after
    flat, turned = np.asfortranarray(q).ravel("K"), turned.ravel("K")
    curve = np.empty(len(grid))
    for i, rho in enumerate(grid):  # one rho at a time: V Q is as large as Q
        vq = np.asfortranarray(_covariance_times(basis, rho)).ravel("K")
        curve[i] = (linked.sum() * rho + turned @ vq) / (basis.n_rows - flat @ vq)
    return curve


def unbiased_rho(curve: Float[np.ndarray, " rho"], sample: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """The noise's rho for each unit's residual autocorrelation: the inverse of the curve, held within its grid.

    Args:
        curve: :func:`expected_autocorrelation` on the default grid.
        sample: :func:`residual_autocorrelation`; where it is NaN, rho is 0.
    """
    highest = np.maximum.accumulate(curve)
    rising = np.concatenate([[True], curve[1:] > highest[:-1]])
    if rising.sum() < 2:  # every row is its own context: no neighbours, no autocorrelation
        return np.zeros_like(sample)
    return np.nan_to_num(np.interp(sample, curve[rising], GRID[rising]))


def _covariance_times(basis: Basis, rho: float) -> Float[np.ndarray, "row rank"]:
    """V(rho) Q by solving with its inverse, (I - rho N + rho**2 J) / (1 - rho**2), which is tridiagonal."""
    bands = np.empty((2, basis.n_rows))
    bands[0] = np.where(basis.starts, 0.0, -rho)
    bands[1] = 1.0 + rho**2 * basis.interior
    return solveh_banded(bands, (1.0 - rho**2) * basis.q, check_finite=False)
