"""A model's weights as a digest, wherever they are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from tl_fbn.acquisition.model.hidden_weights import bit_sum, lasting_frequencies, packed_weights, tensor_digest
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError

_SMALL = 64 << 20  # bytes of weights that one thread has hashed before others have started


def weights_digest(model: HookedModel) -> str:
    """Digest of every parameter and buffer, and of weights kept elsewhere: equal for equal weights, on any device.

    It is computed at every call: edits in place through ``.data`` do not show in PyTorch's version counters, so that a
    remembered digest could be wrong. XXH3 (128 bits) reads each tensor at about the speed of memory; the digest is
    the SHA-256 of names, shapes, types and these. A buffer that passes write, as some rotary embeddings do, counts with
    the values that belong to the model (:mod:`tl_fbn.acquisition.model.hidden_weights`).

    Args:
        model: The model.
    """
    named = list(_named_tensors(model))
    if sum(tensor.nbytes for _, tensor in named) < _SMALL:
        digests = [tensor_digest(tensor) for _, tensor in named]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = list(pool.map(tensor_digest, (tensor for _, tensor in named)))
    lines = [
        f"{name} {tuple(tensor.shape)} {tensor.dtype} {digest}"
        for (name, tensor), digest in zip(named, digests, strict=True)
    ]
    lines += [f"{name} {digest}" for name, digest in packed_weights(model)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def weights_checksum(model: HookedModel) -> str:
    """What shows within a process whether weights changed: the digest on a CPU, sums of their bits on other devices.

    Weights on a GPU are not moved for it. Weights that accelerate keeps elsewhere do not count.

    Args:
        model: The model.
    """
    if is_on_cpu(model):
        return weights_digest(model)
    lasting = lasting_frequencies(model)
    sums = [bit_sum(lasting.get(id(tensor), tensor)) for tensor in _tensors_of(model) if not tensor.is_meta]
    # one transfer a device, not one a tensor
    by_device = {device: [one for one in sums if one.device == device] for device in {one.device for one in sums}}
    counts = {str(device): torch.stack(own).tolist() for device, own in by_device.items()}
    return hashlib.sha256(str(sorted(counts.items())).encode()).hexdigest()


def is_on_cpu(model: HookedModel) -> bool:
    """Whether all weights are in main memory."""
    return all(tensor.device.type == "cpu" for tensor in _tensors_of(model))


def _tensors_of(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *(model.buffers() if hasattr(model, "buffers") else ())]


def _named_tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and values of every parameter and buffer, wherever the values are kept."""
    owners: dict[int, tuple[Any, str]] = {}  # id() of a tensor to its module and its name there; filled if needed
    lasting = lasting_frequencies(model)
    named: list[tuple[str, torch.Tensor]] = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in named:
        tensor = lasting.get(id(tensor), tensor)
        if tensor.is_meta:  # accelerate keeps it elsewhere and brings it while its module runs
            owners = owners or {
                id(own): (module, leaf)
                for module in model.modules()
                for leaf, own in (*module._parameters.items(), *module._buffers.items())
            }
            tensor = _offloaded_values(name, *owners.get(id(tensor), (None, name)))
        yield name, tensor


def _offloaded_values(name: str, module: Any, leaf: str) -> torch.Tensor:
    """The values of a tensor that accelerate keeps in main memory or on disk."""
    hook = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", [hook]):
        weights = getattr(one, "weights_map", None)
        if weights is not None:
            return weights[leaf]
    raise InputError(f"{name} has no values (it is on the meta device); load the model with its weights")
