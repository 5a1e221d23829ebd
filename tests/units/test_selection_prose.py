"""How units were chosen, in sentences: from what provenance holds, and from nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.units import Network, UnitMap
from tl_fbn.units.selection_prose import how_chosen, sentences, source_in_words


def network(name: str, indices: list[int], **provenance: Any) -> Network:
    return Network.from_indices(TOY, indices, name=name, provenance=provenance)


def test_networks_that_were_chosen_alike_share_a_sentence() -> None:
    rule = {"method": "glm", "contrast": "a - b", "level": "block", "threshold": {"fdr": 0.05}}
    said = sentences(
        [network("a", [0, 1], **rule), network("x", [3]), network("b", [2, 4], **rule), network("c", [5], **rule)]
    )
    assert said == [
        "Networks a, b and c (1 to 2 units): units of the contrast a - b at the block level with a false discovery rate of 0.05 "
        "(Benjamini-Hochberg).",
        "Network x (1 unit): how they were chosen is not recorded.",
    ]
    assert "Networks a and b (2 units each)" in sentences([network("a", [0, 1]), network("b", [2, 3])])[0]


def test_a_selection_of_the_largest_is_told_of_the_map_it_was_made_of() -> None:
    scores = UnitMap(TOY, np.arange(10.0), "t", {"method": "welch_t", "contrast": "a - b"})
    assert how_chosen(scores.top(3).provenance) == "the 3 units with the largest t of welch t of a - b"
    assert how_chosen(scores.top(0.2, two_sided=True).provenance).startswith(
        "the 20 % of the units with the largest |t|"
    )
    assert "1 unit of every layer with" in how_chosen(scores.top(1, per_layer=True).provenance)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"fdr": 0.05, "method": "by"}, "a false discovery rate of 0.05 (Benjamini-Yekutieli)"),
        ({"fwe": 0.01, "method": "holm", "two_sided": True}, "a family-wise error of 0.01 (Holm), two-sided"),
        ({"fwe": 0.01, "two_sided": False}, "a family-wise error of 0.01, one-sided"),
        ({"top": 0.05}, "the largest t (top 0.05, no test)"),
        ({"top": 0.05, "by": "z_within_layer"}, "the largest z within layer (top 0.05, no test)"),
        ({"threshold": 3.0, "min_effect": 0.5}, "z at least 3.0, and an effect of at least 0.5"),
        ({}, "a threshold that is not recorded"),
    ],
)
def test_every_kind_of_threshold(rule: dict[str, Any], words: str) -> None:
    assert (
        how_chosen({"method": "glm", "contrast": "a - b", "threshold": rule})
        == f"units of the contrast a - b with {words}"
    )


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({"method": "glm", "contrast": ["a - b", "b - c"]}, "the contrast a - b and b - c"),
        (
            {"method": "max_t", "contrast": "a - b", "level": "block"},
            "the contrast a - b at the block level (maximum statistic)",
        ),
        ({"method": "cgvst", "variant": "row_sum", "tokens": "special"}, "CGVST (row_sum, special tokens)"),
        (
            {"method": "conjunction", "of": [{"contrast": "`a` - b"}, {"contrast": "a - rest"}]},
            "the conjunction (smallest value) of a against each of b and rest",
        ),
        (
            {"method": "conjunction", "of": [{"contrast": "a - b"}, {"contrast": "c - b"}]},
            "the conjunction (smallest value) of the contrasts a - b and c - b",
        ),
        ({"method": "integrated_gradients"}, "integrated gradients"),
        ({}, "not recorded"),
    ],
)
def test_where_a_map_came_from(provenance: dict[str, Any], words: str) -> None:
    assert source_in_words(provenance) == words
