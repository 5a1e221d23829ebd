"""A real model from its file: shape, chat template, and what it says."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tl_fbn.models import describe_model, is_fast

pytestmark = pytest.mark.real


def test_it_is_the_model_of_its_card(real_model):
    cfg = real_model.cfg
    assert (cfg.n_layers, cfg.d_model, cfg.d_mlp, cfg.n_heads, cfg.d_vocab) == (30, 576, 1536, 9, 49152)
    kind = "bfloat16, 269 MB" if is_fast("bfloat16", "cpu") else "float32, 538 MB"
    assert describe_model(real_model).startswith(
        f"SmolLM2-135M-Instruct: LlamaForCausalLM, 30 layers x 1,536 neurons, 135 M parameters, {kind} on cpu"
    )
    assert "<|im_start|>" in real_model.tokenizer.chat_template


def test_it_knows_the_capital_of_france(real_model):
    ids = torch.tensor([real_model.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        best = real_model(ids)[0, -1].argmax()
    assert real_model.tokenizer.decode([int(best)]) == " Paris"


def test_the_word_tasks_are_read_as_they_lie_there(word_tasks):
    rows = fbn.read_examples(word_tasks / "singular-plural.json", n=205)
    assert len(rows) == 205 and all(row.input and row.output and not row.instruction for row in rows)
