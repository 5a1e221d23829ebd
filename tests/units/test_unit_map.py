"""Maps: exact selection, and files that come back as they were."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.units import QUICK, TOY, each_unit, space_of
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitMap, UnitSpace
from tl_fbn.units.unit_map import _number_of_units

# few distinct values, so that ties are the rule
tied = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan])
valued = each_unit(tied)


def map_of(drawn: tuple) -> UnitMap:
    return UnitMap(space_of(drawn[0]), np.array(drawn[1][0]), "t")


def largest(values: np.ndarray, n: int) -> list[float]:
    """The n largest values by the definition: NaN never. Which of equal ones are taken is no part of it."""
    return sorted((value for value in values.tolist() if not math.isnan(value)), reverse=True)[:n]


def taken(values: np.ndarray, members: np.ndarray) -> list[float]:
    """The values of members, largest first."""
    return sorted(values[members].tolist(), reverse=True)


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
    assert taken(ranked, network.members) == expected
    assert network.members.sum() == n
    n_equal = int((ranked == expected[-1]).sum()) if n else 0
    all_fit = n_equal == expected.count(expected[-1]) if n else True
    assert scores.tied(n, two_sided=two_sided) == (0 if all_fit else n_equal)
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
    pairs = zip(scores.by_layer(), network.by_layer(), strict=True)
    assert [taken(part, members) for part, members in pairs] == within


def test_top_known_answers() -> None:
    scores = UnitMap(TOY, np.array([3.0, -9.0, 3.0, 0.0, 1.0, 2.0, 3.0, np.nan, -1.0, 5.0]), "t")
    assert scores.top(4).indices.tolist() == [0, 2, 6, 9]
    assert scores.top(2, two_sided=True).indices.tolist() == [1, 9]
    assert scores.top(2, two_sided=True).signs.tolist() == [0, -1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert scores.top(0.5).indices.tolist() == [0, 2, 5, 6, 9]
    assert scores.top(2, per_layer=True).indices.tolist() == [0, 2, 6, 9]
    assert scores.top(0.5, per_layer=True).per_layer().tolist() == [2, 0, 3]
    assert len(scores.top(0)) == 0


def test_fractions_round_down_as_in_the_papers() -> None:
    assert _number_of_units(0.05, 352256, "llama") == 17612  # S1's own number
    assert [_number_of_units(share, 100, "x") for share in (0.29, 0.57, 0.07, 0.009, 0.999)] == [29, 57, 7, 0, 99]


def test_ties_at_the_cut_are_drawn_and_said() -> None:
    """Counted by hand: 5 above the cut, then 3 of the 15 that have the value at it."""
    space = UnitSpace("mlp.neurons", (10, 10, 10))
    values = np.zeros(30)
    values[25:] = [5, 4, 3, 2, 1]
    values[:10] = -1.0
    scores = UnitMap(space, values, "score")
    network = scores.top(8, seed=3)
    assert scores.tied(8) == 15
    assert network.provenance["selection"] == {
        "top": 8,
        "two_sided": False,
        "per_layer": False,
        "kind": "score",
        "tied": 15,
        "drawn": 3,
        "seed": 3,
    }
    assert network.per_layer().tolist() == [0, 2, 6]  # 10 and 5 of the tied are in layers 1 and 2: 2 and 1 of 3
    np.testing.assert_array_equal(network.members, scores.top(8, seed=3).members)
    assert any((network.members != scores.top(8, seed=seed).members).any() for seed in range(5))
    exact = scores.top(5)
    assert scores.tied(5) == 0
    assert "tied" not in exact.provenance["selection"]
    by_layer = scores.top(4, per_layer=True).provenance["selection"]
    assert (by_layer["tied"], by_layer["drawn"]) == (20, 8)  # layers 0 and 1 are of one value


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None])
def test_seeds_of_draws_are_whole_numbers(seed: object, unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"seed must be a whole number; got|seed=-1 is out of range; give 0 or more"):
        UnitMap(TOY, np.zeros(10), "t").top(2, seed=seed)  # type: ignore[arg-type]


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


def test_masked_units_have_no_value() -> None:
    given = np.ma.array(np.arange(10.0), mask=np.arange(10) == 9)
    scores = UnitMap(TOY, given, "t")
    assert math.isnan(scores.values[9])
    assert scores.top(1).indices.tolist() == [8]


@pytest.mark.usefixtures("unchecked")
def test_a_map_holds_real_numbers_of_its_own() -> None:
    values = np.arange(10.0)
    scores = UnitMap(TOY, values, "t")
    values[:] = 0
    assert scores.values.tolist() == list(range(10))
    tensor = torch.arange(10.0, requires_grad=True)
    assert UnitMap(TOY, tensor, "t").values.tolist() == UnitMap(TOY, tensor.bfloat16(), "t").values.tolist()
    for bad in (values + 1j, values.astype(str), values.astype(object), values.astype("datetime64[D]")):
        with pytest.raises(InputError, match="the values of a map has the type"):
            UnitMap(TOY, bad, "t")


def test_a_table_with_two_columns_of_values_is_refused() -> None:
    table = UnitMap(TOY, np.arange(10.0), "t").to_dataframe()
    table["again"] = -table["value"]
    with pytest.raises(InputError, match="the table: two columns have the name 'value'"):
        UnitMap.from_dataframe(table.rename(columns={"again": "value"}), TOY, kind="t")
