"""An untrained twin: the shape of the model, and none of its weights."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.mark.parametrize("make", [lambda: bridged(tiny_gpt2()), lambda: bridged(tiny_llama()), tiny_model])
def test_an_untrained_twin_has_the_shape_and_none_of_the_weights(make):
    model = make()
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    twin = fbn.studies.untrained(model, seed=5)
    assert torch.rand(1) == expected  # the user's random numbers are his own
    assert fbn.Scanner(twin).space == fbn.Scanner(model).space
    assert not torch.equal(twin.blocks[0].mlp.W_out, model.blocks[0].mlp.W_out)
    assert torch.equal(fbn.studies.untrained(model, seed=5)(IDS), twin(IDS))
    assert not torch.equal(fbn.studies.untrained(model, seed=6)(IDS), twin(IDS))
    assert twin(IDS).shape == model(IDS).shape
