"""The ICA protocol from prompts to page, on the embedded model."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tl_fbn.papers import PaperStudy


def test_every_claim_has_a_verdict_and_the_page_its_tables(s0_study):
    study, folder = s0_study
    assert len(study.claims) == 7 and study.claims["verdict"].isin(["holds", "holds in part", "does not hold"]).all()
    assert study.provenance["quick"] and "quick run" in (folder / "report.html").read_text(encoding="utf-8")
    assert {"masked", "kept", "single", "added", "connectivity", "pruned"} <= set(study.tables)
    assert set(study.results) == {"ten networks", "recurrence", "connectivity", "corrected"}
    assert repr(PaperStudy.load(folder / "study.safetensors")) == repr(study)


def test_a_finished_run_is_read_and_another_refused(s0_study, model):
    study, folder = s0_study
    tasks = fbn.demo.tasks(n=60).select(["sort", "reverse", "add"])
    said: list[str] = []
    again = fbn.papers.s0.run(model, tasks, folder, seed=0, quick=True, progress=False, say=said.append)
    assert again.claims.equals(study.claims) and not any(line.endswith("...") for line in said)
    with pytest.raises(fbn.InputError, match="seed"):
        fbn.papers.s0.run(model, tasks, folder, seed=1, quick=True, progress=False)


def test_a_plan_runs_nothing(model, tmp_path):
    tasks = fbn.demo.tasks(n=60).select(["sort", "reverse"])
    plan = fbn.papers.s0.run(model, tasks, tmp_path / "p", seed=0, quick=True, plan=True)
    assert plan.tokens > 0 and plan.bytes > 0 and not (tmp_path / "p").exists()


def test_bad_input(model, tmp_path):
    with pytest.raises(fbn.InputError, match="at least 2 tasks"):
        fbn.papers.s0.run(model, fbn.demo.tasks(n=20).select(["sort"]), tmp_path / "a", seed=0)
    with pytest.raises(fbn.InputError, match="too few rows for two recordings"):
        fbn.papers.s0.run(model, fbn.demo.tasks(n=5).select(["sort", "add"]), tmp_path / "b", seed=0)
