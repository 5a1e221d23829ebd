"""Where gradients are taken: in gated and ungated models, and what has no such place."""

from __future__ import annotations

import pytest

from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.attribution.gradient_points import gradient_points, mlp_inputs


def test_the_up_projection_of_gated_and_ungated_models() -> None:
    space, gated = gradient_points(bridged(tiny_llama()), "mlp.up")
    assert space.site == "mlp.neurons" and gated == {n: f"blocks.{n}.mlp.hook_pre_linear" for n in range(2)}
    _, ungated = gradient_points(bridged(tiny_gpt2()), "mlp.up")
    assert ungated == {n: f"blocks.{n}.mlp.hook_pre" for n in range(2)}
    assert mlp_inputs(bridged(tiny_gpt2()), [1]) == {1: "blocks.1.mlp.in.hook_in"}


def test_refusals() -> None:
    with pytest.raises(ValueError, match="site must be"):
        gradient_points(tiny_model(), "attn.out")
    with pytest.raises(ValueError, match=r"layer 7 of .* has no hook at its MLP's input"):
        mlp_inputs(tiny_model(), [7])
