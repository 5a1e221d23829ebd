"""What belongs to one task and not to the others: contrasts of score maps, unique parts and shared cores of networks.

A score of a task, a gradient's or any other, ranks first what every task needs: eight released CGVST masks of 5 % share 2,268 neurons, all eight of
them, where layer-matched chance has none, and a mask's own part is a quarter of it. So "task-specific" is a step of its own:

- :func:`specific_scores` contrasts maps before units are chosen;
- :func:`task_unique` and :func:`shared_core` cut networks after;
- :func:`multiplicity` counts units by the number of networks they are in, beside what layer-matched chance expects.

Maps are first divided by their mean magnitude: how large one task's gradients are as a whole says nothing about a neuron (our
choice; ``normalize=False`` leaves them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError, one_of
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.result import TableResult
from tl_fbn.units.space import pooled_origins

Specificity = Literal["difference", "z", "least"]


def specific_scores(
    scores: Mapping[str, UnitMap], how: Specificity = "difference", *, normalize: bool = True
) -> dict[str, UnitMap]:
    """Every task's map against the other tasks' maps.

    >>> from tl_fbn.units import UnitSpace
    >>> space = UnitSpace("mlp.neurons", (3,))
    >>> maps = {"a": UnitMap(space, np.array([9.0, 2.0, 1.0]), "attribution"), "b": UnitMap(space, np.array([9.0, 1.0, 2.0]), "attribution")}
    >>> {name: one.top(1).indices.tolist() for name, one in specific_scores(maps).items()}
    {'a': [1], 'b': [2]}

    Args:
        scores: Task to map, at least two in one space.
        how: ``"difference"``: own less the mean of the others; ``"z"``: own less the mean over all tasks, over the standard deviation over
            tasks, which of n tasks is at most (n - 1) / sqrt(n) and does not tell a large difference from a small one that is alone; ``"least"``: own less the largest of the others.
        normalize: Divide each map by its mean magnitude first.

    Raises:
        InputError: Fewer than two maps, different spaces, an unknown ``how``, or a map that is zero throughout.
    """
    one_of(how, Specificity, "how")
    if len(scores) < 2:
        raise InputError(f"specific scores need maps of at least two tasks; got {len(scores)}")
    first = next(iter(scores.values()))
    values = []
    for name, one in scores.items():
        first.space.require_same(one.space, "contrast")
        scale = float(np.nanmean(np.abs(one.values)))
        if not np.isfinite(scale) or scale == 0:
            raise InputError(f"the map of {name!r} has no finite value other than 0; there is nothing to contrast")
        values.append(one.values / scale if normalize else one.values)
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
            spread = stacked.std(0, ddof=1)
            specific = np.where(spread > 0, (own - stacked.mean(0)) / np.where(spread > 0, spread, 1.0), 0.0)
        kind = "z over tasks" if how == "z" else "specificity"
        about = {"method": "specific_scores", "task": name, "how": how, "normalize": normalize}
        found[name] = UnitMap(first.space, specific, kind, about | pooled_origins(scores))
    return found


def task_unique(networks: Mapping[str, Network]) -> Atlas:
    """The units of each network that no other has.

    ::

        unique = fbn.networks.task_unique({"sort": sort_network, "add": add_network})
        unique["sort"]

    Args:
        networks: Task to network, at least two in one space.

    Returns:
        Task to what is left of its network; it may be empty.

    Raises:
        InputError: Fewer than two networks, or networks of different spaces.
    """
    _check(networks, "unique parts")
    unique = {}
    for name, network in networks.items():
        own = network
        for other, theirs in networks.items():
            if other != name:
                own = own - theirs
        unique[name] = own
    return Atlas.from_networks(unique)


def shared_core(networks: Mapping[str, Network], *, at_least: int | None = None) -> Network:
    """The units that all networks have, or at least some number of them.

    ::

        fbn.networks.shared_core({"sort": sort_network, "add": add_network, "copy": copy_network}, at_least=2)

    Args:
        networks: Task to network, at least two in one space.
        at_least: In how many networks a unit must be; all by default.

    Returns:
        A network without signs.

    Raises:
        InputError: Fewer than two networks, networks of different spaces, or ``at_least`` beyond their number.
    """
    counts = _counts(networks, "a shared core")
    n = len(networks) if at_least is None else at_least
    if not 1 <= n <= len(networks):
        raise InputError(f"at_least={at_least} of {len(networks)} networks; give 1 to {len(networks)}")
    provenance = {"method": "shared_core", "at_least": n, "networks": list(networks)} | pooled_origins(networks)
    first = next(iter(networks.values()))
    return Network(first.space, counts >= n, name=f"core ({n} of {len(networks)})", provenance=provenance)


@dataclass(frozen=True, eq=False)
class Multiplicity(TableResult, step="comparison"):
    """One line a number of networks: networks, units (that are in exactly so many), expected (of layer-matched random networks)."""

    def _methods_(self) -> list[str]:
        return [
            f"How many units are in how many of {len(self) - 1} networks was compared with the exact expectation for independent random networks with as many "
            "units in every layer."
        ]

    def __repr__(self) -> str:
        units, expected = (self.table[name].to_numpy()[2:].sum() for name in ("units", "expected"))
        return f"Multiplicity of {len(self) - 1} networks: {units:,} units in two or more, {expected:,.1f} expected by chance"


def multiplicity(networks: Mapping[str, Network]) -> Multiplicity:
    """How many units are in exactly 0, 1, 2, ... of the networks, and how many would be by chance.

    ::

        fbn.networks.multiplicity({"sort": sort_network, "add": add_network})

    Chance is layer-matched: independent random networks with as many units in each layer; its expectation is exact (in every layer, the number of networks a
    unit is in is a sum of independent draws with their own probabilities).

    Args:
        networks: Task to network, at least two in one space.

    Returns:
        One line a number of networks; :class:`Multiplicity` says which columns.

    Raises:
        InputError: Fewer than two networks, or networks of different spaces.
    """
    counts = _counts(networks, "a multiplicity")
    widths = np.array(next(iter(networks.values())).space.widths)
    per_layer = np.array([network.per_layer() for network in networks.values()])  # (network, layer)
    expected = np.zeros(len(networks) + 1)
    for layer, width in enumerate(widths):
        if not width:
            continue
        chances = np.ones(1)
        for share in per_layer[:, layer] / width:
            # Poisson binomial: a unit is in this network with probability share, independently of the others
            chances = np.convolve(chances, [1 - share, share])
        expected += width * chances
    units = np.bincount(counts, minlength=len(networks) + 1)
    table = pd.DataFrame({"networks": np.arange(len(networks) + 1), "units": units, "expected": expected})
    return Multiplicity(table, pooled_origins(networks))


def _counts(networks: Mapping[str, Network], what: str) -> np.ndarray:
    _check(networks, what)
    return np.sum([network.members for network in networks.values()], axis=0)


def _check(networks: Mapping[str, Network], what: str) -> None:
    if len(networks) < 2:
        raise InputError(f"{what} need at least two networks; got {len(networks)}")
    first = next(iter(networks.values()))
    for network in networks.values():
        first.space.require_same(network.space, "compare")
