"""Regression by statsmodels, with the covariance of AR(1) segments written out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import statsmodels.api as sm
from scipy.linalg import block_diag, toeplitz
from statsmodels.tools.sm_exceptions import SingularMatrixWarning


@dataclass(frozen=True)
class Test:
    """Effect, squared standard error, t and degrees of freedom of one contrast in one unit."""

    __test__ = False

    effect: float
    variance: float
    t: float
    dof: float


def covariance(starts: np.ndarray, rho: float) -> np.ndarray:
    """Rows by rows: rho ** |i - j| within a segment, 0 between segments."""
    edges = [*np.flatnonzero(starts), len(starts)]
    return block_diag(*[toeplitz(rho ** np.arange(b - a)) for a, b in pairwise(edges)])


def gls(y: np.ndarray, design: np.ndarray, weights: np.ndarray, starts: np.ndarray, rho: float) -> Test:
    """One unit by generalised least squares at a given rho."""
    return _test(sm.GLS(y.astype(float), design, sigma=covariance(starts, rho)), weights)


def gls_f(
    y: np.ndarray, design: np.ndarray, weights: np.ndarray, starts: np.ndarray, rho: float
) -> tuple[float, float]:
    """F and p of several contrasts of one unit, by generalised least squares at a given rho."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        found = sm.GLS(y.astype(float), design, sigma=covariance(starts, rho)).fit().f_test(weights)
    return float(np.squeeze(found.fvalue)), float(np.squeeze(found.pvalue))


def coefficients(y: np.ndarray, design: np.ndarray, starts: np.ndarray, rho: float) -> np.ndarray:
    """Coefficients of one unit by generalised least squares."""
    return np.asarray(sm.GLS(y.astype(float), design, sigma=covariance(starts, rho)).fit().params)


def ols(y: np.ndarray, design: np.ndarray, weights: np.ndarray) -> Test:
    """One unit by ordinary least squares."""
    return _test(sm.OLS(y.astype(float), design), weights)


def _test(model: sm.OLS | sm.GLS, weights: np.ndarray) -> Test:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)  # rank-deficient designs are among the tests
        fit = model.fit()
    result = fit.t_test(weights)
    error = float(np.squeeze(result.sd))
    return Test(float(np.squeeze(result.effect)), error**2, float(np.squeeze(result.tvalue)), float(fit.df_resid))
