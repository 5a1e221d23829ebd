"""The bridge to the lm-evaluation-harness, against a small stand-in for it that runs the model as its wrapper does."""

from __future__ import annotations

import sys
import types
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.intervention.behaviour.lm_eval import evaluate_harness


@pytest.fixture
def lm_eval(monkeypatch):
    """A module with what is used of the harness: ``HFLM`` around a Hugging Face model, and ``simple_evaluate``.

    Its task "count" is the embedded battery's, scored by the inner model's own logits; the table it returns has the
    harness's form: keys
    "metric,filter", an alias, a standard error that may be "N/A", groups beside tasks.
    """
    seen: dict = {"calls": []}

    class HFLM:
        def __init__(self, pretrained, tokenizer, batch_size, add_bos_token=False):
            assert isinstance(pretrained, PreTrainedModel)
            pretrained.eval()
            pretrained.tie_weights()
            tokenizer.add_special_tokens({"pad_token": "<|new pad|>"})  # as it does to a tokenizer without one
            self.model, self.tokenizer, self.add_bos_token = pretrained, tokenizer, add_bos_token
            seen["batch_size"] = batch_size

    def simple_evaluate(model, tasks, limit=None, **options):
        seen["calls"].append({"tasks": tasks, "limit": limit, **options})
        items = fbn.demo.battery(n=limit).tasks["count"].items
        right = []
        for item in items:
            text = ("<bos> " if model.add_bos_token else "") + str(item.prompt)
            ids = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                said = int(model.model(ids).logits[0, -1].argmax())
            right.append(model.tokenizer.convert_ids_to_tokens(said) == item.alternatives[0])
        acc = float(np.mean(right))
        own = {"alias": "count", "name": "count", "sample_len": limit, "acc,none": acc, "acc_stderr,none": 0.1}
        own |= {"exact,strict": np.float64(acc), "exact_stderr,strict": "N/A", "sample_count": {"acc,none": 3}}
        group = {"alias": "all", "acc,none": acc, "acc_stderr,none": 0.1}
        counts = {"count": {"original": 900, "effective": limit}}
        return {"results": {"count": own, "all": group}, "groups": {"all": group}, "n-samples": counts}

    top, models = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.models")
    huggingface = types.ModuleType("lm_eval.models.huggingface")
    monkeypatch.setattr(top, "simple_evaluate", simple_evaluate, raising=False)
    monkeypatch.setattr(huggingface, "HFLM", HFLM, raising=False)
    for module in (top, models, huggingface):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


@pytest.fixture(scope="module")
def lesion(demo_model):
    space = fbn.Scanner(demo_model).space
    units = [(layer, unit) for layer in range(3) for unit in range(0, 384, 2)]
    return fbn.inhibit(demo_model, fbn.Network.from_indices(space, units, name="half"))


OPTIONS = {"limit": 15, "model_options": {"add_bos_token": True}}


def test_the_table_equals_a_battery_under_the_same_interventions(demo_model, lesion, lm_eval):
    found = evaluate_harness(
        demo_model, "count", interventions={"half": lesion}, batch_size=4, num_fewshot=0, **OPTIONS
    )
    table = found.table
    battery = fbn.demo.battery(n=15).select(["count"])
    before = battery.score(demo_model)["count"].of("exact_match")
    with lesion:
        after = battery.score(demo_model)["count"].of("exact_match")
    assert before - after > 0.2
    assert list(table.columns) == [
        "intervention",
        "task",
        "metric",
        "filter",
        "value",
        "stderr",
        "n",
        "baseline",
        "change",
    ]
    assert table["intervention"].tolist() == ["none"] * 3 + ["half"] * 3
    assert table["value"].tolist() == pytest.approx([before] * 3 + [after] * 3)
    assert table["baseline"].tolist() == pytest.approx([before] * 6)
    assert table["change"].tolist() == pytest.approx([0.0] * 3 + [after - before] * 3)
    found = table[table["intervention"] == "none"].set_index(["task", "metric", "filter"])
    assert found.loc[("count", "acc", "none"), "stderr"] == 0.1
    assert np.isnan(found.loc[("count", "exact", "strict"), "stderr"])
    assert found["n"].tolist() == [15, 15, -1]
    assert lm_eval["calls"] == [{"tasks": ["count"], "limit": 15, "num_fewshot": 0}] * 2 and lm_eval["batch_size"] == 4


def test_nothing_is_left_behind(demo_model, lesion, lm_eval):
    ids, pad = torch.tensor([[1, 7, 8]]), demo_model.tokenizer.pad_token
    before = demo_model(ids)
    evaluate_harness(demo_model, ["count"], interventions={"half": lesion}, **OPTIONS)
    assert torch.equal(demo_model(ids), before)
    assert demo_model.tokenizer.pad_token == pad != "<|new pad|>"


def test_an_intervention_that_does_not_reach_the_inner_model_is_refused(demo_model, lm_eval):
    """A host that calls its hooks outside the Hugging Face model."""

    class Host:
        def __init__(self) -> None:
            self.shift = 0.0
            self.tokenizer, self.cfg, self.hook_dict = demo_model.tokenizer, demo_model.cfg, {}
            self.original_model, self.parameters, self.hooks = demo_model.original_model, demo_model.parameters, None

        def __call__(self, ids):
            logits = demo_model(ids)
            logits[..., 3] += self.shift
            return logits

    host = Host()

    @contextmanager
    def shifted():
        host.shift = 5.0
        yield

    with pytest.raises(
        ValueError, match="under intervention 'shift' the Hugging Face model inside the bridge predicts otherwise"
    ):
        evaluate_harness(host, "count", interventions={"shift": shifted()}, **OPTIONS)


def test_a_missing_harness_is_named_with_its_extra(demo_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ImportError, match=r'pip install "transformer-lens\[evals\]"'):
        evaluate_harness(demo_model, "count")


def test_the_extra_that_is_named_is_transformer_lens_own():
    from importlib.metadata import metadata, requires

    assert "evals" in (metadata("transformer-lens").get_all("Provides-Extra") or [])
    assert any(line.startswith("lm-eval") and "evals" in line for line in requires("transformer-lens") or [])


def test_refusals(demo_model, lesion, lm_eval):
    with pytest.raises(ValueError, match="has none inside"):
        evaluate_harness(tiny_model(), "count")
    with pytest.raises(ValueError, match="would serve the untouched model's answers"):
        evaluate_harness(demo_model, "count", use_cache="answers", **OPTIONS)
    with pytest.raises(ValueError, match="an intervention is called 'none'"):
        evaluate_harness(demo_model, "count", interventions={"none": lesion}, **OPTIONS)
    other = fbn.demo.load_model()
    with pytest.raises(ValueError, match="intervention 'half' acts on another model"):
        evaluate_harness(other, "count", interventions={"half": lesion}, **OPTIONS)
    with pytest.raises(TypeError, match="cannot be hooked"):
        evaluate_harness(demo_model.original_model, "count")
    other.tokenizer = None
    with pytest.raises(ValueError, match="this model has no tokenizer"):
        evaluate_harness(other, "count")
    assert not lm_eval["calls"]
