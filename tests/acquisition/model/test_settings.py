"""Settings of a model: each is known by its name, with its value where modules agree."""

from __future__ import annotations

import functools
from typing import Any

import torch

from tests.helpers.models import bridged, tiny_llama
from tl_fbn.acquisition.model.settings import defined_in, is_of_library, settings_of


def own(value: Any) -> Any:
    return value


def test_values_that_modules_share_are_shown_and_others_are_digests() -> None:
    model = bridged(tiny_llama())
    before = settings_of(model)
    assert settings_of(model) == before
    assert settings_of(bridged(tiny_llama())) == before
    assert before["config.rms_norm_eps"] == before["module.variance_epsilon"] == "1e-06"
    assert before["torch.autocast"] == "off"
    modules = [one for one in model.original_model.modules() if hasattr(one, "variance_epsilon")]
    modules[0].variance_epsilon = 0.5
    after = settings_of(model)
    assert {name for name in after if after[name] != before[name]} == {"module.variance_epsilon"}
    assert "0.5" not in after["module.variance_epsilon"]


def test_precision_and_casts_of_torch_are_settings() -> None:
    model = bridged(tiny_llama())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert settings_of(model)["torch.autocast"] == "bfloat16"


def test_whose_code_a_function_runs() -> None:
    assert defined_in(own) == __name__
    assert defined_in(functools.partial(own, 1)) == __name__
    assert defined_in(functools.wraps(torch.nn.Linear.forward)(lambda value: value)) == __name__
    assert is_of_library(torch.nn.Linear(1, 1).forward)
    assert not is_of_library(own)
