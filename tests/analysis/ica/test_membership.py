"""Thresholds of maps: each rule by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.ica.membership import cut
from tl_fbn.units import UnitSpace

SPACE = UnitSpace("mlp.neurons", (4, 0, 6))
MAPS = np.array([[5, -4, 1, 0, 0, 0, 3.5, -0.5, 0, 0], [0, 0, 0, 2, -6, 1, 0, 0, 0.5, 0]], dtype=np.float32)


def members(**options: object) -> list[list[int]]:
    return [np.flatnonzero(one).tolist() for one in cut(MAPS, SPACE, seed=0, **options)]  # type: ignore[arg-type]


def test_a_number_is_a_z_on_both_sides_or_one() -> None:
    assert members(threshold=3.0) == [[0, 1, 6], [4]]
    assert members(threshold=3, one_sided=True) == [[0, 6], []]


def test_within_layers_each_layer_has_its_own_scale() -> None:
    z = (MAPS[0, 4:] - MAPS[0, 4:].mean()) / MAPS[0, 4:].std()
    assert members(threshold=2.0, per_layer=True)[0] == (4 + np.flatnonzero(np.abs(z) >= 2)).tolist()


def test_percentile_gives_each_unit_a_network_on_average() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(5, 1000))
    found = cut(maps, UnitSpace("mlp.neurons", (1000,)), threshold="percentile", seed=0)
    assert found.sum() == pytest.approx(1000, abs=5)
    limit = np.percentile(np.abs(maps), 80)
    np.testing.assert_array_equal(found, np.abs(maps) >= limit)


def test_a_map_of_zeros_has_no_members() -> None:
    """Three quarters of the units are 0: the percentile is 0, too, and 0 is no magnitude to be a member by."""
    maps = np.zeros((2, 100))
    maps[:, :20] = np.random.default_rng(0).normal(size=(2, 20))
    found = cut(maps, UnitSpace("mlp.neurons", (100,)), threshold="percentile", seed=0)
    assert not found[:, 20:].any()


def test_a_mixture_finds_the_planted_tail() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=3000) * 0.5
    values[:90] = rng.choice([-1, 1], 90) * rng.uniform(3, 8, 90)
    z = (values - values.mean()) / values.std()
    (found,) = cut(z[None], UnitSpace("mlp.neurons", (3000,)), threshold="mixture", seed=0)
    assert found[:90].mean() > 0.98 and found[90:].mean() < 0.01
    (positive,) = cut(z[None], UnitSpace("mlp.neurons", (3000,)), threshold="mixture", seed=0, one_sided=True)
    np.testing.assert_array_equal(positive, found & (z > 0))
    assert not cut(np.zeros((1, 10)), SPACE, threshold="mixture", seed=0).any()


def test_unknown_rules() -> None:
    with pytest.raises(ValueError, match="threshold=0 must be above 0"):
        members(threshold=0)
    with pytest.raises(ValueError, match="threshold='best' is no number and none of 'percentile', 'mixture'"):
        inspect_cut = cut.__wrapped__  # as where types are not checked
        inspect_cut(MAPS, SPACE, threshold="best", seed=0)
