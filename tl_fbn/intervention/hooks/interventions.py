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

Each call returns an :class:`~tl_fbn.intervention.hooks.intervention.Intervention`, a context manager: it attaches one
hook for each layer in which the network has members, and takes exactly those off at the end, also when the body
raises. Interventions may be nested: they act in the order in which they were entered.

Edits return a new tensor in the activation's own dtype and on its device, and gradients flow through it.

Cost: one copy of each touched layer's activations in every pass.

Caution: zero is not the value at which a neuron rests (its mean is part of what the layer writes), so an effect of
``"zero"`` alone may come from leaving the usual range of activations. Compare ``"zero"`` with the other methods before
you believe the effect of any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import HEADS, ResolvedSite, resolve_site
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.intervention import (
    Intervention,
    intervention_with_values,
    layer_edits,
    positions_in_words,
)
from tl_fbn.intervention.hooks.layer_edit import Op
from tl_fbn.intervention.hooks.positions import Positions, Where, where
from tl_fbn.intervention.hooks.references import require_same_weights, required_reference
from tl_fbn.intervention.hooks.replacements import Replacement, ReplacementMethod, standard_deviation
from tl_fbn.signatures import checked
from tl_fbn.units import Network


@checked
def inhibit(
    model: HookedModel,
    network: Network,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
    allow_other_weights: bool = False,
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
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

    Returns:
        An :class:`Intervention`, a context manager.

    Raises:
        InputError: The network's units are not those of the model's site, the method is unknown, the method needs a
            reference and has none, or the positions or layers do not exist.
    """
    given = {"reference": reference, "allow_other_weights": allow_other_weights}
    return silencer(model, method=method, positions=positions, layers=layers, seed=seed, **given)(network)


def silencer(
    model: HookedModel,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
    allow_other_weights: bool = False,
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
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

    Returns:
        A function from a network to its :class:`Intervention`.

    Raises:
        InputError: An unknown method, or positions that do not exist.
    """
    if reference is not None and method != "zero":
        require_same_weights(model, reference, allow_other_weights=allow_other_weights)
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
        edits = layer_edits(self.sites[name], network, "set", values, self.at, self.layers, lines)
        return Intervention(self.model, network, f"inhibit ({self.method}{positions_in_words(self.at)})", edits)


@checked
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
    allow_other_weights: bool = False,
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
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

    Returns:
        An :class:`Intervention`, a context manager.

    Raises:
        InputError: Not exactly one of ``gain``, ``add`` and ``add_sd`` is given; it is no finite number; the network's
            units are not those of the model's site; or ``add_sd`` has no reference.
    """
    given = {name: value for name, value in (("gain", gain), ("add", add), ("add_sd", add_sd)) if value is not None}
    # None is "not given"; an amount of 0 is given
    if len(given) != 1:
        raise InputError(f"amplify takes exactly one of gain=, add= and add_sd=; got {given or 'none'}")
    ((name, amount),) = given.items()
    if not np.isfinite(amount):
        raise InputError(f"amplify({name}={amount}) is not finite; give a number")
    # a reference given beside gain= or add= is not read
    spread = None
    if name == "add_sd":
        spread = standard_deviation(required_reference(model, reference, network, "add_sd", allow_other_weights))
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
    return intervention_with_values(model, network, op, values, f"amplify ({kind} {amount:g})", positions, layers)


@checked
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
    allow_other_weights: bool = False,
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
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

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
        return intervention_with_values(
            model, network, "clip", values, f"clamp ({lower:g} to {upper:g})", positions, layers
        )
    if at is not None:
        values = np.full(network.space.n_units, float(at))
        return intervention_with_values(model, network, "set", values, f"clamp ({at:g})", positions, layers)
    recording = required_reference(model, reference, network, "at_sd", allow_other_weights)
    # v = mean + at_sd x sd x sign
    values = recording.mean() + at_sd * standard_deviation(recording) * _signs_or_ones(network)
    return intervention_with_values(model, network, "set", values, f"clamp ({at_sd:g} sd)", positions, layers)


@checked
def retain(
    model: HookedModel,
    network: Network,
    *,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    layers: Sequence[int] | None = None,
    seed: int = 0,
    allow_other_weights: bool = False,
) -> Intervention:
    """Keep only a network, while a block of code runs: every other unit of its site is inhibited.

    >>> with fbn.retain(model, network):  # 23 of 1,152 neurons are too few for either task
    ...     retained = battery.evaluate(model)
    >>> retained[["task", "exact_match"]]
          task  exact_match
    0     sort          0.0
    1  reverse          0.0

    A network from a recording of some layers knows nothing of the other layers, which stay whole.
    :func:`tl_fbn.studies.retention_curve` asks how many units are enough.

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
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

    Returns:
        An :class:`Intervention`, a context manager; its ``network`` is the units that are silenced.

    Raises:
        InputError: The network's units are not those of the model's site, the method is unknown, the method needs a
            reference and has none, or the positions or layers do not exist.
    """
    # ~network is all other units of its own space: layers that this space leaves out have none and get no hook
    given = {"reference": reference, "allow_other_weights": allow_other_weights}
    rest = inhibit(model, ~network, method=method, positions=positions, layers=layers, seed=seed, **given)
    # what is silenced is the rest, what a reader asked for is to keep the network
    rest.description = rest.description.replace("inhibit", f"retain {network.name}", 1)
    return rest


def _signs_or_ones(network: Network) -> Float[np.ndarray, " unit"]:
    """Each unit's sign in the network; 1 where it has none."""
    # signs are +1, -1, or 0 for a unit without one; an amount times 0 would change nothing
    signs = np.asarray(network.signs, dtype=float)
    return np.where(signs == 0, 1.0, signs)
