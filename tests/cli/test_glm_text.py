"""What ``tl-fbn glm`` says of chance, levels and layers."""

from __future__ import annotations

import pandas as pd

import tl_fbn as fbn
from tl_fbn.cli import glm_text, unit_lists

SPACE = fbn.UnitSpace("mlp.neurons", (20, 30))


def result_of(name: str = "a - b", *members: int) -> dict:
    network = fbn.Network.from_indices(SPACE, members)
    return {
        "expression": "a - b",
        "title": "a - b",
        "name": name,
        "survivors": len(network),
        "positive": len(network),
        "negative": 0,
        "tested": 50,
        "threshold": {"fdr": 0.1},
        "chance": glm_text.chance_sentence({"fdr": 0.1}, "t", network, 50, {}),
        "skipped_runs": {},
        "per_layer": network.per_layer(),
        "widths": [20, 30],
        "unit_list": pd.DataFrame({"layer": [0] * len(members), "unit": members, "t": [2.0] * len(members)}),
    }


def test_chance_is_said_of_every_rule():
    network = fbn.Network.from_indices(SPACE, range(10))
    assert "about 1; without a correction chance alone would pass about 2" in result_of("x", *range(10))["chance"]
    assert glm_text.chance_sentence({"top": 10}, "effect", network, 50, {}).startswith("Chosen by the largest effect")
    assert "at most 0.01" in glm_text.chance_sentence({"fwe": 0.01}, "t", network, 50, {})
    found = {"largest_t_by_chance": 4.5, "n_permutations": 999}
    said = glm_text.chance_sentence({"fwe": 0.05}, "t", network, 50, found)
    assert "In 0.95 of 999 relabellings the largest |t| over all units stays below 4.50" in said


def test_levels_are_told_apart():
    assert glm_text.level_sentence("block", "prompts", None).startswith("One estimate a prompt, tested over prompts")
    assert glm_text.level_sentence("token", "blocks", None) == "Tested over rows: it speaks about these prompts only."
    assert glm_text.level_sentence("block", "blocks", 99).startswith("Labels of blocks exchanged within runs")


def test_a_contrast_in_words_and_its_layers():
    two = [result_of("a - b", 3, 4), result_of("mine")]
    assert glm_text.contrast_text(two[0]).startswith("a - b: 2 of 50 units pass (2 up, 0 down). Of those that pass")
    assert glm_text.contrast_text(two[1]).startswith('a - b, network "mine": 0 of 50 units pass. ')
    assert glm_text.layer_table(two).splitlines() == [
        "layer  units  a - b  mine",
        "    0     20      2     0",
        "    1     30      0     0",
    ]
    assert [text.splitlines()[0] for text in glm_text.unit_tables(two, words=False)] == [
        "All 2 units of a - b, largest t first:",
        unit_lists.HINT,
    ]
    assert glm_text.unit_tables(two[1:], words=True) == []
