"""Inhibit, amplify, retain: change a network's activations while a block of code runs.

::

    with fbn.inhibit(model, network):                    # its units are zero at every position
        model(ids); model.run_with_cache(ids); model.generate(ids)
    with fbn.amplify(model, network, gain=2.0), fbn.inhibit(model, other): ...

Each call returns an :class:`Intervention`, a context manager that attaches one hook a layer through the model's own
``hooks(...)`` and takes exactly those off again, also when the body raises. Interventions nest, act in the order in
which they were entered, and each sees what the one before left. Layers without a member get no hook, so an empty network is
bit-identical to none. For ``model.hooks(...)`` of your own, ``.fwd_hooks(model)`` is the list.

========== ==================================================================================
inhibit    members become 0 (``"zero"``), or their mean over a recording (``"mean"``)
amplify    members are multiplied by ``gain``, or ``add`` is added to them (activation units),
           or ``add_sd`` of each one's own standard deviations over a recording
retain     everything else at the site becomes 0, or its mean
========== ==================================================================================

Edits return a new tensor in the activation's own dtype and device; gradients flow through. Zero is not where a neuron
rests: compare ``"zero"`` with ``"mean"`` before you believe either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float

from tl_fbn.acquisition.recording import Recording
from tl_fbn.acquisition.sites import HEADS, by_head, fits, resolve_site
from tl_fbn.units import Network, UnitSpace

Method = Literal["zero", "mean"]
Positions = Literal["all"]


class LayerEdit:
    """The hook function of one layer: activations in, edited activations out.

    Where units are attention heads, a member is its whole width: zero silences it, a gain scales it.

    Args:
        op: ``"set"`` members to values, ``"scale"`` them by values, or ``"add"`` values to them.
        members: (member,) indices within the layer.
        values: (member,) one number a member.
        digest: What this edit is, for the key of recordings made under it.
        n_heads: Heads of the layer where units are heads; 0 elsewhere.
    """

    def __init__(self, op: str, members: torch.Tensor, values: torch.Tensor, digest: str, n_heads: int = 0) -> None:
        self.op, self.members, self.values, self.digest, self.n_heads = op, members, values, digest, n_heads
        self._placed: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        if not self.n_heads:  # what follows (batch, pos) is one axis of units, as it was recorded
            return self._edited(tensor) if tensor.ndim == 3 else self._edited(tensor.flatten(2)).reshape(tensor.shape)
        heads = rearrange(by_head(tensor, self.n_heads), "batch pos head width -> batch pos width head")
        return rearrange(self._edited(heads), "batch pos width head -> batch pos head width").reshape(tensor.shape)

    def _edited(self, tensor: Float[torch.Tensor, "*batch unit"]) -> Float[torch.Tensor, "*batch unit"]:
        place = (tensor.device, tensor.dtype)
        if place not in self._placed:
            self._placed[place] = self.members.to(tensor.device), self.values.to(*place)
        members, values = self._placed[place]
        if self.op == "set":
            edited = values.expand(*tensor.shape[:-1], -1)
        else:
            own = tensor.index_select(-1, members)
            edited = own * values if self.op == "scale" else own + values
        return tensor.index_copy(-1, members, edited)

    def __repr__(self) -> str:
        return f"LayerEdit({self.op} {len(self.members)} units)"


@dataclass(eq=False)
class Intervention(AbstractContextManager["Intervention"]):
    """A change of some units' activations, in force inside a ``with`` block; may be entered again, also inside itself.

    Args:
        model: The model it acts on.
        network: The units that are changed.
        description: What is done to them, in words.
        edits: Hook name to the edit of that layer.
    """

    model: Any
    network: Network
    description: str
    edits: dict[str, LayerEdit]
    _entered: list[AbstractContextManager[Any]] = field(default_factory=list, repr=False)

    def fwd_hooks(self, model: Any | None = None) -> list[tuple[str, Callable[..., Any]]]:
        """(hook name, function) pairs for ``model.hooks(fwd_hooks=...)`` or ``run_with_hooks``."""
        if model is not None and model is not self.model:
            _check_space(resolve_site(model, self.network.space.site).space, self.network)
        return list(self.edits.items())

    def __enter__(self) -> Intervention:
        context = self.model.hooks(fwd_hooks=self.fwd_hooks())
        context.__enter__()
        self._entered.append(context)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._entered.pop().__exit__(*exception)

    def __repr__(self) -> str:
        return f"{self.description}: {self.network!r}"


def inhibit(
    model: Any,
    network: Network,
    *,
    method: Method = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
) -> Intervention:
    """Silence a network.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to silence.
        method: ``"zero"``, or ``"mean"``: each unit's mean over the rows of ``reference``.
        reference: A recording of the same units; needed by ``"mean"``.
        positions: ``"all"``: every position of prompt and generation.

    Raises:
        ValueError: The network is from another space, an unknown method, or ``"mean"`` without a reference.
    """
    _check_positions(positions)
    if method not in get_args(Method):
        raise ValueError(f"method={method!r} is none of {', '.join(map(repr, get_args(Method)))}")
    values = np.zeros(network.space.n_units)
    if method == "mean":
        if network.space.site == HEADS:
            raise ValueError(
                f'{HEADS} records the mean over a head\'s width, which is no activation to set; use method="zero", or lesion '
                "blocks.{layer}.attn.hook_z"
            )
        values = _reference(reference, network, 'method="mean"').mean()
    return _intervention(model, network, "set", values, f"inhibit ({method})")


def amplify(
    model: Any,
    network: Network,
    *,
    gain: float | None = None,
    add: float | None = None,
    add_sd: float | None = None,
    reference: Recording | None = None,
    positions: Positions = "all",
) -> Intervention:
    """Strengthen a network.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to strengthen.
        gain: Factor; 1 changes nothing, 0 silences, -1 inverts.
        add: Amount added, in activation units (S0's released form adds 1).
        add_sd: Amount added, in each unit's own standard deviations over ``reference``; along the unit's sign in the
            network where it has one.
        reference: A recording of the same units; needed by ``add_sd``.
        positions: ``"all"``: every position of prompt and generation.

    Raises:
        ValueError: Not exactly one of gain, add and add_sd; a network from another space; add_sd without a reference.
    """
    _check_positions(positions)
    given = {name: value for name, value in (("gain", gain), ("add", add), ("add_sd", add_sd)) if value is not None}
    if len(given) != 1:
        raise ValueError(f"amplify takes exactly one of gain=, add= and add_sd=; got {given or 'none'}")
    ((name, amount),) = given.items()
    if not np.isfinite(amount):
        raise ValueError(f"amplify({name}={amount}) is not finite; give a number")
    values = np.full(network.space.n_units, float(amount))
    if name == "add_sd":
        signs = np.asarray(network.signs)
        values *= _standard_deviation(_reference(reference, network, "add_sd")) * np.where(signs == 0, 1, signs)
    return _intervention(model, network, "scale" if name == "gain" else "add", values, f"amplify ({name} {amount:g})")


def retain(
    model: Any,
    network: Network,
    *,
    method: Method = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
) -> Intervention:
    """Keep only a network: everything else at its site is inhibited.

    Args and errors as :func:`inhibit`.
    """
    kept = inhibit(model, ~network, method=method, reference=reference, positions=positions)
    kept.description = f"retain {network.name} ({method})"
    return kept


def _intervention(
    model: Any, network: Network, op: str, values: Float[np.ndarray, " unit"], description: str
) -> Intervention:
    site = resolve_site(model, network.space.site)
    _check_space(site.space, network)
    edits = {}
    for layer, name in site.hook_names.items():
        span = network.space.layer_slice(layer)
        members = np.flatnonzero(network.members[span])
        if members.size:
            chosen = values[span][members]
            content = f"{op} {members.tolist()} {chosen.tolist()}"
            digest = hashlib.sha256(content.encode()).hexdigest()[:16]
            n_heads = site.space.widths[layer] if site.space.site == HEADS else 0
            edits[name] = LayerEdit(op, torch.from_numpy(members), torch.from_numpy(chosen), digest, n_heads)
    return Intervention(model, network, description, edits)


def _check_space(offered: UnitSpace, network: Network) -> None:
    if not fits(offered, network.space):
        raise ValueError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. "
            "Record or localise on this model first."
        )


def _check_positions(positions: str) -> None:
    if positions not in get_args(Positions):
        raise ValueError(f"positions={positions!r} is none of {', '.join(map(repr, get_args(Positions)))}")


def _reference(reference: Recording | None, network: Network, what: str) -> Recording:
    if reference is None:
        raise ValueError(f"{what} needs reference=, a recording of {network.space.describe()}")
    network.space.require_same(reference.space, "take the reference for")
    return reference


def _standard_deviation(recording: Recording) -> Float[np.ndarray, " unit"]:
    mean = recording.mean()
    squares = np.zeros_like(mean)
    for run in recording:
        for layer, array in run.layers.items():
            span = recording.space.layer_slice(layer)
            squares[span] += np.square(array[:] - mean[span]).sum(0)
    return np.sqrt(squares / recording.n_rows)
