"""Gradient scores in words: formula and source, tokens and items, and notes where something was done otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.gradients import GROUPS, IDS
from tests.helpers.models import tiny_model
from tests.oracle.architectures import architecture
from tl_fbn.units.score_prose import describe

SCORED = {"scored_positions": 1200, "n_items": 20, "tokens": "special"}


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (
            {"method": "cgvst", "variant": "row_sum", "aggregate": "sum_abs", **SCORED},
            "CGVST, the sum of the weight gradient's row, as released by Song et al. (2024), aggregated by sum_abs. "
            "Scored are 1,200 tokens of the chat template of 20 items.",
        ),
        (
            {"method": "cgvst", "variant": "row_l1", "aggregate": "t", "variant_reason": "row_l1 instead of row_sum"},
            "CGVST, the L1 norm of the weight gradient's row, aggregated by t. Note: row_l1 instead of row_sum.",
        ),
        (
            {"method": "taylor", **SCORED, "tokens": "answer", "skipped_as_too_long": 1001},
            "First-order Taylor score of the outgoing weights, abs(dL/dw w) summed over items (Leng and Xiong 2024). "
            "Scored are 1,200 tokens of the answers of 20 items (1,001 longer ones were left out).",
        ),
        (
            {"method": "attribution_patching"},
            "Attribution patching: the first-order effect of clean activations in corrupted prompts.",
        ),
    ],
)
def test_what_was_scored_and_how(provenance: dict[str, Any], words: str) -> None:
    assert describe(provenance) == words


def test_other_maps_are_not_gradient_scores() -> None:
    assert describe({"method": "welch_t"}) is None
    assert describe({}) is None


def test_a_score_of_your_own_brings_its_words_along() -> None:
    assert describe({"method": "mine", "description": "Noise."}) == "Noise."


def test_the_report_names_formula_tokens_and_limits(demo_model: Any) -> None:
    scores = fbn.cgvst(demo_model, fbn.chats("sort", n=4), progress=False)
    html = fbn.Report("R", scores).to_html()
    released = (
        "CGVST, the sum of the weight gradient&#39;s row, as released by Song et al. (2024), aggregated by sum_abs"
    )
    assert released in html
    assert "Scored are 8 tokens of the chat template of 4 items." in html
    assert "proves no cause" in html and "Note:" not in html


def test_the_report_says_when_the_released_formula_cannot_work() -> None:
    galactica = architecture("Galactica")
    scores = fbn.cgvst(galactica.bridged(galactica.build()), IDS, positions=GROUPS, progress=False)
    html = fbn.Report("R", scores).to_html()
    assert "the L1 norm of the weight gradient&#39;s row" in html
    assert "Note: row_l1 instead of the released row_sum: the inputs of the MLPs of every layer sum to zero" in html


def test_rivals_are_described_and_other_maps_are_not() -> None:
    model, options = tiny_model(), {"positions": GROUPS, "progress": False}
    for scores, words in (
        (fbn.attribution.gradient_x_activation(model, IDS, **options), "Gradient times activation"),
        (fbn.attribution.taylor(model, IDS, **options), "First-order Taylor"),
        (fbn.attribution.integrated_gradients(model, IDS, n_steps=2, **options), "Integrated gradients"),
        (fbn.cgvst(model, IDS, max_tokens=9, variant="grad", **options), "(1 longer ones were left out)"),
    ):
        assert words in str(describe(scores.provenance))
    assert describe(fbn.UnitMap(scores.space, np.ones(48), "t", {"method": "welch_t"}).provenance) is None
