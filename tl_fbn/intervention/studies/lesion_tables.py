"""Tables of a lesion study: every cell, each network on its own task, double dissociations, equivalence, rivals.

Each is a function of a :class:`.lesion_results.LesionStudy`, whose methods of like names call it. p values are of single cells and not corrected for their
number; n controls cannot give less than 1 / (n + 1). Intervals are paired bootstraps over items: the same items with and without the lesion.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.intervention.studies.item_statistics import METRICS, empirical_p, equivalence_p, mcnemar_p, paired_interval

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

MONITORS = ("constant", "parsed", "repetition")


def cells(study: LesionStudy, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.to_dataframe`."""
    m = study.metric_index(metric)
    drops = study.drops(metric)
    controls = study.control_drops(metric, control=control)
    p = np.array([empirical_p(own, chance) for own, chance in zip(drops, controls, strict=True)])
    lesioned = study.lesioned
    spans = study.item_spans()
    lines = []
    for i, network in enumerate(study.networks):
        for j, task in enumerate(study.tasks):
            before = study.baseline_items[spans[j], m]
            after = study.lesioned_items[i, spans[j], m]
            low, high = paired_interval(before - after, study.n_bootstrap, study.bootstrap_seed(j))
            lines.append(
                {
                    "network": network,
                    "task": task,
                    "metric": METRICS[m],
                    "baseline": float(before.mean()),
                    "lesioned": float(lesioned[i, j, m]),
                    "drop": float(drops[i, j]),
                    "control_median": float(np.median(controls[i, :, j])),
                    "control_p95": float(np.quantile(controls[i, :, j], 0.95)),
                    "p": float(p[i, j]),
                    "discovery": study.discovery[network],
                    "low": low,
                    "high": high,
                    "mcnemar_p": mcnemar_p(study.baseline_items[spans[j], 0], study.lesioned_items[i, spans[j], 0]),
                    "chance": study.rate("chance", task),
                    "majority": study.rate("majority", task),
                    **dict(zip(MONITORS, map(float, study.monitors[1 + i, j]), strict=True)),
                    "flag": study.provenance.get("flags", {}).get(network, {}).get(task, ""),
                }
            )
    return pd.DataFrame(lines)


def own_tasks(study: LesionStudy, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.summary`."""
    table = cells(study, metric=metric, control=control)
    m = study.metric_index(metric)
    spans = study.item_spans()
    lines = []
    for i, network in enumerate(study.networks):
        if network not in study.tasks:
            continue
        of_network = table[table["network"] == network].set_index("task")
        own = of_network.loc[network]
        others = of_network.drop(index=network)["drop"].to_numpy(dtype=float)
        drop = float(study.drops(metric)[i, study.tasks.index(network)])
        mean_other = float(others.mean()) if len(others) else 0.0
        change = study.baseline_items[:, m] - study.lesioned_items[i, :, m]
        drawn = {task: study.bootstrap_means(change[spans[j]], j) for j, task in enumerate(study.tasks)}
        rest = [values for task, values in drawn.items() if task != network]
        low, high = np.quantile(drawn[network] - (np.mean(rest, axis=0) if rest else 0.0), [0.025, 0.975])
        ratio = drop / (max(mean_other, 0.0) + 0.01)
        lines.append(
            {
                "network": network,
                "units": int(study.sizes[i].sum()),
                "own": drop,
                "other_median": float(np.median(others)) if len(others) else np.nan,
                "other_worst": float(others.max()) if len(others) else np.nan,
                "worst_task": [task for task in study.tasks if task != network][int(others.argmax())]
                if len(others)
                else "",
                "control_median": own["control_median"],
                "control_p95": own["control_p95"],
                "p": own["p"],
                "selectivity": drop - mean_other,
                "low": float(low),
                "high": float(high),
                "isi": float(np.log(max(ratio, 1.0))) if np.isfinite(ratio) else np.nan,
            }
        )
    return pd.DataFrame(lines)


def dissociation(
    study: LesionStudy, first: str, second: str, *, metric: str | None = None, control: str | None = None
) -> pd.Series:
    """The table of :meth:`.LesionStudy.dissociation`."""
    names = (first, second)
    for name in names:
        if name not in study.networks or name not in study.tasks:
            raise InputError(
                f"{name!r} must name a network and a task of this study; networks: {', '.join(study.networks)}; tasks: {', '.join(study.tasks)}"
            )
    if first == second:
        raise InputError(f"a dissociation is of two networks; got {first!r} twice")
    rows = [study.networks.index(n) for n in names]
    columns = [study.tasks.index(n) for n in names]
    m = study.metric_index(metric)
    spans = study.item_spans()
    own = study.drops(metric)[np.ix_(rows, columns)]
    null = study.control_drops(metric, control=control)[rows][:, :, columns]  # (2, control, 2)
    interaction = own[0, 0] - own[0, 1] + own[1, 1] - own[1, 0]
    chance = null[0, :, 0] - null[0, :, 1] + null[1, :, 1] - null[1, :, 0]
    change = study.baseline_items[None, :, m] - study.lesioned_items[rows][:, :, m]
    drawn = np.array([[study.bootstrap_means(change[a, spans[j]], j) for j in columns] for a in range(2)])
    apart = [
        np.quantile(drawn[a, a], 0.025) > np.quantile(drawn[a, 1 - a], 0.975) and own[a, a] > own[a, 1 - a]
        for a in range(2)
    ]
    low, high = np.quantile(drawn[0, 0] - drawn[0, 1] + drawn[1, 1] - drawn[1, 0], [0.025, 0.975])
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
            "double": bool(all(apart) and p < 0.01),
        }
    )


def dissociations(study: LesionStudy, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.dissociations`."""
    lines = []
    named = [name for name in study.networks if name in study.tasks]
    for first, second in itertools.combinations(named, 2):
        found = dissociation(study, first, second, metric=metric, control=control)
        lines.append([first, second, *found.tolist()])
    own = ["first_own", "first_other", "second_own", "second_other"]
    return pd.DataFrame(
        lines, columns=["first", "second", *own, "interaction", "low", "high", "control_median", "p", "double"]
    )


def equivalence(
    study: LesionStudy, margin: float = 0.05, *, metric: str | None = None, control: str | None = None
) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.equivalence`."""
    if not margin > 0:
        raise InputError(f"margin={margin} must be above 0: the drop that would not matter")
    m = study.metric_index(metric)
    spans = study.item_spans()
    kind = study.control_kind(control)
    drops = study.control_drops(metric, control=kind)
    if drops.shape[1] < 2:
        raise InputError("equivalence needs at least two controls; give n_controls=100")
    lines = []
    for i, network in enumerate(study.networks):
        for j, task in enumerate(study.tasks):
            items = (study.baseline_items[:, m] - study.control_items[kind][i, :, m])[spans[j]]
            mean, error, p = equivalence_p(drops[i, :, j], items, margin)
            lines.append((network, task, METRICS[m], mean, error, margin, p, p < 0.05))
    columns = ["network", "task", "metric", "control_mean", "error", "margin", "p", "equivalent"]
    return pd.DataFrame(lines, columns=columns)


def rivals(study: LesionStudy, *, metric: str | None = None) -> pd.DataFrame:
    """The table of :meth:`.LesionStudy.rivals_table`."""
    m = study.metric_index(metric)
    spans = study.item_spans()
    lines = []
    for rival, items in study.rivals.items():
        for i, network in enumerate(study.networks):
            if np.isnan(items[i, :, 1]).all():
                continue  # no such rival of this network
            for j, task in enumerate(study.tasks):
                before = study.baseline_items[spans[j], m]
                own = before - study.lesioned_items[i, spans[j], m]
                other = before - items[i, spans[j], m]
                low, high = paired_interval(own - other, study.n_bootstrap, study.bootstrap_seed(j))
                means = float(own.mean()), float(other.mean()), float((own - other).mean())
                lines.append((network, rival, task, METRICS[m], *means, low, high))
    columns = ["network", "rival", "task", "metric", "drop", "rival_drop", "difference", "low", "high"]
    return pd.DataFrame(lines, columns=columns)
