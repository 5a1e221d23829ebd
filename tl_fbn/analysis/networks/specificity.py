"""What belongs to one task and not to others: contrasts of score maps, unique parts and shared cores of networks.

A score of a task, by gradients or any other method, puts those units first that every task needs. The eight released
CGVST masks of 5 % show it: 2,268 neurons are in all eight of them, where layer-matched chance has none, and the part of
a mask that is in no other is a quarter of it. What is specific to a task therefore takes a step of its own:

- :func:`specific_scores` contrasts the maps of tasks, before units are chosen;
- :func:`task_unique` and :func:`shared_core` take networks apart, after units were chosen;
- :func:`multiplicity` counts units by the number of networks they are in, beside what layer-matched chance expects.

Before maps are contrasted they are scaled, because the size of a task's gradients as a whole says nothing about a
neuron. All three ways are choices of this package:

======== ==============================================================================================================
``mean`` the map over its mean magnitude over units
``rms``  the map over its root mean square over units, which its few largest values rule
``rank`` -log(1 - r), where r in (0, 1) is the unit's rank among all units as a share of them, the largest value last
         (ties share theirs). Scores are heavy-tailed: a unit that every task needs may score 100 mean magnitudes in
         one and 60 in another, and be the first of all differences; its ranks are 1 and 1, and their difference is 0
======== ==============================================================================================================

The defaults, ``"least"`` of ``"rank"``, were chosen by lesions on SmolLM2-135M-Instruct: nine word tasks, gradient
times activation at answers, networks of .1, .2 and .5 % of its neurons, zeroed while items were scored that had found
none of them. On one half of those items they isolate 8, 7 and 6 tasks (own loss at least three times that of any
other task), ``"least"`` of ``"mean"`` or ``"rms"`` 4 or 5; on the other half 9, 8 and 6 against 4 to 6
(``python -m tests.benchmarks.specific_networks``).

Nothing here tests a unit: a contrast of scores has no p, and a unit that only one network has may have missed the
others by little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.result import TableResult
from tl_fbn.units.space import pooled_origins

Specificity = Literal["difference", "z", "least"]
Scaling = Literal["mean", "rms", "rank"]


@checked
def specific_scores(
    scores: Mapping[str, UnitMap], how: Specificity = "least", *, scale: Scaling | None = "rank"
) -> dict[str, UnitMap]:
    """Every task's map against the maps of the other tasks.

    Both tasks score the first unit highest; what is specific to each is another:

    >>> space = fbn.UnitSpace("mlp.neurons", (3,))
    >>> maps = {
    ...     "sort": fbn.UnitMap(space, np.array([9.0, 2.0, 1.0]), "attribution"),
    ...     "add": fbn.UnitMap(space, np.array([9.0, 1.0, 2.0]), "attribution"),
    ... }
    >>> {task: one.top(1).indices.tolist() for task, one in fbn.networks.specific_scores(maps).items()}
    {'sort': [1], 'add': [2]}

    Args:
        scores: Task to its map, at least two in one space.
        how: ``"least"``: the task's map less the largest of the others'. ``"difference"``: the task's map less the
            mean of the others'. ``"z"``: the task's map less the mean over all tasks, over the standard deviation over
            tasks; with n tasks it is at most ``(n - 1) / sqrt(n)``, and it does not tell a large difference from a
            small one that only one task has.
        scale: What is done to each map before: ``"rank"`` takes the logarithm of ranks, ``"mean"`` divides it by its
            mean magnitude over units, ``"rms"`` by its root mean square; None leaves maps as they are.

    Returns:
        Task to its map of kind ``"specificity"`` (or ``"z over tasks"``): positive where the task scores a unit higher
        than the others do. Values are in units of -log(1 - r), in mean magnitudes of a map, or in those of the scores.

    Raises:
        InputError: Fewer than two maps, different spaces, an unknown ``how``, or a map without any value other than 0.
    """
    one_of(how, Specificity, "how")
    if scale is not None:
        one_of(scale, Scaling, "scale")
    if len(scores) < 2:
        raise InputError(f"specific scores need maps of at least two tasks; got {len(scores)}")
    first = next(iter(scores.values()))
    values = []
    for name, one in scores.items():
        first.space.require_same(one.space, "contrast")
        # also computed where maps stay as they are: an empty one is an error either way
        if not 0 < np.nanmean(np.abs(one.values)) < np.inf:
            raise InputError(
                f"the map of {name!r} has infinite values, or none other than 0, so that it cannot be scaled; leave it "
                "out, or give it finite values"
            )
        values.append(_scaled(one.values, scale))
    stacked = np.array(values)  # (task, unit)
    found = {}
    for number, name in enumerate(scores):
        own = stacked[number]
        others = np.delete(stacked, number, axis=0)
        if how == "difference":
            specific = own - others.mean(0)
        elif how == "least":
            specific = own - others.max(0)
        else:
            # z over tasks, of which the own one is among the mean and the spread; 0 where all tasks agree
            spread = stacked.std(0, ddof=1)
            specific = np.where(spread > 0, (own - stacked.mean(0)) / np.where(spread > 0, spread, 1.0), 0.0)
        kind = "z over tasks" if how == "z" else "specificity"
        about = {"method": "specific_scores", "task": name, "how": how, "scale": scale}
        found[name] = UnitMap(first.space, specific, kind, about | pooled_origins(scores))
    return found


def _scaled(values: Float[np.ndarray, " unit"], scale: Scaling | None) -> Float[np.ndarray, " unit"]:
    """A map as it is contrasted with others; NaN stays NaN."""
    if scale is None:
        return values
    if scale == "mean":
        return values / np.nanmean(np.abs(values))
    if scale == "rms":
        return values / np.sqrt(np.nanmean(values**2))
    ranks = stats.rankdata(values, nan_policy="omit")
    return -np.log1p(-(ranks - 0.5) / np.isfinite(values).sum())


@checked
def task_unique(networks: Mapping[str, Network]) -> Atlas:
    """The units of each network that no other of them has.

    >>> networks = {task: fbn.cgvst(model, fbn.chats(task, n=8), progress=False).top(0.05) for task in tasks}
    >>> fbn.networks.task_unique(networks)
    Atlas of 3 networks in tl_fbn-demo mlp.neurons (3 x 384): sort (5), reverse (3), add (50)

    Args:
        networks: Task to its network, at least two in one space.

    Returns:
        Task to what is left of its network, with the signs it had; it may be empty.

    Raises:
        InputError: Fewer than two networks, or networks of different spaces.
    """
    _require_comparable(networks, "unique parts")
    unique = {}
    for name, network in networks.items():
        own = network
        for other, theirs in networks.items():
            if other != name:
                own = own - theirs
        unique[name] = own
    return Atlas.from_networks(unique)


@checked
def shared_core(networks: Mapping[str, Network], *, at_least: int | None = None) -> Network:
    """The units that all networks have, or at least some number of them.

    >>> networks = {task: fbn.cgvst(model, fbn.chats(task, n=8), progress=False).top(0.05) for task in tasks}
    >>> fbn.networks.shared_core(networks)
    Network "core (3 of 3)": 5 of 1,152 units (0.43%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 1 0 4
    >>> len(fbn.networks.shared_core(networks, at_least=2))
    54

    Args:
        networks: Task to its network, at least two in one space.
        at_least: In how many of the networks a unit must be, from 1 to their number; in all of them by default.

    Returns:
        A network without signs; networks may disagree about the sign of a unit.

    Raises:
        InputError: Fewer than two networks, networks of different spaces, or ``at_least`` beyond their number.
    """
    counts = _networks_per_unit(networks, "a shared core")
    n = len(networks) if at_least is None else at_least
    if not 1 <= n <= len(networks):
        raise InputError(f"at_least={at_least} of {len(networks)} networks; give 1 to {len(networks)}")
    provenance = {"method": "shared_core", "at_least": n, "networks": list(networks)} | pooled_origins(networks)
    first = next(iter(networks.values()))
    return Network(first.space, counts >= n, name=f"core ({n} of {len(networks)})", provenance=provenance)


@dataclass(frozen=True, eq=False)
class Multiplicity(TableResult, step="comparison"):
    """How many units are in exactly 0, 1, 2, ... networks, beside layer-matched chance.

    >>> networks = {task: fbn.cgvst(model, fbn.chats(task, n=8), progress=False).top(0.05) for task in tasks}
    >>> fbn.networks.multiplicity(networks).to_dataframe().round(1)
       networks  units  expected
    0         0   1040     998.2
    1         1     58     137.4
    2         2     49      15.8
    3         3      5       0.7

    Args:
        table: One line a number of networks, from 0 to all: networks (that number), units (how many are in exactly so
            many networks), expected (mean number for independent random networks with as many units in each layer).
        provenance: Where each network came from, and the prompts of all of them.
    """

    def _methods_(self) -> list[str]:
        return [
            f"How many units are in how many of {len(self) - 1} networks was compared with the exact expectation for "
            "independent random networks with as many units in every layer."
        ]

    def __repr__(self) -> str:
        # the lines of 2 networks and more
        units, expected = (self.table[name].to_numpy()[2:].sum() for name in ("units", "expected"))
        return (
            f"Multiplicity of {len(self) - 1} networks: {units:,} units in two or more, {expected:,.1f} expected by "
            "chance"
        )


@checked
def multiplicity(networks: Mapping[str, Network]) -> Multiplicity:
    """How many units are in exactly 0, 1, 2, ... of the networks, and how many would be by chance.

    >>> networks = {task: fbn.cgvst(model, fbn.chats(task, n=8), progress=False).top(0.05) for task in tasks}
    >>> fbn.networks.multiplicity(networks)
    Multiplicity of 3 networks: 54 units in two or more, 16.5 expected by chance

    Chance is layer-matched: independent random networks with as many units in each layer. Its expectation is exact: in
    a layer of F units a network with n of them holds a unit with probability n / F, and the number of networks that
    hold it is a sum of independent draws with these probabilities (a Poisson binomial).

    Args:
        networks: Task to its network, at least two in one space.

    Returns:
        One line a number of networks; :class:`Multiplicity` says which columns.

    Raises:
        InputError: Fewer than two networks, or networks of different spaces.
    """
    counts = _networks_per_unit(networks, "a multiplicity")
    widths = np.array(next(iter(networks.values())).space.widths)
    per_layer = np.array([network.per_layer() for network in networks.values()])  # (network, layer)
    expected = np.zeros(len(networks) + 1)
    for layer, width in enumerate(widths):
        if not width:
            continue  # a layer that the site does not have
        # Poisson binomial of one unit of this layer: P(in 0, 1, 2, ... networks), one more network at each step
        probabilities = np.ones(1)
        for share in per_layer[:, layer] / width:
            # in this network with probability share, independently of the others
            probabilities = np.convolve(probabilities, [1 - share, share])
        expected += width * probabilities  # all units of the layer have the same
    units = np.bincount(counts, minlength=len(networks) + 1)
    table = pd.DataFrame({"networks": np.arange(len(networks) + 1), "units": units, "expected": expected})
    return Multiplicity(table, pooled_origins(networks))


def _networks_per_unit(networks: Mapping[str, Network], what: str) -> np.ndarray:
    """(unit,) number of networks that each unit is in; ``what`` names what they are counted for in an error."""
    _require_comparable(networks, what)
    return np.sum([network.members for network in networks.values()], axis=0)


def _require_comparable(networks: Mapping[str, Network], what: str) -> None:
    """Raise an error unless there are at least two networks, all of one space."""
    if len(networks) < 2:
        raise InputError(f"{what} need at least two networks; got {len(networks)}")
    first = next(iter(networks.values()))
    for network in networks.values():
        first.space.require_same(network.space, "compare")
