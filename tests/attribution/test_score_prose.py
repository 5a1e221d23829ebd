"""Gradient scores in words: formula and source, tokens and items, and notes where something was done otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from tl_fbn.attribution.score_prose import described

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
    before = dict(provenance)
    found = described(provenance)
    assert found == {**before, "description": words}
    assert provenance == before  # a new one is made


@pytest.mark.parametrize(
    "provenance", [{"method": "welch_t"}, {"method": "cgvst", "variant": "rows", "aggregate": "t"}]
)
def test_a_formula_nobody_wrote_down_is_no_description(provenance: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        described(provenance)
