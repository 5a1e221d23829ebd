"""The context manager of interventions: nesting, entering again, hooks of one's own, and leaving no trace."""

from __future__ import annotations

import gc

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.interventions import IDS, hook_counts, logits, module_hooks, network_of


def test_an_empty_network_attaches_no_hook(model):
    with fbn.inhibit(model, network_of(model, ())):
        assert hook_counts(model) == 0


def test_each_layer_gets_its_own_units(model):
    network = network_of(model, (1, 2, 24))
    with fbn.inhibit(model, network):
        _, cache = model.run_with_cache(IDS)
    zeroed = [(cache["post", layer] == 0).all(0).all(0) for layer in range(2)]
    for layer in range(2):
        assert zeroed[layer].tolist() == network.by_layer()[layer].tolist()


def test_works_in_run_with_cache_and_run_with_hooks_and_keeps_gradients(model):
    network = network_of(model)
    with fbn.inhibit(model, network):
        direct = model(IDS)
        cached, _ = model.run_with_cache(IDS)
        hooked = model.run_with_hooks(IDS, fwd_hooks=[])
    torch.testing.assert_close(direct, cached)
    torch.testing.assert_close(direct, hooked)
    direct.sum().backward()
    assert next(model.parameters()).grad is not None
    torch.testing.assert_close(
        model.run_with_hooks(IDS, fwd_hooks=fbn.inhibit(model, network).fwd_hooks(model)), direct
    )


def test_hooks_of_ones_own_listen_as_long_as_they_are_kept(model):
    before, network = logits(model), network_of(model)
    hooks = fbn.inhibit(model, network, positions="last").fwd_hooks(model)
    hooks += fbn.amplify(model, network, gain=2.0, positions=[0]).fwd_hooks(model)
    assert module_hooks(model) > 0
    changed = model.run_with_hooks(IDS, fwd_hooks=hooks)
    with fbn.inhibit(model, network, positions="last"), fbn.amplify(model, network, gain=2.0, positions=[0]):
        torch.testing.assert_close(model(IDS), changed)
    del hooks
    gc.collect()
    assert module_hooks(model) == 0
    assert "generate" not in vars(model)
    assert torch.equal(logits(model), before)


def test_some_layers_only(model):
    network = network_of(model, (1, 2, 24))
    with fbn.inhibit(model, network, layers=[1]):
        once = logits(model)
    with fbn.inhibit(model, network.restrict(layers=[1])):
        assert torch.equal(logits(model), once)
    with fbn.retain(model, network, layers=[0]):
        _, cache = model.run_with_cache(IDS)
    assert (cache["post", 0] != 0).all(0).all(0).sum() == 2
    assert (cache["post", 1] != 0).all()
    with pytest.raises(ValueError, match=r"layers=\[2\] names \[2\].*layers: 0, 1"):
        fbn.inhibit(model, network, layers=[2])


def test_a_part_of_the_model_cannot_be_asked_for_positions(model):
    with (
        fbn.inhibit(model, network_of(model), positions="last"),
        pytest.raises(RuntimeError, match="a pass of the whole model"),
    ):
        model.blocks[0].mlp(torch.zeros(1, 3, 16))


def test_nested_interventions_act_in_the_order_they_were_entered(model):
    network = network_of(model)
    with fbn.amplify(model, network, add=1.0), fbn.amplify(model, network, gain=3.0):
        _, cache = model.run_with_cache(IDS)
    _, before = model.run_with_cache(IDS)
    units = network.by_layer()[0]
    torch.testing.assert_close(cache["post", 0][..., units], (before["post", 0][..., units] + 1.0) * 3.0)


def test_the_same_intervention_can_be_entered_again(model):
    network, before = network_of(model), logits(model)
    doubled = fbn.amplify(model, network, gain=2.0)
    with doubled:
        once = logits(model)
        with doubled:
            twice = logits(model)
        assert torch.equal(logits(model), once)
    assert not torch.equal(once, twice)
    assert torch.equal(logits(model), before)


def test_everything_is_restored_when_the_body_raises(model):
    before = logits(model)
    with (
        pytest.raises(RuntimeError, match="mine"),
        fbn.inhibit(model, network_of(model)),
        fbn.amplify(model, network_of(model), gain=2.0),
    ):
        raise RuntimeError("mine")
    assert hook_counts(model) == 0
    assert torch.equal(logits(model), before)


def test_the_users_own_hooks_stay(model):
    seen = []

    def mine(tensor, hook):
        seen.append(1)

    model.add_hook("blocks.0.mlp.hook_post", mine)
    permanent = hook_counts(model)
    with fbn.inhibit(model, network_of(model)):
        logits(model)
    logits(model)
    assert len(seen) == 2
    assert hook_counts(model) == permanent
    model.reset_hooks()


def test_500_uses_leave_no_hooks(model):
    intervention = fbn.inhibit(model, network_of(model))
    for _ in range(500):
        with intervention:
            pass
    assert hook_counts(model) == 0
