"""A model at two moments: what changed is named, and what did not is let through."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from transformers.models.llama import modeling_llama

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import resolve_site


@pytest.fixture
def model() -> Any:
    return bridged(tiny_llama())


def state_of(model: Any) -> ModelState:
    return ModelState.of(model, resolve_site(model, "mlp.neurons").taps)


def test_an_unchanged_model_passes(model: Any) -> None:
    state = state_of(model)
    with torch.no_grad():
        model(torch.arange(20)[None])
    state.require_unchanged(seconds=1e9)


def test_weights_settings_and_interventions_are_named(model: Any) -> None:
    state = state_of(model)
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1])
    with fbn.inhibit(model, network), pytest.raises(ValueError, match="0 edits of interventions were in force, 1 are"):
        state.require_unchanged()
    for module in model.original_model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon *= 2
    with pytest.raises(ValueError, match=r"module\.variance_epsilon: .* then, .* now.*not kept"):
        state.require_unchanged()
    state = state_of(model)
    next(model.parameters()).data.view(-1)[0] += 1
    with pytest.raises(ValueError, match="weights are others"):
        state.require_unchanged()


def test_what_no_setting_shows_is_seen_behind_long_work(model: Any) -> None:
    state = state_of(model)
    with mock.patch.object(modeling_llama, "rotate_half", torch.neg):
        state.require_unchanged(seconds=0.0)
        with pytest.raises(ValueError, match="a short text gives other activations at"):
            state.require_unchanged(seconds=1e9)
