"""Networks, references and what a model computes, for tests of interventions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.forward_context import Reader
from tl_fbn.intervention.hooks.layer_edit import LayerEdit

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]])


def network_of(model, indices=(0, 5, 23, 24, 40)) -> fbn.Network:
    return fbn.Network.from_indices(fbn.Scanner(model).space, indices, name="n")


def random_reference(model, seed: int = 0) -> fbn.Recording:
    """40 rows of normal deviates, two blocks of 20."""
    rng = np.random.default_rng(seed)
    widths = fbn.Scanner(model).space.widths
    return fbn.Recording.from_arrays(
        [[rng.normal(1.0, 2.0, (40, w)).astype(np.float32) for w in widths]], events=[blocks(["a", "b"], 20)]
    )


def texts_reference(model, seed: int = 1) -> fbn.Recording:
    """Three texts of 7, 4 and 9 tokens in one run, as the scanner lays them out."""
    rng = np.random.default_rng(seed)
    lengths = [7, 4, 9]
    rows = pd.DataFrame(
        {
            "prompt": np.repeat(range(3), lengths),
            "position": np.concatenate([np.arange(n) for n in lengths]),
            "trial_type": "a",
        }
    )
    widths = fbn.Scanner(model).space.widths
    arrays = [rng.normal(1.0, 2.0, (20, width)).astype(np.float32) for width in widths]
    return fbn.Recording.from_arrays([arrays], events=[blocks(["a"], 20)], rows=[rows])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS)


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


def hook_counts(model) -> int:
    """Hooks on the model's hook points, whoever put them there."""
    return sum(len(point._forward_hooks) + len(point._backward_hooks) for point in model.hook_dict.values())


def module_hooks(model) -> int:
    """Hooks of ours on any module of the model, Hugging Face's included."""
    modules = {id(m): m for root in (model, model.original_model) for m in root.modules()}.values()
    hooks = [hook for m in modules for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    return sum(
        isinstance(getattr(host.unwrapped(hook), "__self__", host.unwrapped(hook)), Reader | LayerEdit)
        for hook in hooks
    )


def llama_bridge():
    module = tiny_llama()
    for parameter in module.parameters():
        parameter.data.mul_(3.0)  # so that an intervention changes greedy choices
    return bridged(module)
