"""Direct effects on logits: against weights by hand, and against what the model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
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


@pytest.mark.parametrize(("made", "down"), [(tiny_llama, "mlp.down_proj"), (tiny_gpt2, "mlp.c_proj")])
def test_outgoing_norms_are_lengths_of_what_one_unit_adds(made, down):
    plain = made()
    model = bridged(made())
    space = fbn.Scanner(model).space
    expected = []
    for layer in range(2):
        module = next(part for name, part in plain.named_modules() if name.endswith(f"{layer}.{down}"))
        with torch.no_grad():
            added = module(torch.eye(space.widths[layer])) - module(torch.zeros(1, space.widths[layer]))
        expected.append(added.norm(dim=1).numpy())
    found = direct_logits.outgoing_norms(model, space)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5)
    rows = direct_logits.outgoing(model, "mlp.neurons", 1, np.array([3, 5]))
    np.testing.assert_allclose(found[space.widths[0] :][[3, 5]], rows.norm(dim=1), rtol=1e-6)
    assert set(direct_logits.described_norms(model, [space])["outgoing_norms"]) == {"mlp.neurons"}


def test_outgoing_norms_of_other_sites():
    model = tiny_model()
    for site in ("mlp.out", "resid.post"):
        space = fbn.Scanner(model, site=site).space
        assert (direct_logits.outgoing_norms(model, space) == 1).all()
        assert direct_logits.described_norms(model, [space]) == {}  # known from the site
    heads = fbn.Scanner(model, site="attn.heads").space
    assert direct_logits.outgoing_norms(model, heads) is None and direct_logits.described_norms(model, [heads]) == {}
    first = fbn.Scanner(model, layers=[0]).space
    both = direct_logits.outgoing_norms(model, fbn.Scanner(model).space)
    np.testing.assert_array_equal(direct_logits.outgoing_norms(model, first), both[:24])


@pytest.mark.parametrize(
    "weights",
    [
        torch.ones(4, 3),
        torch.ones(24, 16, device="meta"),
        torch.full((24, 16), torch.inf),
        None,
        RuntimeError("packed"),
    ],
)
def test_weights_that_cannot_be_read_have_no_norms(weights, monkeypatch):
    model = tiny_model()
    space = fbn.Scanner(model).space

    def read(_):
        if isinstance(weights, Exception):
            raise weights
        return weights

    monkeypatch.setattr(type(model.blocks[1].mlp), "W_out", property(read))
    assert direct_logits.outgoing_norms(model, space) is None
