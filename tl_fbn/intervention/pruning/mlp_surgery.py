"""Cutting units out of a model's matrices: the part of pruning that knows where weights are.

A bridge replaces modules of the model it wraps by its own, and keeps each original inside. :func:`plain_copy` copies the
model and takes the wrapping off again, so that what is cut and saved is the plain Hugging Face model with its own names:

======================= ================================= =============================
MLP                     rows cut (outputs)                columns cut (inputs)
======================= ================================= =============================
gated (Llama, Qwen, ..) gate, up (d_mlp x d_model)        down (d_model x d_mlp)
fused (Phi-3, GLM)      both halves of gate_up            down
ungated (GPT-2, OPT)    up, with its bias                 down
======================= ================================= =============================

GPT-2's Conv1D holds the transposed matrix. Heads are in :mod:`tl_fbn.intervention.pruning.head_surgery`.

Cost: a second copy of the weights while it runs. Nothing here decides what is removed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError, InputTypeError

_INNER = "_original_component"  # under which a bridge's component keeps the module it stands for


@dataclass(frozen=True)
class Mlp:
    """Names of an MLP's matrices in the plain model.

    Args:
        down: The down projection.
        rows: Matrices of which a neuron is a row: up, and gate.
        fused: Number of such matrices in one, gate above up: 2 where they are fused, else 1.
    """

    down: str
    rows: tuple[str, ...]
    fused: int = 1

    def about(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_about(cls, about: dict[str, Any]) -> Mlp:
        return cls(about["down"], tuple(about["rows"]), about["fused"])


@dataclass(frozen=True)
class Plain:
    """A copy of the model under a bridge, without the bridge.

    Args:
        model: The copy.
        mlps: Layer to its MLP, for the layers that have neurons.
        outputs: Layer to the name of the attention's output projection, where there is one.
    """

    model: Any
    mlps: dict[int, Mlp]
    outputs: dict[int, str]

    def module(self, name: str) -> Any:
        return attrgetter(name)(self.model)


def inner(module: Any) -> Any:
    """The module of the model's own behind a bridge's component."""
    while _INNER in getattr(module, "_modules", {}):
        module = module._modules[_INNER]
    return module


def part_of(mlp: Any, name: str) -> Any | None:
    """A projection of a bridge's MLP: "in", "gate" or "out"; dense layers of mixtures of experts have them too."""
    return getattr(mlp, name, None) or getattr(mlp, f"dense_{name}", None)


def plain_parameters(model: Any) -> dict[int, torch.Tensor]:
    """The parameters of the model under a bridge, each once, by identity; without the bridge's own views of parts of them."""
    found: dict[int, torch.Tensor] = {}

    def walk(module: Any) -> None:
        found.update({id(p): p for p in module._parameters.values() if p is not None})
        for child in module._modules.values():
            if child is not None:
                walk(inner(child))

    walk(inner(model.original_model))
    return found


def n_parameters(model: HookedModel) -> int:
    """Parameters of the model under a bridge; tied ones count once."""
    return sum(p.numel() for p in plain_parameters(model).values())


def require_bridge(model: HookedModel, what: str) -> None:
    """Raise InputTypeError unless the model is a bridge around a torch model."""
    host.require_model(model)
    missing = [name for name in ("original_model", "adapter", "blocks") if not hasattr(model, name)]
    if missing:
        raise InputTypeError(
            f"{what} needs a TransformerBridge, whose weights are those of a Hugging Face model; {type(model).__name__} has no "
            f"{', '.join(missing)}. Load it with TransformerBridge.boot_transformers(name)"
        )


def plain_copy(model: Any, layers: Iterable[int]) -> Plain:
    """Copy the model under a bridge, with its buffers, dtypes, ties and modes, and take the bridge off.

    Args:
        model: A bridge.
        layers: The layers that have neurons.

    Raises:
        InputError: An MLP whose matrices cannot be told.
    """
    memo: dict[int, Any] = {}
    dense = set(layers)
    root = _unwrapped(copy.deepcopy(model.original_model, memo))
    names = {id(module): name for name, module in root.named_modules()}

    def name_of(component: Any) -> str | None:
        return names.get(id(memo.get(id(inner(component)))))

    mlps = {}
    outputs = {}
    for layer, block in enumerate(model.blocks):
        output = getattr(getattr(block, "attn", None), "o", None)
        if output is not None and (name := name_of(output)) is not None:
            outputs[layer] = name
        if layer in dense:
            mlps[layer] = _mlp(root, model, layer, block.mlp, name_of, memo)
    return Plain(root, mlps, outputs)


def _unwrapped(module: Any) -> Any:
    module = inner(module)
    for name, child in list(module._modules.items()):
        if child is not None:
            module._modules[name] = _unwrapped(child)
    return module


def _mlp(root: Any, model: HookedModel, layer: int, mlp: Any, name_of: Any, memo: dict[int, Any]) -> Mlp:
    parts = [part for part in (part_of(mlp, "gate"), part_of(mlp, "in")) if part is not None]
    down = name_of(part_of(mlp, "out"))
    rows = [name_of(part) for part in parts]
    if down is not None and rows and None not in rows:
        return Mlp(down, tuple(str(name) for name in rows))
    fused = name_of_fused(mlp, name_of, sum(inner(part).weight.shape[0] for part in parts))
    if down is None or fused is None or len(parts) != 2:
        raise InputError(
            f"the MLP of layer {layer} of {host.model_label(model)} ({type(inner(mlp)).__name__}) has no up and down projection "
            "that can be told; dense MLPs, gated, ungated and with gate and up fused, can be pruned"
        )
    whole = attrgetter(fused)(root)
    with torch.no_grad():  # the bridge computes with its own parts, which may have been trained or moved apart
        copies = [memo[id(inner(part))] for part in parts]
        whole.weight.copy_(torch.cat([part.weight for part in copies]))
        if whole.bias is not None:
            whole.bias.copy_(torch.cat([part.bias for part in copies]))
    return Mlp(down, (fused,), 2)


def name_of_fused(mlp: Any, name_of: Any, n_rows: int) -> str | None:
    """Name of the one matrix with this many rows in an MLP."""
    found = [
        name_of(child)
        for child in inner(mlp)._modules.values()
        if child is not None and getattr(getattr(inner(child), "weight", None), "shape", (0,))[0] == n_rows
    ]
    return found[0] if len(found) == 1 else None


def units_axis(module: Any, *, rows: bool) -> int:
    """Axis of a matrix on which its outputs (rows) or inputs are: Linear is (out, in), Conv1D (in, out)."""
    return int(rows == (type(module).__name__ == "Conv1D"))


def n_inputs(module: Any) -> int:
    """Inputs of a linear module."""
    return int(module.weight.shape[units_axis(module, rows=False)])


def set_linear(module: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Give a linear module other weights, and the sizes it says it has."""
    for name, value in (("weight", weight), ("bias", bias)):
        old = getattr(module, name, None)
        if value is not None:
            keeps = old.requires_grad if old is not None else module.weight.requires_grad
            setattr(module, name, torch.nn.Parameter(value.contiguous(), requires_grad=keeps))
    shape = tuple(module.weight.shape)
    out_in = reversed(shape) if type(module).__name__ == "Conv1D" else shape
    for names, size in zip((("out_features", "nf"), ("in_features", "nx")), out_in, strict=True):
        for name in names:
            if name in module.__dict__:
                setattr(module, name, size)


def select(
    module: Any, index: Int[np.ndarray, " some"], *, rows: bool, parts: int = 1, width: int | None = None
) -> None:
    """Keep some of a linear module's outputs (with their biases) or inputs, then zeros up to ``width``.

    Args:
        module: Linear, Conv1D or alike.
        index: (some,) what is kept, in this order.
        rows: True for outputs, False for inputs.
        parts: Equal parts that are treated alike, e.g. 2 for gate and up in one matrix.
        width: Size of each part afterwards; that of ``index`` by default.
    """
    chosen = torch.from_numpy(np.asarray(index, np.int64)).to(module.weight.device)

    def cut(tensor: torch.Tensor, axis: int) -> torch.Tensor:
        out = []
        for part in tensor.detach().chunk(parts, axis) if parts > 1 else (tensor.detach(),):
            kept = part.index_select(axis, chosen)
            shape = list(kept.shape)
            shape[axis] = max((width or 0) - len(chosen), 0)
            out.append(torch.cat([kept, kept.new_zeros(shape)], axis))
        return torch.cat(out, axis) if parts > 1 else out[0]

    bias = getattr(module, "bias", None)
    cut_bias = cut(bias, 0) if rows and bias is not None else None
    set_linear(module, cut(module.weight, units_axis(module, rows=rows)), cut_bias)


def cut_mlp(plain: Plain, layer: int, kept: Int[np.ndarray, " kept"], width: int | None = None) -> None:
    """Keep some neurons of a layer, then zeros up to ``width``."""
    mlp = plain.mlps[layer]
    for name in mlp.rows:
        select(plain.module(name), kept, rows=True, parts=mlp.fused, width=width)
    select(plain.module(mlp.down), kept, rows=False, width=width)


def add_bias(module: Any, inputs: Int[np.ndarray, " some"], values: np.ndarray) -> None:
    """Add what constant inputs would contribute to a linear module's output: b += W[:, inputs] @ values, in float64."""
    weight = module.weight.detach()
    if units_axis(module, rows=False) == 0:
        weight = weight.T
    columns = weight[:, torch.from_numpy(np.asarray(inputs, np.int64)).to(weight.device)].double()
    added = columns @ torch.from_numpy(np.asarray(values, np.float64)).to(weight.device)
    before = getattr(module, "bias", None)
    total = added if before is None else before.detach().double() + added
    set_linear(module, module.weight.detach(), total.to(weight.dtype))


def cost_of_neuron(mlp: Any) -> int:
    """Parameters that go with a neuron of a bridge's MLP: its rows, their biases, its column."""
    n_neurons = mlp.W_out.shape[0]
    n = 0
    for part in ("in", "gate", "out"):
        module = inner(part_of(mlp, part))
        if module is not None:
            n += module.weight.numel() // n_neurons + (part != "out" and getattr(module, "bias", None) is not None)
    return n


def empty_model(kind: Any, config: Any) -> Any:
    """A model of a config, without memory."""
    with torch.device("meta"):
        return kind(copy.deepcopy(config))
