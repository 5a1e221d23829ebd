"""Fine-tune a network only: its neurons' weights learn, and every other weight stays what it was, bit for bit.

::

    with fbn.only_network(model, network) as learning:
        optimiser = torch.optim.AdamW(learning.parameters(), lr=1e-3)
        for ids in batches:
            model(ids, return_type="loss").backward()
            optimiser.step()
            optimiser.zero_grad()

What belongs to neuron j of a layer: row j of the up projection and of the gate, with their biases, and column j of the down
projection. Two things keep the rest as it is:

- gradients of all other entries are zero, and all other parameters have none;
- weight decay, momentum and gradient noise move entries whose gradient is zero, so after every optimiser step (of any
  optimiser, torch tells) and at the end, the other entries of those matrices are written back from a copy.

At exit, or when the body raises, hooks are taken off and ``requires_grad`` and ``.grad`` are as they were; the network's weights
keep what they learned.

Cost: a copy of the other entries of up, gate and down in the network's layers. Gradients of those matrices are still computed
whole. Not done here: the training loop, heads and other sites, and weights written by anything but an optimiser.

Source: suggested by Nencka et al. (2023) and Song et al. (2024); Leng and Xiong (2024, arXiv:2407.06488) tune task-specific
neurons so, and find that as many random ones learn less: compare with :func:`tl_fbn.matched_controls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import fits, resolve_site
from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.units import Network


@dataclass(frozen=True)
class Slab:
    """A parameter of which only some rows or columns may change.

    Args:
        parameter: The parameter.
        axis: Axis of the neurons.
        fixed: (fixed,) indices on it that stay as they are.
        values: (fixed,) values that these entries keep.
        n_free: Entries that may change.
    """

    parameter: torch.nn.Parameter
    axis: int
    fixed: torch.Tensor
    values: torch.Tensor
    n_free: int

    @classmethod
    def of(cls, parameter: torch.nn.Parameter, axis: int, members: np.ndarray) -> Slab:
        fixed = torch.from_numpy(np.flatnonzero(~members)).to(parameter.device)
        values = parameter.detach().index_select(axis, fixed).clone()
        return cls(parameter, axis, fixed, values, parameter.numel() - values.numel())

    def masked(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient with zeros where nothing may change."""
        return gradient.index_fill(self.axis, self.fixed, 0)

    def restore(self) -> None:
        """Write the entries that may not change back."""
        with torch.no_grad():
            self.parameter.index_copy_(self.axis, self.fixed, self.values)


@dataclass(eq=False)
class NetworkTraining(AbstractContextManager["NetworkTraining"]):
    """Only a network's weights learn, inside a ``with`` block.

    Args:
        model: The model.
        network: The neurons that learn.
    """

    model: HookedModel
    network: Network
    _slabs: list[Slab] = field(default_factory=list, repr=False)
    _handles: list[Any] = field(default_factory=list, repr=False)
    _before: list[tuple[torch.nn.Parameter, bool, torch.Tensor | None]] = field(default_factory=list, repr=False)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The matrices and biases that have the network's weights in them, for an optimiser."""
        self._require_entered()
        return iter([slab.parameter for slab in self._slabs])

    @property
    def n_weights(self) -> int:
        """Weights that may change."""
        self._require_entered()
        return sum(slab.n_free for slab in self._slabs)

    def _require_entered(self) -> None:
        if not self._slabs:
            raise RuntimeError("nothing learns yet; use it as: with fbn.only_network(model, network) as learning: ...")

    def __enter__(self) -> NetworkTraining:
        if self._slabs:
            raise RuntimeError("this block is open already; call fbn.only_network(model, network) again for another")
        slabs = _slabs(self.model, self.network)
        for parameter in _all_parameters(self.model):
            self._before.append((parameter, parameter.requires_grad, parameter.grad))
            parameter.requires_grad_(False)
            parameter.grad = None  # an optimiser steps wherever there is a gradient, be it an old one
        self._slabs = slabs
        for slab in slabs:
            slab.parameter.requires_grad_(True)
            self._handles.append(slab.parameter.register_hook(slab.masked))
        self._handles.append(register_optimizer_step_post_hook(self._restore))
        return self

    def _restore(self, *_: Any) -> None:
        for slab in self._slabs:
            slab.restore()

    def __exit__(self, *exception: Any) -> None:
        self._restore()
        for handle in self._handles:
            handle.remove()
        for parameter, required, gradient in self._before:
            parameter.requires_grad_(required)
            parameter.grad = gradient
        self._slabs = []
        self._handles = []
        self._before = []

    def __repr__(self) -> str:
        return f"Fine-tuning only {self.network!r}"


def only_network(model: HookedModel, network: Network) -> NetworkTraining:
    """Let only a network's weights learn; any training loop goes inside the block.

    >>> with only_network(model, network) as learning:                         # doctest: +SKIP
    ...     optimiser = torch.optim.AdamW(learning.parameters(), lr=1e-3)

    Args:
        model: A TransformerLens bridge; it is changed in place.
        network: Neurons (site ``mlp.neurons``).

    Returns:
        A context manager with ``.parameters()`` for the optimiser and ``.n_weights``. Also an optimiser over all of
        ``model.parameters()`` changes nothing else.

    Raises:
        InputTypeError: The model is no bridge.
        InputError: A network of another site or model, or an empty one.

    Source: Leng and Xiong 2024 (arXiv:2407.06488); suggested by Nencka et al. 2023 and Song et al. 2024.
    """
    surgery.require_bridge(model, "only_network")
    if network.space.site != "mlp.neurons":
        raise InputError(
            f"network lives in {network.space.describe()}; only neurons have weights of their own here. Give a network of "
            "mlp.neurons"
        )
    offered = resolve_site(model, network.space.site).space
    if not fits(offered, network.space):
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. Record or localise on this "
            "model first."
        )
    if not len(network):
        raise InputError(f"network {network.name!r} has no members, so nothing could learn; select some units")
    return NetworkTraining(model, network)


def _slabs(model: Any, network: Network) -> list[Slab]:
    slabs: dict[int, Slab] = {}
    for layer, members in enumerate(network.by_layer()):
        if not members.any():
            continue
        for part in ("in", "gate", "out"):
            module = surgery.inner(surgery.part_of(model.blocks[layer].mlp, part))
            if module is None:
                continue
            axis = surgery.units_axis(module, rows=part != "out")
            own = [(module.weight, axis)]
            if part != "out" and getattr(module, "bias", None) is not None:
                own.append((module.bias, 0))
            slabs.update({id(parameter): Slab.of(parameter, axis, members) for parameter, axis in own})
    return list(slabs.values())


def _all_parameters(model: Any) -> list[torch.nn.Parameter]:
    found = {id(p): p for root in (model, model.original_model) for p in root.parameters()}
    return list(found.values())
