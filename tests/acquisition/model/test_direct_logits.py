"""Direct effects on logits: against weights by hand, and against what the model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model import direct_logits


def hand(model, directions):
    """Gain and unembedding of a Hugging Face model by its own names, as matrices."""
    inner = model.original_model
    base = inner.transformer if hasattr(inner, "transformer") else inner.model
    norm = base.ln_f if hasattr(base, "ln_f") else base.norm
    norm = getattr(norm, "original_component", norm)
    if hasattr(norm, "bias") and norm.bias is not None:  # a norm that centres
        directions = directions - directions.mean(1, keepdim=True)
    head = getattr(inner.lm_head, "original_component", inner.lm_head).weight
    logits = directions * norm.weight @ head.T
    return logits - logits.mean(1, keepdim=True)


@pytest.mark.parametrize("made", [tiny_llama, tiny_gpt2])
def test_the_effect_is_gain_and_unembedding_by_hand(made):
    torch.manual_seed(1)
    plain = made()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.endswith(("ln_f.weight", "ln_f.bias", "model.norm.weight")):
                parameter.normal_()
    model = bridged(plain)
    directions = torch.randn(5, model.cfg.d_model)
    with torch.no_grad():
        torch.testing.assert_close(
            direct_logits.DirectLogits(model).of(directions), hand(model, directions), rtol=1e-4, atol=1e-4
        )


def test_a_push_at_the_end_of_the_stream_moves_the_logits_in_that_direction():
    model = tiny_model()
    ids = torch.tensor([[3, 5, 7]])
    direction = torch.randn(1, 16)
    hook = "blocks.1.hook_resid_post"
    with torch.no_grad():
        before = model(ids)[0, -1]
        # small against the norm of the stream, so that the norm's scale hardly changes
        after = model.run_with_hooks(ids, fwd_hooks=[(hook, lambda x, hook: x + 1e-3 * direction)])[0, -1]
    moved = after - before
    predicted = direct_logits.DirectLogits(model).of(direction)[0]
    # the scale's own change is left out: correlation, not equality
    assert np.corrcoef((moved - moved.mean()).numpy(), predicted.numpy())[0, 1] > 0.9
