"""What a report says of gradient scores."""

from __future__ import annotations

from typing import Any

import numpy as np

import tl_fbn as fbn
from tests.helpers.gradients import GROUPS, IDS
from tests.helpers.models import tiny_model
from tests.oracle.architectures import architecture
from tl_fbn.reporting.page import citations as attributions


def page(*results: Any) -> str:
    return fbn.Report("R", *results).to_html()


def test_the_report_names_formula_tokens_and_limits(demo_model: Any) -> None:
    scores = fbn.cgvst(demo_model, fbn.chats("sort", n=4), progress=False)
    html = page(scores)
    assert (
        "CGVST, the sum of the weight gradient&#39;s row, as released by Song et al. (2024), aggregated by sum_abs"
        in html
    )
    assert "Scored are 8 tokens of the chat template of 4 items." in html
    assert "proves no cause" in html and "Note:" not in html


def test_the_report_says_when_the_released_formula_cannot_work() -> None:
    galactica = architecture("Galactica")
    scores = fbn.cgvst(galactica.bridged(galactica.build()), IDS, positions=GROUPS, progress=False)
    html = page(scores)
    assert "the L1 norm of the weight gradient&#39;s row" in html
    assert "Note: row_l1 instead of the released row_sum: the inputs of the MLPs of every layer sum to zero" in html


def test_rivals_are_described_and_other_maps_are_not() -> None:
    model, options = tiny_model(), {"positions": GROUPS, "progress": False}
    for scores, words in (
        (fbn.gradient_x_activation(model, IDS, **options), "Gradient times activation"),
        (fbn.taylor(model, IDS, **options), "First-order Taylor"),
        (fbn.integrated_gradients(model, IDS, n_steps=2, **options), "Integrated gradients"),
        (fbn.cgvst(model, IDS, max_tokens=9, variant="grad", **options), "(1 longer ones were left out)"),
    ):
        assert words in str(attributions.describe(scores))
    assert attributions.describe(fbn.UnitMap(scores.space, np.ones(48), "t", {"method": "welch_t"})) is None


def test_the_coloured_tokens_are_a_section(demo_model: Any) -> None:
    html = page(fbn.token_layout(demo_model, fbn.chats("sort", n=1)[0]))
    assert "background:#fdb863" in html and ">Tokens</a>" in html
