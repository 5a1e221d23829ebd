"""Maps: exact selection, and files that come back as they were."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.units import QUICK, TOY, each_unit, space_of
from tl_fbn.units import Network, UnitMap, UnitSpace, top_mask
from tl_fbn.units.unit_map import _number_of_units

# few distinct values, so that ties are the rule
tied = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan])
valued = each_unit(tied)


def map_of(drawn: tuple) -> UnitMap:
    return UnitMap(space_of(drawn[0]), np.array(drawn[1][0]), "t")


def largest(values: np.ndarray, n: int) -> list[int]:
    """The n largest by the definition: by value, ties by index, NaN never."""
    numbered = [(-value, index) for index, value in enumerate(values.tolist()) if not math.isnan(value)]
    return sorted(index for _, index in sorted(numbered)[:n])


@QUICK
@given(drawn=valued, n=st.integers(0, 12), two_sided=st.booleans())
def test_top_takes_exactly_the_largest(drawn: tuple, n: int, two_sided: bool) -> None:
    scores = map_of(drawn)
    ranked = np.abs(scores.values) if two_sided else scores.values
    expected = largest(ranked, n)
    if len(expected) < n:
        with pytest.raises(ValueError, match=rf"top\({n}\) asks for {n} units, but .*ask for"):
            scores.top(n, two_sided=two_sided)
        return
    network = scores.top(n, two_sided=two_sided)
    assert network.indices.tolist() == expected
    signs = np.sign(scores.values[network.indices])
    np.testing.assert_array_equal(network.signs[network.indices], signs)
    assert not network.signs[~network.members].any()


@QUICK
@given(drawn=valued, n=st.integers(0, 3))
def test_top_per_layer_is_top_of_every_layer(drawn: tuple, n: int) -> None:
    scores = map_of(drawn)
    within = [largest(part, n) for part in scores.by_layer()]
    if any(len(found) < n for found, part in zip(within, scores.by_layer(), strict=True) if part.size):
        with pytest.raises(ValueError, match=rf"top\({n}\) asks for {n} units, but .*layer \d of toy mlp\.neurons"):
            scores.top(n, per_layer=True)
        return
    network = scores.top(n, per_layer=True)
    assert [np.flatnonzero(part).tolist() for part in network.by_layer()] == within


@given(values=st.lists(tied, min_size=1, max_size=9), n=st.integers(0, 9))
@QUICK
def test_top_mask_puts_nan_last(values: list[float], n: int) -> None:
    scores = np.array(values)
    mask = top_mask(scores, n)
    assert mask.sum() == min(n, len(values))
    assert np.flatnonzero(mask & ~np.isnan(scores)).tolist() == largest(scores, n)


def test_top_known_answers() -> None:
    scores = UnitMap(TOY, np.array([3.0, -9.0, 3.0, 0.0, 1.0, 2.0, 3.0, np.nan, -1.0, 5.0]), "t")
    assert scores.top(3).indices.tolist() == [0, 2, 9]  # 3.0 three times: the lower indices win
    assert scores.top(2, two_sided=True).indices.tolist() == [1, 9]
    assert scores.top(2, two_sided=True).signs.tolist() == [0, -1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert scores.top(0.5).indices.tolist() == [0, 2, 5, 6, 9]
    assert scores.top(2, per_layer=True).indices.tolist() == [0, 2, 6, 9]
    assert scores.top(0.5, per_layer=True).per_layer().tolist() == [2, 0, 3]
    assert len(scores.top(0)) == 0


def test_fractions_round_down_as_in_the_papers() -> None:
    assert _number_of_units(0.05, 352256, "llama") == 17612  # S1's own number
    assert [_number_of_units(share, 100, "x") for share in (0.29, 0.57, 0.07, 0.009, 0.999)] == [29, 57, 7, 0, 99]


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (11, r"top\(11\) asks for 11 units, but toy mlp\.neurons .* has 10; ask for 0 to 10"),
        (-1, r"top\(-1\) asks for -1 units"),
        (10, r"only 9 of toy mlp\.neurons .* have a value \(the others are NaN\)"),
        (1.0, r"top\(1\.0\) is no fraction between 0 and 1; give 0\.05 for 5 %"),
        (0.0, r"no fraction between 0 and 1"),
        (math.nan, r"amount must be a number; got nan"),
        (True, r"amount must be a number; got True"),
    ],
)
def test_top_of_impossible_amounts(amount: float, message: str) -> None:
    scores = UnitMap(TOY, np.array([*range(9), np.nan], dtype=float), "t")
    with pytest.raises(ValueError, match=message):
        scores.top(amount)


def test_selection_is_remembered(tmp_path: Path) -> None:
    scores = UnitMap(TOY, np.arange(10.0), "t", {"recording": "k1", "prompts": ["p"]})
    network = scores.top(2, two_sided=True, name="best")
    network.save(tmp_path / "a")
    loaded = Network.load(tmp_path / "a")
    assert loaded.name == "best"
    assert loaded.provenance == {
        "recording": "k1",
        "prompts": ["p"],
        "selection": {"top": 2, "two_sided": True, "per_layer": False, "kind": "t"},
    }


def test_map_by_layer_is_a_view_and_dataframe_has_one_line_a_unit() -> None:
    scores = UnitMap(TOY, np.arange(10.0), "t")
    parts = scores.by_layer()
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [], [4, 5, 6, 7, 8, 9]]
    assert np.shares_memory(parts[2], scores.values)
    table = scores.to_dataframe()
    assert list(table) == ["layer", "unit", "value"]
    assert table[table["layer"] == 2]["unit"].tolist() == [0, 1, 2, 3, 4, 5]
    assert [TOY.index(row.layer, row.unit) for row in table.itertuples()] == table["value"].tolist()


def test_map_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match=r"needs 10 values in one row; got shape \(9,\)"):
        UnitMap(TOY, np.zeros(9), "t")


def test_map_in_words() -> None:
    values = np.array([0, 1, 2, np.nan, -np.inf, 5, 6, 7, 8, -9.5])
    scores = UnitMap(TOY, values, "<t>")
    assert repr(scores) == "UnitMap of <t>: toy mlp.neurons (3 layers of 4, 0, 6), -9.5 to 8"
    page = scores._repr_html_()
    assert "&lt;t&gt;" in page
    assert "<t>" not in page
    assert "<td>0</td><td>0</td><td>1</td><td>2</td>" in page
    assert "no finite value" in repr(UnitMap(TOY, np.full(10, np.nan), "t"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_map_comes_back_from_its_file(tmp_path: Path, dtype: type[np.floating]) -> None:
    values = np.array([0.1, -0.0, np.nan, np.inf, 1e-30, 1, 2, 3, 4, 5], dtype=dtype)
    space = UnitSpace("mlp.neurons", (4, 0, 6), model="töy", weights="ab")
    UnitMap(space, values, "z", {"method": "glm", "seed": 3}).save(tmp_path / "a.map")
    loaded = UnitMap.load(tmp_path / "a.map")
    assert loaded.values.dtype == dtype
    assert loaded.values.tobytes() == values.tobytes()
    assert (loaded.space, loaded.space.model, loaded.space.weights) == (space, "töy", "ab")
    assert (loaded.kind, loaded.provenance) == ("z", {"method": "glm", "seed": 3})
