"""Words that sentences of results have in common."""

from __future__ import annotations

import pytest

from tl_fbn.units import UnitSpace
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words


@pytest.mark.parametrize(
    ("names", "most", "words"),
    [
        ([], 12, "none"),
        (["a"], 12, "a"),
        (["a", "b"], 12, "a and b"),
        ((0, 1, 2), 12, "0, 1 and 2"),
        (["a", "b", "c"], 2, "a, b and 1 more"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c"], 1, "a and 2 more"),
    ],
)
def test_lists_in_a_sentence(names: list, most: int, words: str) -> None:
    assert listed(names, most) == words


def test_a_space_counts_the_layers_that_have_units() -> None:
    space = UnitSpace("mlp.out", (0, 1500, 0, 600), model="gpt2")
    assert space_in_words(space) == "gpt2 at mlp.out (2,100 units in 2 layers)"
    assert NOT_RECORDED in space_in_words(None)
