"""Weights that are no parameters count, and buffers that passes write count with what belongs to the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.models import bridged, tiny_llama
from tl_fbn.acquisition.model.hidden_weights import bit_sum, content_digest, named_modules, packed_weights
from tl_fbn.acquisition.model.weights import weights_digest


class Packed(torch.nn.Module):
    def __init__(self, codes: list[int]) -> None:
        super().__init__()
        self.codes = torch.tensor(codes, dtype=torch.int8)

    def get_extra_state(self) -> Any:
        return {"codes": self.codes, "scale": 0.5}

    def set_extra_state(self, state: Any) -> None:
        self.codes = state["codes"]


def test_packed_weights_are_in_the_digest() -> None:
    one, same, other = (torch.nn.Sequential(Packed(codes)) for codes in ([1, 2], [1, 2], [1, 3]))
    assert dict(packed_weights(one)) == dict(packed_weights(same)) != dict(packed_weights(other))
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # as other libraries' layers still hold them
def test_quantised_tensors_differ_by_codes_and_by_scale() -> None:
    def quantised(scale: float, values: list[float]) -> str:
        return content_digest(torch.quantize_per_tensor(torch.tensor(values), scale, 0, torch.qint8))

    assert len({quantised(0.1, [1.0, 2.0]), quantised(0.2, [2.0, 4.0]), quantised(0.1, [1.0, 2.1])}) == 3


def test_dynamic_frequencies_leave_no_trace_of_the_last_text() -> None:
    config = tiny_llama().config
    config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    config.max_position_embeddings = 16
    model = bridged(type(tiny_llama())(config).eval())
    rope = next(one for _, one in named_modules(model.original_model) if "inv_freq" in one._buffers)
    before, frequencies = weights_digest(model), rope.inv_freq.clone()
    with torch.no_grad():
        model(torch.arange(40)[None])
    assert not torch.equal(rope.inv_freq, frequencies)  # the pass wrote them
    assert weights_digest(model) == before
    rope.original_inv_freq.mul_(2)
    assert weights_digest(model) != before


def test_one_bit_changes_the_sum() -> None:
    values = torch.randn(7)
    other = values.clone()
    other.view(torch.int32)[3] ^= 1
    assert bit_sum(values) != bit_sum(other)
    assert bit_sum(values.bfloat16()) == bit_sum(values.bfloat16().clone())
