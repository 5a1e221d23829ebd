"""Conjunction of maps: the minimum, within one space and one kind."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.networks.conjunction import conjunction
from tl_fbn.units import UnitMap, UnitSpace

SPACE = UnitSpace("mlp.neurons", (3, 2))


def unit_map(values: list[float], kind: str = "t", prompts: list[str] | None = None) -> UnitMap:
    return UnitMap(SPACE, np.array(values, dtype=float), kind, {} if prompts is None else {"prompts": prompts})


def test_minimum_unit_by_unit() -> None:
    maps = [unit_map([3, 1, -2, 4, 0]), unit_map([1, 2, 5, 4, -1]), unit_map([2, 2, 2, 2, 2])]
    found = conjunction(maps)
    np.testing.assert_array_equal(found.values, [1, 1, -2, 2, -1])
    assert found.kind == "t"
    assert found.space == SPACE
    np.testing.assert_array_equal(conjunction(maps[:1]).values, maps[0].values)


def test_a_unit_that_never_varies_in_one_contrast_is_in_no_conjunction() -> None:
    found = conjunction([unit_map([1, np.nan, 3, 4, 5]), unit_map([5, 5, 5, 5, 5])])
    assert np.isnan(found.values[1])
    assert not found.top(4).members[1]


def test_remembers_the_prompts_of_all_maps_or_of_none() -> None:
    both = conjunction([unit_map([1] * 5, prompts=["x", "y"]), unit_map([1] * 5, prompts=["y", "z"])])
    assert both.provenance["prompts"] == ["x", "y", "z"]
    assert both.provenance["method"] == "conjunction"
    assert "prompts" not in conjunction([unit_map([1] * 5, prompts=["x"]), unit_map([1] * 5)]).provenance


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="conjunction got no maps; give at least one"):
        conjunction([])
    with pytest.raises(ValueError, match=r"different kinds of map \(t, z\) has no meaning"):
        conjunction([unit_map([1] * 5), unit_map([1] * 5, "z")])
    elsewhere = UnitMap(UnitSpace("resid.post", (5,)), np.zeros(5), "t")
    with pytest.raises(ValueError, match=r"mlp\.neurons.*resid\.post"):
        conjunction([unit_map([1] * 5), elsewhere])
