"""The bias that stands in for removed neurons: their means, by hand and by hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.helpers.pruning import IDS, TEXTS, close, half, logits
from tests.helpers.recordings import blocks
from tests.oracle.architectures import architecture
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.intervention.pruning.compensation import held_at, means_of_recording
from tl_fbn.intervention.pruning.prune import prune


def test_compensation_by_a_recording_is_mean_ablation(tmp_path):
    model = bridged(tiny_llama())
    design = fbn.block_design({"a": TEXTS, "b": IDS.tolist()}, tokens_per_block=10, n_cycles=1, n_runs=1, seed=0)
    recording = fbn.Scanner(model).scan(design, tmp_path / "recording", progress=False)
    network = half(model)
    small = prune(model, keep=network, compensate=recording)
    with inhibit(model, ~network, method="mean", reference=recording):
        assert close(logits(small), logits(model))
    assert small.pruned.compensation == "recording"
    assert not close(logits(small), logits(prune(model, keep=network)), 1e-3)


@pytest.mark.parametrize("label", ["GPT2", "Llama", "OPT"])
def test_compensation_by_prompts_is_sequential_and_weighs_tokens(label):
    arch = architecture(label)
    plain = arch.build()
    model = arch.bridged(plain)
    network = half(model, seed=3)
    small = prune(model, keep=network, compensate=TEXTS, batch_tokens=16, progress=False)
    means: dict[int, torch.Tensor] = {}
    for layer, kept in enumerate(network.by_layer()):  # text by text, no padding, in the Hugging Face model
        seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}

        def edit(at: int, value: torch.Tensor, seen: dict[int, list[torch.Tensor]] = seen) -> torch.Tensor:
            seen[at].append(value[0].double())
            if at in means:
                value = value.clone()
                value[:, :, torch.from_numpy(~network.by_layer()[at])] = means[at].float()
            return value

        for text in TEXTS:
            with arch.tapped(plain, "mlp.neurons", 1, edit), torch.no_grad():
                plain(torch.tensor([text]))
        means[layer] = torch.cat(seen[layer]).mean(0)[torch.from_numpy(~kept)]

    def held(at: int, value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[:, :, torch.from_numpy(~network.by_layer()[at])] = means[at].float()
        return value

    with arch.tapped(plain, "mlp.neurons", len(IDS), held):
        wanted = logits(plain)
    assert close(logits(small), wanted)


def test_compensation_is_kinder_than_zero():
    """Removed neurons that are constant: with their means back nothing is lost at all."""
    model = tiny_model()
    gone = fbn.Network.from_indices(half(model).space, [(0, 4), (1, 9)])
    with torch.no_grad():
        for layer, unit in ((0, 4), (1, 9)):
            model.blocks[layer].mlp.W_in[:, unit] = 0
            model.blocks[layer].mlp.b_in[unit] = 3.0
    small = prune(model, remove=gone, compensate=TEXTS, probe=IDS, progress=False)
    assert close(logits(small), logits(model))
    assert not close(logits(prune(model, remove=gone)), logits(model), 1e-2)


def test_means_of_a_recording_are_those_of_the_removed_units() -> None:
    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(rows, width)) for width in (4, 0, 3)] for rows in (6, 2)]
    recording = fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 3), blocks(["a"], 2)])
    removed = fbn.Network.from_indices(recording.space, [(0, 1), (0, 3), (2, 2)])
    found = means_of_recording(recording, removed)
    assert list(found) == [0, 2]
    by_hand = [np.concatenate([run[layer] for run in runs]).astype(np.float32) for layer in (0, 2)]
    np.testing.assert_allclose(found[0], by_hand[0][:, [1, 3]].mean(0), rtol=1e-6)  # rows count alike, whatever the run
    np.testing.assert_allclose(found[2], by_hand[1][:, [2]].mean(0), rtol=1e-6)
    elsewhere = fbn.Network.from_indices(fbn.UnitSpace("mlp.out", (4, 0, 3)), [0])
    with pytest.raises(ValueError, match=r"compensate= is a recording of .*mlp\.neurons.* live in .*mlp\.out"):
        means_of_recording(recording, elsewhere)
    part = fbn.Recording.from_arrays(
        [[run[0], run[1], run[1]] for run in runs], events=[run.events for run in recording]
    )
    with pytest.raises(ValueError, match="compensate= has no layer 2, in which units are removed; record all layers"):
        means_of_recording(part, removed)


def test_hooks_hold_removed_units_and_leave_the_others(model) -> None:
    space = fbn.Scanner(model).space
    removed = fbn.Network.from_indices(space, [(1, 2), (1, 20)])
    hooks = held_at(model, removed, {1: np.array([1.5, -2.0])})
    assert len(hooks) == 1  # layer 0 loses nothing
    seen: list[torch.Tensor] = []
    point = "blocks.1.mlp.hook_post"
    with model.hooks(fwd_hooks=[*hooks, (point, lambda tensor, hook: seen.append(tensor.clone()))]):
        logits(model)
    with model.hooks(fwd_hooks=[(point, lambda tensor, hook: seen.append(tensor.clone()))]):
        logits(model)
    held, plain = (one.flatten(0, 1) for one in seen)
    assert (held[:, [2, 20]] == torch.tensor([1.5, -2.0])).all()
    others = [unit for unit in range(24) if unit not in (2, 20)]
    assert torch.equal(held[:, others], plain[:, others])
    assert not held_at(model, fbn.Network.from_indices(space, []), {})
