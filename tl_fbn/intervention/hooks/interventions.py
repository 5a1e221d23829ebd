"""Inhibit, amplify, clamp, retain: change a network's activations while a block of code runs.

::

    with fbn.inhibit(model, network):                    # its units are zero at every position
        model(ids); model.run_with_cache(ids); model.generate(ids)
    with fbn.amplify(model, network, gain=2.0, positions="generated"), fbn.inhibit(model, other): ...

========== ==================================================================================
inhibit    members become 0 (``"zero"``), their mean (``"mean"``), their mean at this position
           (``"position_mean"``), what they did in another text (``"resample"``), or noise
           (``"noise"``); all but the first are taken from a recording
amplify    members are multiplied by ``gain``, or ``add`` is added to them (activation units),
           or ``add_sd`` of each one's own standard deviations over a recording
clamp      members are set to a value, or kept between two
retain     every other unit of the site is inhibited
========== ==================================================================================

All four take ``positions=``, the tokens that are touched (:mod:`.positions`), and ``layers=``, the only layers that
are. The site is the network's: at ``mlp.neurons`` Song et al. (2024) silence neurons (zero at the input of the down
projection is the same as their zero after the gate's nonlinearity), at ``mlp.out`` Liu et al. (2025) do.

Each call returns an :class:`Intervention`, a context manager. It attaches one hook a layer through the model's own
``hooks(...)``, and takes exactly those off at the end, also when the body raises. Interventions may be nested: they
act in the order in which they were entered, and each sees what the one before left. Layers without a member get no
hook, so that an empty network leaves every activation bit-identical. For people who call ``model.hooks(...)``
themselves, ``.fwd_hooks(model)`` is the list of hooks; lists of several interventions may be added.

Edits return a new tensor in the activation's own dtype and on its device, and gradients flow through it.

Cost: one copy of each touched layer's activations in every pass.

Caution: zero is not where a neuron rests (its mean is part of what the layer writes), so an effect of ``"zero"``
    alone may
be one of leaving the usual range. Compare it with the other methods before you believe any.
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
    """A change of some units' activations, in force inside a ``with`` block.

    :func:`inhibit`, :func:`amplify`, :func:`clamp` and :func:`retain` make one. It may be entered again, also inside
    itself.

    >>> intervention = fbn.inhibit(model, network)
    >>> intervention  # doctest: +ELLIPSIS
    inhibit (zero): Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), ...
    >>> [name for name, _ in intervention.fwd_hooks()]  # no hook in layer 2, which has no member
    ['blocks.0.mlp.hook_post', 'blocks.1.mlp.hook_post']

    Args:
        model: The model that is changed.
        network: The units that are changed; of :func:`retain`, the units that are silenced.
        description: What is done to the units, in words, e.g. ``"inhibit (zero)"``.
        edits: Hook name to the edit of that layer; layers without a member have none.
    """

    model: HookedModel
    network: Network
    description: str
    edits: dict[str, LayerEdit]
    # what each `with` that is open must undo, innermost last
    _open_contexts: list[tuple[AbstractContextManager[Any], Lease | None]] = field(default_factory=list, repr=False)

    def fwd_hooks(self, model: HookedModel | None = None) -> list[tuple[str, Callable[..., Any]]]:
        """The edits as hooks of your own, for ``model.hooks(fwd_hooks=...)`` or ``run_with_hooks``.

        Args:
            model: Another model with the same units, for instance a fine-tuned one; by default the model that the
                intervention was made for.

        Returns:
            (hook name, function) pairs, one a layer that has members.

        Raises:
            InputError: The other model has no such units.
        """
        if model is not None and model is not self.model:
            # hooks made for one model serve another only where it has the same units
            _check_space(resolve_site(model, self.network.space.site).space, self.network)
        return list(self._edits_and_lease(self.model if model is None else model)[0].items())

    def _edits_and_lease(self, model: HookedModel) -> tuple[dict[str, LayerEdit], Lease | None]:
        """The edits, and the lease that tells them where tokens stand; None where no edit needs to know."""
        if not any(edit.listens for edit in self.edits.values()):
            return self.edits, None
        # copies hold the lease: hooks that a caller keeps listen until they are forgotten, a block's until it ends
        lease = listen(model)
        return {name: edit.leased(lease) for name, edit in self.edits.items()}, lease

    def __enter__(self) -> Intervention:
        edits, lease = self._edits_and_lease(self.model)
        context = self.model.hooks(fwd_hooks=list(edits.items()))
        context.__enter__()
        self._open_contexts.append((context, lease))
        return self

    def __exit__(self, *exception: Any) -> None:
        context, lease = self._open_contexts.pop()
        try:
            context.__exit__(*exception)
        finally:
            # also where the host's own exit raises: a reader that nobody needs must not go on listening
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
    """Silence a network, while a block of code runs.

    >>> with fbn.inhibit(model, network):
    ...     lesioned = battery.evaluate(model)
    >>> lesioned[["task", "exact_match"]]  # 1.0 and 1.0 without it
          task  exact_match
    0     sort          1.0
    1  reverse          0.8

    A drop means something only beside matched controls; :func:`tl_fbn.lesion_study` has them.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to silence.
        method: What the units are given instead of their activations. ``"zero"``; or from ``reference``: ``"mean"``,
            each unit's mean over all rows; ``"position_mean"``, its mean over the rows at the same position of a
            prompt; ``"resample"``, what the units did at the same position of another prompt; ``"noise"``, normal
            deviates with each unit's mean and standard deviation.
        reference: A recording of the same units on other prompts; needed by all methods but ``"zero"``.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers; :mod:`.positions` defines them.
        layers: The only layers that are touched; None for all layers in which the network has units.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw; the same seed gives the same intervention.

    Returns:
        An :class:`Intervention`, a context manager.

    Raises:
        InputError: The network's units are not those of the model's site, the method is unknown, the method needs a
            reference and has none, or the positions or layers do not exist.
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
    """:func:`inhibit` as a function of the network alone, so that reference and model are read once for many networks.

    Args:
        model: A TransformerLens model with the sites of the networks to come.
        method: What silenced units are given: ``"zero"``, ``"mean"``, ``"position_mean"``, ``"resample"`` or
            ``"noise"``.
        reference: A recording of the same units on other prompts; needed by all methods but ``"zero"``.
        positions: The tokens that are touched: a name, a mask or column numbers (:mod:`.positions`).
        layers: The only layers that are touched; None for all layers in which a network has units.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw; the same seed gives the same interventions.

    Returns:
        A function from a network to its :class:`Intervention`.

    Raises:
        InputError: An unknown method, or positions that do not exist.
    """
    return _Silencer(model, method, Replacement(method, reference, seed), where(positions, model), layers)


@dataclass(frozen=True, eq=False)
class _Silencer:
    """What :func:`silencer` returns; a class and no closure, so that it can travel to other processes."""

    model: HookedModel
    method: ReplacementMethod
    replacement: Replacement
    at: Where
    layers: Sequence[int] | None
    # site name to site, filled as networks come
    sites: dict[str, ResolvedSite] = field(default_factory=dict)

    def __call__(self, network: Network) -> Intervention:
        self.replacement.check(network.space)
        name = network.space.site
        if name not in self.sites:
            # finding a site may take a pass through the model: once a site, not once a network
            self.sites[name] = resolve_site(self.model, name)
        # a function: values of a layer are read from the reference only where the network has members in it
        values = self.replacement.values
        lines = self.replacement.lines
        edits = _layer_edits(self.sites[name], network, "set", values, self.at, self.layers, lines)
        return Intervention(self.model, network, f"inhibit ({self.method}{_positions_in_words(self.at)})", edits)


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
    """Strengthen a network, while a block of code runs.

    >>> with fbn.amplify(model, network, gain=4.0):  # too much of it: both tasks suffer
    ...     amplified = battery.evaluate(model)
    >>> amplified[["task", "exact_match"]]
          task  exact_match
    0     sort          0.6
    1  reverse          0.1

    :func:`tl_fbn.dose_response` and :func:`tl_fbn.calibrate_gain` find a gain that helps, if there is one.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to strengthen.
        gain: Factor of the activations; 1 changes nothing, 0 silences, -1 inverts.
        add: Amount added to each unit, in activation units (the released code of Liu et al. 2025 adds 1).
        add_sd: Amount added to each unit, in its own standard deviations over ``reference``; where the network has a
            sign for the unit, the amount is multiplied by it.
        reference: A recording of the same units; needed by ``add_sd``.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers; :mod:`.positions` defines them.
        layers: The only layers that are touched; None for all layers in which the network has units.

    Returns:
        An :class:`Intervention`, a context manager.

    Raises:
        InputError: Not exactly one of ``gain``, ``add`` and ``add_sd`` is given; it is no finite number; the network's
            units are not those of the model's site; or ``add_sd`` has no reference.
    """
    given = {name: value for name, value in (("gain", gain), ("add", add), ("add_sd", add_sd)) if value is not None}
    if len(given) != 1:
        raise InputError(f"amplify takes exactly one of gain=, add= and add_sd=; got {given or 'none'}")
    ((name, amount),) = given.items()
    if not np.isfinite(amount):
        raise InputError(f"amplify({name}={amount}) is not finite; give a number")
    spread = standard_deviation(_required_reference(reference, network, "add_sd")) if name == "add_sd" else None
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
    """:func:`amplify` by one kind of amount, with standard deviations given, so that a reference is read once for many.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to strengthen.
        kind: ``"gain"``, a factor; ``"add"``, activation units added; ``"add_sd"``, standard deviations added.
        amount: The factor or the amount.
        spread: (unit,) standard deviation of every unit of the network's space, in activation units; given for
            ``"add_sd"`` and only then.
        positions: The tokens that are touched: a name, a mask or column numbers (:mod:`.positions`).
        layers: The only layers that are touched; None for all layers in which the network has units.
    """
    values = np.full(network.space.n_units, float(amount))
    if spread is not None:
        # v = amount x sd x sign, each unit its own
        values *= spread * _signs_or_ones(network)
    # a gain multiplies; "add" and "add_sd" both add
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
    """Hold a network at a value, or between two, while a block of code runs.

    >>> with fbn.clamp(model, network, low=0.0):  # no member goes below 0
    ...     _, cache = model.run_with_cache("[INST] sort : b a [/INST]")
    >>> float(cache["post", 0][..., network.by_layer()[0]].min())
    0.0

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to hold.
        at: The value of every unit, in activation units.
        at_sd: The value of every unit as its mean plus this many of its standard deviations over ``reference``; where
            the network has a sign for the unit, the number is multiplied by it.
        low: Lower bound, in activation units; None for no lower bound.
        high: Upper bound, in activation units; None for no upper bound.
        reference: A recording of the same units; needed by ``at_sd``.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers; :mod:`.positions` defines them.
        layers: The only layers that are touched; None for all layers in which the network has units.

    Returns:
        An :class:`Intervention`, a context manager.

    Raises:
        InputError: Not exactly one of ``at``, ``at_sd`` and bounds is given; a value is no finite number; ``low`` is
            above ``high``; the units are attention heads, which have no one value; the network's units are not those
            of the model's site; or ``at_sd`` has no reference.
    """
    bounded = low is not None or high is not None
    if (at is not None) + (at_sd is not None) + bounded != 1:
        raise InputError(
            f"clamp takes at=, at_sd=, or low= and high=; got at={at}, at_sd={at_sd}, low={low}, high={high}"
        )
    # bounds may be infinite, values may not
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
        # (2, unit) a row of lower and a row of upper bounds
        values = np.tile(np.array([[lower], [upper]]), (1, network.space.n_units))
        return _intervention(model, network, "clip", values, f"clamp ({lower:g} to {upper:g})", positions, layers)
    if at is not None:
        values = np.full(network.space.n_units, float(at))
        return _intervention(model, network, "set", values, f"clamp ({at:g})", positions, layers)
    recording = _required_reference(reference, network, "at_sd")
    # v = mean + at_sd x sd x sign
    values = recording.mean() + at_sd * standard_deviation(recording) * _signs_or_ones(network)
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
    """Keep only a network, while a block of code runs: every other unit of its site is inhibited.

    >>> with fbn.retain(model, network):  # 23 of 1,152 neurons are too few for either task
    ...     retained = battery.evaluate(model)
    >>> retained[["task", "exact_match"]]
          task  exact_match
    0     sort          0.0
    1  reverse          0.0

    A network from a recording of some layers knows nothing of the other layers, which stay whole.
    :func:`tl_fbn.retention_curve` asks how many units are enough.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units to keep.
        method: What all other units are given instead of their activations. ``"zero"``; or from ``reference``:
            ``"mean"``, each unit's mean over all rows; ``"position_mean"``, its mean over the rows at the same position
            of a prompt; ``"resample"``, what the units did at the same position of another prompt; ``"noise"``, normal
            deviates with each unit's mean and standard deviation.
        reference: A recording of the same units on other prompts; needed by all methods but ``"zero"``.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers; :mod:`.positions` defines them.
        layers: The only layers that are touched; None for all layers of the network's space.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw; the same seed gives the same intervention.

    Returns:
        An :class:`Intervention`, a context manager; its ``network`` is the units that are silenced.

    Raises:
        InputError: The network's units are not those of the model's site, the method is unknown, the method needs a
            reference and has none, or the positions or layers do not exist.
    """
    # ~network is all other units of its own space: layers that this space leaves out have none and get no hook
    rest = inhibit(model, ~network, method=method, reference=reference, positions=positions, layers=layers, seed=seed)
    rest.description = rest.description.replace("inhibit", f"retain {network.name}", 1)
    return rest


def _intervention(
    model: HookedModel,
    network: Network,
    op: Op,
    values: Float[np.ndarray, "*bound unit"],
    description: str,
    positions: Positions,
    layers: Sequence[int] | None,
) -> Intervention:
    """An intervention whose values are known for every unit of the network's space."""
    space = network.space
    at = where(positions, model)
    # values are (unit,), or (2, unit) for the bounds of a clip; an edit takes those of its layer's members

    def values_of_members(layer: int, members: np.ndarray) -> np.ndarray:
        return values[..., space.layer_slice(layer)][..., members]

    edits = _layer_edits(resolve_site(model, space.site), network, op, values_of_members, at, layers, None)
    return Intervention(model, network, f"{description}{_positions_in_words(at)}", edits)


def _layer_edits(
    site: ResolvedSite,
    network: Network,
    op: Op,
    values: Callable[[int, np.ndarray], np.ndarray],
    at: Where,
    layers: Sequence[int] | None,
    lines: Lines | None,
) -> dict[str, LayerEdit]:
    """Hook name to edit, for the layers in which the network has members."""
    _check_space(site.space, network)
    unknown = [layer for layer in layers or () if layer not in site.hook_names]
    if unknown:
        raise InputError(
            f"layers={list(layers or ())} names {unknown}, which have no units at {site.space.describe()}; "
            f"layers: {', '.join(map(str, site.hook_names))}"
        )
    edits = {}
    for layer, name in site.hook_names.items():
        members = np.flatnonzero(network.members[network.space.layer_slice(layer)])
        # no hook where there is nothing to change: an empty network leaves the model bit-identical
        if members.size and (layers is None or layer in layers):
            # at attn.heads a unit is a head, so the width of the layer is its number of heads
            n_heads = site.space.widths[layer] if site.space.site == HEADS else 0
            edits[name] = LayerEdit(op, members, values(layer, members), where=at, lines=lines, n_heads=n_heads)
    return edits


def _positions_in_words(at: Where) -> str:
    return "" if at is EVERYWHERE or at.name == "all" else f", {at.name} positions"


def _check_space(offered: UnitSpace, network: Network) -> None:
    if not fits(offered, network.space):
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. "
            "Record or localise on this model first."
        )


def _required_reference(reference: Recording | None, network: Network, what: str) -> Recording:
    if reference is None:
        raise InputError(f"{what} needs reference=, a recording of {network.space.describe()}")
    network.space.require_same(reference.space, "take the reference for")
    return reference


def _signs_or_ones(network: Network) -> Float[np.ndarray, " unit"]:
    """Each unit's sign in the network; 1 where it has none."""
    signs = np.asarray(network.signs, dtype=float)
    return np.where(signs == 0, 1.0, signs)
