"""Tiny models in which some neurons decide every token, alone or together, and texts that such a model expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tests.helpers.models import tiny_model

Unit = tuple[int, int]  # layer and number in it
# neurons that are always on, to how much of one direction they write: with it the model says one token for ever
PLANTS: dict[str, dict[Unit, float]] = {
    "one": {(1, 7): 1.0},
    "pair": {(1, 7): 1.0, (1, 8): 1.0},
    "pair of two layers": {(0, 30): 1.0, (1, 8): 1.0},
    "unequal pair": {(1, 7): 1.0, (1, 8): 0.5},
    "three": {(0, 30): 1.0, (1, 7): 1.0, (1, 8): 1.0},
}


def planted(writes: Mapping[Unit, float], *, cancel: Sequence[Unit] = (), d_mlp: int = 120) -> tuple[Any, list[Any]]:
    """A model with neurons that write a constant, and texts of the token that it then expects.

    Args:
        writes: Neurons to the length that they write of one direction.
        cancel: Two more that write another, larger direction, one of them its negative.
        d_mlp: Number of neurons in each of two layers.
    """
    model = tiny_model(d_mlp=d_mlp)
    draw = torch.Generator().manual_seed(1)
    along, across = (torch.randn(16, generator=draw) for _ in range(2))
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.W_out.mul_(0.3)  # in 16 dimensions every neuron would be a large one
        for (layer, unit), length in writes.items():
            _write(model, layer, unit, 4 * length * along)
        for (layer, unit), sign in zip(cancel, (1, -1), strict=False):
            _write(model, layer, unit, 12 * sign * across)
        said = int(model(torch.tensor([[3, 4, 5]]))[0, -1].argmax())
    rng = np.random.default_rng(0)
    return model, [[int(first), *[said] * 9] for first in rng.integers(0, 50, 12)]


def _write(model: Any, layer: int, unit: int, direction: torch.Tensor) -> None:
    """Make a neuron write a direction, whatever it reads."""
    mlp = model.blocks[layer].mlp
    mlp.W_in[:, unit] = 0.0
    mlp.b_in[unit] = 5.0
    mlp.W_out[unit] = direction


def unit_costs(model: Any, texts: Sequence[Sequence[int]], layer: int, units: Sequence[int]) -> np.ndarray:
    """Nats a token that each neuron of a layer costs, by a hook made by hand and torch's own cross-entropy.

    Args:
        model: The model.
        texts: Token ids of texts of one length.
        layer: The layer.
        units: The neurons that are zero, one at a time.
    """
    ids = torch.tensor(texts)

    def loss(unit: int | None) -> float:
        def zero(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            tensor = tensor.clone()
            tensor[..., unit] = 0
            return tensor

        hooks = [] if unit is None else [(f"blocks.{layer}.mlp.hook_post", zero)]
        with torch.no_grad(), model.hooks(fwd_hooks=hooks):
            logits = model(ids)[:, :-1]
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))

    untouched = loss(None)
    return np.array([loss(unit) - untouched for unit in units])
