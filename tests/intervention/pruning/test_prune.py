"""Pruning: small models compute what masked ones do, are as small as they say, and come back from disk as they were."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from jaxtyping import TypeCheckError

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tests.helpers.pruning import IDS, TEXTS, close, half, logits, one_by_one
from tests.helpers.recordings import blocks
from tests.oracle.architectures import ARCHITECTURES, MIXTURES, Architecture, architecture
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.weights import weights_digest
from tl_fbn.intervention.hooks.interventions import inhibit, retain
from tl_fbn.intervention.pruning.checkpoint import load_pruned
from tl_fbn.intervention.pruning.prune import prune


def masked_by_hand(arch: Architecture, plain, kept: fbn.Network, ids: torch.Tensor) -> torch.Tensor:
    """Plain PyTorch: the down projection's input of an untouched Hugging Face model, times a mask."""
    rows = [torch.from_numpy(layer) for layer in kept.by_layer()]
    with arch.tapped(plain, "mlp.neurons", len(ids), lambda layer, value: value * rows[layer]):
        return logits(plain, ids)


QUICK = ("GPT2", "OPT", "Llama", "Phi3", "Falcon")  # Conv1D, at the block, gated, fused, a linear module of its own


@pytest.mark.parametrize("arch", one_by_one(ARCHITECTURES, QUICK))
def test_small_equals_masked_on_every_architecture(arch):
    plain = arch.build()
    model = arch.bridged(plain)
    kept = half(model)
    small = prune(model, keep=kept)
    assert close(logits(small), masked_by_hand(arch, plain, kept, IDS))
    assert not close(logits(small), logits(plain), 1e-2)  # what was removed mattered
    assert fbn.Scanner(small).space.widths == tuple(kept.per_layer())
    assert close(logits(model), logits(plain))
    assert set(small.hook_dict) == set(model.hook_dict)


def test_the_intact_model_stays_as_it_is(model):
    before, modes = weights_digest(model), [m.training for m in model.modules()]
    ids = logits(model)
    prune(model, keep=half(model), compensate=TEXTS, progress=False)
    assert weights_digest(model) == before
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(logits(model), ids)
    assert host.active_edits(model) == []


def test_what_prunes_is_what_retains(model):
    network = half(model)
    with retain(model, network):
        wanted = logits(model)
    assert close(logits(prune(model, keep=network)), wanted)
    assert close(logits(prune(model, remove=~network)), wanted)


def test_dtype_buffers_ties_and_mode_are_kept():
    plain = tiny_gpt2().to(torch.bfloat16)
    model = bridged(copy.deepcopy(plain))
    small = prune(model, keep=half(model))
    inside = small.original_model
    assert {p.dtype for p in inside.parameters()} == {torch.bfloat16}
    assert inside.lm_head.weight is inside.transformer.wte.weight
    assert not inside.training and not small.training
    llama = bridged(tiny_llama())
    inside = prune(llama, keep=half(llama)).original_model
    assert torch.equal(inside.model.rotary_emb.inv_freq, tiny_llama().model.rotary_emb.inv_freq)


def test_a_layer_may_lose_all_of_its_neurons(model):
    only = fbn.Network.from_indices(half(model).space, [(1, 3), (1, 20)])
    small = prune(model, keep=only)
    with retain(model, only):
        assert close(logits(small), logits(model))
    assert fbn.Scanner(small).space.widths == (0, 2)


def test_a_layer_of_gpt2_that_would_lose_all_of_its_neurons_is_named():
    """Its projections (Conv1D) do not run without a neuron, which Linear ones do: no fault of the weights."""
    model = bridged(tiny_gpt2())
    space = half(model).space
    with pytest.raises(fbn.InputError, match=r"no neuron is left of layer 0, .*Conv1D.*; keep at least one neuron"):
        prune(model, keep=fbn.Network.from_indices(space, [(1, 3), (1, 20)]))
    with pytest.raises(fbn.InputError, match="no neuron is left of layer 0, 1"):
        prune(model, keep=fbn.Network.from_indices(space, []))


def test_dense_layers_of_mixtures_can_be_pruned(tmp_path):
    mixed = MIXTURES["Qwen3Moe"]
    model = mixed.bridged(mixed.build())
    network = half(model)
    small = prune(model, keep=network)
    with retain(model, network):
        assert close(logits(small), logits(model))
    small.save_pretrained(tmp_path)
    assert close(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)), logits(small))
    assert torch.equal(logits(load_pruned(tmp_path)), logits(small))
    sparse = MIXTURES["Mixtral"]
    with pytest.raises(ValueError, match="sparse mixtures"):
        prune(sparse.bridged(sparse.build()), keep=network)


def test_protected_layers_stay_whole():
    model = tiny_model(n_layers=4)
    none = fbn.Network.from_indices(half(model).space, [])
    small = prune(model, keep=none, protect_first=1, protect_last=2)
    assert small.pruned.kept.per_layer().tolist() == [24, 0, 24, 24]
    with inhibit(model, (~none).restrict(layers=[1])):
        assert close(logits(small), logits(model))
    with pytest.raises(ValueError, match="protect fewer"):
        prune(model, keep=none, protect_first=2, protect_last=2)


def test_a_network_of_some_layers_leaves_the_others_whole(model):
    space = fbn.Scanner(model, layers=[1]).space
    small = prune(model, keep=fbn.Network.from_indices(space, [(1, 0)]))
    assert small.pruned.kept.per_layer().tolist() == [24, 1]


def test_pruned_models_can_be_scanned_lesioned_and_pruned_again():
    model = bridged(tiny_llama())
    first = prune(model, keep=half(model))
    network = half(first, seed=5)
    second = prune(first, keep=network)
    with retain(first, network):
        assert close(logits(second), logits(first))
    assert second.pruned.n_before == first.pruned.n_after


def test_what_is_refused(model, tmp_path):
    network = half(model)
    with pytest.raises(ValueError, match="exactly one of keep"):
        prune(model)
    with pytest.raises(ValueError, match="exactly one of keep"):
        prune(model, keep=network, remove=network)
    with pytest.raises(ValueError, match="Record or localise"):
        prune(tiny_model(d_mlp=30), keep=network)
    with pytest.raises(ValueError, match="given as heads="):
        prune(model, keep=half(model, site="attn.heads"))
    with pytest.raises(ValueError, match=r"Give a network of attn.heads"):
        prune(model, heads=network)
    with pytest.raises(ValueError, match="no list of prompts"):
        prune(model, keep=network, compensate=[])
    with pytest.raises(ValueError, match="takes 1 to 32"):
        prune(model, keep=network, compensate=[[1] * 40])
    with pytest.raises(ValueError, match="no Hugging Face model"):
        prune(model, keep=network).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no tl_fbn_pruned"):
        load_pruned(tmp_path)
    with inhibit(model, network), pytest.raises(ValueError, match="cannot be copied now"):
        prune(model, keep=network)
    other = fbn.Recording.from_arrays([[np.zeros((4, 3))]], events=[blocks(["a"], 4)])
    with pytest.raises(ValueError, match="Record that site"):
        prune(model, keep=network, compensate=other)


def test_an_old_host_and_compatibility_mode_are_refused():
    class Old:
        cfg, hook_dict = None, {}

        def hooks(self):
            """As HookedTransformer's."""

        def __call__(self):
            """Likewise."""

    model = bridged(tiny_gpt2())
    with pytest.raises((TypeError, TypeCheckError), match="TransformerBridge"):
        prune(Old(), keep=half(model))
    model = architecture("GPT2").bridged(architecture("GPT2").build())
    network = half(model)
    model.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(ValueError, match="enable_compatibility_mode"):
        prune(model, keep=network)
