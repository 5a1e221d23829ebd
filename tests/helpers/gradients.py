"""Items whose gradients are scored, and a model in which it is known which neurons matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.helpers.models import bridged, tiny_llama

IDS = [[3, 9, 4, 17, 22, 5, 8, 30, 11, 41, 6, 2], [7, 7, 21, 40, 3, 9, 12], [5, 19, 33, 8, 2, 14, 27, 6, 44]]
GROUPS = [[[1, 3, 4], [8, 11]], [[2], [4, 6]], [[1, 2, 3, 5], [7]]]
# neurons to plant, by layer
UNITS = {0: [3, 11, 30], 1: [7, 40]}


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def planted_model(task_units: dict[int, list[int]]) -> tuple[Any, list[list[int]], list[list[list[int]]]]:
    """A model in which, behind the token 1, only the given neurons say what comes next.

    Token 1 is followed by a token that the residual stream cannot predict but through these units: their incoming
    weights
    read a direction that token 1 alone has, their outgoing weights write the next token's unembedding, and every other
    neuron is weak.
    """
    model = tiny_llama().double()
    generator = torch.Generator().manual_seed(0)
    planted = sum(map(len, task_units.values()))
    with torch.no_grad():
        mark = model.model.embed_tokens.weight[1]
        mark.copy_(torch.randn(32, generator=generator, dtype=torch.float64))
        answer = model.lm_head.weight[2]
        for layer, block in enumerate(model.model.layers):
            block.self_attn.o_proj.weight.mul_(0.1)
            for each in (block.mlp.up_proj, block.mlp.gate_proj, block.mlp.down_proj):
                each.weight.mul_(0.05)
            for unit in task_units.get(layer, []):
                block.mlp.up_proj.weight[unit] = mark / mark.norm()
                block.mlp.gate_proj.weight[unit] = mark / mark.norm()
                block.mlp.down_proj.weight[:, unit] = (
                    0.3 * answer / answer.norm() / planted
                )  # so that layer 1 still sees the mark
    rng = np.random.default_rng(0)
    items = [[*rng.integers(3, 49, 5).tolist(), 1, 2, *rng.integers(3, 49, 3).tolist()] for _ in range(20)]
    return bridged(model), items, [[6]] * 20
