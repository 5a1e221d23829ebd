"""Which units keep their course: those asked for, then the strongest of every network and map in turn."""

from __future__ import annotations

import numpy as np

from tests.helpers.viewers import ROWS, SPACE, planted, signed
from tl_fbn.reporting.viewer.data import viewer_data
from tl_fbn.reporting.viewer.packing import unpacked
from tl_fbn.units import Atlas, UnitMap


def kept(data: dict) -> list[int]:
    return [unit["index"] for unit in data["units"]]


def test_units_asked_for_are_kept_first_and_the_others_by_strength_in_turn() -> None:
    maps = {
        "m": UnitMap(SPACE, np.array([0, 9, 0, 8, 0, 0, 0, 0, 0, 0, 0, -7.0]), "t"),
        "n": UnitMap(SPACE, np.array([np.nan, 0, 6, 0, 0, 5, 0, 0, 0, 0, 0, 0]), "t"),
    }
    assert kept(viewer_data(planted(), maps=maps, units=[(1, 4)], max_units=5)) == [1, 2, 3, 5, 9]
    data = viewer_data(planted(), signed(), units=np.array([[0, 2], [1, 6]]), max_units=2)
    assert kept(data) == [2, 11]
    course = data["units"][1]["course"]
    expected = np.concatenate([11 + np.arange(ROWS) / 10, 110 + np.arange(ROWS)])
    np.testing.assert_allclose(unpacked(course), expected, atol=course["scale"] / 2 * 1.001)


def test_members_are_ranked_by_their_own_map() -> None:
    values = np.array([0, 1, 0, 0, -3, 0, 0, 0, 0, 0, 0, 2.0])
    own = viewer_data(planted(), {"signed": signed()}, maps={"signed": UnitMap(SPACE, values, "z")}, max_units=1)
    assert own["networks"][0]["map"] == 0 and kept(own) == [4]
    from_atlas = Atlas(SPACE, {"a": signed(), "b": signed()}, np.array([values, -values]))
    data = viewer_data(planted(), from_atlas, maps={"b": UnitMap(SPACE, values, "z")})
    assert [one["map"] for one in data["networks"]] == [0, 1]
    assert [(one["name"], one["kind"]) for one in data["maps"]] == [("a", "loading"), ("b", "loading"), ("b", "z")]
    np.testing.assert_allclose(unpacked(data["maps"][1]), -values, atol=1e-4)
