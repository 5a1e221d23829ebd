"""Cutting units out of a model's matrices: the part of pruning that knows where weights are.

A TransformerLens bridge replaces modules of the Hugging Face model in it by components of its own, and keeps each
original module inside its component. :func:`plain_copy` copies the model and puts the original modules back in their
places, so that what is cut and saved is the plain Hugging Face model with its own names:

======================= ================================= =============================
MLP                     rows cut (outputs)                columns cut (inputs)
======================= ================================= =============================
gated (Llama, Qwen, ..) gate, up (d_mlp x d_model)        down (d_model x d_mlp)
fused (Phi-3, GLM)      both halves of gate_up            down
ungated (GPT-2, OPT)    up, with its bias                 down
======================= ================================= =============================

Matrices are given as outputs x inputs; GPT-2's Conv1D holds the transposed matrix. Attention heads are cut in
:mod:`tl_fbn.intervention.pruning.head_surgery`.

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

# the name under which a bridge's component keeps the module that it stands for
_ORIGINAL_MODULE = "_original_component"


@dataclass(frozen=True)
class Mlp:
    """Names of an MLP's matrices in the plain model.

    Args:
        down: Name of the down projection, of which a neuron is a column.
        rows: Names of the matrices of which a neuron is a row: gate and up, or the one in which both are fused.
        fused: Number of matrices in each of ``rows``: 2 where gate and up are fused, gate above up; else 1.
    """

    down: str
    rows: tuple[str, ...]
    fused: int = 1

    def about(self) -> dict[str, Any]:
        """The names as plain values for a file."""
        return asdict(self)

    @classmethod
    def from_about(cls, about: dict[str, Any]) -> Mlp:
        """The names as a file has them.

        Args:
            about: What :meth:`about` returned; lists may stand for tuples.
        """
        return cls(about["down"], tuple(about["rows"]), about["fused"])


@dataclass(frozen=True)
class Plain:
    """A copy of the model in a bridge, without the bridge.

    Args:
        model: The copy, a plain Hugging Face model.
        mlps: Number of a layer to the names of its MLP's matrices, for the layers that have neurons.
        outputs: Number of a layer to the name of its attention's output projection, for the layers that have one.
    """

    model: Any
    mlps: dict[int, Mlp]
    outputs: dict[int, str]

    def module(self, name: str) -> Any:
        """A module of the copy.

        Args:
            name: Its name in the plain model, e.g. ``"model.layers.0.mlp.down_proj"``.
        """
        return attrgetter(name)(self.model)


def inner(module: Any) -> Any:
    """The model's own module inside a bridge's component.

    Args:
        module: A component of a bridge, or any other module, which is returned as it is.
    """
    # a loop: components may be nested
    while _ORIGINAL_MODULE in getattr(module, "_modules", {}):
        module = module._modules[_ORIGINAL_MODULE]
    return module


def part_of(mlp: Any, name: str) -> Any | None:
    """A projection of a bridge's MLP; None where it has none of this name.

    Args:
        mlp: The MLP of a bridge's block; dense layers of mixtures of experts name their projections differently.
        name: ``"in"`` for up, ``"gate"``, or ``"out"`` for down.
    """
    return getattr(mlp, name, None) or getattr(mlp, f"dense_{name}", None)


def plain_parameters(model: Any) -> dict[int, torch.Tensor]:
    """The parameters of the model in a bridge, each once; copies of parts of them that the bridge made are left out.

    Args:
        model: A bridge.

    Returns:
        ``id()`` of each parameter to the parameter; tied parameters are one.
    """
    found: dict[int, torch.Tensor] = {}

    def walk(module: Any) -> None:
        found.update({id(p): p for p in module._parameters.values() if p is not None})
        for child in module._modules.values():
            # the original module and not the component: a component of fused matrices has halves of its own
            if child is not None:
                walk(inner(child))

    walk(inner(model.original_model))
    return found


def n_parameters(model: HookedModel) -> int:
    """Number of parameters of the model in a bridge; tied ones count once.

    Args:
        model: A bridge.
    """
    return sum(p.numel() for p in plain_parameters(model).values())


def require_bridge(model: HookedModel, what: str) -> None:
    """Raise an error unless the model is a bridge around a torch model.

    Args:
        model: What was given as a model.
        what: The function that needs a bridge, as the beginning of the message.

    Raises:
        InputTypeError: The model is no bridge; the message says what it lacks.
    """
    host.require_model(model)
    missing = [name for name in ("original_model", "adapter", "blocks") if not hasattr(model, name)]
    if missing:
        raise InputTypeError(
            f"{what} needs a TransformerBridge, whose weights are those of a Hugging Face model; "
            f"{type(model).__name__} has no {', '.join(missing)}. "
            "Load it with TransformerBridge.boot_transformers(name)"
        )


def plain_copy(model: Any, layers: Iterable[int]) -> Plain:
    """Copy the model in a bridge, with its buffers, dtypes, tied weights and modes, without the bridge.

    Args:
        model: A bridge, which stays as it is.
        layers: Numbers of the layers that have neurons.

    Raises:
        InputError: The up and down projections of an MLP cannot be found.
    """
    # deepcopy notes here which copy belongs to which module (id of the original to the copy)
    memo: dict[int, Any] = {}
    dense = set(layers)
    root = _without_components(copy.deepcopy(model.original_model, memo))
    names = {id(module): name for name, module in root.named_modules()}

    def name_of(component: Any) -> str | None:
        # bridge's component -> the original module in it -> the copy of that -> its name in the plain model
        return names.get(id(memo.get(id(inner(component)))))

    mlps = {}
    outputs = {}
    for layer, block in enumerate(model.blocks):
        output = getattr(getattr(block, "attn", None), "o", None)
        if output is not None and (name := name_of(output)) is not None:
            outputs[layer] = name
        if layer in dense:
            mlps[layer] = _mlp_names(root, model, layer, block.mlp, name_of, memo)
    return Plain(root, mlps, outputs)


def _without_components(module: Any) -> Any:
    """A module in which every component of a bridge is replaced by the original module inside it, at every depth."""
    module = inner(module)
    for name, child in list(module._modules.items()):
        if child is not None:
            module._modules[name] = _without_components(child)
    return module


def _mlp_names(root: Any, model: HookedModel, layer: int, mlp: Any, name_of: Any, memo: dict[int, Any]) -> Mlp:
    """Names of an MLP's matrices in the plain copy; a fused matrix is given the weights the bridge computes with."""
    parts = [part for part in (part_of(mlp, "gate"), part_of(mlp, "in")) if part is not None]
    down = name_of(part_of(mlp, "out"))
    rows = [name_of(part) for part in parts]
    # separate matrices: each of the bridge's projections is a module of the model
    if down is not None and rows and None not in rows:
        return Mlp(down, tuple(str(name) for name in rows))
    # else gate and up may be halves that the bridge made of one matrix, which has as many rows as both together
    fused = name_of_fused(mlp, name_of, sum(inner(part).weight.shape[0] for part in parts))
    if down is None or fused is None or len(parts) != 2:
        raise InputError(
            f"the MLP of layer {layer} of {host.model_label(model)} ({type(inner(mlp)).__name__}) has no up and down "
            "projection that can be told; dense MLPs, gated, ungated and with gate and up fused, can be pruned"
        )
    whole = attrgetter(fused)(root)
    # the bridge computes with its own halves, which may have been trained since: they go back into the one matrix
    with torch.no_grad():
        copies = [memo[id(inner(part))] for part in parts]
        whole.weight.copy_(torch.cat([part.weight for part in copies]))
        if whole.bias is not None:
            whole.bias.copy_(torch.cat([part.bias for part in copies]))
    return Mlp(down, (fused,), 2)


def name_of_fused(mlp: Any, name_of: Any, n_rows: int) -> str | None:
    """Name of the one matrix of an MLP in which gate and up are fused; None if there is no such matrix, or several.

    Args:
        mlp: The MLP of a bridge's block.
        name_of: A function from a component of the bridge to the name of its module in the plain model.
        n_rows: Number of outputs that the matrix must have.
    """
    found = [
        name_of(child)
        for child in inner(mlp)._modules.values()
        if child is not None and getattr(getattr(inner(child), "weight", None), "shape", (0,))[0] == n_rows
    ]
    return found[0] if len(found) == 1 else None


def units_axis(module: Any, *, rows: bool) -> int:
    """Axis of a linear module's weight on which its outputs or inputs are.

    Args:
        module: A Linear, whose weight is (out, in), or a Conv1D, whose weight is (in, out).
        rows: True for the axis of outputs, False for that of inputs.
    """
    return int(rows == (type(module).__name__ == "Conv1D"))


def n_inputs(module: Any) -> int:
    """Number of inputs of a linear module.

    Args:
        module: A Linear or Conv1D.
    """
    return int(module.weight.shape[units_axis(module, rows=False)])


def set_linear(module: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Give a linear module other weights, and the attributes that say how large it is.

    Args:
        module: A Linear or Conv1D, which is changed in place.
        weight: The new weight, with the axes of the old one.
        bias: The new bias; None leaves the bias as it is.
    """
    for name, value in (("weight", weight), ("bias", bias)):
        old = getattr(module, name, None)
        if value is not None:
            # a bias that is new takes the setting of the weight
            keeps = old.requires_grad if old is not None else module.weight.requires_grad
            setattr(module, name, torch.nn.Parameter(value.contiguous(), requires_grad=keeps))
    shape = tuple(module.weight.shape)
    out_in = reversed(shape) if type(module).__name__ == "Conv1D" else shape
    # Linear says in_features and out_features, Conv1D nx and nf
    for names, size in zip((("out_features", "nf"), ("in_features", "nx")), out_in, strict=True):
        for name in names:
            if name in module.__dict__:
                setattr(module, name, size)


def select(
    module: Any, index: Int[np.ndarray, " some"], *, rows: bool, parts: int = 1, width: int | None = None
) -> None:
    """Keep some of a linear module's outputs (with their biases) or inputs, then zeros up to ``width``.

    Args:
        module: A Linear, a Conv1D or a module like them, which is changed in place.
        index: (some,) numbers of the outputs or inputs that are kept, in their new order.
        rows: True to select outputs (rows of the matrix), False to select inputs (columns).
        parts: Number of equal parts of the matrix from which the same numbers are kept; 2 for gate and up in one.
        width: Number of outputs or inputs of each part afterwards; by default the length of ``index``.
    """
    chosen = torch.from_numpy(np.asarray(index, np.int64)).to(module.weight.device)

    def cut(tensor: torch.Tensor, axis: int) -> torch.Tensor:
        out = []
        for part in tensor.detach().chunk(parts, axis) if parts > 1 else (tensor.detach(),):
            kept = part.index_select(axis, chosen)
            # zeros behind what is kept: none where width is not larger
            shape = list(kept.shape)
            shape[axis] = max((width or 0) - len(chosen), 0)
            out.append(torch.cat([kept, kept.new_zeros(shape)], axis))
        return torch.cat(out, axis) if parts > 1 else out[0]

    bias = getattr(module, "bias", None)
    # a bias has one entry for each output; without a change of outputs it stays
    cut_bias = cut(bias, 0) if rows and bias is not None else None
    set_linear(module, cut(module.weight, units_axis(module, rows=rows)), cut_bias)


def require_neurons(plain: Plain, layers: Iterable[int]) -> None:
    """Raise an error if a layer that loses all its neurons cannot run without one.

    A Linear of no inputs gives its bias; a Conv1D (GPT-2's) gives none of its outputs a shape.

    Args:
        plain: The copy of the model.
        layers: Numbers of the layers of which no neuron is left.

    Raises:
        InputError: A layer's projections are Conv1D; the message names the layers.
    """
    stuck = [layer for layer in layers if type(plain.module(plain.mlps[layer].down)).__name__ == "Conv1D"]
    if stuck:
        raise InputError(
            f"no neuron is left of layer {', '.join(map(str, stuck))}, and the MLP of {type(plain.model).__name__} "
            "(Conv1D) does not run without any; keep at least one neuron there, or fbn.inhibit the layer instead"
        )


def cut_mlp(plain: Plain, layer: int, kept: Int[np.ndarray, " kept"], width: int | None = None) -> None:
    """Keep some neurons of a layer, then neurons of zeros up to ``width``.

    Args:
        plain: The copy of the model, which is changed in place.
        layer: Number of the layer.
        kept: (kept,) numbers of the neurons that stay, in their new order.
        width: Number of neurons of the layer afterwards; by default the length of ``kept``.
    """
    mlp = plain.mlps[layer]
    for name in mlp.rows:
        select(plain.module(name), kept, rows=True, parts=mlp.fused, width=width)
    select(plain.module(mlp.down), kept, rows=False, width=width)


def add_bias(module: Any, inputs: Int[np.ndarray, " some"], values: np.ndarray) -> None:
    """Add to a linear module's bias what constant inputs would contribute: b += W[:, inputs] @ values.

    Args:
        module: A Linear or Conv1D, which is changed in place; without a bias it is given one.
        inputs: (some,) numbers of the inputs.
        values: (some,) their constant values, in activation units.
    """
    # (out, in), whichever way the module stores it
    weight = module.weight.detach()
    if units_axis(module, rows=False) == 0:
        weight = weight.T
    # float64, so that the sum over many removed neurons is rounded once, to the weights' own dtype
    columns = weight[:, torch.from_numpy(np.asarray(inputs, np.int64)).to(weight.device)].double()
    added = columns @ torch.from_numpy(np.asarray(values, np.float64)).to(weight.device)
    before = getattr(module, "bias", None)
    total = added if before is None else before.detach().double() + added
    set_linear(module, module.weight.detach(), total.to(weight.dtype))


def cost_of_neuron(mlp: Any) -> int:
    """Number of parameters that are removed with one neuron: its rows, their biases, and its column.

    Args:
        mlp: The MLP of a bridge's block.
    """
    # W_out is (neuron, d_model) for every architecture
    n_neurons = mlp.W_out.shape[0]
    n = 0
    for part in ("in", "gate", "out"):
        module = inner(part_of(mlp, part))
        if module is not None:
            # d_model weights in each matrix; a bias belongs to a neuron in up and gate, but not in down
            n += module.weight.numel() // n_neurons + (part != "out" and getattr(module, "bias", None) is not None)
    return n


def empty_model(kind: Any, config: Any) -> Any:
    """A model with the shapes that a config describes, on torch's meta device: it takes no memory for weights.

    Args:
        kind: Class of the model.
        config: Hugging Face config; it is copied.
    """
    with torch.device("meta"):
        return kind(copy.deepcopy(config))
