"""Inhibit, amplify, clamp, retain: change a network's activations while a block of code runs.

::

    with fbn.inhibit(model, network):                    # its units are zero at every position
        model(ids); model.run_with_cache(ids); model.generate(ids)
    with fbn.amplify(model, network, gain=2.0, positions="generated"), fbn.inhibit(model, other): ...

Each call returns an :class:`Intervention`, a context manager that attaches one hook a layer through the model's own
``hooks(...)`` and takes exactly those off again, also when the body raises. Interventions nest, act in the order in
which they were entered, and each sees what the one before left. Layers without a member get no hook, so an empty network is
bit-identical to none. For ``model.hooks(...)`` of your own, ``.fwd_hooks(model)`` is the list; lists of several interventions may be added.

========== ==================================================================================
inhibit    members become 0 (``"zero"``), their mean (``"mean"``), their mean at this position
           (``"position_mean"``), what they did in another text (``"resample"``), or noise
           (``"noise"``); all but the first from a recording
amplify    members are multiplied by ``gain``, or ``add`` is added to them (activation units),
           or ``add_sd`` of each one's own standard deviations over a recording
clamp      members are set to a value, or kept between two
retain     everything else at the site is inhibited
========== ==================================================================================

All take ``positions=`` (:mod:`.positions`) and ``layers=``, some layers only. The site is the network's: ``mlp.neurons`` is where Song et al. (2024) silence
(the same as zero after the gate's nonlinearity), ``mlp.out`` where Liu et al. (2025) do.

Edits return a new tensor in the activation's own dtype and device; gradients flow through. Zero is not where a neuron
rests: compare ``"zero"`` with the others before you believe any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.model.forward_context import Lease, listen
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import HEADS, ResolvedSite, fits, resolve_site
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.layer_edit import LayerEdit, Op
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Positions, Where, where
from tl_fbn.intervention.hooks.replacements import Lines, Replacement, ReplacementMethod, standard_deviation
from tl_fbn.units import Network, UnitSpace


@dataclass(eq=False)
class Intervention(AbstractContextManager["Intervention"]):
    """A change of some units' activations, in force inside a ``with`` block; may be entered again, also inside itself.

    Args:
        model: The model it acts on.
        network: The units that are changed.
        description: What is done to them, in words.
        edits: Hook name to the edit of that layer.
    """

    model: HookedModel
    network: Network
    description: str
    edits: dict[str, LayerEdit]
    _entered: list[tuple[AbstractContextManager[Any], Lease | None]] = field(default_factory=list, repr=False)

    def fwd_hooks(self, model: HookedModel | None = None) -> list[tuple[str, Callable[..., Any]]]:
        """(hook name, function) pairs for ``model.hooks(fwd_hooks=...)`` or ``run_with_hooks``."""
        if model is not None and model is not self.model:
            _check_space(resolve_site(model, self.network.space.site).space, self.network)
        return list(self._leased(self.model if model is None else model)[0].items())

    def _leased(self, model: HookedModel) -> tuple[dict[str, LayerEdit], Lease | None]:
        """The edits, and what tells them where tokens stand, if they need to know."""
        if not any(edit.listens for edit in self.edits.values()):
            return self.edits, None
        lease = listen(model)
        return {name: edit.leased(lease) for name, edit in self.edits.items()}, lease

    def __enter__(self) -> Intervention:
        edits, lease = self._leased(self.model)
        context = self.model.hooks(fwd_hooks=list(edits.items()))
        context.__enter__()
        self._entered.append((context, lease))
        return self

    def __exit__(self, *exception: Any) -> None:
        context, lease = self._entered.pop()
        try:
            context.__exit__(*exception)
        finally:
            if lease is not None:
                lease.close()

    def __repr__(self) -> str:
        return f"{self.description}: {self.network!r}"


def inhibit(
    model: HookedModel,
    network: Network,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Intervention:
    """Silence a network.

    >>> import tl_fbn as fbn
    >>> model = fbn.demo.load_model()
    >>> network = fbn.Network.from_indices(fbn.Scanner(model).space, [3, 5])  # two neurons of layer 0
    >>> with inhibit(model, network):
    ...     _, cache = model.run_with_cache("[INST] copy : a b [/INST]")
    >>> cache["post", 0][..., [3, 5]].abs().max().item()
    0.0

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to silence.
        method: ``"zero"``; or from ``reference``: ``"mean"`` over its rows, ``"position_mean"`` over the rows at the same position, ``"resample"``
            (what the units did at the same position of another text of it), ``"noise"`` (normal, with each unit's mean and standard deviation).
        reference: A recording of the same units, of other prompts; needed by all methods but ``"zero"``.
        positions: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a mask or column numbers; see :mod:`.positions`.
        layers: Only these layers; None for all that the network has.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw; the same call is the same intervention.

    Raises:
        InputError: The network is from another space, an unknown method, or one that needs a reference without it.
    """
    return silencer(model, method=method, reference=reference, positions=positions, layers=layers, seed=seed)(network)


def silencer(
    model: HookedModel,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Callable[[Network], Intervention]:
    """:func:`inhibit` with everything but the network given: the reference and the model are read once for many networks."""
    return _Silencer(model, method, Replacement(method, reference, seed), where(positions, model), layers)


@dataclass(frozen=True, eq=False)
class _Silencer:
    """What :func:`silencer` returns; a class and no closure, so that it can travel to other processes."""

    model: HookedModel
    method: ReplacementMethod
    replacement: Replacement
    at: Where
    layers: Sequence[int] | None
    sites: dict[str, ResolvedSite] = field(default_factory=dict)

    def __call__(self, network: Network) -> Intervention:
        self.replacement.check(network.space)
        name = network.space.site
        if name not in self.sites:
            self.sites[name] = resolve_site(self.model, name)
        values = self.replacement.values
        lines = self.replacement.lines
        edits = _edits(self.sites[name], network, "set", values, self.at, self.layers, lines)
        return Intervention(self.model, network, f"inhibit ({self.method}{_at(self.at)})", edits)


def amplify(
    model: HookedModel,
    network: Network,
    *,
    gain: float | None = None,
    add: float | None = None,
    add_sd: float | None = None,
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
) -> Intervention:
    """Strengthen a network.

    ::

        with fbn.amplify(model, network, gain=2.0):
            model.generate(ids)

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to strengthen.
        gain: Factor; 1 changes nothing, 0 silences, -1 inverts.
        add: Amount added, in activation units (S0's released form adds 1).
        add_sd: Amount added, in each unit's own standard deviations over ``reference``; along the unit's sign in the
            network where it has one.
        reference: A recording of the same units; needed by ``add_sd``.
        positions: As for :func:`inhibit`.
        layers: Only these layers; None for all that the network has.

    Raises:
        InputError: Not exactly one of gain, add and add_sd; a network from another space; add_sd without a reference.
    """
    given = {name: value for name, value in (("gain", gain), ("add", add), ("add_sd", add_sd)) if value is not None}
    if len(given) != 1:
        raise InputError(f"amplify takes exactly one of gain=, add= and add_sd=; got {given or 'none'}")
    ((name, amount),) = given.items()
    if not np.isfinite(amount):
        raise InputError(f"amplify({name}={amount}) is not finite; give a number")
    spread = standard_deviation(_reference(reference, network, "add_sd")) if name == "add_sd" else None
    return strengthened(model, network, name, amount, spread=spread, positions=positions, layers=layers)


def strengthened(
    model: HookedModel,
    network: Network,
    kind: str,
    amount: float,
    *,
    spread: Float[np.ndarray, " unit"] | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
) -> Intervention:
    """:func:`amplify` by one kind of amount, for ``add_sd`` with the standard deviations given: the reference is read once for many."""
    values = np.full(network.space.n_units, float(amount))
    if spread is not None:
        values *= spread * _directions(network)
    op: Op = "scale" if kind == "gain" else "add"
    return _intervention(model, network, op, values, f"amplify ({kind} {amount:g})", positions, layers)


def clamp(
    model: HookedModel,
    network: Network,
    *,
    at: float | None = None,
    at_sd: float | None = None,
    low: float | None = None,
    high: float | None = None,
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
) -> Intervention:
    """Hold a network at a value, or between two.

    ::

        with fbn.clamp(model, network, low=0.0):  # no member goes below 0
            model(ids)

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to hold.
        at: The value, in activation units.
        at_sd: The value as each unit's mean plus this many of its standard deviations over ``reference``; along the unit's sign in the network where it has one.
        low, high: Bounds, in activation units; one of them may be left out.
        reference: A recording of the same units; needed by ``at_sd``.
        positions: As for :func:`inhibit`.
        layers: Only these layers; None for all that the network has.

    Raises:
        InputError: Not exactly one of ``at``, ``at_sd`` and bounds; bounds the wrong way round; attention heads; ``at_sd`` without a reference.
    """
    bounded = low is not None or high is not None
    if (at is not None) + (at_sd is not None) + bounded != 1:
        raise InputError(
            f"clamp takes at=, at_sd=, or low= and high=; got at={at}, at_sd={at_sd}, low={low}, high={high}"
        )
    if any(value is not None and np.isnan(value) for value in (low, high)) or not all(
        value is None or np.isfinite(value) for value in (at, at_sd)
    ):
        raise InputError(
            f"clamp got a value that is no finite number; got at={at}, at_sd={at_sd}, low={low}, high={high}"
        )
    if network.space.site == HEADS:
        raise InputError(
            f"a unit of {HEADS} is a head's whole width, which has no one value; clamp blocks.{{layer}}.attn.hook_z"
        )
    if bounded:
        lower = -np.inf if low is None else low
        upper = np.inf if high is None else high
        if lower > upper:
            raise InputError(f"clamp(low={low}, high={high}) leaves nothing between; give low <= high")
        values = np.tile(np.array([[lower], [upper]]), (1, network.space.n_units))
        return _intervention(model, network, "clip", values, f"clamp ({lower:g} to {upper:g})", positions, layers)
    if at is not None:
        values = np.full(network.space.n_units, float(at))
        return _intervention(model, network, "set", values, f"clamp ({at:g})", positions, layers)
    recording = _reference(reference, network, "at_sd")
    values = recording.mean() + at_sd * standard_deviation(recording) * _directions(network)
    return _intervention(model, network, "set", values, f"clamp ({at_sd:g} sd)", positions, layers)


def retain(
    model: HookedModel,
    network: Network,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Intervention:
    """Keep only a network: everything else in the layers of its space, or in ``layers`` of them, is inhibited.

    ::

        with fbn.retain(model, network):  # everything else at the site is silent
            fbn.demo.battery().evaluate(model)

    A network from a recording of some layers knows nothing of the others, which stay whole.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to keep.
        method: What becomes of the others, as for :func:`inhibit`.
        reference: A recording of the same units, of other prompts; needed by all methods but ``"zero"``.
        positions: Which tokens are touched, as for :func:`inhibit`.
        layers: Only these layers; None for all that the network has.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw.

    Raises:
        InputError: As :func:`inhibit`.
    """
    kept = inhibit(model, ~network, method=method, reference=reference, positions=positions, layers=layers, seed=seed)
    kept.description = kept.description.replace("inhibit", f"retain {network.name}", 1)
    return kept


def _intervention(
    model: HookedModel,
    network: Network,
    op: Op,
    values: Float[np.ndarray, "*bound unit"],
    description: str,
    positions: Positions,
    layers: Sequence[int] | None,
) -> Intervention:
    space = network.space
    at = where(positions, model)

    def of(layer: int, members: np.ndarray) -> np.ndarray:
        return values[..., space.layer_slice(layer)][..., members]

    edits = _edits(resolve_site(model, space.site), network, op, of, at, layers, None)
    return Intervention(model, network, f"{description}{_at(at)}", edits)


def _edits(
    site: ResolvedSite,
    network: Network,
    op: Op,
    values: Callable[[int, np.ndarray], np.ndarray],
    at: Where,
    layers: Sequence[int] | None,
    lines: Lines | None,
) -> dict[str, LayerEdit]:
    _check_space(site.space, network)
    unknown = [layer for layer in layers or () if layer not in site.hook_names]
    if unknown:
        raise InputError(
            f"layers={list(layers or ())} names {unknown}, which have no units at {site.space.describe()}; layers: {', '.join(map(str, site.hook_names))}"
        )
    edits = {}
    for layer, name in site.hook_names.items():
        members = np.flatnonzero(network.members[network.space.layer_slice(layer)])
        if members.size and (layers is None or layer in layers):
            n_heads = site.space.widths[layer] if site.space.site == HEADS else 0
            edits[name] = LayerEdit(op, members, values(layer, members), where=at, lines=lines, n_heads=n_heads)
    return edits


def _at(at: Where) -> str:
    return "" if at is EVERYWHERE or at.name == "all" else f", {at.name} positions"


def _check_space(offered: UnitSpace, network: Network) -> None:
    if not fits(offered, network.space):
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. "
            "Record or localise on this model first."
        )


def _reference(reference: Recording | None, network: Network, what: str) -> Recording:
    if reference is None:
        raise InputError(f"{what} needs reference=, a recording of {network.space.describe()}")
    network.space.require_same(reference.space, "take the reference for")
    return reference


def _directions(network: Network) -> Float[np.ndarray, " unit"]:
    signs = np.asarray(network.signs, dtype=float)
    return np.where(signs == 0, 1.0, signs)
