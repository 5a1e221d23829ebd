"""A model of which it is known what one neuron does, and a lesion study of it."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import own_words, tiny_model
from tl_fbn.intervention.behaviour.battery import Battery


@pytest.fixture(scope="module")
def rigged():
    """A model in which one neuron of layer 1 decides every answer: it is always on and pushes its direction out
    hard.
    """
    model = tiny_model(d_mlp=60)
    neuron = 7
    with torch.no_grad():
        model.blocks[1].mlp.W_in[:, neuron] = 0.0
        model.blocks[1].mlp.b_in[neuron] = 5.0
        model.blocks[1].mlp.W_out[neuron] = 4.0 * torch.randn(16, generator=torch.Generator().manual_seed(1))
    return model, neuron


@pytest.fixture(scope="module")
def study(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    networks = {
        "task": fbn.Network.from_indices(space, [(1, neuron)], name="task"),
        "other": fbn.Network.from_indices(space, [(1, 30), (0, 2)], name="other"),
    }
    battery = Battery.from_pairs({"task": own_words(model, seed=0), "second": own_words(model, seed=1)})
    return fbn.lesion_study(model, networks, battery, n_controls=99, seed=0, progress=False)


@pytest.fixture(scope="session")
def few_items() -> fbn.Battery:
    """Eight items of each of two tasks of the embedded model."""
    return fbn.demo.battery(n=8).select(["sort", "reverse"])
