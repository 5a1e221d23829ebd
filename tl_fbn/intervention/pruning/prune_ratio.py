"""Which neurons to keep so that a given share of a model's parameters is removed.

A neuron is kept if its score is far from 0,

    keep neuron j if |score_j| > tau,        removed(tau) = sum over layers l of cost_l x (neurons of l at or below tau)

where cost_l is the number of parameters of one neuron: 3 d + biases where the MLP is gated and 2 d + biases where it is
not, with d the width of the residual stream. removed(tau) is a step function with a step at every score, so the step
nearest to a target is found exactly by sorting (the paper bisects). For an atlas, the score of a neuron is its largest
``|z|`` over all networks, so that a neuron that belongs to any network is kept.

Cost: one sort. Which scores to use is the caller's choice, and a share of parameters says nothing about the abilities
that are lost with it.

Source: functional network pruning (FNP), arXiv:2508.05239 (2025); released thresholds 3.46 (1 run) to 6.03 (80 runs)
for about 20 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.acquisition.model.host import HookedModel, blocks_of
from tl_fbn.acquisition.model.sites import fits, resolve_site
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

NEURONS = "mlp.neurons"


@checked
def keep_for_ratio(
    model: HookedModel,
    scores: UnitMap | Atlas,
    *,
    ratio: float,
    protect_first: int = 0,
    protect_last: int = 0,
) -> Network:
    """The neurons to keep so that a share of the model's parameters is removed: those with ``|score| > tau``.

    >>> keep = fbn.pruning.keep_for_ratio(model, atlas, ratio=0.2, protect_first=1)
    >>> keep  # doctest: +ELLIPSIS
    Network "|score| > 1...": 785 of 1,152 units (68.14%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 384 ...
    >>> round(keep.provenance["selection"]["removed_share"], 3)
    0.2

    Units with equal scores stay or go together, so that the share that is removed is the one nearest to ``ratio``.

    Args:
        model: A TransformerLens bridge.
        scores: A map with one score a neuron; or an atlas with maps, of which the largest ``|z|`` over networks is the
            score. A unit whose score is nan counts as 0; layers that were not recorded stay whole.
        ratio: Share of all parameters of the model to remove, between 0 and 1; tied parameters count once.
        protect_first: Number of layers at the beginning that stay whole (paper: 3).
        protect_last: Number of layers at the end that stay whole (paper: 2).

    Returns:
        The network to keep, with all neurons of protected layers. Its ``provenance["selection"]`` has ``tau``, the
        threshold of ``|score|``, and ``removed_share``, the share of parameters that is removed.

    Raises:
        InputError: The layers that may be pruned have fewer parameters than ``ratio`` asks for, the ratio is not
            between 0 and 1, the scores are of other units, or the atlas has no maps.

    Source: functional network pruning, arXiv:2508.05239 (2025); released settings 3.46 to 6.03 for about 20 %.
    """
    surgery.require_bridge(model, "keep_for_ratio")
    if not isinstance(scores, (UnitMap, Atlas)):
        raise InputTypeError(
            f"scores are a {type(scores).__name__}; give a UnitMap, or an Atlas with maps (a network has no scores to "
            "cut: prune(model, keep=network) removes all others)"
        )
    space = resolve_site(model, NEURONS).space
    if not fits(space, scores.space):
        raise InputError(
            f"scores live in {scores.space.describe()}; this model offers {space.describe()}. Score this model first."
        )
    if not 0 < ratio < 1:
        raise InputError(f"ratio={ratio} is no share of the parameters; give a number between 0 and 1, e.g. 0.2")
    found = np.abs(
        np.nan_to_num(scores.values if isinstance(scores, UnitMap) else _largest_absolute_z(scores), nan=0.0)
    )
    # infinite where a layer was not recorded: its units are above every tau
    strength = spread(found, scores.space, space, np.inf)
    layers = space.layer_of
    prunable = ~np.isin(layers, list(protected_layers(space.n_layers, protect_first, protect_last))) & np.isfinite(
        strength
    )
    # (layer,) parameters of one neuron; all neurons of a layer cost the same
    blocks = blocks_of(model)
    cost_per_neuron = np.array([surgery.cost_of_neuron(blocks[i].mlp) if n else 0 for i, n in enumerate(space.widths)])
    total = surgery.n_parameters(model)
    largest_share = cost_per_neuron[layers[prunable]].sum() / total
    if ratio > largest_share:
        raise InputError(
            f"ratio={ratio} of {total:,} parameters cannot be removed: "
            f"neurons of the layers open to pruning are {largest_share:.1%}. "
            "Lower ratio, or protect fewer layers"
        )
    # every distinct |score| is a possible tau, smallest first; steps: which of them each unit has
    taus, steps = np.unique(strength[prunable], return_inverse=True)
    # removed(tau) / total: units at or below tau go, so costs are summed up to and with each step
    shares = np.cumsum(np.bincount(steps, cost_per_neuron[layers[prunable]])) / total
    best = int(np.abs(shares - ratio).argmin())
    # removing nothing is a step, too: its distance to the target is the ratio itself
    if ratio <= abs(shares[best] - ratio):
        tau = -np.inf
        share = 0.0
    else:
        tau = taus[best]
        share = shares[best]
    provenance = {
        **scores.provenance,
        "selection": {"tau": float(tau), "ratio": ratio, "removed_share": float(share)},
    }
    return Network(space, ~prunable | (strength > tau), name=f"|score| > {tau:.3g}", provenance=provenance)


def _largest_absolute_z(atlas: Atlas) -> Float[np.ndarray, " unit"]:
    """Each unit's largest ``|z|`` over the networks of an atlas."""
    if atlas.maps is None:
        raise InputError("this atlas has no maps to threshold; take atlas.union() as the network to keep")
    # maps are (network, unit)
    return np.abs(atlas.maps).max(0)


def protected_layers(n_layers: int, first: int, last: int) -> set[int]:
    """Numbers of the layers that stay whole.

    Args:
        n_layers: Number of layers of the model.
        first: Number of layers at the beginning that stay whole.
        last: Number of layers at the end that stay whole.

    Raises:
        InputError: One of the numbers is negative, or no layer is left to prune.
    """
    if min(first, last) < 0 or first + last >= n_layers:
        raise InputError(
            f"protect_first={first} and protect_last={last} leave nothing of {n_layers} layers to prune; protect fewer"
        )
    return {*range(first), *range(n_layers - last, n_layers)}


def spread(
    values: Float[np.ndarray, " few"] | Bool[np.ndarray, " few"], given: UnitSpace, space: UnitSpace, fill: Any
) -> np.ndarray:
    """Values of the units of some layers, laid out on the unit axis of all layers.

    Args:
        values: (unit,) values of the units of ``given``.
        given: A unit space in which layers that were not recorded have width 0.
        space: The unit space of the whole model.
        fill: The value of units of the layers that ``given`` lacks.

    Returns:
        (unit,) values of all units of ``space``, of the type of ``values``.
    """
    out = np.full(space.n_units, fill, dtype=values.dtype)
    for layer, width in enumerate(given.widths):
        if width:
            out[space.layer_slice(layer)] = values[given.layer_slice(layer)]
    return out
