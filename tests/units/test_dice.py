"""What sets of units share, and what layer-matched random sets are expected to share: by hand, and by drawing them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.units import QUICK, TOY, each_unit, space_of
from tl_fbn.units import Network
from tl_fbn.units.dice import dice_of_all, dice_table


@QUICK
@given(drawn=each_unit(st.booleans(), n=3))
def test_shares_are_those_of_sets(drawn: tuple) -> None:
    space = space_of(drawn[0])
    networks = {name: Network(space, np.array(inside)) for name, inside in zip("abc", drawn[1], strict=True)}
    sets = [set(one.indices.tolist()) for one in networks.values()]
    shared, dice, _ = dice_of_all(networks)
    for i, first in enumerate(sets):
        for j, second in enumerate(sets):
            assert shared[i, j] == len(first & second)
            if first or second:
                assert dice[i, j] == pytest.approx(2 * len(first & second) / (len(first) + len(second)))
            else:
                assert np.isnan(dice[i, j])
    table = dice_table(networks)
    assert list(zip(table["a"], table["b"], strict=True)) == list(combinations("abc", 2))
    np.testing.assert_array_equal(table["shared"], shared[np.triu_indices(3, 1)])


def test_chance_by_hand_and_by_drawing_as_many_units_in_each_layer() -> None:
    a, b = Network.from_indices(TOY, [0, 1, 4, 5]), Network.from_indices(TOY, [1, 4, 6, 7, 8, 9])
    _, _, chance = dice_of_all({"a": a, "b": b})
    assert chance[0, 1] == pytest.approx(2 * (2 * 1 / 4 + 2 * 5 / 6) / 10)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        second = np.concatenate([rng.permutation(part) for part in b.by_layer()])
        drawn.append(2 * (a.members & second).sum() / 10)
    assert chance[0, 1] == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(4000))
