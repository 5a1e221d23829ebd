"""Hooks that are put on and taken off by one block, and serve passes of one thread."""

from __future__ import annotations

import threading

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.interventions import IDS, hook_counts, llama_bridge
from tl_fbn.acquisition.model.attached_hooks import hooked

NAME = "blocks.0.mlp.hook_post"


def test_hooks_are_on_inside_and_off_afterwards():
    model = llama_bridge()
    seen = []
    with hooked(model, [(NAME, lambda tensor, hook: seen.append(tensor.shape))], "a test"):
        model(IDS)
    model(IDS)
    assert [shape[:2] for shape in seen] == [IDS.shape]
    assert hook_counts(model) == 0


def test_hooks_may_edit():
    model = llama_bridge()
    with hooked(model, [(NAME, lambda tensor, hook: torch.zeros_like(tensor))], "a test"):
        _, cache = model.run_with_cache(IDS)
    assert (cache["post", 0] == 0).all()


def test_a_hook_that_the_model_lacks_leaves_nothing():
    model = llama_bridge()
    look = [(NAME, lambda tensor, hook: None), ("blocks.9.nowhere", lambda tensor, hook: None)]
    with pytest.raises((KeyError, AttributeError)), hooked(model, look, "a test"):
        pass
    assert "_tl_fbn_in_use" not in vars(model.original_model)


def test_a_pass_in_another_thread_is_not_taken_for_ones_own():
    model = llama_bridge()
    seen, errors = [], []

    def act():
        try:
            model(IDS)
        except fbn.InputError as error:
            errors.append(str(error))

    with hooked(model, [(NAME, lambda tensor, hook: seen.append(1))], "a test"):
        thread = threading.Thread(target=act, name="other")
        thread.start()
        thread.join()
        assert not seen
        model(IDS)
    assert seen == [1]
    assert "read by thread 'MainThread' just now" in errors[0]
    assert "a pass in 'other'" in errors[0]
