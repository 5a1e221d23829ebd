"""Noise autocorrelation from residuals: the bias curve is what its definition says, and inverting it removes
the bias.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.noise import ar1_noise
from tests.oracle.regression import covariance
from tl_fbn.analysis.glm.autocorrelation import GRID, expected_autocorrelation, residual_autocorrelation, unbiased_rho
from tl_fbn.analysis.glm.moments import Basis, Moments


def starts_of(n_rows: int, length: int | None) -> np.ndarray:
    starts = np.zeros(n_rows, dtype=bool)
    starts[:: length or n_rows] = True
    return starts


def wide_design(n_rows: int) -> np.ndarray:
    """Boxcars and eleven cosines: enough regressors that the bias shows."""
    place = (np.arange(n_rows) + 0.5) / n_rows
    drift = np.cos(np.pi * np.outer(place, np.arange(1, 12)))
    return np.column_stack([np.arange(n_rows) // 10 % 2, np.ones(n_rows), drift])


def sample(basis: Basis, y: np.ndarray) -> np.ndarray:
    return residual_autocorrelation(basis, basis.quadratic(), Moments.of(basis, y))


def brute_force(basis: Basis, rho: float) -> float:
    """The definition, rows by rows."""
    maker = np.eye(basis.n_rows) - basis.q @ basis.q.T
    of_residuals = maker @ covariance(basis.starts, rho) @ maker
    linked = ~basis.starts[1:]
    return float(np.diagonal(of_residuals, 1)[linked].sum() / np.trace(of_residuals))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.sampled_from([None, 1, 2, 7, 12]), st.integers(1, 8), st.integers(0, 99))
def test_curve_equals_its_definition(length: int | None, rank: int, seed: int) -> None:
    design = np.random.default_rng(seed).normal(size=(50, rank)).cumsum(0)
    basis = Basis.of(design, starts_of(50, length))
    grid = np.array([-0.9, -0.3, 0.0, 0.2, 0.5, 0.85, 0.98])
    expected = [brute_force(basis, rho) for rho in grid]
    np.testing.assert_allclose(expected_autocorrelation(basis, grid), expected, atol=1e-10)


@pytest.mark.parametrize("length", [None, 12])
def test_sample_is_the_lag_one_correlation_of_the_residuals(length: int | None) -> None:
    basis = Basis.of(wide_design(90), starts_of(90, length))
    y = np.random.default_rng(0).normal(size=(90, 4)).cumsum(0) + 30
    residual = y - basis.q @ (basis.q.T @ y)
    linked = ~basis.starts[1:]
    expected = (residual[1:] * residual[:-1])[linked].sum(0) / np.square(residual).sum(0)
    np.testing.assert_allclose(sample(basis, y), expected, rtol=1e-8)


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.3, 0.6, 0.9])
def test_unbiased_where_the_plain_estimate_is_not(rho: float) -> None:
    basis = Basis.of(wide_design(600), starts_of(600, None))
    plain = sample(basis, ar1_noise(rho, 600, 2000, seed=7))
    assert plain.mean() < rho - 0.008
    assert unbiased_rho(expected_autocorrelation(basis), plain).mean() == pytest.approx(rho, abs=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_unbiased_with_short_contexts(rho: float) -> None:
    n_rows, length = 480, 12
    basis = Basis.of(wide_design(n_rows), starts_of(n_rows, length))
    pieces = [ar1_noise(rho, length, 2000, seed=100 + i) for i in range(n_rows // length)]
    plain = sample(basis, np.concatenate(pieces))
    assert plain.mean() < rho - 0.02  # fewer pairs than rows, and what the design absorbs
    assert unbiased_rho(expected_autocorrelation(basis), plain).mean() == pytest.approx(rho, abs=0.01)


def test_curve_is_read_backwards_exactly_at_its_points() -> None:
    basis = Basis.of(wide_design(200), starts_of(200, None))
    curve = expected_autocorrelation(basis)
    np.testing.assert_allclose(unbiased_rho(curve, curve), GRID, atol=1e-12)
    between = np.array([0.025, 0.475, 0.89])
    exact = np.array([brute_force(basis, rho) for rho in between])
    np.testing.assert_allclose(unbiased_rho(curve, exact), between, atol=2e-3)


def test_estimate_stays_within_the_grid() -> None:
    curve = expected_autocorrelation(Basis.of(wide_design(200), starts_of(200, None)))
    np.testing.assert_allclose(unbiased_rho(curve, np.array([-1.0, 1.0])), [-0.9, 0.98])


def test_curve_that_turns_is_read_on_its_rising_side() -> None:
    """A design that follows its rows closely makes f fall again near 1; numpy.interp needs rising points."""
    curve = np.concatenate([np.linspace(-0.8, 0.6, len(GRID) - 4), [0.5, 0.55, 0.4, 0.58]])
    found = unbiased_rho(curve, np.linspace(-0.8, 0.6, 50))
    assert (np.diff(found) > 0).all()
    assert found[-1] == GRID[-5]


def test_no_neighbours_no_autocorrelation() -> None:
    basis = Basis.of(wide_design(60), np.ones(60, dtype=bool))
    plain = sample(basis, np.random.default_rng(1).normal(size=(60, 3)))
    np.testing.assert_array_equal(unbiased_rho(expected_autocorrelation(basis), plain), 0.0)


def test_constant_units_have_none() -> None:
    basis = Basis.of(wide_design(60), starts_of(60, None))
    y = np.column_stack([np.zeros(60), np.full(60, 0.1), np.full(60, 1e4 / 3), basis.q[:, 0]])
    plain = sample(basis, y)
    assert np.isnan(plain).all()
    np.testing.assert_array_equal(unbiased_rho(expected_autocorrelation(basis), plain), 0.0)
