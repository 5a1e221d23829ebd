"""Inhibit, amplify, clamp, retain: identities, an independent torch-hook reference, and what is refused."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.interventions import (
    IDS,
    llama_bridge,
    logits,
    module_hooks,
    network_of,
    random_reference,
    texts_reference,
    torch_reference,
)
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.intervention.hooks.layer_edit import LayerEdit


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


OPERATIONS = ["zero", "mean", "position_mean", "gain", "add", "add_sd", "at", "at_sd", "bounds", "retain"]
POSITIONS = {
    "all": torch.ones(2, 8, dtype=torch.bool),
    "last": torch.arange(8)[None].expand(2, 8) == 7,
    "numbers": torch.arange(8)[None].expand(2, 8) % 3 == 0,
    "mask": torch.tensor([[1, 0, 0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 1, 0, 1]]).bool(),
}


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_equals_plain_torch_hooks(model, operation, positions):
    network, reference = network_of(model), texts_reference(model)
    data = np.concatenate([reference[0].layer(0), reference[0].layer(1)], axis=1).astype(np.float64)
    mean, sd = torch.tensor(data.mean(0)).float(), torch.tensor(data.std(0)).float()
    at = reference[0].rows["position"].to_numpy()
    by_position = torch.tensor(np.array([data[at == p].mean(0) for p in range(8)])).float()  # (position, unit)
    touched = POSITIONS[positions]
    given = {"all": "all", "last": "last", "numbers": [0, 3, 6], "mask": touched.numpy()}[positions]
    options = {"positions": given}
    interventions = {
        "zero": fbn.inhibit(model, network, **options),
        "mean": fbn.inhibit(model, network, method="mean", reference=reference, **options),
        "position_mean": fbn.inhibit(model, network, method="position_mean", reference=reference, **options),
        "gain": fbn.amplify(model, network, gain=2.5, **options),
        "add": fbn.amplify(model, network, add=-0.7, **options),
        "add_sd": fbn.amplify(model, network, add_sd=1.5, reference=reference, **options),
        "at": fbn.clamp(model, network, at=0.8, **options),
        "at_sd": fbn.clamp(model, network, at_sd=-2.0, reference=reference, **options),
        "bounds": fbn.clamp(model, network, low=-0.01, high=0.02, **options),
        "retain": fbn.retain(model, network, **options),
    }

    def edit(layer: int, t: torch.Tensor) -> torch.Tensor:
        span = network.space.layer_slice(layer)
        mask = torch.tensor(network.members[span])
        new = {
            "zero": torch.zeros_like(t),
            "mean": mean[span].expand_as(t),
            "position_mean": by_position[:, span].expand_as(t),
            "gain": t * 2.5,
            "add": t - 0.7,
            "add_sd": t + 1.5 * sd[span],
            "at": torch.full_like(t, 0.8),
            "at_sd": (mean[span] - 2.0 * sd[span]).expand_as(t),
            "bounds": t.clamp(-0.01, 0.02),
            "retain": torch.zeros_like(t),
        }[operation]
        units = ~mask if operation == "retain" else mask
        return torch.where(touched[:, :, None] & units, new, t)

    expected = torch_reference(model, edit)
    assert not torch.allclose(expected, logits(model))
    with interventions[operation]:
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        model.run_with_hooks(IDS, fwd_hooks=interventions[operation].fwd_hooks(model)), expected, rtol=1e-5, atol=1e-6
    )
    assert module_hooks(model) == 0


def test_resampled_units_take_one_other_text_at_the_same_position(model):
    network, reference = network_of(model), texts_reference(model)
    texts = [slice(0, 7), slice(7, 11), slice(11, 20)]
    with fbn.inhibit(model, network, method="resample", reference=reference, seed=3):
        _, cache = model.run_with_cache(IDS)
    drawn = []
    for row in range(2):
        fits = []
        for text in texts:
            both = [reference[0].layer(layer)[text][np.arange(8) % (text.stop - text.start)] for layer in range(2)]
            own = [cache["post", layer][row].numpy() for layer in range(2)]
            members = network.by_layer()
            fits.append(all(np.allclose(own[n][:, members[n]], both[n][:, members[n]]) for n in range(2)))
        assert sum(fits) == 1
        drawn.append(fits.index(True))
    seeds = set()
    for seed in range(12):
        with fbn.inhibit(model, network, method="resample", reference=reference, seed=seed):
            seeds.add(logits(model)[0, 0, 0].item())
    assert len(seeds) == 3  # each of the three texts is drawn by some seed


def test_noise_has_the_references_mean_and_deviation(model):
    network, reference = network_of(model, (0, 1, 30)), random_reference(model)
    ids = torch.randint(0, 50, (60, 30), generator=torch.Generator().manual_seed(0))
    with fbn.inhibit(model, network, method="noise", reference=reference, seed=1), torch.no_grad():
        _, cache = model.run_with_cache(ids)
        _, again = model.run_with_cache(ids)
    values = cache["post", 0][..., :2].reshape(-1, 2)
    assert torch.equal(values, again["post", 0][..., :2].reshape(-1, 2))
    data = reference[0].layer(0)[:, :2]
    np.testing.assert_allclose(values.mean(0).numpy(), data.mean(0), atol=0.3)
    np.testing.assert_allclose(values.std(0).numpy(), data.std(0), rtol=0.12)
    assert abs(np.corrcoef(values.numpy().T)[0, 1]) < 0.12


@pytest.mark.parametrize("site", ["mlp.out", "attn.heads", "resid.post"])
def test_other_sites_take_positions_too(site):
    bridge = bridged(tiny_gpt2())
    space = fbn.Scanner(bridge, site=site).space
    network = fbn.Network.from_indices(space, range(0, space.n_units, 2))
    with fbn.inhibit(bridge, network, positions=[2]):
        _, cache = bridge.run_with_cache(IDS)
    name = {"mlp.out": "hook_mlp_out", "attn.heads": "attn.hook_z", "resid.post": "hook_resid_post"}[site]
    values = cache[f"blocks.0.{name}"]
    values = values.reshape(2, 8, space.widths[0], -1).abs().sum(-1)  # (batch, pos, unit)
    assert (values[:, 2, ::2] == 0).all()
    assert (values[:, [0, 1, 3], ::2] > 0).all()
    assert (values[:, :, 1::2] > 0).all()


def test_bfloat16_stays_bfloat16():
    model = tiny_model().to(torch.bfloat16)
    network = network_of(model)
    before = copy.deepcopy({name: p.dtype for name, p in model.named_parameters()})
    with (
        fbn.amplify(model, network, gain=2.0),
        fbn.inhibit(model, network.restrict(layers=[1]), method="mean", reference=random_reference(model)),
        fbn.inhibit(model, network, method="noise", reference=random_reference(model), positions="last"),
        fbn.clamp(model, network, low=-1.0, positions=[0, 1]),
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
    for method in ("mean", "position_mean", "resample", "noise"):
        with pytest.raises(ValueError, match="needs reference="):
            fbn.inhibit(model, network, method=method)
    for positions, message in [
        (
            "first",
            "positions must be 'all', 'prompt', 'generated', 'last' or 'special', a mask or column numbers; "
            "got 'first'",
        ),
        ([-1], "no column numbers"),
        ([1, 1, 0], "no column numbers"),
        (np.zeros((2, 2, 2), bool), r"shape \(column,\) or \(batch, column\)"),
        (np.array([0.5]), "no column numbers"),
        ("special", "needs a tokenizer"),
    ]:
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(fbn.inhibit)(model, network, positions=positions)
    with (
        fbn.inhibit(model, network, positions=np.ones((3, 8), bool)),
        pytest.raises(ValueError, match="the mask of positions has 3 texts, the batch 2"),
    ):
        logits(model)
    for options, message in [
        ({}, "clamp takes at="),
        ({"at": 1.0, "low": 0.0}, "clamp takes at="),
        ({"low": 2.0, "high": 1.0}, "low <= high"),
        ({"at": float("nan")}, "at must be a number or None; got nan"),
        ({"at": float("inf")}, "no finite number"),
        ({"at_sd": 1.0}, "needs reference="),
    ]:
        with pytest.raises(ValueError, match=message):
            fbn.clamp(model, network, **options)
    with pytest.raises(ValueError, match="exactly one of gain=, add= and add_sd="):
        fbn.amplify(model, network)
    with pytest.raises(ValueError, match="exactly one of gain=, add= and add_sd="):
        fbn.amplify(model, network, gain=2.0, add=1.0)
    with pytest.raises(ValueError, match="gain must be a number or None; got nan"):
        fbn.amplify(model, network, gain=float("nan"))
    with pytest.raises(ValueError, match="needs reference="):
        fbn.amplify(model, network, add_sd=1.0)
    wrong = fbn.Recording.from_arrays([[np.ones((4, 10)), np.ones((4, 10))]], events=[blocks(["a"], 4)])
    with pytest.raises(ValueError, match="cannot take the reference for units of"):
        fbn.inhibit(model, network, method="mean", reference=wrong)


def test_a_model_split_by_accelerate_is_changed_the_same(tmp_path):
    from accelerate import dispatch_model

    whole = llama_bridge()
    network, reference = network_of(whole, range(0, 96, 3)), texts_reference(whole)
    module = tiny_llama()
    for parameter in module.parameters():
        parameter.data.mul_(3.0)
    on_cpu = ("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head")
    places = dict.fromkeys(on_cpu, "cpu") | {"model.layers.1": "disk"}
    split = bridged(dispatch_model(module, places, main_device="cpu", offload_dir=tmp_path))
    for options in ({}, {"positions": "last"}, {"method": "resample", "reference": reference}):
        with fbn.inhibit(whole, network, **options), fbn.inhibit(split, network, **options), torch.no_grad():
            torch.testing.assert_close(split(IDS), whole(IDS))
