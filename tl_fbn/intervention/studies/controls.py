"""Networks that a network is compared with: what silencing *something like it* does.

Three kinds are drawn at random, so that they give the network a p value:

============ ==========================================================================================================
``random``   as many units in each layer, drawn without regard to anything else. The usual control, and a weak one:
             chosen networks are often merely those with the largest activations
``activity`` as many units in each layer, none of them the network's own. Each stands for a member, and has about its
             mean \\|activation\\| and the norm of its outgoing weights: it is drawn from the 2 % of the layer's other
             units, at least five, whose ranks in both are nearest
``rotated``  as many random directions of each layer's activations, projected out. It asks whether these neurons
             matter, or as large a part of any basis would do
============ ==========================================================================================================

Three others are chosen, not drawn, and have no p of their own: the lowest-ranked units of the same map
(:func:`lowest_ranked`; units that select least sometimes hurt more, Jamaa et al. 2025), the networks of other tasks
(every study has them: they are its other rows), and what the same procedure finds in an untrained model
(:func:`tl_fbn.studies.untrained`).

Cost: drawing takes milliseconds a control; ``activity`` also sorts, for each layer, its other units once for each
member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.direct_logits import outgoing_norms
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import HEADS, resolve_site
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.intervention import Intervention
from tl_fbn.intervention.hooks.layer_edit import LayerEdit
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Where
from tl_fbn.intervention.studies.exclusion import Exclude, excluded_units, without
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, top_mask

ControlKind = Literal["random", "activity", "rotated"]
NEAREST = 0.02  # share of a layer's other units (at least five) among which the stand-in of a member is drawn
Features = Float[np.ndarray, "feature unit"]


@checked
def matched_controls(
    network: Network, n: int, *, seed: int, features: Features | None = None, exclude: Exclude = None
) -> list[Network]:
    """Random networks with the same number of units in every layer.

    >>> losses = []
    >>> for control in fbn.matched_controls(network, 5, seed=0):
    ...     with fbn.inhibit(model, control):
    ...         losses.append(1 - battery.evaluate(model).set_index("task").loc["sort", "exact_match"])
    >>> float(max(losses))  # no random network of this size harms sorting
    0.0

    Args:
        network: The network to match, layer by layer.
        n: Number of controls.
        seed: Seed of the random draws; the same seed gives the same controls, and the first of many are those of few.
        features: (feature, unit) what else to match, from :func:`unit_features`; then no control shares a unit with
            the network. None matches the number of units in each layer only, and members of the network may be drawn
            again.
        exclude: Units that are in no control, such as collapse neurons (:func:`tl_fbn.collapse_neurons`); what is
            matched is the network without them.

    Returns:
        ``n`` networks, named "random 0 like ..." and so on.

    Raises:
        InputError: With features, a layer that has fewer other units than members; excluded units of another space, or
            all of the network's.
    """
    space = network.space
    out = excluded_units(exclude, space)
    network = without({network.name: network}, out)[network.name]
    barred = np.zeros(space.n_units, dtype=bool) if out is None else out.members
    if n < 0:
        raise InputError(f"n={n} controls; give 0 or more")
    if features is not None:
        features = number_array(features, "features")
        if features.ndim != 2 or not len(features) or features.shape[1] != space.n_units:
            raise InputError(
                f"features have shape {features.shape}; give (feature, unit) numbers of {space.n_units} units, as "
                "studies.unit_features does"
            )
    rng = np.random.default_rng(seed)
    counts = network.per_layer()
    spans = [space.layer_slice(layer) for layer in range(space.n_layers)]
    # of each layer with members, and each member, the units that may stand for it, nearest first
    pools = {
        layer: _units_by_likeness(network.members[spans[layer]], barred[spans[layer]], features[:, spans[layer]], layer)
        for layer in range(space.n_layers)
        if features is not None and counts[layer]
    }
    # units that are drawn from; of a layer that has all its units, their number, which gives the same draws faster
    drawable = [np.flatnonzero(~barred[span]) if barred[span].any() else span.stop - span.start for span in spans]
    chosen = []
    for _ in range(n):  # one after the other, so that the first of many are those of few
        members = np.zeros(space.n_units, dtype=bool)
        for layer, (span, count) in enumerate(zip(spans, counts, strict=True)):
            if layer in pools:
                drawn = _draw_stand_ins(pools[layer], rng)
            else:  # no features, or a layer without members, of which none is drawn
                drawn = rng.choice(drawable[layer], count, replace=False)
            members[span.start + np.asarray(drawn, dtype=np.int64)] = True
        chosen.append(members)
    how = "units per layer matched" if features is None else "units per layer, activity and outgoing norm matched"
    provenance = {"method": f"random, {how}", "seed": seed, "prompts": []}
    provenance |= {} if out is None else {"excluded": len(out)}
    names = [f"random {number} like {network.name}" for number in range(n)]
    return [Network(space, one, name=name, provenance=provenance) for one, name in zip(chosen, names, strict=True)]


def sham_networks(network: Network, n: int, *, seed: int) -> list[Network]:
    """Layer-matched random networks that have the network's signs too, as many of each sign in each layer, dealt at
    random.

    Args:
        network: The network to match; without signs the controls are those of :func:`matched_controls`.
        n: Number of controls.
        seed: Seed of the draws of units and of signs; the same seed gives the same controls.
    """
    drawn = matched_controls(network, n, seed=seed)
    if not network.signs.any():
        return drawn
    rng = np.random.default_rng([seed, 1])  # apart from the draws of the units
    signed = []
    for control in drawn:
        signs = np.zeros(network.space.n_units, dtype=np.int8)
        for span in map(network.space.layer_slice, range(network.space.n_layers)):
            signs[span][control.members[span]] = rng.permutation(network.signs[span][network.members[span]])
        signed.append(replace(control, signs=signs))
    return signed


@checked
def unit_features(model: HookedModel, recording: Recording) -> Features:
    """How large a unit is: its mean \\|activation\\|, and the norm of its outgoing weights.

    From its size alone the lesion of a unit can be expected to do something; controls that are matched on these
    features do not differ from the network by it.

    >>> activity, norms = fbn.studies.unit_features(model, recording)
    >>> like_it = fbn.matched_controls(network, 20, features=np.stack([activity, norms]), seed=0)
    >>> groups = {"network": [network], "activity": like_it, "random": fbn.matched_controls(network, 20, seed=0)}
    >>> {name: round(float(np.mean([activity[one.members] for one in group])), 2) for name, group in groups.items()}
    {'network': 0.3, 'activity': 0.28, 'random': 0.18}

    Args:
        model: A TransformerLens model with the site of the recording.
        recording: Activations of the units; means are over all of its rows.

    Returns:
        (feature, unit): mean \\|activation\\| and weight norm for ``mlp.neurons``; the former alone for sites without
        outgoing weights of their own.

    Raises:
        InputError: A recording of several sites, a site that the model does not have, or output weights that cannot be
            read.
    """
    space = recording.space
    activity = np.zeros(space.n_units)
    # summed in float64, one layer of one run at a time, so that a recording need not fit in memory
    for run in recording:
        for layer, array in run.layers.items():
            activity[space.layer_slice(layer)] += np.abs(np.asarray(array[:], dtype=np.float64)).sum(0)
    activity /= recording.n_rows
    if space.site != "mlp.neurons":
        return activity[None]
    resolve_site(model, space.site)  # for its message where the model has no such site
    norms = outgoing_norms(model, space)
    if norms is None:
        raise InputError(
            f"output weights of {host.model_label(model)} cannot be read as those of {space.describe()}; give the "
            'model that was recorded, in float32 or bfloat16, or take controls=("random",)'
        )
    return np.stack([activity, norms])


def balance(network: Network, controls: Sequence[Network], features: Features) -> Float[np.ndarray, " feature"]:
    """Standardised mean difference between a network and its controls; below .1 counts as balanced.

    Args:
        network: The network.
        controls: Its controls, at least one.
        features: (feature, unit) features, from :func:`unit_features`.

    Returns:
        Of each feature, mean of the network - mean of its controls, in standard deviations over all units; 0 where
        the feature does not vary.
    """
    if not len(network):
        return np.zeros(len(features))
    own = features[:, network.members].mean(1)
    of_controls = np.mean([features[:, control.members].mean(1) for control in controls], axis=0)
    spread = features.std(1)
    return np.where(spread > 0, (own - of_controls) / np.where(spread > 0, spread, 1.0), 0.0)


@checked
def lowest_ranked(scores: UnitMap, network: Network) -> Network:
    """The lowest-scored units of a map, as many in each layer as a network has, none of them its own.

    >>> fbn.studies.lowest_ranked(contrast.t, network)
    Network "lowest of sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 18 5 0

    Args:
        scores: The map that the network was chosen from; its smallest values (the most negative ones) are taken. A unit
            without a value (NaN) is never taken.
        network: The network whose number of units in each layer is matched.

    Returns:
        A network; in layers where the network has more than half of the units, it has as many as are left.

    Raises:
        InputError: Map and network are of different spaces.
    """
    scores.space.require_same(network.space, "rank")
    members = np.zeros(network.space.n_units, dtype=bool)
    for layer, count in enumerate(network.per_layer()):
        span = network.space.layer_slice(layer)
        # members are sorted behind all others
        values = np.where(network.members[span], np.inf, scores.values[span])
        members[span] = top_mask(-values, int(count))
    provenance = {key: value for key, value in network.provenance.items() if key == "prompts"}
    about = {"method": "lowest-ranked units, units per layer matched", **provenance}
    # where fewer others than members are left, members were marked too
    return Network(network.space, members & ~network.members, name=f"lowest of {network.name}", provenance=about)


def rotated_lesion(
    model: HookedModel, network: Network, *, seed: int, where: Where = EVERYWHERE, out: Network | None = None
) -> Intervention:
    """Project out as many random directions of each layer's activations as a network has units there.

    Args:
        model: A TransformerLens model with the network's site.
        network: The network whose number of units in each layer is the number of directions there.
        seed: Seed of the directions; they span a subspace that is uniform over all of that dimension.
        where: The tokens that are touched.
        out: Units that no direction has a part in; None for none.

    Returns:
        An intervention, to be entered as a context.

    Raises:
        InputError: A network of whole attention heads, which have no common directions.
    """
    space = network.space
    if space.site == HEADS:
        raise InputError(f"units of {HEADS} are whole heads, which have no common directions; use other controls")
    edits = {}
    for layer, name in resolve_site(model, space.site).hook_names.items():
        count = int(network.per_layer()[layer])
        units = np.arange(space.widths[layer])
        if out is not None:
            units = units[~out.members[space.layer_slice(layer)]]
        if count:
            # the column space of a Gaussian matrix is uniform over subspaces; Q of its QR is an orthonormal basis of it
            drawn = np.random.default_rng([seed, layer]).standard_normal((len(units), count))
            directions = np.linalg.qr(drawn)[0]  # (unit, direction)
            edits[name] = LayerEdit("project", units, directions.T, where=where)
    return Intervention(model, network, f"project out random directions like {network.name}", edits)


def rotated_lesions(
    model: HookedModel, network: Network, n: int, *, seed: int, where: Where, out: Network | None = None
) -> list[Callable[[], Intervention]]:
    """The ``"rotated"`` controls of a network, as functions that make them when they are due.

    Args:
        model: A TransformerLens model with the network's site.
        network: The network to match.
        n: Number of controls.
        seed: Seed of the draws of the controls.
        where: The tokens that are touched.
        out: Units that no direction has a part in; None for none.
    """
    # seeds of the controls of one network are apart from those of the next, whose seed is larger by 1
    return [
        partial(rotated_lesion, model, network, seed=seed * 100_003 + number, where=where, out=out)
        for number in range(n)
    ]


def _units_by_likeness(members: np.ndarray, barred: np.ndarray, features: np.ndarray, layer: int) -> list[np.ndarray]:
    """For each member of a layer, the layer's other units that may be drawn, those first whose features are nearest to
    the member's in rank."""
    own = np.flatnonzero(members)
    others = np.flatnonzero(~members & ~barred)
    if len(others) < len(own):
        raise InputError(
            f"layer {layer} has {len(own)} members and {len(others)} other units; a matched control needs as many. "
            "Take a smaller "
            'network, or controls=("random",)'
        )
    ranks = stats.rankdata(features, axis=1) / features.shape[1]  # (feature, unit) in (0, 1]
    # Euclidean distance of ranks, so that a feature weighs the same whatever its scale or tail: (member, other unit)
    distances = np.linalg.norm(ranks[:, own, None] - ranks[:, None, others], axis=0)
    return [others[order] for order in np.argsort(distances, axis=1, kind="stable")]


def _draw_stand_ins(pools: list[np.ndarray], rng: np.random.Generator) -> list[int]:
    """One stand-in for each member, drawn from the nearest of its units that no other member has taken."""
    width = max(5, int(NEAREST * len(pools[0])))
    taken: set[int] = set()
    for member in rng.permutation(len(pools)):  # in random order, so that no member always has the first choice
        free = []
        for unit in pools[member]:
            if unit not in taken:
                free.append(int(unit))
                if len(free) == width:
                    break
        taken.add(free[int(rng.integers(len(free)))])
    return sorted(taken)


def space_of(networks: Sequence[Network]) -> UnitSpace:
    """The unit space that all networks share.

    Args:
        networks: At least one network.

    Raises:
        InputError: Networks of different unit spaces.
    """
    for one in networks[1:]:
        networks[0].space.require_same(one.space, "compare")
    return networks[0].space
