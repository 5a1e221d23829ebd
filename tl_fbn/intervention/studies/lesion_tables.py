"""Tables of a lesion study: every cell, each network on its own task, equivalence, rivals.

Each function here makes the table of the method of :class:`.lesion_results.LesionStudy` that its docstring names. All
of them read one :class:`LesionMeans`, the table of means of the study under one metric and against one kind of
control, which :func:`lesion_means` computes once::

    drop(network, task)         = mean(task's items without a lesion) - mean(the same items under the lesion)
    control_drop(control, task) = the same drop under a matched random network in the place of the network
    p(network, task)            = (1 + controls whose drop is at least as large) / (1 + controls)

Where controls stopped (:mod:`.stopping`), p of the own task is that rule's, and p of other tasks NaN

A cell is one source network with one task. p values are of single cells and are not corrected for the number of
cells; n controls cannot give less than 1 / (n + 1). Intervals are 95 % over items and paired: the same items with and
without the lesion (:mod:`.intervals`). Those of log-likelihood are bootstraps, of the same draws for every network.
Cost: n_bootstrap means over the items of a task for each such cell. Pairs of networks are in :mod:`.dissociations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.intervals import Interval
from tl_fbn.intervention.studies.isolation import Term, isolation, isolation_interval
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    change_interval,
    equivalence_p,
    mcnemar_p,
    resamples,
    spans,
)
from tl_fbn.intervention.studies.stopping import lesioned_controls, stopped_p

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

LEVEL = 0.95  # coverage of the intervals of all tables
MONITORS = ("constant", "parsed", "repetition")


@dataclass(frozen=True, eq=False)
class LesionMeans:
    """What the tables of a lesion study share: its means and drops under one metric, against one kind of control.

    Args:
        study: The lesion study.
        metric: Place of the metric in :data:`.item_statistics.METRICS`, which is its place in the last axis of the
            study's arrays.
        control: Kind of control networks, a key of the study's ``control_scores``.
        spans: Where the items of each task are among the items of all tasks, one slice a task.
        draws: One array (draw, item) a task: numbers of its items as the bootstrap drew them, with replacement; the
            same draws serve every network.
        lesioned: (network, task) means over items while the network is lesioned.
        drops: (network, task) mean without a lesion minus mean under it.
        control_drops: (network, control, task) mean without a lesion minus mean under each control of the network.
        lesioned_controls: (network, control) which controls were lesioned: all, but where a rule stopped them.
        control_median: (network, task) medians of the controls' drops.
        control_p95: (network, task) 95th percentiles of the controls' drops.
        p: (network, task) shares of controls that cost at least as much, the network itself counted among them.
    """

    study: LesionStudy
    metric: int
    control: str
    spans: list[slice]
    draws: list[Int[np.ndarray, "draw item"]]
    lesioned: Float[np.ndarray, "network task"]
    drops: Float[np.ndarray, "network task"]
    control_drops: Float[np.ndarray, "network control task"]
    lesioned_controls: Bool[np.ndarray, "network control"]
    control_median: Float[np.ndarray, "network task"]
    control_p95: Float[np.ndarray, "network task"]
    p: Float[np.ndarray, "network task"]

    @cached_property
    def intervals(self) -> list[list[Interval]]:
        """95 % interval of the drop of each task under each network, by network and task."""
        every = range(len(self.study.tasks))
        return [[self._interval(i, j, LEVEL) for j in every] for i in range(len(self.study.networks))]

    def term(self, network: int, task: int, level: float = LEVEL) -> Term:
        """The drop of a task under a network, and its interval over items.

        Args:
            network: Place of the network among the study's networks.
            task: Place of the task among the study's tasks.
            level: Coverage of the interval, .95 for a 95 % interval.
        """
        found = self.intervals[network][task] if level == LEVEL else self._interval(network, task, level)
        return float(self.drops[network, task]), found

    def _interval(self, network: int, task: int, level: float) -> Interval:
        items = self.study.baseline_items[self.spans[task]] - self.study.lesioned_items[network, self.spans[task]]
        return change_interval(items[:, self.metric], METRICS[self.metric], self.draws[task], level=level)


def lesion_means(study: LesionStudy, metric: str | None = None, control: str | None = None) -> LesionMeans:
    """Compute the means and drops that the tables of a study read.

    Args:
        study: The lesion study.
        metric: Name of the metric; None takes the study's own.
        control: Kind of control networks; None takes the first kind of the study.

    Returns:
        Means, drops, drops of controls and p, each an array over networks and tasks.

    Raises:
        InputError: A metric that is none of :data:`.item_statistics.METRICS`, or a kind of control that the study
            does not have.
    """
    m = study.metric_index(metric)
    kind = study.control_kind(control)
    baseline = study.baseline[:, m]
    lesioned = study.lesioned[:, :, m]
    drops = baseline - lesioned  # above 0 where the lesion harms
    control_drops = baseline - study.control_scores[kind][..., m]  # (network, control, task)
    lesioned_ones = lesioned_controls(study.control_scores[kind])
    nulls = [one[which] for one, which in zip(control_drops, lesioned_ones, strict=True)]  # (control, task) of each
    stop, seed = study.provenance.get("stop"), int(study.provenance.get("seed", 0))
    p = []
    for name, own, null in zip(study.networks, drops, nulls, strict=True):
        looked_at = study.provenance.get("stop_metric") == METRICS[m] and name in study.tasks
        place = study.tasks.index(name) if looked_at else None
        p.append(stopped_p(own, null, place, stop, control_drops.shape[1]))
    return LesionMeans(
        study=study,
        metric=m,
        control=kind,
        spans=spans(study.counts),
        draws=[resamples(int(n), study.n_bootstrap, [seed, j]) for j, n in enumerate(study.counts)],
        lesioned=lesioned,
        drops=drops,
        control_drops=control_drops,
        lesioned_controls=lesioned_ones,
        control_median=np.array([np.median(null, axis=0) for null in nulls]),
        control_p95=np.array([np.quantile(null, 0.95, axis=0) for null in nulls]),
        p=np.array(p),
    )


def cells(means: LesionMeans) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.to_dataframe`: one line a network and task."""
    study = means.study
    m = means.metric
    lines = []
    for i, network in enumerate(study.networks):
        for j, task in enumerate(study.tasks):
            span = means.spans[j]
            before = study.baseline_items[span, m]
            low, high = means.intervals[i][j]
            # McNemar's test is of right and wrong answers: exact match (metric 0), whatever the table's metric
            mcnemar = mcnemar_p(study.baseline_items[span, 0], study.lesioned_items[i, span, 0])
            lines.append(
                {
                    "network": network,
                    "task": task,
                    "metric": METRICS[m],
                    "baseline": float(before.mean()),
                    "lesioned": float(means.lesioned[i, j]),
                    "drop": float(means.drops[i, j]),
                    "control_median": float(means.control_median[i, j]),
                    "control_p95": float(means.control_p95[i, j]),
                    "p": float(means.p[i, j]),
                    "discovery": study.discovery[network],
                    "low": low,
                    "high": high,
                    "mcnemar_p": mcnemar,
                    "chance": study.rate("chance", task),
                    "majority": study.rate("majority", task),
                    # the first state of the monitors is the model without a lesion
                    **dict(zip(MONITORS, map(float, study.monitors[1 + i, j]), strict=True)),
                    "flag": study.provenance.get("flags", {}).get(network, {}).get(task, ""),
                }
            )
    return _with_numbers(pd.DataFrame(lines), means)


def _with_numbers(table: pd.DataFrame, means: LesionMeans) -> pd.DataFrame:
    """A table of networks, with the number of controls of each where a rule decided on it."""
    if means.study.provenance.get("stop") is None or table.empty:
        return table
    numbers = dict(zip(means.study.networks, means.lesioned_controls.sum(1).tolist(), strict=True))
    return table.assign(controls=[numbers[name] for name in table["network"]])


def own_tasks(means: LesionMeans) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.summary`: one line a network that is named like a task."""
    study = means.study
    lines = []
    for i, network in enumerate(study.networks):
        if network not in study.tasks:
            continue
        own = study.tasks.index(network)
        other_tasks = [task for task in study.tasks if task != network]
        others = np.delete(means.drops[i], own)
        drop = float(means.drops[i, own])
        mean_other = float(others.mean()) if len(others) else 0.0
        # selectivity = own drop - mean drop of the other tasks, whose items are other ones: a sum of independent drops
        weights = [1.0 if j == own else -1.0 / len(others) for j in range(len(study.tasks))]
        spread = zip(means.drops[i].tolist(), means.intervals[i], weights, strict=True)
        low, high = intervals.of_sum([intervals.scaled(*one) for one in spread])
        found, isolation_low, isolation_high = isolated(means, i)
        # isi = max(0, log(own / (mean other + .01))); a gain on the other tasks counts as no drop
        ratio = drop / (max(mean_other, 0.0) + 0.01)
        lines.append(
            {
                "network": network,
                "units": int(study.sizes[i].sum()),
                "own": drop,
                "other_worst": float(others.max()) if len(others) else np.nan,
                "worst_task": other_tasks[int(others.argmax())] if len(others) else "",
                "isolation": found,
                "isolation_low": isolation_low,
                "isolation_high": isolation_high,
                "other_median": float(np.median(others)) if len(others) else np.nan,
                "control_median": float(means.control_median[i, own]),
                "control_p95": float(means.control_p95[i, own]),
                "p": float(means.p[i, own]),
                "selectivity": drop - mean_other,
                "low": low,
                "high": high,
                "isi": float(np.log(max(ratio, 1.0))) if np.isfinite(ratio) else np.nan,
            }
        )
    return _with_numbers(pd.DataFrame(lines), means)


def isolated(means: LesionMeans, network: int) -> tuple[float, float, float]:
    """Isolation of a network that is named like a task, and both ends of its 95 % interval (:mod:`.isolation`).

    Args:
        means: Means and drops of the study.
        network: Place of the network among the study's networks.
    """
    own = means.study.tasks.index(means.study.networks[network])
    terms = [partial(means.term, network, task) for task in range(len(means.study.tasks))]
    others = np.delete(means.drops[network], own).tolist()
    ends = isolation_interval(terms.pop(own), terms)
    return isolation(float(means.drops[network, own]), others), *ends


def equivalence(means: LesionMeans, margin: float = 0.05) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.equivalence`: whether the controls of each network change each task less than
    a margin."""
    study = means.study
    m = means.metric
    if not margin > 0:
        raise InputError(f"margin={margin} must be above 0: the drop that would not matter")
    drops = means.control_drops
    if drops.shape[1] < 2:
        raise InputError("equivalence needs at least two controls; give n_controls=100")
    lines = []
    for i, network in enumerate(study.networks):
        # controls and items are both samples: drops of each control over all items, and of each item over all controls
        change = study.baseline_items[:, m] - study.control_items[means.control][i, :, m]
        for j, task in enumerate(study.tasks):
            if means.lesioned_controls[i].all():
                mean, error, p = equivalence_p(drops[i, :, j], change[means.spans[j]], margin)
            else:  # the mean of controls that stopped depends on when they did
                mean, error, p = float(change[means.spans[j]].mean()), np.nan, np.nan
            lines.append((network, task, METRICS[m], mean, error, margin, p, p < 0.05))
    columns = ["network", "task", "metric", "control_mean", "error", "margin", "p", "equivalent"]
    return pd.DataFrame(lines, columns=columns)


def rivals(means: LesionMeans) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.rivals_table`: the drop under each rival beside that under the network, item
    by item."""
    study = means.study
    m = means.metric
    lines = []
    for rival, items in study.rivals.items():
        for i, network in enumerate(study.networks):
            # log-likelihood (metric 1) is defined for every item, so a row of NaN there is a rival that this network
            # does not have
            if np.isnan(items[i, :, 1]).all():
                continue
            for j, task in enumerate(study.tasks):
                span = means.spans[j]
                before = study.baseline_items[span, m]
                own = before - study.lesioned_items[i, span, m]
                other = before - items[i, span, m]
                low, high = change_interval(own - other, METRICS[m], means.draws[j])
                values = float(own.mean()), float(other.mean()), float((own - other).mean())
                lines.append((network, rival, task, METRICS[m], *values, low, high))
    columns = ["network", "rival", "task", "metric", "drop", "rival_drop", "difference", "low", "high"]
    return pd.DataFrame(lines, columns=columns)
