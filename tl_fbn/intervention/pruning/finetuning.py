"""Fine-tune a network only: its neurons' weights learn, and every other weight stays what it was, bit for bit.

::

    with fbn.only_network(model, network) as learning:
        optimiser = torch.optim.AdamW(learning.parameters(), lr=1e-3)
        for ids in batches:
            model(ids, return_type="loss").backward()
            optimiser.step()
            optimiser.zero_grad()

The weights of neuron j of a layer are row j of the up projection and of the gate, with their biases, and column j of
the down projection. The other entries of these matrices are kept as they are in two ways:

- Their gradients are set to zero, and parameters without an entry of the network get no gradient at all.
- Weight decay, momentum and gradient noise change an entry even where its gradient is zero. After every step of any
  optimiser (torch calls a hook after each), and at the end of the block, these entries are therefore written back from
  a copy.

When the block ends, also by an exception or ^C (:mod:`tl_fbn.interrupts`), hooks are taken off, and
``requires_grad`` and ``.grad`` of every parameter are what they were before. The network's weights keep what they
learned. Meanwhile the model serves this thread only (:mod:`tl_fbn.acquisition.model.model_lock`).

Cost: a copy of the other entries of up, gate and down in the network's layers. Gradients of those matrices are still
computed whole. Not done here: the training loop, attention heads and other sites, and weights that are written by
anything but an optimiser.

Source: suggested by Nencka et al. (2023) and Song et al. (2024). Leng and Xiong (2024, arXiv:2407.06488) tune
task-specific neurons in this way, and find that equally many random neurons learn less: compare with
:func:`tl_fbn.matched_controls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import claim
from tl_fbn.acquisition.model.sites import fits, resolve_site
from tl_fbn.errors import InputError
from tl_fbn.interrupts import Uninterrupted
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.signatures import checked
from tl_fbn.units import Network


@dataclass(frozen=True)
class Slab:
    """A matrix or bias of an MLP of which only some rows or columns may change, those of a network's neurons.

    Args:
        parameter: The matrix or bias, as the model holds it.
        axis: Axis of the parameter on which the neurons are; 0 for a bias.
        fixed: (fixed,) indices, on that axis, of the neurons that are not in the network.
        values: Copy of the entries at ``fixed``, which must keep these values; the shape of the parameter, with
            (fixed,) on ``axis``.
        n_free: Number of entries of the parameter that may change.
    """

    parameter: torch.nn.Parameter
    axis: int
    fixed: torch.Tensor
    values: torch.Tensor
    n_free: int

    @classmethod
    def of(cls, parameter: torch.nn.Parameter, axis: int, members: np.ndarray) -> Slab:
        """A parameter with its present values as those to keep.

        Args:
            parameter: The matrix or bias.
            axis: Axis of the parameter on which the neurons are.
            members: (unit,) booleans, True for the neurons of the layer that may change.
        """
        fixed = torch.from_numpy(np.flatnonzero(~members)).to(parameter.device)
        values = parameter.detach().index_select(axis, fixed).clone()
        return cls(parameter, axis, fixed, values, parameter.numel() - values.numel())

    def masked(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient with zeros where nothing may change.

        Args:
            gradient: The gradient that torch computed, of the parameter's shape.
        """
        return gradient.index_fill(self.axis, self.fixed, 0)

    def restore(self) -> None:
        """Write back the entries that may not change."""
        # in place: optimiser and model go on holding the same parameter
        self.parameter.detach().index_copy_(self.axis, self.fixed, self.values)


@dataclass(eq=False)
class NetworkTraining(Uninterrupted["NetworkTraining"]):
    """A ``with`` block inside which only a network's weights learn; :func:`only_network` makes one.

    Args:
        model: The bridge whose weights learn; it is changed in place.
        network: The neurons that learn, of site ``mlp.neurons``.
    """

    model: HookedModel
    network: Network
    # one for each parameter that holds weights of the network; empty outside the block
    _slabs: list[Slab] = field(default_factory=list, repr=False)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The matrices and biases that hold the network's weights, for an optimiser.

        Returns:
            An iterator over whole parameters, other neurons' entries included; these do not change.

        Raises:
            RuntimeError: The ``with`` block has not been entered, or has ended.
        """
        self._require_entered()
        return iter([slab.parameter for slab in self._slabs])

    @property
    def n_weights(self) -> int:
        """Number of weights that may change: the entries of the network's neurons in all of :meth:`parameters`.

        Raises:
            RuntimeError: The ``with`` block has not been entered, or has ended.
        """
        self._require_entered()
        return sum(slab.n_free for slab in self._slabs)

    def _require_entered(self) -> None:
        if not self._slabs:
            raise RuntimeError("nothing learns yet; use it as: with fbn.only_network(model, network) as learning: ...")

    def _put_on(self, undo: ExitStack) -> NetworkTraining:
        if self._slabs:
            raise RuntimeError("this block is open already; call fbn.only_network(model, network) again for another")
        claim(undo, self.model, "fine-tuning")
        slabs = _slabs_of_network(self.model, self.network)
        # done last, when the other entries were written back
        undo.callback(self._slabs.clear)
        for parameter in _all_parameters(self.model):
            undo.callback(_give_back_gradient, parameter, parameter.requires_grad, parameter.grad)
            parameter.requires_grad_(False)
            parameter.grad = None  # an optimiser steps wherever there is a gradient, also an old one
        self._slabs.extend(slabs)
        for slab in slabs:
            slab.parameter.requires_grad_(True)
            # torch calls this with each gradient before it is added to .grad
            undo.callback(slab.parameter.register_hook(slab.masked).remove)
        # after a step of any optimiser of this process: one that was made before the block counts, too
        undo.callback(register_optimizer_step_post_hook(self._restore).remove)
        # done first: weights may have been changed since the last step, by anything but an optimiser
        undo.callback(self._restore)
        return self

    def _restore(self, *_: Any) -> None:
        for slab in self._slabs:
            slab.restore()

    def __repr__(self) -> str:
        return f"Fine-tuning only {self.network!r}"


def _give_back_gradient(parameter: torch.nn.Parameter, required: bool, gradient: torch.Tensor | None) -> None:
    parameter.requires_grad_(required)
    parameter.grad = gradient


@checked
def only_network(model: HookedModel, network: Network) -> NetworkTraining:
    """Let only a network's weights learn, while a block of code runs; any training loop can be that code.

    >>> import torch
    >>> tuned = fbn.demo.load_model()  # a second copy, so that `model` stays as it is
    >>> with fbn.only_network(tuned, network) as learning:
    ...     optimiser = torch.optim.AdamW(learning.parameters(), lr=1e-3)
    ...     tuned("[INST] reverse : b a [/INST] a b", return_type="loss").backward()
    ...     optimiser.step()
    ...     learning.n_weights  # 23 neurons, each with 96 weights in, a bias, and 96 weights out
    4439
    >>> after = tuned.original_model.parameters()
    >>> before = model.original_model.parameters()
    >>> sum(int((new != old).sum()) for new, old in zip(after, before, strict=True))
    4439

    Args:
        model: A TransformerLens bridge; its weights are changed in place.
        network: The neurons that learn, of site ``mlp.neurons``.

    Returns:
        A context manager. Inside its block, ``.parameters()`` is for the optimiser, and ``.n_weights`` is the number
        of weights that may change. An optimiser over all of ``model.parameters()`` changes no other weights either.

    Raises:
        InputTypeError: The model is no bridge.
        InputError: The network is of another site or model, or has no members.

    Source: Leng and Xiong 2024 (arXiv:2407.06488); suggested by Nencka et al. 2023 and Song et al. 2024.
    """
    surgery.require_bridge(model, "only_network")
    if network.space.site != "mlp.neurons":
        raise InputError(
            f"network lives in {network.space.describe()}; only neurons have weights of their own here. "
            "Give a network of mlp.neurons"
        )
    offered = resolve_site(model, network.space.site).space
    if not fits(offered, network.space):
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. "
            "Record or localise on this model first."
        )
    if not len(network):
        raise InputError(f"network {network.name!r} has no members, so nothing could learn; select some units")
    return NetworkTraining(model, network)


def _slabs_of_network(model: Any, network: Network) -> list[Slab]:
    """The parameters of up, gate and down projections in which the network has weights, each once."""
    slabs: dict[int, Slab] = {}
    for layer, members in enumerate(network.by_layer()):
        if not members.any():
            continue
        for part in ("in", "gate", "out"):
            module = surgery.inner(surgery.part_of(model.blocks[layer].mlp, part))
            if module is None:
                continue
            # neurons are outputs of up and gate, and inputs of down; Conv1D holds the transposed matrix
            axis = surgery.units_axis(module, rows=part != "out")
            own = [(module.weight, axis)]
            # the bias of the down projection belongs to no neuron and stays as it is
            if part != "out" and getattr(module, "bias", None) is not None:
                own.append((module.bias, 0))
            slabs.update({id(parameter): Slab.of(parameter, axis, members) for parameter, axis in own})
    return list(slabs.values())


def _all_parameters(model: Any) -> list[torch.nn.Parameter]:
    """Every parameter of a bridge and of the model in it, each once."""
    found = {id(p): p for root in (model, model.original_model) for p in root.parameters()}
    return list(found.values())
