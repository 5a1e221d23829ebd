"""Which neurons to keep so that a given share of a model's parameters goes.

    keep neuron j if |score_j| > tau,        removed(tau) = sum over layers of cost_l x (neurons of l at or below tau)

with cost_l = 3 d + biases where the MLP is gated and 2 d + biases where it is not. removed(tau) is a step function with a step at
every score, so that the nearest step to a target is found exactly by sorting, where the paper bisects. Of an atlas the score is
the largest ``|z|`` over networks: a neuron of any network stays.

Cost: one sort. Scores are the caller's choice; a ratio says nothing about what is lost.

Source: FNP, arXiv:2508.05239 (2025); released thresholds 3.46 (1 run) to 6.03 (80 runs) for about 20 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.acquisition.model.host import HookedModel, blocks_of
from tl_fbn.acquisition.model.sites import fits, resolve_site
from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

NEURONS = "mlp.neurons"


def keep_for_ratio(
    model: HookedModel,
    scores: UnitMap | Atlas,
    *,
    ratio: float,
    protect_first: int = 0,
    protect_last: int = 0,
) -> Network:
    """The neurons to keep so that a share of the model's parameters goes: those with ``|score| > tau``.

    >>> network = keep_for_ratio(model, atlas, ratio=0.2, protect_first=3, protect_last=2)      # doctest: +SKIP

    Units with equal scores stay or go together.

    Args:
        model: A TransformerLens bridge.
        scores: A map; or an atlas with maps, whose largest ``|z|`` over networks counts (a neuron of any network stays).
        ratio: Share of all parameters of the model to remove, in (0, 1); tied parameters count once.
        protect_first: Layers at the beginning that stay whole (paper: 3).
        protect_last: Layers at the end that stay whole (paper: 2).

    Returns:
        The network to keep, protected layers included; provenance has ``tau`` and ``removed_share``, the share nearest to ratio.

    Raises:
        InputError: A ratio that the layers open to pruning cannot give, or scores of other units.

    Source: functional network pruning, arXiv:2508.05239 (2025); released settings 3.46 to 6.03 for about 20 %.
    """
    surgery.require_bridge(model, "keep_for_ratio")
    space = resolve_site(model, NEURONS).space
    if not fits(space, scores.space):
        raise InputError(
            f"scores live in {scores.space.describe()}; this model offers {space.describe()}. Score this model first."
        )
    if not 0 < ratio < 1:
        raise InputError(f"ratio={ratio} is no share of the parameters; give a number between 0 and 1, e.g. 0.2")
    found = np.abs(np.nan_to_num(scores.values if isinstance(scores, UnitMap) else _strongest(scores), nan=0.0))
    strength = spread(found, scores.space, space, np.inf)
    layers = space.layer_of
    open_ = ~np.isin(layers, list(protected_layers(space.n_layers, protect_first, protect_last))) & np.isfinite(
        strength
    )
    blocks = blocks_of(model)
    each = np.array([surgery.cost_of_neuron(blocks[i].mlp) if n else 0 for i, n in enumerate(space.widths)])
    total = surgery.n_parameters(model)
    most = each[layers[open_]].sum() / total
    if ratio > most:
        raise InputError(
            f"ratio={ratio} of {total:,} parameters cannot be removed: neurons of the layers open to pruning are {most:.1%}. Lower "
            "ratio, or protect fewer layers"
        )
    taus, at = np.unique(strength[open_], return_inverse=True)
    shares = np.cumsum(np.bincount(at, each[layers[open_]])) / total
    best = int(np.abs(shares - ratio).argmin())
    nothing = ratio <= abs(shares[best] - ratio)
    tau, share = (-np.inf, 0.0) if nothing else (taus[best], shares[best])
    provenance = {
        **scores.provenance,
        "selection": {"tau": float(tau), "ratio": ratio, "removed_share": float(share)},
    }
    return Network(space, ~open_ | (strength > tau), name=f"|score| > {tau:.3g}", provenance=provenance)


def _strongest(atlas: Atlas) -> Float[np.ndarray, " unit"]:
    if atlas.maps is None:
        raise InputError("this atlas has no maps to threshold; take atlas.union() as the network to keep")
    return np.abs(atlas.maps).max(0)


def protected_layers(n_layers: int, first: int, last: int) -> set[int]:
    """Numbers of the layers that stay whole."""
    if min(first, last) < 0 or first + last >= n_layers:
        raise InputError(
            f"protect_first={first} and protect_last={last} leave nothing of {n_layers} layers to prune; protect fewer"
        )
    return {*range(first), *range(n_layers - last, n_layers)}


def spread(
    values: Float[np.ndarray, " few"] | Bool[np.ndarray, " few"], given: UnitSpace, space: UnitSpace, fill: Any
) -> np.ndarray:
    """Values of some layers' units on the axis of all layers'."""
    out = np.full(space.n_units, fill, dtype=values.dtype)
    for layer, width in enumerate(given.widths):
        if width:
            out[space.layer_slice(layer)] = values[given.layer_slice(layer)]
    return out
