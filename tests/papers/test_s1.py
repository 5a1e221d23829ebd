"""The CGVST protocol from prompts to page, and its score beside gradients of the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama
from tl_fbn.papers import PaperStudy


def test_every_claim_has_a_verdict_and_the_page_its_tables(s1_study):
    study, folder = s1_study
    assert len(study.claims) == 6 and study.claims["verdict"].isin(["holds", "holds in part", "does not hold"]).all()
    assert {"silenced", "networks", "doubled", "tokens", "overlap", "better", "better networks"} == set(study.tables)
    assert "groups='turns'" in str(study.settings)  # what this model's template needs is said
    lists = study.results["neurons at special tokens"]
    assert all(len(one) == int(0.05 * 1152) for one in lists.values())
    assert repr(PaperStudy.load(folder / "study.safetensors")) == repr(study)
    assert "breaks the task" in (folder / "report.html").read_text(encoding="utf-8")


def test_its_lists_are_those_of_the_released_score(s1_study, model):
    study, _ = s1_study
    used = study.settings
    rows = fbn.demo.tasks(n=40, chat=True).rows("sort")
    chats = fbn.few_shot_chats(rows, n=8, seed=0, tokenizer=model.tokenizer, **{**used.chats, "n_shots": 0})
    texts = [f" [INST] {chat[0]['content']} [/INST] {chat[1]['content']}" for chat in chats]
    ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]  # released: no bos, no eos
    by_hand = np.zeros(1152)
    for item in ids:
        tokens = torch.tensor([item])
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model.original_model(tokens).logits[0, :-1], tokens[0, 1:], reduction="none"
        )
        special = [at for at, token in enumerate(item) if token in (4, 5) and at > 0]  # nothing predicts the first
        loss[[at - 1 for at in special]].mean().backward()
        weights = [block.mlp.dense_h_to_4h.weight.grad.sum(1) for block in model.original_model.gpt_neox.layers]
        by_hand += torch.cat(weights).abs().numpy()
    model.zero_grad()
    top = set(np.argsort(-by_hand)[:57].tolist())
    found = set(study.results["neurons at special tokens"]["sort"].indices.tolist())
    assert len(top & found) >= 56  # to float32


def test_a_finished_run_is_read(s1_study, model):
    study, folder = s1_study
    tasks = fbn.demo.tasks(n=40, chat=True).select(["sort", "reverse", "add"])
    said: list[str] = []
    again = fbn.papers.s1.run(model, tasks, folder, seed=0, quick=True, progress=False, say=said.append)
    assert again.claims.equals(study.claims) and not said


def test_a_plan_runs_nothing(model, tmp_path):
    tasks = fbn.demo.tasks(n=40, chat=True).select(["sort", "reverse", "add"])
    plan = fbn.papers.s1.run(model, tasks, tmp_path / "p", seed=0, quick=True, plan=True)
    assert [step.name for step in plan.steps] == ["scores", "lesions", "random networks"]
    assert plan.tokens > 1000 and not (tmp_path / "p").exists()


def test_bad_input(model, tmp_path):
    chats = fbn.demo.tasks(n=20, chat=True)
    with pytest.raises(fbn.InputError, match="at least 3 tasks"):
        fbn.papers.s1.run(model, chats.select(["sort", "add"]), tmp_path / "a", seed=0)
    with pytest.raises(fbn.InputError, match='template="chat"'):
        fbn.papers.s1.run(model, fbn.demo.tasks(n=20), tmp_path / "b", seed=0)
    with pytest.raises(fbn.InputError, match=r"has no chat template.*'Q:' and 'A:'"):
        fbn.papers.s1.run(bridged(tiny_llama()), chats, tmp_path / "c", seed=0)
