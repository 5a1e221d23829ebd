"""The coordinate system: exact selection, the laws of sets, and files that come back as they were."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from tl_fbn import files
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace, html_table, shape_words, top_mask
from tl_fbn.units.unit_map import _count

SPACE = UnitSpace("mlp.neurons", (4, 0, 6), model="toy")
QUICK = settings(max_examples=60, deadline=None)

# what strategies draw is plain; nouns are made of it in the tests, because the type checker may not run while drawing
widths = st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any)
# few distinct values, so that ties are the rule
tied = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan])


def each_unit(values: st.SearchStrategy, n: int = 1) -> st.SearchStrategy:
    """Widths, and n lists of one value a unit."""

    def lists(some: list[int]) -> st.SearchStrategy:
        one = st.lists(values, min_size=sum(some), max_size=sum(some))
        return st.tuples(st.just(some), st.tuples(*[one] * n))

    return widths.flatmap(lists)


valued = each_unit(tied)
signed = each_unit(st.sampled_from([None, -1, 0, 1]), n=3)


def space_of(some: list[int]) -> UnitSpace:
    return UnitSpace("mlp.neurons", tuple(some), model="toy")


def map_of(drawn: tuple) -> UnitMap:
    return UnitMap(space_of(drawn[0]), np.array(drawn[1][0]), "t")


def networks_of(drawn: tuple) -> list[Network]:
    """Three networks of one space; None is outside, a number is the sign of a member."""
    space = space_of(drawn[0])
    inside = [np.array([sign is not None for sign in signs]) for signs in drawn[1]]
    signs = [np.array([sign or 0 for sign in signs], dtype=np.int8) for signs in drawn[1]]
    return [Network(space, *both) for both in zip(inside, signs, strict=True)]


def members(network: Network) -> set[int]:
    return set(network.indices.tolist())


def largest(values: np.ndarray, n: int) -> list[int]:
    """The n largest by the definition: by value, ties by index, NaN never."""
    numbered = [(-value, index) for index, value in enumerate(values.tolist()) if not math.isnan(value)]
    return sorted(index for _, index in sorted(numbered)[:n])


# UnitSpace


@QUICK
@given(some=widths)
def test_index_undoes_locate(some: list[int]) -> None:
    space = space_of(some)
    places = [space.locate(flat) for flat in range(space.n_units)]
    assert places == [(layer, unit) for layer, width in enumerate(space.widths) for unit in range(width)]
    assert [space.index(*place) for place in places] == list(range(space.n_units))
    assert [layer for layer, _ in places] == space.layer_of.tolist()
    numbers = np.arange(space.n_units)
    joined = [numbers[space.layer_slice(layer)] for layer in range(space.n_layers)]
    assert [len(part) for part in joined] == list(space.widths)
    np.testing.assert_array_equal(np.concatenate(joined), numbers)
    assert space.offsets == (0, *np.cumsum(space.widths).tolist())


def test_spaces_are_equal_when_site_and_widths_are() -> None:
    other = UnitSpace("mlp.neurons", (4, 0, 6), model="tuned", weights="ab12")
    assert other == SPACE
    assert hash(SPACE) == hash(other)
    SPACE.require_same(other)
    assert UnitSpace("mlp.out", (4, 0, 6)) != SPACE
    assert UnitSpace("mlp.neurons", (4, 6)) != SPACE  # an empty layer keeps its place


def test_space_comes_back_from_its_description() -> None:
    space = UnitSpace("mlp.out", (3, 0), model="toy", weights="ab12")
    again = UnitSpace.from_about(json.loads(json.dumps(space.about())))
    assert (again.site, again.widths, again.model, again.weights) == ("mlp.out", (3, 0), "toy", "ab12")


@pytest.mark.parametrize("bad", [(), (0, 0), (3, -1)])
def test_widths_without_units(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"describe no units; give the number of units of every layer"):
        UnitSpace("mlp.neurons", bad)


def test_places_outside_say_what_there_is() -> None:
    for flat in (-1, 10):
        with pytest.raises(IndexError, match=rf"unit {flat} is not in toy mlp\.neurons .*flat indices: 0 to 9"):
            SPACE.locate(flat)
    for layer in (-1, 3):
        with pytest.raises(IndexError, match=rf"layer {layer} is not in .*layers: 0 to 2"):
            SPACE.layer_slice(layer)
    with pytest.raises(IndexError, match=r"layer 1 has 0 units at mlp\.neurons; 0 is none of them"):
        SPACE.index(1, 0)
    with pytest.raises(IndexError, match=r"layer 0 has 4 units at mlp\.neurons; 4 is none of them"):
        SPACE.index(0, 4)


def test_two_spaces_that_differ_are_both_named() -> None:
    other = UnitSpace("mlp.out", (16, 16), model="gpt2")
    with pytest.raises(
        ValueError, match=r"cannot read units of toy mlp\.neurons \(3 layers of 4, 0, 6\) and gpt2 mlp\.out \(2 x 16\)"
    ):
        SPACE.require_same(other, "read")


def test_shape_words() -> None:
    assert shape_words((3072,) * 12) == "12 x 3072"
    assert shape_words((4, 0, 6)) == "3 layers of 4, 0, 6"
    assert shape_words(tuple(range(8))) == "8 layers of 0, 1, 2, 3, 4, 5, ..."


# UnitMap


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
    np.testing.assert_array_equal(network.signed[network.indices], signs)
    assert not network.signed[~network.members].any()


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
    scores = UnitMap(SPACE, np.array([3.0, -9.0, 3.0, 0.0, 1.0, 2.0, 3.0, np.nan, -1.0, 5.0]), "t")
    assert scores.top(3).indices.tolist() == [0, 2, 9]  # 3.0 three times: the lower indices win
    assert scores.top(2, two_sided=True).indices.tolist() == [1, 9]
    assert scores.top(2, two_sided=True).signed.tolist() == [0, -1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert scores.top(0.5).indices.tolist() == [0, 2, 5, 6, 9]
    assert scores.top(2, per_layer=True).indices.tolist() == [0, 2, 6, 9]
    assert scores.top(0.5, per_layer=True).per_layer().tolist() == [2, 0, 3]
    assert len(scores.top(0)) == 0


def test_fractions_round_down_as_in_the_papers() -> None:
    assert _count(0.05, 352256, "llama") == 17612  # S1's own number
    assert [_count(share, 100, "x") for share in (0.29, 0.57, 0.07, 0.009, 0.999)] == [29, 57, 7, 0, 99]


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (11, r"top\(11\) asks for 11 units, but toy mlp\.neurons .* has 10; ask for 0 to 10"),
        (-1, r"top\(-1\) asks for -1 units"),
        (10, r"only 9 of toy mlp\.neurons .* have a value \(the others are NaN\)"),
        (1.0, r"top\(1\.0\) is no fraction between 0 and 1; give 0\.05 for 5 %"),
        (0.0, r"no fraction between 0 and 1"),
        (math.nan, r"no fraction between 0 and 1"),
        (True, r"top\(True\) names no number of units"),
    ],
)
def test_top_of_impossible_amounts(amount: float, message: str) -> None:
    scores = UnitMap(SPACE, np.array([*range(9), np.nan], dtype=float), "t")
    with pytest.raises(ValueError, match=message):
        scores.top(amount)


def test_selection_is_remembered(tmp_path: Path) -> None:
    scores = UnitMap(SPACE, np.arange(10.0), "t", {"recording": "k1", "prompts": ["p"]})
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
    scores = UnitMap(SPACE, np.arange(10.0), "t")
    parts = scores.by_layer()
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [], [4, 5, 6, 7, 8, 9]]
    assert np.shares_memory(parts[2], scores.values)
    table = scores.to_dataframe()
    assert list(table) == ["layer", "unit", "value"]
    assert table[table["layer"] == 2]["unit"].tolist() == [0, 1, 2, 3, 4, 5]
    assert [SPACE.index(row.layer, row.unit) for row in table.itertuples()] == table["value"].tolist()


def test_map_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match=r"needs 10 values in one row; got shape \(9,\)"):
        UnitMap(SPACE, np.zeros(9), "t")


def test_map_in_words() -> None:
    values = np.array([0, 1, 2, np.nan, -np.inf, 5, 6, 7, 8, -9.5])
    scores = UnitMap(SPACE, values, "<t>")
    assert repr(scores) == "UnitMap of <t>: toy mlp.neurons (3 layers of 4, 0, 6), -9.5 to 8"
    page = scores._repr_html_()
    assert "&lt;t&gt;" in page
    assert "<t>" not in page
    assert "<td>0</td><td>0</td><td>1</td><td>2</td>" in page
    assert "no finite value" in repr(UnitMap(SPACE, np.full(10, np.nan), "t"))


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


# Network


@QUICK
@given(drawn=signed)
def test_networks_obey_the_laws_of_sets(drawn: tuple) -> None:
    a, b, c = networks_of(drawn)
    everything = set(range(a.space.n_units))
    assert members(a | b) == members(a) | members(b)
    assert members(a & b) == members(a) & members(b)
    assert members(a - b) == members(a) - members(b)
    assert members(~a) == everything - members(a)
    assert ~(a | b) == ~a & ~b
    assert ~(a & b) == ~a | ~b
    assert ~~a == a
    assert a - b == a & ~b
    assert a & (b | c) == (a & b) | (a & c)
    assert (a | b) | c == a | (b | c)
    assert a | b == b | a
    assert a & b == b & a
    assert a | a == a == a & a
    assert len(a | b) == len(a) + len(b) - len(a & b)
    assert hash(a | b) == hash(b | a)


@QUICK
@given(drawn=signed)
def test_counts_agree_with_members(drawn: tuple) -> None:
    a = networks_of(drawn)[0]
    assert a.per_layer().tolist() == [int(part.sum()) for part in a.by_layer()]
    assert len(a.per_layer()) == a.space.n_layers
    assert a.per_layer().sum() == len(a) == len(a.indices)
    assert a.share == len(a) / a.space.n_units
    table = a.to_dataframe()
    assert [a.space.index(row.layer, row.unit) for row in table.itertuples()] == a.indices.tolist()
    assert table["sign"].tolist() == a.signed[a.indices].tolist()
    assert a.positive() | a.negative() | (a - a.positive() - a.negative()) == a
    assert (a.positive().signed >= 0).all()
    assert (a.negative().signed <= 0).all()
    layers = range(a.space.n_layers)
    assert a.restrict(layers=layers) == a
    assert len(a.restrict(layers=[])) == 0
    halves = a.restrict(layers=layers[::2]), a.restrict(layers=layers[1::2])
    assert halves[0] | halves[1] == a
    assert len(halves[0] & halves[1]) == 0


@QUICK
@given(drawn=signed)
def test_signs_survive_unless_two_maps_disagree(drawn: tuple) -> None:
    a, b, _ = networks_of(drawn)
    for unit, (mine, theirs) in enumerate(zip(a.signed.tolist(), b.signed.tolist(), strict=True)):
        agreed = 0 if mine * theirs == -1 else mine or theirs
        assert (a | b).signed[unit] == agreed
        assert (a & b).signed[unit] == (agreed if a.members[unit] and b.members[unit] else 0)
        assert (a - b).signed[unit] == (0 if b.members[unit] else mine)
    assert not (~a).signed.any()


def test_from_indices_takes_flat_indices_and_pairs() -> None:
    by_flat = Network.from_indices(SPACE, [0, 9, 4, 4])
    by_pair = Network.from_indices(SPACE, [(0, 0), (2, 5), (2, 0)])
    assert by_flat == by_pair
    assert by_flat.indices.tolist() == [0, 4, 9]
    assert by_flat == Network.from_indices(SPACE, np.array([0, 4, 9]))
    assert len(Network.from_indices(SPACE, [])) == 0
    for bad in (-1, 10):
        with pytest.raises(IndexError, match=f"unit {bad} is not in toy mlp.neurons"):
            Network.from_indices(SPACE, [0, bad])
    with pytest.raises(IndexError, match="layer 1 has 0 units"):
        Network.from_indices(SPACE, [(1, 0)])


def test_equality_is_of_space_and_members_only() -> None:
    a = Network.from_indices(SPACE, [1, 2], name="a")
    assert a == Network.from_indices(SPACE, [1, 2], name="b", provenance={"seed": 1})
    assert a != Network.from_indices(UnitSpace("mlp.out", (4, 0, 6)), [1, 2])
    assert a != Network.from_indices(SPACE, [1])
    assert a != "a"
    assert len({a, a.rename("b")}) == 1


def test_an_empty_network_is_still_a_network() -> None:
    assert bool(Network.from_indices(SPACE, []))
    assert Network.from_indices(SPACE, []).to_dataframe().empty


def test_the_mask_may_be_used_again() -> None:
    mask = np.zeros(10, dtype=bool)
    mask[3] = True
    network = Network(SPACE, mask)
    mask[:] = True
    assert network.indices.tolist() == [3]


@pytest.mark.parametrize(
    "combine", [lambda a, b: a | b, lambda a, b: a & b, lambda a, b: a - b], ids=["union", "intersection", "difference"]
)
def test_networks_of_two_spaces_do_not_combine(combine: Callable[[Network, Network], Network]) -> None:
    a = Network.from_indices(SPACE, [1])
    wider = Network.from_indices(UnitSpace("mlp.neurons", (24, 24), model="gpt2"), [1])
    with pytest.raises(
        ValueError, match=r"cannot combine units of toy mlp\.neurons \(3 layers.*gpt2 mlp\.neurons \(2 x 24\)"
    ):
        combine(a, wider)
    with pytest.raises(ValueError, match=r"toy mlp\.neurons .* and toy mlp\.out"):
        combine(a, Network.from_indices(UnitSpace("mlp.out", (4, 0, 6), model="toy"), [1]))


def test_members_signs_and_layers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"are 10 booleans; got bool of shape \(9,\)\. Network\.from_indices takes"):
        Network(SPACE, np.zeros(9, dtype=bool))
    with pytest.raises(ValueError, match=r"signs are -1, 0 or 1; got \[-128, 5\]\. np\.sign makes them"):
        Network(SPACE, np.ones(10, dtype=bool), np.array([5, -128] * 5, dtype=np.int8))
    with pytest.raises(IndexError, match=r"layer 3 is not in toy mlp\.neurons"):
        Network.from_indices(SPACE, [1]).restrict(layers=[0, 3])


def test_signs_outside_the_set_are_dropped() -> None:
    network = Network(SPACE, np.arange(10) < 2, np.full(10, -1, dtype=np.int8))
    assert network.signed.tolist() == [-1, -1, *[0] * 8]


def test_provenance_of_combinations() -> None:
    a = Network.from_indices(SPACE, [1], name="a", provenance={"prompts": ["p", "q"], "seed": 1})
    b = Network.from_indices(SPACE, [2], name="b", provenance={"prompts": ["q", "r"]})
    unknown = Network.from_indices(SPACE, [2], name="u")
    both = a | b
    assert both.name == "a | b"
    assert both.provenance["prompts"] == ["p", "q", "r"]  # a difference or intersection has seen them all too
    assert (a - b).provenance["prompts"] == (a & b).provenance["prompts"] == ["p", "q", "r"]
    assert both.provenance["parts"][0] == {"prompts": ["p", "q"], "seed": 1}
    assert "prompts" not in (a | unknown).provenance  # unknown stays unknown, and does not pass for "none"
    assert (~a).provenance == a.provenance
    assert a.restrict(layers=[0]).provenance == a.provenance


def test_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = UnitMap(SPACE, np.array([3.0, -4, 0, 0, 0, 0, 0, 0, 0, 1]), "t", {"seed": 1}).top(3, two_sided=True)
    network = network.rename('sørt\n"+"')
    network.save(tmp_path / "deep" / "a.net")
    loaded = Network.load(tmp_path / "deep" / "a.net")
    assert loaded == network
    assert loaded.signed.tolist() == [1, -1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert loaded.signed.dtype == np.int8
    assert (loaded.name, dict(loaded.provenance)) == (network.name, dict(network.provenance))


def test_network_in_words() -> None:
    network = Network.from_indices(SPACE, [0, 1, 9], name="<b>sort</b>")
    assert repr(network) == (
        'Network "<b>sort</b>": 3 of 10 units (30.00%) of toy mlp.neurons (3 layers of 4, 0, 6), per layer 2 0 1'
    )
    page = network._repr_html_()
    assert "<b>" not in page
    assert "<td>0</td><td>2</td><td>4</td><td>50.0%</td>" in page
    assert "<tr><td>1</td>" not in page  # the layer without units has no line


# Atlas


@pytest.fixture
def atlas() -> Atlas:
    parts = {
        "z": Network.from_indices(SPACE, [0, 9], provenance={"k": 1}),
        "a": Network.from_indices(SPACE, [], name="other"),
        "m": UnitMap(SPACE, np.linspace(-1, 1, 10), "loading").top(4, two_sided=True),
    }
    return Atlas(SPACE, parts, np.arange(30.0).reshape(3, 10), np.array([0.5, 1.0, 0.25]), {"seed": 7})


def test_atlas_is_an_ordered_mapping(atlas: Atlas) -> None:
    assert list(atlas) == ["z", "a", "m"]
    assert len(atlas) == 3
    assert "z" in atlas
    assert "x" not in atlas
    assert atlas.get("x") is None
    assert [network.name for network in atlas.values()] == ["z", "a", "m"]  # networks go by their name in the atlas
    with pytest.raises(KeyError, match="no network 'x' in this atlas; networks: z, a, m"):
        atlas["x"]


def test_atlas_renames_without_losing_order(atlas: Atlas) -> None:
    swapped = atlas.rename({"z": "m", "m": "z"})
    assert list(swapped) == ["m", "a", "z"]
    assert swapped["m"] == atlas["z"]
    assert swapped["m"].name == "m"
    np.testing.assert_array_equal(swapped.maps, atlas.maps)
    with pytest.raises(ValueError, match="would give two networks one name; names: z, a, m"):
        atlas.rename({"z": "a"})
    with pytest.raises(KeyError, match="no network 'q' in this atlas"):
        atlas.rename({"q": "a"})


def test_atlas_table(atlas: Atlas) -> None:
    table = atlas.to_dataframe()
    assert table["network"].tolist() == ["z", "a", "m"]
    assert table["units"].tolist() == [2, 0, 4]
    assert table["share"].tolist() == [0.2, 0.0, 0.4]
    assert table["stability"].tolist() == [0.5, 1.0, 0.25]
    assert table[["layer 0", "layer 1", "layer 2"]].to_numpy().tolist() == [[1, 0, 1], [0, 0, 0], [2, 0, 2]]
    assert "stability" not in Atlas.from_networks(atlas).to_dataframe()


@pytest.mark.parametrize("bare", [True, False])
def test_atlas_comes_back_from_its_file(tmp_path: Path, atlas: Atlas, bare: bool) -> None:
    saved = Atlas.from_networks(atlas) if bare else atlas
    saved.save(tmp_path / "a.atlas")
    loaded = Atlas.load(tmp_path / "a.atlas")
    assert list(loaded) == list(saved)
    assert loaded == saved
    for name, network in saved.items():
        np.testing.assert_array_equal(loaded[name].signed, network.signed)
        assert loaded[name].provenance == dict(network.provenance)
    if bare:
        assert loaded.maps is loaded.stability is None
    else:
        np.testing.assert_array_equal(loaded.maps, atlas.maps)
        np.testing.assert_array_equal(loaded.stability, [0.5, 1.0, 0.25])
        assert loaded.provenance == {"seed": 7}


def test_atlas_of_what_does_not_fit(atlas: Atlas) -> None:
    other = Network.from_indices(UnitSpace("mlp.out", (4, 0, 6)), [1])
    with pytest.raises(
        ValueError, match=r"cannot put network 'x' into an atlas: units of toy mlp\.neurons .* mlp\.out"
    ):
        Atlas(SPACE, {"x": other})
    with pytest.raises(ValueError, match=r"maps of this atlas need shape \(3, 10\); got \(2, 10\)"):
        Atlas(SPACE, dict(atlas), np.zeros((2, 10)))
    with pytest.raises(ValueError, match=r"stability of this atlas need shape \(3,\); got \(2,\)"):
        Atlas(SPACE, dict(atlas), None, np.zeros(2))
    with pytest.raises(ValueError, match="an atlas needs at least one network; got none"):
        Atlas.from_networks({})
    with pytest.raises(ValueError, match="an atlas needs at least one network; got none"):
        Atlas(SPACE, {})


def test_atlas_in_words(atlas: Atlas) -> None:
    assert repr(atlas) == "Atlas of 3 networks in toy mlp.neurons (3 layers of 4, 0, 6): z (2), a (0), m (4)"
    assert "<td>z</td><td>2</td><td>0.2</td><td>0.5</td>" in atlas._repr_html_()


# Files of all three


def saved_nouns(folder: Path, atlas: Atlas) -> dict[str, Path]:
    UnitMap(SPACE, np.arange(10.0), "t").save(folder / "map")
    atlas["z"].save(folder / "network")
    atlas.save(folder / "atlas")
    return {"UnitMap": folder / "map", "Network": folder / "network", "Atlas": folder / "atlas"}


NOUNS = {"UnitMap": UnitMap, "Network": Network, "Atlas": Atlas}


@pytest.mark.parametrize("noun", NOUNS)
def test_files_refuse_other_nouns_newer_formats_and_damage(tmp_path: Path, atlas: Atlas, noun: str) -> None:
    paths = saved_nouns(tmp_path, atlas)
    path = paths.pop(noun)
    for other, elsewhere in paths.items():
        with pytest.raises(ValueError, match=f"holds a {other}, not a {noun}; load it with {other}.load"):
            NOUNS[noun].load(elsewhere)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        header = json.loads(file.metadata()["tl_fbn"])
    assert header["format"] == files.FORMAT_VERSION
    save_file(arrays, tmp_path / "newer", metadata={"tl_fbn": json.dumps({**header, "format": 99})})
    with pytest.raises(ValueError, match="has format version 99, this tl_fbn reads up to 1; update tl_fbn"):
        NOUNS[noun].load(tmp_path / "newer")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="is damaged or no result file"):
        NOUNS[noun].load(path)
    with pytest.raises(FileNotFoundError, match="no file at"):
        NOUNS[noun].load(tmp_path / "nowhere")


def test_html_tables_escape_everything() -> None:
    page = html_table("<c>", ("<h>",), [("<d> & '",)])
    assert page == (
        "<table><caption>&lt;c&gt;</caption><tr><th>&lt;h&gt;</th></tr><tr><td>&lt;d&gt; &amp; &#x27;</td></tr></table>"
    )


@pytest.mark.usefixtures("unchecked")
def test_lists_and_numpy_integers_serve_where_nobody_checks_types(tmp_path: Path) -> None:
    space = UnitSpace("mlp.neurons", np.array([2, 1]))
    assert json.dumps(space.about()["widths"]) == "[2, 1]"
    scores = UnitMap(space, [1, 3, 2], "t")
    assert scores.values.dtype == np.float64
    picked = scores.top(np.int64(2))
    assert picked.indices.tolist() == [1, 2]
    picked.save(tmp_path / "a.net")
    assert Network.load(tmp_path / "a.net").provenance["selection"]["top"] == 2
    assert Network(space, [True, False, True], [1, 0, -1]).signed.tolist() == [1, 0, -1]


@pytest.mark.usefixtures("unchecked")
def test_wrong_kinds_are_refused_in_words() -> None:
    space = UnitSpace("mlp.neurons", (2, 1))
    with pytest.raises(ValueError, match=r"signs have shape \(1,\), members \(3,\); give one sign a unit"):
        Network(space, [True] * 3, [1])
    for numbers in ([1, 0, 1], np.array([0, 2])):
        with pytest.raises(
            ValueError, match=r"are 3 booleans; got int64 of shape .*Network\.from_indices takes indices"
        ):
            Network(space, numbers)
    with pytest.raises(TypeError, match="float"):
        Network.from_indices(space, [2.0])
    with pytest.raises(
        TypeError, match=r"a network combines with a network; got UnitMap\. Select units with \.top first"
    ):
        _ = Network(space, [True] * 3) | UnitMap(space, np.zeros(3), "t")
