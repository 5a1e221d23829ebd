"""Digests of weights: equal for equal weights, and for no others."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.weights import weights_digest


def test_weights_digest_is_of_the_weights() -> None:
    first, same, other = tiny_model(seed=1), tiny_model(seed=1), tiny_model(seed=2)
    digest = weights_digest(first)
    assert len(digest) == 64
    assert weights_digest(same) == digest
    assert weights_digest(other) != digest
    assert weights_digest(first) == digest


def test_weights_digest_sees_edits_that_leave_no_trace(model: Any) -> None:
    before = weights_digest(model)
    weight = model.blocks[1].mlp.W_out
    name, parameter = next((n, p) for n, p in model.named_parameters() if p.data_ptr() == weight.data_ptr())
    version = parameter._version
    parameter.data[0, 0] += 1e-3
    assert parameter._version == version, name  # which is why nothing is remembered between calls
    edited = weights_digest(model)
    assert edited != before
    parameter.data[0, 0] -= 1e-3


def test_weights_digest_knows_names_shapes_dtypes_and_buffers() -> None:
    def digest(
        *, name: str = "w", dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (4, 2), step: int = 0
    ) -> str:
        module = nn.Module()
        module.register_parameter(name, nn.Parameter(torch.zeros(shape, dtype=dtype)))
        module.register_buffer("steps", torch.tensor(step))
        module.register_buffer("mask", torch.tensor([True, False]))
        return weights_digest(module)

    variants = [
        digest(),
        digest(name="v"),
        digest(dtype=torch.float64),
        digest(dtype=torch.bfloat16),
        digest(dtype=torch.float16),
        digest(shape=(2, 4)),
        digest(step=1),
    ]
    assert len(set(variants)) == len(variants)
    assert digest() == variants[0]


def test_weights_digest_is_of_values_not_of_memory_layout() -> None:
    straight, turned = nn.Module(), nn.Module()
    straight.w = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    turned.w = nn.Parameter(torch.arange(6.0).reshape(2, 3).T.contiguous().T)
    assert not turned.w.is_contiguous()
    assert weights_digest(turned) == weights_digest(straight)
