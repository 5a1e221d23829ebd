"""Networks to prune a model to, and what models compute, for tests of pruning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn

IDS = torch.tensor([[5, 7, 11, 13, 2, 40], [3, 3, 9, 1, 17, 29]])
TEXTS = [[4, 8, 15, 16, 23, 42], [1, 2], [31, 41, 5, 9]]


def half(model, *, seed: int = 0, share: float = 0.5, site: str = "mlp.neurons") -> fbn.Network:
    space = fbn.Scanner(model, site=site).space
    return fbn.Network(space, np.random.default_rng(seed).random(space.n_units) < share, name="half")


def logits(model, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


def close(one: torch.Tensor, other: torch.Tensor, at_most: float = 1e-4) -> bool:
    return float((one - other).abs().max()) <= at_most * max(1.0, float(other.abs().max()))


def one_by_one(labels, quick):
    """Parameters of a test, of which all but some are slow."""
    return [pytest.param(one, id=str(one), marks=() if str(one) in quick else pytest.mark.slow) for one in labels]
