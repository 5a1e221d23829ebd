"""Tables of a lesion study: every cell, each network on its own task, double dissociations, equivalence, rivals.

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
Cost: n_bootstrap means over the items of a task for each such cell.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    change_interval,
    empirical_p,
    equivalence_p,
    mcnemar_p,
    resamples,
)
from tl_fbn.intervention.studies.stopping import lesioned_controls, stopped_p

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

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
    stop = study.provenance.get("stop")
    p = []
    for name, own, null in zip(study.networks, drops, nulls, strict=True):
        looked_at = study.provenance.get("stop_metric") == METRICS[m] and name in study.tasks
        place = study.tasks.index(name) if looked_at else None
        p.append(stopped_p(own, null, place, stop, control_drops.shape[1]))
    return LesionMeans(
        study=study,
        metric=m,
        control=kind,
        spans=study.item_spans(),
        draws=[resamples(int(n), study.n_bootstrap, study.bootstrap_seed(j)) for j, n in enumerate(study.counts)],
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
            after = study.lesioned_items[i, span, m]
            low, high = change_interval(before - after, METRICS[m], means.draws[j])
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
        change = study.baseline_items[:, means.metric] - study.lesioned_items[i, :, means.metric]
        terms = []
        for j, (span, draws) in enumerate(zip(means.spans, means.draws, strict=True)):
            interval = change_interval(change[span], METRICS[means.metric], draws)
            weight = 1.0 if j == own else -1.0 / len(others)
            terms.append(intervals.scaled(float(means.drops[i, j]), interval, weight))
        low, high = intervals.of_sum(terms)
        # isi = max(0, log(own / (mean other + .01))); a gain on the other tasks counts as no drop
        ratio = drop / (max(mean_other, 0.0) + 0.01)
        lines.append(
            {
                "network": network,
                "units": int(study.sizes[i].sum()),
                "own": drop,
                "other_median": float(np.median(others)) if len(others) else np.nan,
                "other_worst": float(others.max()) if len(others) else np.nan,
                "worst_task": other_tasks[int(others.argmax())] if len(others) else "",
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
    null = means.control_drops[rows][
        :, :, columns
    ]  # (2, control, 2); control k of one network goes with control k of the other
    # interaction = (own - other) of the first network + (own - other) of the second
    interaction = own[0, 0] - own[0, 1] + own[1, 1] - own[1, 0]
    chance = null[0, :, 0] - null[0, :, 1] + null[1, :, 1] - null[1, :, 0]
    # change[a][b]: drops of the items of task b under network a
    items = [means.spans[j] for j in columns]
    draws = [means.draws[j] for j in columns]
    metric = METRICS[means.metric]
    change = [
        [(study.baseline_items[of] - study.lesioned_items[row, of])[:, means.metric] for of in items] for row in rows
    ]
    # the same sum by tasks, whose items are other ones: on each, its own network's drop minus the other's, item by item
    apart = [change[b][b] - change[1 - b][b] for b in range(2)]
    terms = [(float(d.mean()), change_interval(d, metric, draws[b])) for b, d in enumerate(apart)]
    low, high = intervals.of_sum(terms)
    # of each network: does the interval of its own drop begin above the end of the interval of the other drop?
    ends = [[change_interval(change[a][b], metric, draws[b]) for b in range(2)] for a in range(2)]
    own_above_other = [ends[a][a][0] > ends[a][1 - a][1] and own[a, a] > own[a, 1 - a] for a in range(2)]
    p = float(empirical_p(interaction, chance))
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
            "p": p,
            "double": bool(all(own_above_other) and p < 0.01),
        }
    )


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
