"""Centres and spreads of units: numpy's medians, a Gaussian's standard deviation, units that stand still."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.ica.spreads import centres_and_spread


@pytest.mark.parametrize("rows", [(40, 31), (40, 30), (1, 2), (7,)])
def test_medians_are_numpys(rows: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    runs = [rng.standard_t(2, size=(n, 9)).astype(np.float32) + 3 for n in rows]
    centres, spread = centres_and_spread(runs, robust=True)
    np.testing.assert_array_equal(centres, [np.median(run, axis=0) for run in runs])
    centred = np.concatenate([run - np.median(run, axis=0) for run in runs])
    mad = 1.4826 * np.median(np.abs(centred), axis=0)
    known = mad > 1e-6
    np.testing.assert_allclose(spread[known], mad[known], rtol=1e-6)


def test_means_and_standard_deviations_are_numpys() -> None:
    rng = np.random.default_rng(0)
    runs = [rng.normal(5, 2, size=(n, 6)).astype(np.float32) for n in (50, 70)]
    centres, spread = centres_and_spread(runs, robust=False)
    np.testing.assert_allclose(centres, [run.mean(0) for run in runs], rtol=1e-6)
    np.testing.assert_allclose(spread, np.concatenate([run - run.mean(0) for run in runs]).std(0, ddof=1), rtol=1e-5)


def test_of_a_gaussian_both_are_its_standard_deviation_and_massive_values_move_only_one() -> None:
    x = (2 * np.random.default_rng(0).normal(size=(20_000, 2))).astype(np.float32)
    np.testing.assert_allclose(centres_and_spread([x], robust=True)[1], 2, rtol=0.03)
    x[::100] = 1000
    np.testing.assert_allclose(centres_and_spread([x], robust=True)[1], 2, rtol=0.05)
    assert centres_and_spread([x], robust=False)[1].min() > 50


def test_units_that_stand_still_have_spread_one_and_those_that_seldom_move_their_standard_deviation() -> None:
    x = np.zeros((100, 2), np.float32)
    x[:20, 1] = 7
    np.testing.assert_allclose(centres_and_spread([x + 4], robust=True)[1], [1, x[:, 1].std(ddof=1)], rtol=1e-6)
    np.testing.assert_allclose(centres_and_spread([x + 4], robust=False)[1], [1, x[:, 1].std(ddof=1)], rtol=1e-6)
