"""Interventions: identities, an independent torch-hook reference, nesting, generation, and leaving no trace."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.conftest import blocks, bridged, tiny_llama, tiny_model
from tl_fbn.intervention.hooks import LayerEdit

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]])


def network_of(model, indices=(0, 5, 23, 24, 40)) -> fbn.Network:
    return fbn.Network.from_indices(fbn.Scanner(model).space, indices, name="n")


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS)


def hook_counts(model) -> int:
    return sum(len(point._forward_hooks) + len(point._backward_hooks) for point in model.hook_dict.values())


def random_reference(model, seed: int = 0) -> fbn.Recording:
    rng = np.random.default_rng(seed)
    widths = fbn.Scanner(model).space.widths
    return fbn.Recording.from_arrays(
        [[rng.normal(1.0, 2.0, (40, w)).astype(np.float32) for w in widths]], events=[blocks(["a", "b"], 20)]
    )


def torch_reference(model, edit) -> torch.Tensor:
    """Logits when ``edit(layer, activation)`` is applied by plain torch hooks on the hook points themselves."""
    handles = [
        model.hook_dict[f"blocks.{layer}.mlp.hook_post"].register_forward_hook(
            lambda _, inputs, output, layer=layer: edit(layer, output.clone())
        )
        for layer in range(model.cfg.n_layers)
    ]
    try:
        return logits(model)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize(
    "make",
    [
        lambda model, empty: fbn.inhibit(model, empty),
        lambda model, empty: fbn.amplify(model, empty, gain=3.0),
        lambda model, empty: fbn.amplify(model, empty, add=1.0),
        lambda model, empty: fbn.amplify(model, ~empty, gain=1.0),
        lambda model, empty: fbn.retain(model, ~empty),
    ],
    ids=["inhibit nothing", "amplify nothing", "add to nothing", "gain 1", "retain all"],
)
def test_changes_of_nothing_are_bit_identical(model, make):
    empty = network_of(model, ())
    before = logits(model)
    with make(model, empty):
        assert torch.equal(logits(model), before)


def test_an_empty_network_attaches_no_hook(model):
    with fbn.inhibit(model, network_of(model, ())):
        assert hook_counts(model) == 0


@pytest.mark.parametrize("operation", ["zero", "mean", "gain", "add", "add_sd", "retain"])
def test_every_operation_equals_plain_torch_hooks(model, operation):
    network, reference = network_of(model), random_reference(model)
    data = np.concatenate([reference[0].layer(0), reference[0].layer(1)], axis=1).astype(np.float64)
    mean, sd = torch.tensor(data.mean(0)).float(), torch.tensor(data.std(0)).float()
    interventions = {
        "zero": fbn.inhibit(model, network),
        "mean": fbn.inhibit(model, network, method="mean", reference=reference),
        "gain": fbn.amplify(model, network, gain=2.5),
        "add": fbn.amplify(model, network, add=-0.7),
        "add_sd": fbn.amplify(model, network, add_sd=1.5, reference=reference),
        "retain": fbn.retain(model, network),
    }

    def edit(layer: int, t: torch.Tensor) -> torch.Tensor:
        span = network.space.layer_slice(layer)
        mask = torch.tensor(network.members[span])
        new = {
            "zero": torch.zeros_like(t),
            "mean": mean[span].expand_as(t),
            "gain": t * 2.5,
            "add": t - 0.7,
            "add_sd": t + 1.5 * sd[span],
            "retain": torch.zeros_like(t),
        }[operation]
        return torch.where(~mask if operation == "retain" else mask, new, t)

    expected = torch_reference(model, edit)
    assert not torch.allclose(expected, logits(model))
    with interventions[operation]:
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-6)


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


def llama_bridge():
    module = tiny_llama()
    for parameter in module.parameters():
        parameter.data.mul_(3.0)  # so that an intervention changes greedy choices
    return bridged(module)


def test_generation_is_the_same_with_and_without_a_kv_cache():
    bridge = llama_bridge()
    network = network_of(bridge, range(0, 96, 2))
    options = {"max_new_tokens": 10, "do_sample": False, "stop_at_eos": False, "verbose": False}
    plain = bridge.generate(IDS, use_past_kv_cache=True, **options)
    with fbn.inhibit(bridge, network):
        cached = bridge.generate(IDS, use_past_kv_cache=True, **options)
        uncached = bridge.generate(IDS, use_past_kv_cache=False, **options)
    assert torch.equal(cached, uncached)
    assert not torch.equal(cached, plain)
    assert torch.equal(bridge.generate(IDS, use_past_kv_cache=True, **options), plain)


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


def test_bfloat16_stays_bfloat16():
    model = tiny_model().to(torch.bfloat16)
    network = network_of(model)
    before = copy.deepcopy({name: p.dtype for name, p in model.named_parameters()})
    with (
        fbn.amplify(model, network, gain=2.0),
        fbn.inhibit(model, network.restrict(layers=[1]), method="mean", reference=random_reference(model)),
    ):
        assert logits(model).dtype == torch.bfloat16
    assert before == {name: p.dtype for name, p in model.named_parameters()}


def test_add_sd_follows_the_sign_of_a_unit(model):
    reference = random_reference(model)
    members = np.zeros(48, dtype=bool)
    members[[0, 1]] = True
    signs = np.zeros(48, np.int8)
    signs[[0, 1]] = [1, -1]
    network = fbn.Network(reference.space, members, signs)
    _, before = model.run_with_cache(IDS)
    with fbn.amplify(model, network, add_sd=2.0, reference=reference):
        _, after = model.run_with_cache(IDS)
    change = (after["post", 0] - before["post", 0])[..., :2].reshape(-1, 2)
    expected = torch.tensor(reference[0].layer(0)[:, :2].std(0) * [2.0, -2.0]).float()
    torch.testing.assert_close(change, expected.expand_as(change), rtol=1e-4, atol=1e-5)


def test_digests_tell_interventions_apart(model):
    network = network_of(model)
    makers = [
        fbn.inhibit(model, network),
        fbn.amplify(model, network, gain=2.0),
        fbn.amplify(model, network, gain=3.0),
        fbn.amplify(model, network, add=2.0),
        fbn.inhibit(model, ~network),
    ]
    digests = [tuple(edit.digest for _, edit in made.fwd_hooks() if isinstance(edit, LayerEdit)) for made in makers]
    assert len(set(digests)) == len(makers)


def test_refusals(model):
    network, other = network_of(model), fbn.UnitSpace("mlp.neurons", (10, 10), "other")
    foreign = fbn.Network.from_indices(other, [0])
    with pytest.raises(
        ValueError,
        match=r"network lives in other mlp.neurons \(2 x 10\); this model offers .* \(2 x 24\)\. Record or localise",
    ):
        fbn.inhibit(model, foreign)
    with pytest.raises(ValueError, match="needs reference="):
        fbn.inhibit(model, network, method="mean")
    with pytest.raises(ValueError, match="exactly one of gain=, add= and add_sd="):
        fbn.amplify(model, network)
    with pytest.raises(ValueError, match="exactly one of gain=, add= and add_sd="):
        fbn.amplify(model, network, gain=2.0, add=1.0)
    with pytest.raises(ValueError, match="not finite"):
        fbn.amplify(model, network, gain=float("nan"))
    with pytest.raises(ValueError, match="needs reference="):
        fbn.amplify(model, network, add_sd=1.0)
    wrong = fbn.Recording.from_arrays([[np.ones((4, 10)), np.ones((4, 10))]], events=[blocks(["a"], 4)])
    with pytest.raises(ValueError, match="cannot take the reference for units of"):
        fbn.inhibit(model, network, method="mean", reference=wrong)
