"""The largest of scores: NaN never, ties at the cut by a seeded draw over layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.units import QUICK
from tl_fbn.units.ties import checked_seed, tied_at_cut, top_mask, without_infinity

# few distinct values, so that ties are the rule
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan])


@given(values=st.lists(VALUES, min_size=1, max_size=9), n=st.integers(0, 9), seed=st.integers(0, 3))
@QUICK
def test_the_largest_by_definition(values: list[float], n: int, seed: int) -> None:
    numbers = sorted((value for value in values if not math.isnan(value)), reverse=True)
    mask = top_mask(np.array(values), n, seed=seed)
    assert sorted(np.array(values)[mask].tolist(), reverse=True) == numbers[:n]
    cut = numbers[min(n, len(numbers)) - 1] if n and numbers else math.nan
    n_tied, n_fit = numbers.count(cut), numbers[:n].count(cut)
    assert tied_at_cut(np.array(values), n) == ((n_tied, n_fit) if n_fit < n_tied else (0, 0))


@given(values=st.lists(VALUES, min_size=1, max_size=9), n=st.integers(0, 8))
@QUICK
def test_more_units_keep_those_of_fewer(values: list[float], n: int) -> None:
    scores, layers = np.array(values), np.arange(len(values)) // 3
    assert not (top_mask(scores, n, layers=layers) & ~top_mask(scores, n + 1, layers=layers)).any()


@pytest.mark.parametrize("k", [1, 5, 30, 57, 113])
def test_a_draw_is_spread_over_layers(k: int) -> None:
    """Of 113 tied units in layers of 3, 10 and 100, each layer gives its share of the k, but for a unit."""
    layers = np.repeat([0, 1, 3], [3, 10, 100])
    shares = k * np.array([3, 10, 0, 100]) / 113
    for seed in range(40):
        mask = top_mask(np.zeros(113), k, layers=layers.astype(np.int64), seed=seed)
        found = np.bincount(layers[mask], minlength=4)
        assert found.sum() == k
        # a systematic sample rounds each layer's share; with few layers the roundings add up to two at most
        assert np.abs(found - shares).max() < 2


def test_every_tied_unit_is_drawn_alike() -> None:
    """Over 4,000 seeds each of 12 tied units is among 3 with a probability of 1/4, standard error .0068."""
    layers = np.repeat([0, 1], [2, 10]).astype(np.int64)
    rates = np.mean([top_mask(np.zeros(12), 3, layers=layers, seed=seed) for seed in range(4000)], axis=0)
    assert np.abs(rates[2:] - 0.25).max() < 0.05
    assert np.abs(rates[:2] - 0.25).max() < 0.05


def test_minus_zero_is_zero() -> None:
    scores = np.array([0.0, -0.0, 0.0, -0.0, 0.0])
    np.testing.assert_array_equal(top_mask(scores, 2), top_mask(np.zeros(5), 2))


def test_maps_draw_for_themselves() -> None:
    """Two maps whose ties are the same units must not agree in the units drawn: of 20 of 400 one is shared by chance."""
    a, b = np.zeros(402), np.zeros(402)
    a[400:], b[400:] = [2.0, 1.0], [1.0, 3.0]
    shared = (top_mask(a, 22) & top_mask(b, 22))[:400].sum()
    assert shared <= 6


def test_infinity_becomes_the_largest_number() -> None:
    np.testing.assert_array_equal(
        without_infinity(np.array([math.inf, -math.inf, -3.0, 2.0, math.nan])), [3.0, -3.0, -3.0, 2.0, math.nan]
    )
    np.testing.assert_array_equal(without_infinity(np.array([math.inf, 0.0, -math.inf])), [1.0, 0.0, -1.0])


def test_seeds() -> None:
    assert checked_seed(np.int64(3)) == 3
    for nasty in (True, -1, 2.0, "1", None):
        with pytest.raises(ValueError, match="is no seed; give a whole number of at least 0"):
            checked_seed(nasty)
