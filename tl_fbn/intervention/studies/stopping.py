"""Controls that stop: no more random networks are lesioned once it is clear that a network does no more than they do.

Of a network that does nothing about every second control costs its task as much, and a few tell that as surely as a
hundred. Controls are therefore lesioned one after the other until ``stop`` of them cost the network's own task at
least as much as the network does, or until all are done (Besag and Clifford 1991). With n controls lesioned, of which
h cost as much, ::

    p = h / n                where h has reached stop
    p = (1 + h) / (1 + n)    where all controls were lesioned before that

P(p <= a) <= a for every a, as with a fixed number. The rule looks at one number, the own task under the study's
metric; what the same controls say of other tasks depends on when it stopped. There p is NaN where it did, which can
only hide a small p.

Controls that were not lesioned are rows of NaN in the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.engine import Order, Scored
from tl_fbn.intervention.studies.item_statistics import METRICS, ROUNDING, empirical_p, item_counts, spans
from tl_fbn.intervention.studies.workers import Packed, in_order
from tl_fbn.units import Network


@dataclass(frozen=True, eq=False)
class StoppingRule:
    """When the controls of each network stop.

    Args:
        stop: Number of controls that cost the own task as much, after which no more are lesioned.
        metric: Place of the study's metric in :data:`.item_statistics.METRICS`.
        own: Name of a network to where the items of its own task are among all items.
    """

    stop: int
    metric: int
    own: Mapping[str, slice]

    @classmethod
    def of(cls, stop: int, networks: Mapping[str, Network], battery: Battery, metric: str) -> StoppingRule:
        """The rule of a study.

        Args:
            stop: Number of controls that cost the own task as much, after which no more are lesioned.
            networks: Names to the source networks.
            battery: The tasks.
            metric: The study's metric.

        Raises:
            InputError: A number below 1, or a network without a task of its own.
        """
        if stop < 1:
            raise InputError(f"stop={stop} would stop before the first control; give at least 1, better 10, or None")
        if strangers := [name for name in networks if name not in battery.tasks]:
            raise InputError(
                f"stop={stop} counts controls that cost a network's own task as much as the network does, and "
                f"{', '.join(strangers)} is named like no task; tasks: {', '.join(battery.tasks)}. Name each network "
                "like its task, or give stop=None"
            )
        of_task = dict(zip(battery.tasks, spans(item_counts(battery)), strict=True))
        return cls(int(stop), METRICS.index(metric), {name: of_task[name] for name in networks})

    def order(self, network: str, *, n_chosen: int, n_controls: int) -> Order:
        """How the engine makes the results of one network's lesions; controls that are left out are NaN.

        Args:
            network: Name of the network.
            n_chosen: Number of chosen lesions, which come first and are all made.
            n_controls: Number of controls of each kind.
        """
        return partial(self._results, network, n_chosen, n_controls)

    def _results(
        self,
        network: str,
        n_chosen: int,
        n_controls: int,
        score: Callable[[Any, int], Scored],
        bundle: Any,
        known: Sequence[np.ndarray],
        n_lesions: int,
        model: Packed,
    ) -> Iterator[Scored]:
        rows = list(known)
        for result in in_order(score, bundle, range(len(rows), n_chosen), model):
            rows.append(result[0])
            yield result
        own = self._mean(rows[0], network)
        for first in range(n_chosen, n_lesions, n_controls):
            # a lower score is a larger cost
            costs = [self._mean(row, network) for row in rows[first : first + n_controls]]
            as_costly = sum(one <= own + ROUNDING for one in costs)
            over = any(map(math.isnan, costs))
            with closing(in_order(score, bundle, range(max(first, len(rows)), first + n_controls), model)) as pending:
                while len(rows) < first + n_controls:
                    over = over or as_costly >= self.stop
                    result = (np.full_like(rows[0], np.nan), {}) if over else next(pending)
                    as_costly += self._mean(result[0], network) <= own + ROUNDING
                    rows.append(result[0])
                    yield result

    def _mean(self, row: Float[np.ndarray, "item metric"], network: str) -> float:
        """Mean score of a network's own task under one lesion; NaN of a control that was left out."""
        return float(row[self.own[network], self.metric].mean())


def lesioned_controls(scores: Float[np.ndarray, "*network control score metric"]) -> Bool[np.ndarray, "..."]:
    """Which controls were lesioned, (control,) or (network, control).

    Args:
        scores: Scores of items or of tasks under each control; log-likelihood, the last metric, is defined for all.
    """
    return np.asarray(~np.isnan(scores[..., -1]).any(-1))


def stopped_p(
    drops: Float[np.ndarray, " task"],
    controls: Float[np.ndarray, "control task"],
    own: int | None,
    stop: int | None,
    n_controls: int,
) -> Float[np.ndarray, " task"]:
    """p of a network's tasks against the controls that were lesioned.

    Args:
        drops: Drop of each task under the network.
        controls: Drops under each control that was lesioned, in the order in which they were.
        own: Place of the network's own task; None where the rule did not look at these numbers.
        stop: The rule's number; None without a rule.
        n_controls: Number of controls that could have been lesioned.
    """
    p = empirical_p(drops, controls)
    if stop is None:
        return p
    found = p.copy() if len(controls) == n_controls else np.full_like(p, np.nan)
    if own is not None:
        as_costly = int((controls[:, own] >= drops[own] - ROUNDING).sum())
        found[own] = as_costly / len(controls) if as_costly >= stop else p[own]
    return found
