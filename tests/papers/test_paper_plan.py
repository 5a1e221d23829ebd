"""A plan adds up its steps."""

from __future__ import annotations

from tl_fbn.papers.paper_plan import PaperPlan, Step


def test_a_plan_adds_up_its_steps():
    plan = PaperPlan("s1", [Step("scores", 300, 1.5), Step("lesions", 700, 298.5, 2_000_000)])
    assert (plan.tokens, plan.seconds, plan.bytes) == (1000, 300.0, 2_000_000)
    assert repr(plan) == "PaperPlan of s1: 2 steps, 1,000 tokens, about 5 min, 2 MB on disk"
    assert "lesions" in str(plan) and "scores" in plan._repr_html_()
