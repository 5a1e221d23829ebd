"""How much does each network contribute to what all of them do together? Shapley values of the networks of an atlas.

::

    found = fbn.shapley(model, atlas, battery, seed=0)  # all sets of up to ten networks
    found = fbn.shapley(model, atlas, battery, n_permutations=100, seed=0)  # more networks: estimated
    found.to_dataframe(), found.pairs(), found.summary()

One lesion after the other misses what networks do together: of two that can stand in for each other, neither lesion
costs anything. Here every set of networks is kept while the others are silenced, and the effect of all is divided by
what each network adds to the sets it can join (Shapley 1953; for neurons Ghorbani and Zou 2020)::

    v(S) = score while the networks that are not in S are silenced - score while all are
    v(all) = score of the untouched model - score while all are silenced = sum of the values

A positive value means that the task needs the network. What is in no network is never touched. A unit is silenced if
*any* network that holds it is: networks that share units need each other for that reason alone, which shows as an
interaction above 0; give networks without common units to read interactions as the model's.

**Values divide an effect; they are no test against chance.** Any units have values, random ones too, and they add up to
whatever silencing all of them costs. Whether a network does more than units of no interest is what
:func:`.lesion_study` asks. How the values are computed, and the interaction of two networks, is in
:mod:`.coalition_values`.

Two intervals of 95 % stand beside each value, and speak of different things: ``low`` and ``high`` of other such items,
with the same sets of networks; ``permutation_low`` and ``permutation_high`` of other orders than those that were drawn,
with the same items (Student's t over pairs of orders; the value itself where all sets were scored). On hard games of
eight players the latter covers .94 to .98 from 50 permutations on, and .77 at the least with 10
(``python -m tests.benchmarks.permutation_coverage``): few orders do not meet what only some sets show.

Cost: 2^n evaluations of the battery for n networks (1,024 for ten); with permutations one for each different set that
they pass through, at most (n - 1) x permutations + 2, and about 2n for each network alone and all but each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, visible
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import Intervention, silencer
from tl_fbn.intervention.hooks.positions import Positions, where
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.coalition_values import (
    Coalitions,
    Permutations,
    all_coalitions,
    antithetic_permutations,
    coalitions_along,
)
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import METRICS, check_disjoint, item_counts, metric_of
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.intervention.studies.shapley_results import ShapleyValues
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitSpace
from tl_fbn.units.prose import listed
from tl_fbn.units.space import pooled_origins

EXACT_UP_TO = 10  # networks of which all sets are scored: 1,024 evaluations


@checked
def shapley(
    model: HookedModel,
    atlas: Atlas,
    battery: Battery,
    *,
    seed: int,
    n_permutations: int | None = None,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    allow_other_weights: bool = False,
    positions: Positions = "all",
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> ShapleyValues:
    """Divide what all networks of an atlas do for a battery among them, by every set of them that can be kept.

    Values divide an effect and are no test against chance, which :func:`tl_fbn.lesion_study` is.

    >>> every = ~fbn.Network.from_indices(network.space, [])
    >>> layers = fbn.Atlas.from_networks({f"layer {i}": every.restrict(layers=[i]) for i in range(3)})
    >>> found = fbn.shapley(model, layers, battery, seed=0, progress=False)
    >>> found.to_dataframe().query("task == 'reverse'")[["network", "value", "lesioned_alone", "kept_alone"]].round(2)
       network  value  lesioned_alone  kept_alone
    3  layer 0   0.72             1.0         0.2
    4  layer 1   0.12             0.0         0.0
    5  layer 2   0.17             0.1         0.0

    Args:
        model: A TransformerLens model in eval mode.
        atlas: The networks; a unit of several is silenced if any of these is.
        battery: The tasks to score, with items that the networks were not found on.
        seed: Seed of the permutations, of the bootstrap, and of the methods ``"resample"`` and ``"noise"``.
        n_permutations: Number of orders of the networks that values are estimated from, in pairs of an order and its
            reverse: an even number, at least 4, better 50. None scores all sets of networks, up to ten networks.
        method: What silenced units are given instead of their activations: ``"zero"``, ``"mean"``,
            ``"position_mean"``, ``"resample"`` or ``"noise"``.
        reference: A recording of the same units on other prompts, for all methods but ``"zero"``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers (:mod:`.positions`).
        metric: ``"exact_match"`` or ``"log_likelihood"`` (nats a token); by default exact match if every task has one.
        n_bootstrap: Number of times the items are resampled for the intervals of log-likelihood.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        Item-level scores under every set of networks, and the tables that read them.

    Raises:
        InputError: More than ten networks without permutations, an odd number of permutations or fewer than four, a
            metric that a task lacks, a missing reference, or items that a network was found on.
    """
    coalitions, permutations = chosen_coalitions(atlas, n_permutations, seed)
    metric = metric_of(battery, metric)
    found = {name: check_disjoint(one, battery, tokenizer_of(model), name) for name, one in atlas.items()}
    silence = silencer(
        model,
        method=method,
        reference=reference,
        positions=positions,
        seed=seed,
        allow_other_weights=allow_other_weights,
    )
    members = np.array([network.members for network in atlas.values()])
    conditions = [_condition_of(atlas, members, silence, kept) for kept in coalitions]
    settings = {
        "study": "shapley",
        "n_permutations": n_permutations,
        "method": method,
        "positions": where(positions, model).digest,
        "seed": seed,
        "reference": None if reference is None else reference.key,
    }
    folder = study_folder(path, model, atlas, battery, settings)
    with StudyRuns(
        model,
        n_conditions=len(conditions),
        title="coalitions",
        unit="coalition",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        scores, _ = runs.scores("coalitions", battery, conditions)
    about = {
        **pooled_origins(atlas),
        "method": method,
        "seed": seed,
        "n_permutations": n_permutations,
        "n_bootstrap": n_bootstrap,
        "discovery": listed(sorted(set(found.values()))),
        "positions": positions if isinstance(positions, str) else "given",
        "model_dtype": number_type(model),
    }
    return ShapleyValues(
        networks=tuple(atlas),
        tasks=tuple(battery.tasks),
        counts=item_counts(battery),
        metric=metric,
        coalitions=coalitions,
        items=scores[..., METRICS.index(metric)],
        permutations=permutations,
        provenance=about,
    )


def chosen_coalitions(atlas: Atlas, n_permutations: int | None, seed: int) -> tuple[Coalitions, Permutations | None]:
    """The sets of networks that are kept one after the other, and the orders they belong to.

    Args:
        atlas: The networks.
        n_permutations: Number of orders; None takes all sets.
        seed: Seed of the orders.

    Returns:
        Sets of networks, and orders; None in the place of orders where all sets are taken.

    Raises:
        InputError: Too many networks for all sets, or a number of permutations that makes no two pairs.
    """
    n = len(atlas)
    if n_permutations is None:
        if n > EXACT_UP_TO:
            raise InputError(
                f"{n} networks have 2^{n} sets, each an evaluation of the battery; all are scored up to {EXACT_UP_TO} "
                "networks. Give n_permutations=100 for estimates, or an atlas of fewer networks"
            )
        return all_coalitions(n), None
    if n_permutations < 4 or n_permutations % 2:
        raise InputError(
            f"n_permutations={n_permutations} must be even and at least 4: orders come in pairs, and an error takes "
            "two pairs. Give 100, or None to score all sets of networks"
        )
    permutations = antithetic_permutations(n, n_permutations, seed)
    return coalitions_along(permutations), permutations


def _condition_of(
    atlas: Atlas,
    members: Bool[np.ndarray, "network unit"],
    silence: Callable[[Network], Intervention],
    kept: Bool[np.ndarray, " network"],
) -> Condition:
    """The condition in which only some networks are kept."""
    out = np.flatnonzero(~kept)
    if not members[out].any():  # nobody is out, or networks without units are
        return Condition("all networks as they are")
    names = list(atlas)
    label = f"without {listed([visible(names[i]) for i in out])}"
    return Condition(label, _Without(silence, atlas.space, members, out))


@dataclass(frozen=True, eq=False)
class _Without:
    """Silences the union of some networks; the union is made when it is due, as 1,024 of a large model fill memory."""

    silence: Callable[[Network], Intervention]
    space: UnitSpace
    members: Bool[np.ndarray, "network unit"]
    out: np.ndarray

    def __call__(self) -> Intervention:
        units = np.flatnonzero(self.members[self.out].any(0))
        return self.silence(Network.from_indices(self.space, units, name="silenced"))
