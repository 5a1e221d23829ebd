"""Networks: the laws of sets, signs, and files that come back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.units import QUICK, TOY, each_unit, space_of
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitMap, UnitSpace

signed = each_unit(st.sampled_from([None, -1, 0, 1]), n=3)


def networks_of(drawn: tuple) -> list[Network]:
    """Three networks of one space; None is outside, a number is the sign of a member."""
    space = space_of(drawn[0])
    inside = [np.array([sign is not None for sign in signs]) for signs in drawn[1]]
    signs = [np.array([sign or 0 for sign in signs], dtype=np.int8) for signs in drawn[1]]
    return [Network(space, *both) for both in zip(inside, signs, strict=True)]


def members(network: Network) -> set[int]:
    return set(network.indices.tolist())


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
    assert table["sign"].tolist() == a.signs[a.indices].tolist()
    assert a.positive() | a.negative() | (a - a.positive() - a.negative()) == a
    assert (a.positive().signs >= 0).all()
    assert (a.negative().signs <= 0).all()
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
    for unit, (mine, theirs) in enumerate(zip(a.signs.tolist(), b.signs.tolist(), strict=True)):
        agreed = 0 if mine * theirs == -1 else mine or theirs
        assert (a | b).signs[unit] == agreed
        assert (a & b).signs[unit] == (agreed if a.members[unit] and b.members[unit] else 0)
        assert (a - b).signs[unit] == (0 if b.members[unit] else mine)
    assert not (~a).signs.any()


def test_from_indices_takes_flat_indices_and_pairs() -> None:
    by_flat = Network.from_indices(TOY, [0, 9, 4, 4])
    by_pair = Network.from_indices(TOY, [(0, 0), (2, 5), (2, 0)])
    assert by_flat == by_pair
    assert by_flat.indices.tolist() == [0, 4, 9]
    assert by_flat == Network.from_indices(TOY, np.array([0, 4, 9]))
    assert len(Network.from_indices(TOY, [])) == 0
    for bad in (-1, 10):
        with pytest.raises(IndexError, match=f"unit {bad} is not in toy mlp.neurons"):
            Network.from_indices(TOY, [0, bad])
    with pytest.raises(IndexError, match="layer 1 has 0 units"):
        Network.from_indices(TOY, [(1, 0)])


def test_equality_is_of_space_and_members_only() -> None:
    a = Network.from_indices(TOY, [1, 2], name="a")
    assert a == Network.from_indices(TOY, [1, 2], name="b", provenance={"seed": 1})
    assert a != Network.from_indices(UnitSpace("mlp.out", (4, 0, 6)), [1, 2])
    assert a != Network.from_indices(TOY, [1])
    assert a != "a"
    assert len({a, a.rename("b")}) == 1


def test_an_empty_network_is_still_a_network() -> None:
    assert bool(Network.from_indices(TOY, []))
    assert Network.from_indices(TOY, []).to_dataframe().empty


def test_the_mask_may_be_used_again() -> None:
    mask = np.zeros(10, dtype=bool)
    mask[3] = True
    network = Network(TOY, mask)
    mask[:] = True
    assert network.indices.tolist() == [3]


@pytest.mark.parametrize(
    "combine", [lambda a, b: a | b, lambda a, b: a & b, lambda a, b: a - b], ids=["union", "intersection", "difference"]
)
def test_networks_of_two_spaces_do_not_combine(combine: Callable[[Network, Network], Network]) -> None:
    a = Network.from_indices(TOY, [1])
    wider = Network.from_indices(UnitSpace("mlp.neurons", (24, 24), model="gpt2"), [1])
    with pytest.raises(
        ValueError, match=r"cannot combine units of toy mlp\.neurons \(3 layers.*gpt2 mlp\.neurons \(2 x 24\)"
    ):
        combine(a, wider)
    with pytest.raises(ValueError, match=r"toy mlp\.neurons .* and toy mlp\.out"):
        combine(a, Network.from_indices(UnitSpace("mlp.out", (4, 0, 6), model="toy"), [1]))


def test_members_signs_and_layers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"are 10 booleans; got bool of shape \(9,\)\. Network\.from_indices takes"):
        Network(TOY, np.zeros(9, dtype=bool))
    with pytest.raises(ValueError, match=r"signs are -1, 0 or 1; got \[-128, 5\]\. np\.sign makes them"):
        Network(TOY, np.ones(10, dtype=bool), np.array([5, -128] * 5, dtype=np.int8))
    with pytest.raises(IndexError, match=r"layer 3 is not in toy mlp\.neurons"):
        Network.from_indices(TOY, [1]).restrict(layers=[0, 3])


def test_signs_outside_the_set_are_dropped() -> None:
    network = Network(TOY, np.arange(10) < 2, np.full(10, -1, dtype=np.int8))
    assert network.signs.tolist() == [-1, -1, *[0] * 8]


def test_provenance_of_combinations() -> None:
    a = Network.from_indices(TOY, [1], name="a", provenance={"prompts": ["p", "q"], "seed": 1})
    b = Network.from_indices(TOY, [2], name="b", provenance={"prompts": ["q", "r"]})
    unknown = Network.from_indices(TOY, [2], name="u")
    both = a | b
    assert both.name == "a | b"
    assert both.provenance["prompts"] == ["p", "q", "r"]  # a difference or intersection has seen them all too
    assert (a - b).provenance["prompts"] == (a & b).provenance["prompts"] == ["p", "q", "r"]
    assert both.provenance["parts"][0] == {"prompts": ["p", "q"], "seed": 1}
    assert "prompts" not in (a | unknown).provenance  # unknown stays unknown, and does not pass for "none"
    assert (~a).provenance == a.provenance
    assert a.restrict(layers=[0]).provenance == a.provenance


def test_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = UnitMap(TOY, np.array([3.0, -4, 0, 0, 0, 0, 0, 0, 0, 1]), "t", {"seed": 1}).top(3, two_sided=True)
    network = network.rename('sørt\n"+"')
    network.save(tmp_path / "deep" / "a.net")
    loaded = Network.load(tmp_path / "deep" / "a.net")
    assert loaded == network
    assert loaded.signs.tolist() == [1, -1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert loaded.signs.dtype == np.int8
    assert (loaded.name, dict(loaded.provenance)) == (network.name, dict(network.provenance))


def test_network_in_words() -> None:
    network = Network.from_indices(TOY, [0, 1, 9], name="<b>sort</b>")
    assert repr(network) == (
        'Network "<b>sort</b>": 3 of 10 units (30.00%) of toy mlp.neurons (3 layers of 4, 0, 6), per layer 2 0 1'
    )
    page = network._repr_html_()
    assert "<b>" not in page
    assert "<td>0</td><td>2</td><td>4</td><td>50.0%</td>" in page
    assert "<tr><td>1</td>" not in page  # the layer without units has no line


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["list", "array", "tensor", "numbers", "numbers in an array"])
def test_a_mask_is_not_taken_for_the_indices_0_and_1(kind: str) -> None:
    mask = np.arange(10) > 6
    given = {
        "list": mask.tolist(),
        "array": mask,
        "tensor": torch.tensor(mask),
        "numbers": mask.astype(int).tolist(),
        "numbers in an array": mask.astype(int),
    }[kind]
    with pytest.raises(InputError, match=r"Network\(space, mask\)"):
        Network.from_indices(TOY, given)
    assert Network(TOY, mask).indices.tolist() == [7, 8, 9]
    assert Network(TOY, torch.tensor(mask)).indices.tolist() == [7, 8, 9]
    assert Network.from_indices(TOY, [1, 0]).indices.tolist() == [0, 1]  # two units, and no mask


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [3.0, np.float64(3), "3", None, [0, 3], np.array([0, 3]), (0, 1, 2), (0,), True])
def test_an_index_is_an_integer_or_a_pair(bad: Any) -> None:
    with pytest.raises(InputError, match=r"entry 1 of the indices is .*neither the flat index of a unit nor a tuple"):
        Network.from_indices(TOY, [5, bad])
    for pair in ((0, 1.5), (0, True), (0.5, 1), (True, 1), ("0", 1)):
        with pytest.raises(InputError, match=r"(is none of them|is not in toy mlp\.neurons)"):
            Network.from_indices(TOY, [5, pair])
    assert Network.from_indices(TOY, (i for i in (5, np.int8(2)))).indices.tolist() == [2, 5]
    assert Network.from_indices(TOY, torch.tensor([5, 2])).indices.tolist() == [2, 5]


@pytest.mark.usefixtures("unchecked")
def test_members_with_a_mask_and_signs_between_the_signs_are_refused() -> None:
    inside = np.ones(10, dtype=bool)
    with pytest.raises(InputError, match="members has 1 masked values"):
        Network(TOY, np.ma.array(inside, mask=np.arange(10) == 3))
    for signs in (np.full(10, 0.5), np.full(10, 255), np.full(10, 257.0), np.full(10, np.nan), ["1"] * 10):
        with pytest.raises(InputError, match=r"signs (are -1, 0 or 1; got|has the type)"):
            Network(TOY, inside, signs)
    assert Network(TOY, inside, np.full(10, -1.0)).signs.tolist() == [-1] * 10  # as np.sign makes them


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("layers", [[True, False, True], [0.0], ["0"], np.array([True, False, True])])
def test_layers_are_restricted_to_by_number(layers: Any) -> None:
    with pytest.raises(
        InputError,
        match=r"layers holds .*, no number of a layer; give integers from 0|layers\[0\] must be a whole number",
    ):
        Network(TOY, np.ones(10, dtype=bool)).restrict(layers=layers)
