"""A host against transformers, at load."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
from transformers import LlamaForCausalLM

import tl_fbn as fbn
from tests.helpers.models import tiny_llama, worded
from tl_fbn.acquisition.model.host_check import Remembering, warn_of_other_logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_family_that_the_host_knows_agrees(tmp_path, dtype):
    worded(tmp_path, tiny_llama())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fbn.load_model(tmp_path, dtype, "cpu")


def test_what_is_remembered_are_the_models_own_logits(tmp_path):
    worded(tmp_path, model := tiny_llama())
    kind = Remembering(LlamaForCausalLM)
    kind.from_pretrained(str(tmp_path))
    ids = torch.tensor([[(7919 * place + 1) % 50 for place in range(12)]])
    with torch.no_grad():
        torch.testing.assert_close(kind.logits, model(ids).logits[0])


@pytest.mark.parametrize("broken", [1.0, float("nan")])
def test_a_host_that_computes_something_else_is_named(tmp_path, monkeypatch, broken):
    from transformer_lens.model_bridge import TransformerBridge

    worded(tmp_path, tiny_llama())
    boot = TransformerBridge.boot_transformers

    @functools.wraps(boot)
    def boot_wrongly(*arguments, **options):
        bridge = boot(*arguments, **options)
        with torch.no_grad():
            next(bridge.parameters()).mul_(3 * broken)
        return bridge

    monkeypatch.setattr(TransformerBridge, "boot_transformers", boot_wrongly)
    with pytest.warns(UserWarning, match="differ from those of transformers by .* of their spread"):
        fbn.load_model(tmp_path, device="cpu", label="tiny")


def test_a_difference_within_rounding_passes_and_one_beyond_it_does_not(tmp_path):
    worded(tmp_path, tiny_llama())
    model = fbn.load_model(tmp_path, device="cpu")
    ids = torch.tensor([[(7919 * place + 1) % 50 for place in range(12)]])
    with torch.no_grad():
        own = model(ids)[0]
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0)) * own.std()
    assert warn_of_other_logits(model, own + 5e-4 * noise, "tiny") == pytest.approx(5e-4, rel=0.1)
    with pytest.warns(UserWarning, match="tiny: logits"):
        warn_of_other_logits(model, own + 2e-3 * noise, "tiny")


def test_a_model_that_gives_no_logits_is_not_compared():
    assert warn_of_other_logits(None, None, "any") is None
