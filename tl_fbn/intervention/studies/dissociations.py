"""Double dissociations: pairs of networks, each of which takes its own task and spares the other's.

One network that costs its task more than another task may only show that its task is the more delicate of the two. Of
two such networks that cross, neither task is (Teuber 1955; Shallice 1988)::

    interaction = (own - other) of the first network + (own - other) of the second

Its p compares it with the same sum of the controls, the k-th of one network with the k-th of the other. A pair
dissociates *doubly* where p < .01 and, for both networks, the 95 % interval of the drop on the own task lies above that
on the other's. p is not corrected for the number of pairs. Fewer than 100 controls cannot give p < .01.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.errors import InputError
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.item_statistics import METRICS, change_interval, empirical_p
from tl_fbn.intervention.studies.lesion_tables import LesionMeans

ALPHA = 0.01  # p of a double dissociation is below it


def dissociation(means: LesionMeans, first: str, second: str) -> pd.Series:
    """The line of :meth:`.LesionStudy.dissociation`: two networks, each on its own task and on the other's."""
    study = means.study
    names = (first, second)
    for name in names:
        if name not in study.networks or name not in study.tasks:
            raise InputError(
                f"{name!r} must name a network and a task of this study; "
                f"networks: {', '.join(study.networks)}; tasks: {', '.join(study.tasks)}"
            )
    if first == second:
        raise InputError(f"a dissociation is of two networks; got {first!r} twice")
    rows = [study.networks.index(name) for name in names]
    columns = [study.tasks.index(name) for name in names]
    own = means.drops[np.ix_(rows, columns)]  # (network, task) 2 x 2
    interaction, chance = _interactions(means, rows, columns)
    # the same sum by tasks, whose items are other ones: on each, its own network's drop minus the other's, item by item
    metric = METRICS[means.metric]
    terms = []
    for b, column in enumerate(columns):
        under = study.lesioned_items[:, means.spans[column], means.metric]
        apart = under[rows[1 - b]] - under[rows[b]]
        terms.append((float(apart.mean()), change_interval(apart, metric, means.draws[column])))
    low, high = intervals.of_sum(terms)
    return pd.Series(
        {
            f"{first} on {first}": own[0, 0],
            f"{first} on {second}": own[0, 1],
            f"{second} on {second}": own[1, 1],
            f"{second} on {first}": own[1, 0],
            "interaction": interaction,
            "low": low,
            "high": high,
            "control_median": np.median(chance),
            "p": float(empirical_p(interaction, chance)),
            "double": _doubly(means, rows, columns),
        }
    )


def _interactions(
    means: LesionMeans, rows: list[int], columns: list[int]
) -> tuple[float, Float[np.ndarray, " control"]]:
    """Interaction of two networks and their own tasks, and that of their controls, NaN where one was not lesioned."""
    own = means.drops[np.ix_(rows, columns)]  # (network, task) 2 x 2
    null = means.control_drops[rows][:, :, columns]  # (2, control, 2); the k-th of one goes with the k-th of the other
    # interaction = (own - other) of the first network + (own - other) of the second
    chance = null[0, :, 0] - null[0, :, 1] + null[1, :, 1] - null[1, :, 0]
    return float(own[0, 0] - own[0, 1] + own[1, 1] - own[1, 0]), chance


def _doubly(means: LesionMeans, rows: list[int], columns: list[int]) -> bool:
    """Whether two networks dissociate doubly: by p, and by the interval of each own drop beyond that of the other."""
    if not float(empirical_p(*_interactions(means, rows, columns))) < ALPHA:
        return False
    own = means.drops[np.ix_(rows, columns)]
    ends = [[means.intervals[row][column] for column in columns] for row in rows]
    # of each network: does the interval of its own drop begin above the end of the interval of the other drop?
    return all(ends[a][a][0] > ends[a][1 - a][1] and own[a, a] > own[a, 1 - a] for a in range(2))


def double_dissociations(means: LesionMeans) -> tuple[int, int]:
    """How many pairs of networks that are named like tasks dissociate doubly, and how many pairs could have.

    A pair could not where p cannot be below .01: of fewer than 100 controls, or where controls stopped.

    Args:
        means: Means and drops of the study.
    """
    study = means.study
    named = [i for i, name in enumerate(study.networks) if name in study.tasks]
    complete = [bool(every.all()) for every in means.lesioned_controls]
    pairs = [[i, j] for i, j in itertools.combinations(named, 2) if complete[i] and complete[j]]
    if 1 / (1 + means.control_drops.shape[1]) >= ALPHA:
        return 0, 0
    own = [study.tasks.index(name) if name in study.tasks else -1 for name in study.networks]  # own task of a network
    return sum(_doubly(means, pair, [own[i] for i in pair]) for pair in pairs), len(pairs)


def dissociations(means: LesionMeans) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.dissociations`: one line a pair of networks that are named like tasks."""
    study = means.study
    named_like_tasks = [name for name in study.networks if name in study.tasks]
    lines = []
    for first, second in itertools.combinations(named_like_tasks, 2):
        lines.append([first, second, *dissociation(means, first, second).tolist()])
    own = ["first_own", "first_other", "second_own", "second_other"]
    return pd.DataFrame(
        lines, columns=["first", "second", *own, "interaction", "low", "high", "control_median", "p", "double"]
    )
