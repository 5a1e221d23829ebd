"""MLPs with fewer neurons: every matrix is smaller, and computes what the masked one does."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from tests.helpers.models import bridged, tiny_gpt2, tiny_llama
from tests.helpers.pruning import close, half, logits
from tests.oracle.architectures import architecture
from tl_fbn.intervention.hooks.interventions import retain
from tl_fbn.intervention.pruning.mlp_surgery import (
    Mlp,
    add_bias,
    cost_of_neuron,
    n_inputs,
    n_parameters,
    select,
    units_axis,
)
from tl_fbn.intervention.pruning.prune import prune


def test_matrices_are_smaller_and_parameters_counted():
    for plain, part, per_neuron in ((tiny_llama(), "gate_proj", 3 * 32), (tiny_gpt2(), "c_fc", 2 * 32 + 1)):
        model = bridged(copy.deepcopy(plain))
        kept = half(model)
        small = prune(model, keep=kept)
        sizes = [
            max(tuple(module.weight.shape), key=lambda n: n != 32)
            for name, module in small.original_model.named_modules()
            if name.endswith(part)
        ]
        assert sizes == kept.per_layer().tolist()
        before = sum({id(p): p.numel() for p in plain.parameters()}.values())
        removed = kept.space.n_units - len(kept)
        assert (small.pruned.n_before, small.pruned.n_after) == (before, before - removed * per_neuron)
        assert small.pruned.n_after == n_parameters(small)
        assert small.pruned.ratio == pytest.approx(removed * per_neuron / before)


def test_parts_that_were_trained_after_the_boot_are_what_is_pruned():
    """Bridges compute with their own halves of fused matrices."""
    for label in ("Phi3", "Glm", "GPT2"):
        arch = architecture(label)
        model = arch.bridged(arch.build())
        with torch.no_grad():
            model.blocks[0].mlp.get_submodule("in").original_component.weight.mul_(1.5)
        network = half(model)
        small = prune(model, keep=network)
        with retain(model, network):
            assert close(logits(small), logits(model))


def linear(kind: str) -> torch.nn.Module:
    """A linear module of 6 inputs and 8 outputs, random also in its bias."""
    torch.manual_seed(0)
    module = torch.nn.Linear(6, 8) if kind == "Linear" else Conv1D(8, 6)
    torch.nn.init.normal_(module.bias)
    return module


@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
def test_outputs_and_inputs_are_cut_and_padded_with_zeros(kind: str) -> None:
    x, kept = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)), np.array([7, 0, 3])
    whole = linear(kind)(x)
    rows = linear(kind)
    select(rows, kept, rows=True, width=5)
    torch.testing.assert_close(rows(x), torch.cat([whole[:, kept], torch.zeros(5, 2)], 1))
    columns, inputs = linear(kind), np.array([4, 1])
    select(columns, inputs, rows=False)
    silenced = torch.zeros_like(x)
    silenced[:, inputs] = x[:, inputs]
    torch.testing.assert_close(columns(x[:, inputs]), linear(kind)(silenced))  # the bias of outputs stays
    assert (n_inputs(columns), n_inputs(rows)) == (2, 6)
    sizes = [getattr(columns, name) for name in (("in_features", "out_features") if kind == "Linear" else ("nx", "nf"))]
    assert sizes == [2, 8]
    assert units_axis(rows, rows=True) == (0 if kind == "Linear" else 1)


def test_parts_of_one_matrix_are_cut_alike() -> None:
    x, kept = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)), np.array([3, 1])
    gate, up = linear("Linear")(x).chunk(2, 1)
    fused = linear("Linear")
    select(fused, kept, rows=True, parts=2, width=3)
    none = torch.zeros(5, 1)
    torch.testing.assert_close(fused(x), torch.cat([gate[:, kept], none, up[:, kept], none], 1))


@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
def test_a_bias_stands_in_for_constant_inputs(kind: str) -> None:
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    held, values = np.array([1, 4]), np.array([2.0, -0.5])
    x[:, held] = torch.tensor(values, dtype=x.dtype)
    wanted = linear(kind)(x)
    module = linear(kind)
    add_bias(module, held, values)
    x[:, held] = 0
    torch.testing.assert_close(module(x), wanted)
    bare = torch.nn.Linear(6, 8, bias=False)
    add_bias(bare, held, values)
    assert bare.bias is not None and bare.bias.requires_grad
    torch.testing.assert_close(bare.bias.detach(), bare.weight.detach()[:, held] @ torch.tensor([2.0, -0.5]))


@pytest.mark.parametrize(
    ("make", "cost"), [(tiny_llama, 3 * 32), (tiny_gpt2, 2 * 32 + 1)], ids=["gated, no biases", "ungated, biases"]
)
def test_what_a_neuron_costs(make, cost) -> None:
    model = bridged(make())
    assert cost_of_neuron(model.blocks[0].mlp) == cost
    assert n_parameters(model) == sum({id(p): p.numel() for p in make().parameters()}.values())


def test_names_of_matrices_survive_a_file() -> None:
    one = Mlp("h.0.down", ("h.0.gate_up",), 2)
    assert Mlp.from_about(json.loads(json.dumps(one.about()))) == one
