"""Fingerprints of a pass: equal for equal models on other threads, types apart, and others for changed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tl_fbn.acquisition.model.fingerprint import N_TOKENS, apart, fingerprint, probe_ids, tolerance
from tl_fbn.acquisition.model.sites import resolve_site


def of(model: Any) -> Any:
    return fingerprint(model, resolve_site(model, "mlp.neurons").taps)


def test_the_same_model_says_the_same_on_any_number_of_threads() -> None:
    one = of(tiny_model())
    threads = torch.get_num_threads()
    try:
        for n in (1, 2, 4):
            torch.set_num_threads(n)
            other = of(tiny_model())
            assert max(apart(one.numbers, other.numbers).values()) <= one.tolerance
            assert one.fields == other.fields
    finally:
        torch.set_num_threads(threads)


def test_numbers_are_those_of_the_activations_by_hand() -> None:
    model = tiny_model()
    name = "blocks.0.mlp.hook_post"
    with torch.no_grad():
        _, cache = model.run_with_cache(torch.tensor([probe_ids(model)]))
    rows = cache[name][0].double().numpy()
    mean_log_rms = np.log(np.sqrt((rows**2).mean(1))).mean()
    assert of(model).numbers[next(iter(of(model).numbers))][0] == pytest.approx(mean_log_rms, abs=1e-6)


def test_hooks_and_interventions_do_not_matter_and_are_left_on() -> None:
    model = tiny_model()
    plain = of(model)
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1])
    doubling = [("blocks.0.mlp.hook_post", lambda tensor, hook: tensor * 2)]
    with fbn.inhibit(model, network), model.hooks(fwd_hooks=doubling):
        assert of(model) == plain
        assert len(model.hook_dict["blocks.0.mlp.hook_post"].fwd_hooks) == 2


def test_a_change_of_what_is_computed_is_farther_than_the_tolerance() -> None:
    model = bridged(tiny_llama())
    plain = of(model)
    norm = model.original_model.model.norm
    getattr(norm, "original_component", norm).weight.data.mul_(1.001)
    assert apart(plain.numbers, of(model).numbers)["logits"] > plain.tolerance


def test_what_is_not_finite_and_what_is_missing_is_infinitely_apart() -> None:
    assert apart({"a": [1.0, None]}, {"a": [1.0, None]}) == {"a": 0.0}
    assert apart({"a": [1.0, None]}, {"a": [1.0, 2.0]}) == {"a": np.inf}
    assert apart({"a": [1.0]}, {}) == {"a": np.inf}


def test_tolerances_grow_with_the_roundings_of_a_type() -> None:
    assert tolerance("float64") < tolerance("float32") < tolerance("float16") < tolerance("bfloat16")


def test_the_probe_fits_the_model() -> None:
    ids = probe_ids(tiny_model(n_ctx=5))
    assert len(ids) == 5
    assert len(set(probe_ids(tiny_model()))) == N_TOKENS
    assert all(0 <= token < 50 for token in ids)
