"""The sums that a GLM is made of: equal to what whitening row by row would give, mergeable, and exact for large
means.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.regression import covariance
from tl_fbn.analysis.glm.moments import Basis, Moments, at, first_shift, information, solved

some = settings(max_examples=30, deadline=None, derandomize=True)


def segments(n_rows: int, lengths: list[int]) -> np.ndarray:
    """Starts of segments of these lengths; the last takes the rest."""
    starts = np.zeros(n_rows, dtype=bool)
    starts[[0, *[edge for edge in np.cumsum(lengths) if edge < n_rows]]] = True
    return starts


@some
@given(
    st.lists(st.integers(1, 12), max_size=8),
    st.lists(st.floats(-0.9, 0.95), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_sums_equal_whitening_with_the_inverse_covariance(lengths: list[int], rho: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = segments(40, lengths)  # with segments of a single row among them
    basis = Basis.of(rng.normal(size=(40, 4)), starts)
    y = rng.normal(size=(40, 3))
    moments = Moments.of(basis, y)
    rhos = np.array(rho)
    cross, square, inner = at(moments.cross, rhos), at(moments.squares, rhos), information(basis.quadratic(), rhos)
    for unit, r in enumerate(rhos):
        inverse = np.linalg.inv(covariance(starts, r)) * (1 - r**2)
        np.testing.assert_allclose(cross[:, unit], basis.q.T @ inverse @ y[:, unit], atol=1e-9)
        np.testing.assert_allclose(square[unit], y[:, unit] @ inverse @ y[:, unit], rtol=1e-9)
        np.testing.assert_allclose(inner[unit], basis.q.T @ inverse @ basis.q, atol=1e-9)


def test_rows_that_are_all_their_own_context_are_independent() -> None:
    rng = np.random.default_rng(0)
    basis = Basis.of(rng.normal(size=(20, 2)), np.ones(20, dtype=bool))
    y = rng.normal(size=(20, 1))
    scaled = at(Moments.of(basis, y).squares, np.array([0.5])) / (1 - 0.25)
    np.testing.assert_allclose(scaled, np.square(y).sum(0))


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_basis_is_orthonormal_and_returns_the_design(scale: float) -> None:
    rng = np.random.default_rng(1)
    design = rng.normal(size=(30, 4))
    design[:, 2] *= scale
    basis = Basis.of(design, segments(30, []))
    assert basis.rank == 4
    np.testing.assert_allclose(basis.q.T @ basis.q, np.eye(4), atol=1e-12)
    np.testing.assert_allclose((basis.q @ basis.to_coordinates)[:, 2], design[:, 2], rtol=1e-9)
    np.testing.assert_allclose(basis.to_coordinates @ basis.to_columns, np.eye(4), atol=1e-9 * max(scale, 1 / scale))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_rank_deficient_design_keeps_its_span(scale: float) -> None:
    rng = np.random.default_rng(2)
    design = rng.normal(size=(30, 5))
    design[:, 3] = design[:, 0] - 2 * design[:, 1]
    design[:, 4] = 0
    design *= np.array([1, scale, 1, 1 / scale, 1])
    basis = Basis.of(design, segments(30, []))
    assert basis.rank == 3
    y = rng.normal(size=30)
    projected = design[:, :3] @ np.linalg.lstsq(design[:, :3], y, rcond=None)[0]
    np.testing.assert_allclose(basis.q @ (basis.q.T @ y), projected, atol=1e-9)


def test_spans_constant() -> None:
    boxcars = np.repeat(np.eye(2), 10, axis=0)
    assert Basis.of(boxcars, segments(20, [])).spans_constant
    assert Basis.of(np.ones((20, 1)), segments(20, [])).spans_constant
    assert not Basis.of(boxcars[:, :1], segments(20, [])).spans_constant
    assert not Basis.of(np.linspace(-1, 1, 20)[:, None], segments(20, [])).spans_constant


def test_shift_is_taken_off_only_where_the_design_can_absorb_it() -> None:
    y = np.random.default_rng(3).normal(size=(20, 2)) + np.array([5, 1e4])
    np.testing.assert_allclose(first_shift(Basis.of(np.ones((20, 1)), segments(20, [])), y), y.mean(0))
    assert not first_shift(Basis.of(np.linspace(-1, 1, 20)[:, None], segments(20, [])), y).any()


def test_merged_parts_equal_one_pass() -> None:
    rng = np.random.default_rng(4)
    starts = segments(60, [10, 15, 1, 20])
    basis = Basis.of(np.column_stack([np.ones(60), rng.normal(size=(60, 3))]), starts)
    y = rng.normal(size=(60, 5)) + 100
    whole = Moments.of(basis, y)
    cuts = [slice(0, 25), slice(25, 26), slice(26, None)]
    parts = [Moments.with_shift(basis.part(rows), y[rows], whole.shift) for rows in cuts]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    for ours, theirs in zip((*merged.cross, *merged.squares), (*whole.cross, *whole.squares), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_parts_cut_at_contexts_and_share_a_shift() -> None:
    basis = Basis.of(np.ones((20, 1)), segments(20, [10]))
    with pytest.raises(ValueError, match="rows 0 to 7 cut a segment in two; cut where a context starts"):
        basis.part(slice(0, 7))
    with pytest.raises(ValueError, match="rows 5 to 20 cut a segment"):
        basis.part(slice(5, None))
    y = np.random.default_rng(5).normal(size=(20, 2))
    halves = [Moments.of(basis, y), Moments.with_shift(basis, y, np.zeros(2))]
    with pytest.raises(ValueError, match=r"different shifts; give both parts the same with Moments\.with_shift"):
        halves[0].merge(halves[1])


def test_large_mean_costs_no_digits() -> None:
    rng = np.random.default_rng(6)
    noise = np.round(rng.normal(size=(500, 4)), 6)
    design = np.column_stack([np.repeat(np.eye(2), 250, axis=0), rng.normal(size=500)])
    basis = Basis.of(design, segments(500, [100, 200]))
    for mean in (0.0, 1e4, 1e6):
        moments = Moments.of(basis, noise + mean)
        residual = moments.squares[0] - np.square(moments.cross[0]).sum(0)
        expected = np.square(noise - basis.q @ (basis.q.T @ noise)).sum(0)
        np.testing.assert_allclose(residual, expected, rtol=1e-8)


def test_solving_some_units_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    basis = Basis.of(rng.normal(size=(60, 5)), segments(60, [20, 41]))
    rho, right = rng.uniform(-0.5, 0.9, 9), rng.normal(size=(9, 5, 2))
    whole = np.linalg.solve(information(basis.quadratic(), rho), right)
    monkeypatch.setattr("tl_fbn.analysis.glm.moments._MAX_NUMBERS_SOLVED_AT_ONCE", 60)  # two units a step
    np.testing.assert_array_equal(solved(basis.quadratic(), rho, right), whole)
