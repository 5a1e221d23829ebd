"""Weights that are no parameters, and buffers that are no weights.

*Packed weights.* Some quantised layers keep their weights in an object of their own, where neither ``parameters()``
nor ``buffers()`` lists them, and say in ``state_dict()`` only what they are: PyTorch's packed parameters, and the
scales of 4-bit layers. A digest of weights that left them out would be equal for different models.

*Frequencies that passes change.* Rotary embeddings of the types ``dynamic`` and ``longrope`` write their frequencies
anew for the length of the text that they read. What is left in that buffer is a trace of the last text; the
frequencies that belong to the model are kept beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import xxhash

_STATE_METHODS = ("_save_to_state_dict", "get_extra_state")


def named_modules(*roots: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Name and module of everything inside some models, each once; several times as fast as PyTorch's own.

    Args:
        roots: The models; what is no module of PyTorch's is passed over.
    """
    pending: list[tuple[str, torch.nn.Module]] = [("", root) for root in roots if isinstance(root, torch.nn.Module)]
    seen: set[torch.nn.Module] = set()
    while pending:
        name, module = pending.pop()
        if module not in seen:
            seen.add(module)
            yield name, module
            children = ((leaf, one) for leaf, one in module._modules.items() if one is not None)
            pending += [(f"{name}.{leaf}" if name else leaf, one) for leaf, one in children]


def content_digest(value: Any) -> str:
    """Digest of what a state dictionary may hold: tensors of any kind, tuples of them, numbers and names.

    Args:
        value: The value; an object of another kind counts by its type alone.
    """
    if isinstance(value, torch.Tensor):
        return tensor_digest(value)
    if isinstance(value, (list, tuple)):
        return " ".join(map(content_digest, value))
    if isinstance(value, dict):
        return " ".join(f"{name} {content_digest(one)}" for name, one in sorted(value.items(), key=str))
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.dtype)):
        return repr(value)
    return type(value).__qualname__


def tensor_digest(tensor: torch.Tensor) -> str:
    """XXH3 (128 bits) of the bytes of a tensor, wherever they are and however they are packed.

    Args:
        tensor: The tensor, of any type and on any device.
    """
    if tensor.is_quantized:
        scales = tensor.q_scale() if tensor.qscheme() == torch.per_tensor_affine else tensor.q_per_channel_scales()
        zeros = (
            tensor.q_zero_point() if tensor.qscheme() == torch.per_tensor_affine else tensor.q_per_channel_zero_points()
        )
        return content_digest((tensor.int_repr(), scales, zeros))
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) and flatten is not None:
        names, context = flatten()  # of a subclass: the plain tensors inside
        return content_digest((*(getattr(tensor, name) for name in names), str(context)))
    # as bytes, because numpy has no bfloat16
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return xxhash.xxh3_128_hexdigest(data.numpy().data)


def bit_sum(tensor: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor's values read as integers, on its own device: one changed value changes it.

    Args:
        tensor: The tensor, of any type.
    """
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(tensor.element_size())
    if whole is None or tensor.is_quantized or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return torch.tensor(int(tensor_digest(tensor)[:15], 16))
    return tensor.detach().contiguous().view(whole).sum(dtype=torch.int64)


def packed_weights(model: Any) -> Iterator[tuple[str, str]]:
    """Name and digest of everything that modules say is their state and that is neither parameter nor buffer.

    Args:
        model: The model.
    """
    for name, module in named_modules(model):
        # most modules have nothing of their own to say, and are not asked
        if _has_own_state(type(module)):
            state: dict[str, Any] = {}
            module._save_to_state_dict(state, f"{name}.", False)
            for key, value in state.items():
                leaf = key.removeprefix(f"{name}.")
                if leaf not in module._parameters and leaf not in module._buffers:
                    yield key, content_digest(value)


@functools.cache
def _has_own_state(kind: type) -> bool:
    """Whether a class of modules says itself what its state is."""
    return any(getattr(kind, name) is not getattr(torch.nn.Module, name) for name in _STATE_METHODS)


def lasting_frequencies(model: Any) -> dict[int, torch.Tensor]:
    """Where a rotary embedding writes its frequencies anew in passes: the frequencies that belong to the model.

    Args:
        model: The model.

    Returns:
        id() of a buffer that passes write to the tensor that stands for it.
    """
    found = {}
    for _, module in named_modules(model):
        kinds = vars(module).get("rope_type")
        # one type, or one for each kind of layer, whose buffers then begin with its name
        by_prefix = {f"{name}_": kind for name, kind in kinds.items()} if isinstance(kinds, dict) else {"": kinds}
        for prefix, kind in by_prefix.items():
            written = module._buffers.get(f"{prefix}inv_freq")
            lasting = getattr(module, f"{prefix}original_inv_freq", None)
            is_written_anew = isinstance(kind, str) and ("dynamic" in kind or kind == "longrope")
            if written is not None and lasting is not None and is_written_anew:
                found[id(written)] = lasting
    return found
