"""The context manager that every intervention is: hooks on at the start of a block of code, off at its end.

An :class:`Intervention` holds one :class:`~tl_fbn.intervention.hooks.layer_edit.LayerEdit` for each layer in which its
network has members. Entering it attaches these edits through the model's own ``hooks(...)``; leaving it takes exactly
those off again, also when the body raises, and ^C waits until all are on or off (:mod:`tl_fbn.interrupts`).
Interventions may be nested: they act in the order in which they were entered, and each sees what the one before left.
The same intervention may be entered again, also inside itself. Meanwhile the model serves this thread only and refuses
to be copied (:mod:`tl_fbn.acquisition.model.model_lock`).

Layers without a member get no hook, so that an empty network leaves every activation bit-identical. For people who
call ``model.hooks(...)`` themselves, ``.fwd_hooks(model)`` is the list of hooks; lists of several interventions may be
added.

An edit that acts on some positions, or that draws values by position, has to know which tokens a forward pass reads. It
learns this from the model's reader (:mod:`tl_fbn.acquisition.model.forward_context`), which listens only while somebody
holds a lease on it: a ``with`` block until it ends, a list of hooks until it is forgotten.

Cost: one copy of each touched layer's activations in every pass. Nothing here decides what units are given:
:mod:`.interventions` has the verbs that users call, and :mod:`.layer_edit` the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.model.forward_context import Lease, listen
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import claim
from tl_fbn.acquisition.model.sites import HEADS, ResolvedSite, fits, resolve_site
from tl_fbn.arguments import layer_numbers
from tl_fbn.errors import InputError, visible
from tl_fbn.interrupts import Uninterrupted
from tl_fbn.intervention.hooks.layer_edit import LayerEdit, Op
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Positions, Where, where
from tl_fbn.intervention.hooks.replacements import Lines
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitSpace


@dataclass(eq=False)
class Intervention(Uninterrupted["Intervention"]):
    """A change of some units' activations, in force inside a ``with`` block.

    :func:`tl_fbn.inhibit`, :func:`tl_fbn.amplify`, :func:`tl_fbn.clamp` and :func:`tl_fbn.retain` make one. It may be
    entered again, also inside itself.

    >>> intervention = fbn.inhibit(model, network)
    >>> intervention  # doctest: +ELLIPSIS
    inhibit (zero): Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), ...
    >>> [name for name, _ in intervention.fwd_hooks()]  # no hook in layer 2, which has no member
    ['blocks.0.mlp.hook_post', 'blocks.1.mlp.hook_post']

    Args:
        model: The model that is changed.
        network: The units that are changed; for :func:`tl_fbn.retain`, the units that are silenced.
        description: What is done to the units, in words, e.g. ``"inhibit (zero)"``.
        edits: Hook name to the edit of that layer; layers without a member have none.
    """

    model: HookedModel
    network: Network
    description: str
    edits: dict[str, LayerEdit]

    @checked
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

    def _put_on(self, undo: ExitStack) -> Intervention:
        claim(undo, self.model, self.description)
        edits, lease = self._edits_and_lease(self.model)
        if lease is not None:
            undo.callback(lease.close)
        undo.enter_context(self.model.hooks(fwd_hooks=list(edits.items())))
        return self

    def __repr__(self) -> str:
        return visible(f"{self.description}: {self.network!r}")


def intervention_with_values(
    model: HookedModel,
    network: Network,
    op: Op,
    values: Float[np.ndarray, "*bound unit"],
    description: str,
    positions: Positions,
    layers: Sequence[int] | None,
) -> Intervention:
    """An intervention whose values are known for every unit of the network's space.

    Args:
        model: A TransformerLens model with the network's site.
        network: The units that are changed.
        op: What is done with the values: ``"set"``, ``"scale"``, ``"add"`` or ``"clip"``.
        values: (unit,) one value for every unit of the network's space, in activation units (a factor for ``"scale"``);
            (2, unit) lower and upper bounds for ``"clip"``. Only those of members are used.
        description: What is done, in words; positions other than all are added to it.
        positions: The tokens that are touched: a name, a mask or column numbers (:mod:`.positions`).
        layers: The only layers that are touched; None for all layers in which the network has units.

    Raises:
        InputError: The network's units are not those of the model's site, or the positions or layers do not exist.
    """
    space = network.space
    at = where(positions, model)

    def values_of_members(layer: int, members: np.ndarray) -> np.ndarray:
        # the last axis is that of units, whether values are (unit,) or, for the bounds of a clip, (2, unit)
        return values[..., space.layer_slice(layer)][..., members]

    edits = layer_edits(resolve_site(model, space.site), network, op, values_of_members, at, layers, None)
    return Intervention(model, network, f"{description}{positions_in_words(at)}", edits)


def layer_edits(
    site: ResolvedSite,
    network: Network,
    op: Op,
    values: Callable[[int, np.ndarray], np.ndarray],
    at: Where,
    layers: Sequence[int] | None,
    lines: Lines | None,
) -> dict[str, LayerEdit]:
    """The edits of an intervention: hook name to edit, for the layers in which the network has members.

    Args:
        site: The site of the model at which the network's units are.
        network: The units that are changed.
        op: What is done with the values: ``"set"``, ``"scale"``, ``"add"`` or ``"clip"``.
        values: A function from the number of a layer and the (member,) indices of units within it to the values that
            these units are given; it is called only for layers in which the network has members.
        at: The positions that are touched.
        layers: The only layers that are touched; None for all layers in which the network has units.
        lines: Which line of a table of values a token takes; None where all tokens are given the same.

    Raises:
        InputError: The network's units are not those of the site, or the site has no such layer.
    """
    _check_space(site.space, network)
    # a layer may exist in the model and yet have no unit at this site (a mixture of experts at mlp.neurons)
    chosen = None if layers is None else layer_numbers(layers, "layers")
    unknown = [layer for layer in chosen or () if layer not in site.hook_names]
    if unknown:
        raise InputError(
            f"layers={list(chosen or ())} names {unknown}, which have no units at {site.space.describe()}; "
            f"layers: {', '.join(map(str, site.hook_names))}"
        )
    edits = {}
    for layer, name in site.hook_names.items():
        members = np.flatnonzero(network.members[network.space.layer_slice(layer)])
        # no hook where there is nothing to change: an empty network leaves the model bit-identical
        if members.size and (chosen is None or layer in chosen):
            # at attn.heads a unit is a head, so the width of the layer is its number of heads
            n_heads = site.space.widths[layer] if site.space.site == HEADS else 0
            edits[name] = LayerEdit(op, members, values(layer, members), where=at, lines=lines, n_heads=n_heads)
    return edits


def positions_in_words(at: Where) -> str:
    """The end of a description, e.g. ``", last positions"``; empty where every position is touched."""
    return "" if at is EVERYWHERE or at.name == "all" else f", {at.name} positions"


def _check_space(offered: UnitSpace, network: Network) -> None:
    if not fits(offered, network.space):
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {offered.describe()}. "
            "Record or localise on this model first."
        )
