"""Networks that a network is compared with: what silencing *something like it* does.

============ ============================================================================================================
``random``   as many units in each layer, drawn without regard to anything else. The usual control, and a weak one: chosen
             networks are often merely the loud ones
``activity`` as many units in each layer, none of them the network's own, each standing for a member with about its mean
             \\|activation\\| and the norm of its outgoing weights: drawn from the nearest 2 % of the layer in rank, at least five
``rotated``  as many random directions of each layer's activations, projected out: is it these neurons, or that much of any
             basis?
============ ============================================================================================================

And three that are chosen, not drawn, so that they have no p of their own: the lowest-ranked units of the same map (:func:`lowest_ranked`; units that select least
sometimes hurt more, Jamaa et al. 2025), the networks of other tasks (every study has them: they are its other rows), and what the same procedure
finds in an untrained model (:func:`untrained`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of
from tl_fbn.acquisition.model.sites import HEADS, resolve_site
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.intervention.hooks.interventions import Intervention
from tl_fbn.intervention.hooks.layer_edit import LayerEdit
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Where
from tl_fbn.units import Network, UnitMap, UnitSpace

ControlKind = Literal["random", "activity", "rotated"]
NEAREST = 0.02  # of a layer's other units, at least five: where a member's stand-in is drawn from
Features = Float[np.ndarray, "feature unit"]


def matched_controls(network: Network, n: int, *, seed: int, features: Features | None = None) -> list[Network]:
    """Random networks with the same number of units in every layer.

    ::

        for control in fbn.matched_controls(network, 100, seed=0):
            with fbn.inhibit(model, control):
                ...

    Args:
        network: What to match.
        n: How many.
        seed: Of the draw.
        features: What else to match, from :func:`unit_features`; then no control shares a unit with the network. None: layers only,
            drawn without regard to membership.

    Raises:
        InputError: With features, a layer that has fewer other units than members.
    """
    rng = np.random.default_rng(seed)
    space = network.space
    counts = network.per_layer()
    spans = [space.layer_slice(layer) for layer in range(space.n_layers)]
    pools = {
        layer: _nearest(network.members[spans[layer]], features[:, spans[layer]], layer)
        for layer in range(space.n_layers)
        if features is not None and counts[layer]
    }
    chosen = []
    for _ in range(n):  # one after the other, so that the first of many are those of few
        members = np.zeros(space.n_units, dtype=bool)
        for layer, (span, count) in enumerate(zip(spans, counts, strict=True)):
            drawn = (
                _drawn(pools[layer], rng)
                if layer in pools
                else rng.choice(span.stop - span.start, count, replace=False)
            )
            members[span.start + np.asarray(drawn, dtype=np.int64)] = True
        chosen.append(members)
    how = "units per layer matched" if features is None else "units per layer, activity and outgoing norm matched"
    provenance = {"method": f"random, {how}", "seed": seed, "prompts": []}
    names = [f"random {number} like {network.name}" for number in range(n)]
    return [Network(space, one, name=name, provenance=provenance) for one, name in zip(chosen, names, strict=True)]


def unit_features(model: HookedModel, recording: Recording) -> Features:
    """What a unit's lesion can be expected to do from its size alone: mean \\|activation\\|, and the norm of its outgoing weights.

    ::

        features = fbn.studies.unit_features(model, recording)
        controls = fbn.matched_controls(network, 100, features=features, seed=0)

    Args:
        model: The model.
        recording: Activations of the units.

    Returns:
        (feature, unit): two lines for ``mlp.neurons``; one, activity, for sites without outgoing weights of their own.

    Raises:
        InputError: A recording of several sites, or a model that has not the recording's.
    """
    space = recording.space
    activity = np.zeros(space.n_units)
    for run in recording:
        for layer, array in run.layers.items():
            activity[space.layer_slice(layer)] += np.abs(np.asarray(array[:], dtype=np.float64)).sum(0)
    activity /= recording.n_rows
    if space.site != "mlp.neurons":
        return activity[None]
    norms = np.zeros(space.n_units)
    for layer in resolve_site(model, space.site).hook_names:
        if not space.widths[layer]:
            continue  # not recorded
        weights = host.blocks_of(model)[layer].mlp.W_out.detach().float().cpu()
        norms[space.layer_slice(layer)] = torch.linalg.vector_norm(weights, dim=1).double().numpy()
    return np.stack([activity, norms])


def balance(network: Network, controls: Sequence[Network], features: Features) -> Float[np.ndarray, " feature"]:
    """Standardised mean difference between a network and its controls, one number a feature; below .1 counts as balanced."""
    if not len(network):
        return np.zeros(len(features))
    own = features[:, network.members].mean(1)
    theirs = np.mean([features[:, control.members].mean(1) for control in controls], axis=0)
    spread = features.std(1)
    return np.where(spread > 0, (own - theirs) / np.where(spread > 0, spread, 1.0), 0.0)


def lowest_ranked(scores: UnitMap, network: Network) -> Network:
    """The lowest-scored units of a map, as many in each layer as a network has, none of them its own.

    ::

        rival = fbn.studies.lowest_ranked(contrast.t, contrast.t.top(0.05))

    Args:
        scores: The map the network was chosen from.
        network: The network.

    Returns:
        A network; in layers where the network has more than half of the units, as many as are left.

    Raises:
        InputError: Map and network are of different spaces.
    """
    scores.space.require_same(network.space, "rank")
    members = np.zeros(network.space.n_units, dtype=bool)
    for layer, count in enumerate(network.per_layer()):
        span = network.space.layer_slice(layer)
        values = np.where(network.members[span], np.inf, scores.values[span])
        members[span.start + np.argsort(values, kind="stable")[:count]] = True
    provenance = {key: value for key, value in network.provenance.items() if key == "prompts"}
    about = {"method": "lowest-ranked units, units per layer matched", **provenance}
    return Network(network.space, members & ~network.members, name=f"lowest of {network.name}", provenance=about)


def rotated_lesion(model: HookedModel, network: Network, *, seed: int, where: Where = EVERYWHERE) -> Intervention:
    """Project out as many random directions of each layer's activations as a network has units there.

    Args:
        model: The model.
        network: Says how many directions, in which layers.
        seed: Of the directions, uniform over subspaces.
        where: Positions.
    """
    space = network.space
    if space.site == HEADS:
        raise InputError(f"units of {HEADS} are whole heads, which have no common directions; use other controls")
    edits = {}
    for layer, name in resolve_site(model, space.site).hook_names.items():
        count = int(network.per_layer()[layer])
        width = space.widths[layer]
        if count:
            drawn = np.random.default_rng([seed, layer]).standard_normal((width, count))
            directions = np.linalg.qr(drawn)[0]
            edits[name] = LayerEdit("project", np.arange(width), directions.T, where=where)
    return Intervention(model, network, f"project out random directions like {network.name}", edits)


def untrained(model: HookedModel, *, seed: int) -> Any:
    """A model of the same architecture and tokenizer with random weights: what a localiser finds there owes nothing to training.

    ::

        twin = fbn.studies.untrained(model, seed=0)
        fbn.Scanner(twin).scan(design, "recordings/untrained")

    Args:
        model: A TransformerLens bridge around a Hugging Face model, or a native one.
        seed: Of the weights, drawn as the architecture initialises itself.

    Raises:
        InputTypeError: The model's host offers no way to make another of its kind.
    """
    inner = inner_model(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if inner is not None and hasattr(inner, "config") and hasattr(type(inner), "_from_config"):
            from transformer_lens.model_bridge.sources import build_bridge_from_module

            fresh = type(inner)(inner.config)
            fresh.to(dtype=next(model.parameters()).dtype, device=host.model_device(model))
            made = build_bridge_from_module(
                fresh.eval(), type(inner).__name__, hf_config=inner.config, tokenizer=tokenizer_of(model)
            )
            return made.eval()
        if hasattr(type(model), "boot_native") and inner is not None and not hasattr(inner, "config"):
            import copy

            config = copy.deepcopy(model.cfg)
            config.seed = seed
            native: Any = type(model)
            return native.boot_native(config).eval()
    raise InputTypeError(
        f"{type(model).__name__} cannot be made again untrained; give a TransformerBridge around a Hugging Face model, or make one "
        "with random weights yourself"
    )


def lesions_of(
    kind: ControlKind,
    model: HookedModel,
    network: Network,
    n: int,
    *,
    seed: int,
    silence: Any,
    features: Features | None,
    where: Where,
) -> list[Any]:
    """The interventions of one kind of control, as functions that make them when they are due."""
    if kind == "rotated":
        return [
            lambda number=number: rotated_lesion(model, network, seed=seed * 100_003 + number, where=where)
            for number in range(n)
        ]
    drawn = matched_controls(network, n, seed=seed, features=features if kind == "activity" else None)
    return [lambda control=control: silence(control) for control in drawn]


def _nearest(members: np.ndarray, features: np.ndarray, layer: int) -> list[np.ndarray]:
    """For each member of a layer the other units, nearest in rank first, and how many of them it may draw from."""
    own = np.flatnonzero(members)
    others = np.flatnonzero(~members)
    if len(others) < len(own):
        raise InputError(
            f"layer {layer} has {len(own)} members and {len(others)} other units; a matched control needs as many. Take a smaller "
            'network, or controls=("random",)'
        )
    ranks = stats.rankdata(features, axis=1) / features.shape[1]
    distances = np.linalg.norm(ranks[:, own, None] - ranks[:, None, others], axis=0)
    return [others[order] for order in np.argsort(distances, axis=1, kind="stable")]


def _drawn(pools: list[np.ndarray], rng: np.random.Generator) -> list[int]:
    """A stand-in for each member: among the nearest that are still free."""
    width = max(5, int(NEAREST * len(pools[0])))
    taken: set[int] = set()
    for member in rng.permutation(len(pools)):
        free = []
        for unit in pools[member]:
            if unit not in taken:
                free.append(int(unit))
                if len(free) == width:
                    break
        taken.add(free[int(rng.integers(len(free)))])
    return sorted(taken)


def space_of(networks: Sequence[Network]) -> UnitSpace:
    """The space all networks share; ValueError if they do not."""
    for one in networks[1:]:
        networks[0].space.require_same(one.space, "compare")
    return networks[0].space
