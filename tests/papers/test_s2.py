"""The block-design protocol from prompts to page, and its t beside statsmodels'."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import tl_fbn as fbn
from tests.helpers.models import worded
from tests.oracle.architectures import architecture
from tl_fbn.papers import PaperStudy


def test_every_claim_has_a_verdict_and_the_page_its_tables(s2_study):
    study, folder = s2_study
    assert study.claims["verdict"].isin(["holds", "holds in part", "does not hold"]).all()
    assert len(study.claims) == 3  # nothing is known of which of these tasks are related
    assert {"overlap", "overlaps", "sizes", "repeatability", "confusion", "identification"} == set(study.tables)
    told = study.claims.iloc[-1]
    assert told["found"] > 0.9 and told["p"] < 0.01  # answers of four formal tasks are told apart
    assert repr(PaperStudy.load(folder / "study.safetensors")) == repr(study)
    assert "off periods" in (folder / "report.html").read_text(encoding="utf-8")


def test_its_t_is_that_of_least_squares(s2_study):
    _, folder = s2_study
    run = fbn.Recording.open(folder / "recordings" / "found").site("resid.post")[0]
    arrays = [[run.layer(layer) for layer in run.layers]]
    alone = fbn.Recording.from_arrays(arrays, events=[run.events])
    fit = fbn.fit_glm(alone, progress=False, **fbn.papers.s2.settings.glm)
    found = fit.contrast("sort - rest", **fbn.papers.s2.settings.contrast)
    x = fbn.design_matrix(alone[0], position=False, first_token=False)
    c = np.array([{"sort": 1.0, "rest": -1.0}.get(name, 0.0) for name in x])
    for unit in (0, 7, 100):
        expected = sm.OLS(alone[0].read()[:, unit].astype(float), x.to_numpy()).fit().t_test(c)
        assert np.isclose(found.t.values[unit], expected.tvalue.item(), rtol=1e-4)


def test_a_finished_run_is_read_and_another_refused(s2_study, model):
    study, folder = s2_study
    said: list[str] = []
    ask = {"seed": 0, "quick": True, "progress": False}
    again = fbn.papers.s2.run(model, fbn.demo.topics(), folder, say=said.append, **ask)
    assert again.claims.equals(study.claims) and not any(line.endswith("...") for line in said)
    with pytest.raises(fbn.InputError, match="related"):
        fbn.papers.s2.run(model, fbn.demo.topics(), folder, related=("sort", "add"), **ask)


def test_the_papers_own_conditions_are_the_default(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    galactica = worded(tmp_path / "model", architecture("Galactica").build())
    plan = fbn.papers.s2.run(
        TransformerBridge.boot_transformers(str(galactica)).eval(), None, tmp_path / "s", seed=0, plan=True
    )
    assert plan.tokens == 2 * 6 * 13 * 32 and plan.bytes > 0 and not (tmp_path / "s").exists()


def test_bad_input(model, tmp_path):
    topics = fbn.demo.topics()
    with pytest.raises(fbn.InputError, match="at least three conditions"):
        fbn.papers.s2.run(model, {name: topics[name] for name in ("sort", "rest")}, tmp_path / "a", seed=0)
    with pytest.raises(fbn.InputError, match=r"too few prompts.*sort has 3 and needs 12"):
        fbn.papers.s2.run(model, {**topics, "sort": topics["sort"][:3]}, tmp_path / "b", seed=0)
    with pytest.raises(fbn.InputError, match="two different conditions"):
        fbn.papers.s2.run(model, topics, tmp_path / "c", seed=0, related=("sort", "none"))
    with pytest.raises(TypeError):
        fbn.papers.s2.run("gpt2", topics, tmp_path / "d", seed=0)
