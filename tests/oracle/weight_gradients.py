"""Gradients of the weights themselves, by PyTorch on an untouched Hugging Face model: what CGVST's cheap form must
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from tests.oracle.architectures import Architecture, architecture

UP = {"Llama": "mlp.up_proj", "Qwen2": "mlp.up_proj", "OPT": "fc1", "GPT2": "mlp.c_fc"}
GATE = {"Llama": "mlp.gate_proj", "Qwen2": "mlp.gate_proj"}
DOWN = {"Llama": "mlp.down_proj", "Qwen2": "mlp.down_proj", "OPT": "fc2", "GPT2": "mlp.c_proj"}


def rough(label: str) -> tuple[Architecture, Any]:
    """A model in float64 whose every parameter, norms and biases too, is random."""
    one = architecture(label)
    model = one.build(seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return one, model


def loss_of(
    model: Any, ids: Sequence[int], groups: Sequence[Sequence[int]], weights: Sequence[float] = (1.0, 1.0)
) -> torch.Tensor:
    """Sum over groups of the mean cross-entropy of the tokens at their positions."""
    logits = model(torch.tensor([list(ids)])).logits[0]
    total = torch.zeros((), dtype=logits.dtype)
    for group, weight in zip(groups, weights, strict=False):
        terms = [-logits[at - 1].log_softmax(-1)[ids[at]] for at in group]
        total = total + weight * torch.stack(terms).mean()
    return total


def weight_gradients(
    one: Architecture,
    model: Any,
    names: dict[str, str],
    ids: Sequence[int],
    groups: Sequence[Sequence[int]],
    weights: Sequence[float] = (1.0, 1.0),
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each layer the weight, as (neuron, input) whatever the module's own order, and its gradient."""
    model.zero_grad()
    loss_of(model, ids, groups, weights).backward()
    found = []
    for block in one.layers(model):
        weight = attrgetter(names[one.name])(block).weight
        turn = one.name == "GPT2"  # Conv1D: (input, output)
        found.append(tuple((each.T if turn else each).detach().numpy().copy() for each in (weight, weight.grad)))
    return found
