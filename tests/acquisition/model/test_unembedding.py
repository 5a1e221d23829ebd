"""Logits of some places equal those of all, on several architectures; and no others are made."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model.unembedding import unembedding_in_pieces, unembedding_of_places

IDS = torch.arange(3, 21).reshape(2, 9)
ROWS, POSITIONS = torch.tensor([0, 1, 1, 0]), torch.tensor([8, 0, 3, 2])


def soft_capped():
    """A model that caps its logits behind the unembedding."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 0.1}
    return bridged(Gemma2ForCausalLM(Gemma2Config(**shape, **heads)).eval())


HOSTS = {
    "llama": lambda: bridged(tiny_llama()),
    "gpt2": lambda: bridged(tiny_gpt2()),
    "soft cap": soft_capped,
    "native": tiny_model,
}


@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_logits_of_some_places_are_those_of_the_whole_pass(name):
    model = HOSTS[name]()
    expected = model(IDS)[ROWS, POSITIONS]
    widths = []
    with unembedding_of_places(model) as logits_at:
        counter = model.hook_dict["unembed.hook_out"].register_forward_hook(
            lambda module, inputs, output: widths.append(tuple(output.shape[:2]))
        )
        found = logits_at(IDS, ROWS, POSITIONS)
        counter.remove()
        # a pass of somebody else's in between is whole
        assert model(IDS).shape[:2] == IDS.shape
        again = logits_at(IDS, ROWS, POSITIONS)
    assert torch.allclose(found, expected, atol=1e-5) and torch.equal(found, again)
    assert widths == [(1, 4)]
    assert model(IDS).shape[:2] == IDS.shape
    assert not model.hook_dict["unembed.hook_in"].fwd_hooks


@torch.no_grad()
def test_hooks_of_the_users_on_logits_see_every_position():
    model = bridged(tiny_llama())
    seen = []

    def watch(tensor, hook):
        seen.append(tuple(tensor.shape[:2]))

    expected = model(IDS)[ROWS, POSITIONS]
    with model.hooks(fwd_hooks=[("unembed.hook_in", watch)]), unembedding_of_places(model) as logits_at:
        assert torch.equal(logits_at(IDS, ROWS, POSITIONS), expected)
    handle = model.original_model.register_forward_hook(lambda module, inputs, output: seen.append("module"))
    with unembedding_of_places(model) as logits_at:
        assert torch.equal(logits_at(IDS, ROWS, POSITIONS), expected)
    handle.remove()
    assert seen[0] == (2, 9) and "module" in seen


@torch.no_grad()
def test_an_intervention_acts_as_in_the_whole_pass():
    model = bridged(tiny_llama())
    network = fbn.attribution.random_scores(model, seed=0).top(20)
    with fbn.inhibit(model, network):
        expected = model(IDS)[ROWS, POSITIONS]
        with unembedding_of_places(model) as logits_at:
            assert torch.allclose(logits_at(IDS, ROWS, POSITIONS), expected, atol=1e-5)


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("n_places", [1, 3, 4])
@torch.no_grad()
def test_logits_in_pieces_are_those_of_the_whole_pass(name, n_places):
    model = HOSTS[name]()
    mask = torch.ones_like(IDS)
    mask[1, 6:] = 0
    rows, positions = torch.nonzero(mask, as_tuple=True)
    expected = model(IDS, attention_mask=mask)[rows, positions]
    sizes = []

    def watch(module, inputs, output):
        sizes.append(output.shape[0] * output.shape[1])

    with unembedding_in_pieces(model, most_bytes=4 * 50 * n_places) as logits_in_pieces:
        handle = model.hook_dict["unembed.hook_out"].register_forward_hook(watch)
        pieces = list(logits_in_pieces(lambda: model(IDS, attention_mask=mask), rows, positions))
        seen, sizes[:] = [*sizes], []
        assert model(IDS).shape[:2] == IDS.shape  # a pass of somebody else's is whole
    handle.remove()
    assert torch.allclose(torch.cat(pieces), expected, atol=1e-5)
    assert max(map(len, pieces)) == max(seen) == n_places
    assert not model.hook_dict["unembed.hook_in"].fwd_hooks


@torch.no_grad()
def test_hooks_of_the_users_see_the_passes_that_they_would_see_without_pieces():
    model = bridged(tiny_llama())
    rows, positions = torch.nonzero(torch.ones_like(IDS), as_tuple=True)
    expected = model(IDS)[rows, positions]
    for place in ("unembed.hook_in", "blocks.0.mlp.hook_post"):
        seen = []

        def watch(tensor, hook, seen=seen):
            seen.append(tuple(tensor.shape[:2]))

        with (
            model.hooks(fwd_hooks=[(place, watch)]),
            unembedding_in_pieces(model, most_bytes=4 * 50 * 4) as logits_in_pieces,
        ):
            pieces = list(logits_in_pieces(lambda: model(IDS), rows, positions))
        assert torch.allclose(torch.cat(pieces), expected, atol=1e-5)
        assert seen == [(2, 9)]


@torch.no_grad()
def test_interventions_act_once_in_a_pass_whose_logits_come_in_pieces():
    model = bridged(tiny_llama())
    network = fbn.attribution.random_scores(model, seed=0).top(20)
    rows, positions = torch.nonzero(torch.ones_like(IDS), as_tuple=True)
    for options in ({}, {"positions": "last"}):
        with fbn.inhibit(model, network, **options):
            expected = model(IDS)[rows, positions]
            with unembedding_in_pieces(model, most_bytes=4 * 50 * 5) as logits_in_pieces:
                pieces = list(logits_in_pieces(lambda: model(IDS), rows, positions))
                again = list(logits_in_pieces(lambda: model(IDS), rows, positions))
        assert torch.allclose(torch.cat(pieces), expected, atol=1e-5)
        assert torch.equal(torch.cat(again), torch.cat(pieces))
