"""The coordinate system: flat indices and places are one another's inverse, and what is outside is named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from tests.helpers.units import QUICK, TOY, space_of, widths
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace, shape_words


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
    assert other == TOY
    assert hash(TOY) == hash(other)
    TOY.require_same(other)
    assert UnitSpace("mlp.out", (4, 0, 6)) != TOY
    assert UnitSpace("mlp.neurons", (4, 6)) != TOY  # an empty layer keeps its place


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
            TOY.locate(flat)
    for layer in (-1, 3):
        with pytest.raises(IndexError, match=rf"layer {layer} is not in .*layers: 0 to 2"):
            TOY.layer_slice(layer)
    with pytest.raises(IndexError, match=r"layer 1 has 0 units at mlp\.neurons; 0 is none of them"):
        TOY.index(1, 0)
    with pytest.raises(IndexError, match=r"layer 0 has 4 units at mlp\.neurons; 4 is none of them"):
        TOY.index(0, 4)


def test_two_spaces_that_differ_are_both_named() -> None:
    other = UnitSpace("mlp.out", (16, 16), model="gpt2")
    with pytest.raises(
        ValueError, match=r"cannot read units of toy mlp\.neurons \(3 layers of 4, 0, 6\) and gpt2 mlp\.out \(2 x 16\)"
    ):
        TOY.require_same(other, "read")


def test_shape_words() -> None:
    assert shape_words((3072,) * 12) == "12 x 3072"
    assert shape_words((4, 0, 6)) == "3 layers of 4, 0, 6"
    assert shape_words(tuple(range(8))) == "8 layers of 0, 1, 2, 3, 4, 5, ..."


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [1.0, 0.5, True, "1", None, np.True_, [1]])
def test_places_are_whole_numbers(bad: Any) -> None:
    """A unit 3.7 was unit 3."""
    with pytest.raises(InputError, match="is none of them"):
        TOY.index(0, bad)
    for look in (TOY.locate, TOY.layer_slice, lambda layer: TOY.index(layer, 0)):
        with pytest.raises(InputError, match=r"is not in toy mlp\.neurons"):
            look(bad)
    with pytest.raises(InputError, match=r"widths\[1\] must be a whole number"):
        UnitSpace("mlp.neurons", (4, bad))
