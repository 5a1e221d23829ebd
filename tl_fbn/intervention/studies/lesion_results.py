"""What a lesion study found: source network x target task, with controls, intervals and tests.

A drop says something about a task only against the drops of the other tasks, which is why the table is a matrix, and about a network only against its
controls. Every number is computed from item-level results, so that intervals and tests are paired: the same items with and without the lesion.

================================ ===========================================================================================
``to_dataframe()``               every cell: drop, interval, p against controls, McNemar, and whether the model still answers
``summary()``                    each network on its own task: selectivity and its interval, ISI
``dissociation(a, b)``           two networks named like their tasks: the crossed interaction; ``dissociations()`` all pairs
``equivalence(margin)``          do random lesions do nothing? two one-sided tests, never "not significant"
``rivals_table()``               what other chosen networks do: lowest-ranked, untrained, another method's
================================ ===========================================================================================

p values are per cell and not corrected for the number of cells; n controls cannot give less than 1 / (n + 1).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn import files
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    check_metric,
    empirical_p,
    equivalence_p,
    mcnemar_p,
    paired_interval,
    resamples,
    spans,
)
from tl_fbn.units import html_frame

MONITORS = ("constant", "parsed", "repetition")


@dataclass(frozen=True, eq=False)
class LesionStudy:
    """Source network x target task, with controls.

    Args:
        networks: Names of the source networks.
        tasks: Names of the tasks.
        counts: (task,) items of each.
        baseline_items: (item, metric) without a lesion, task after task; metrics as in :data:`.evidence.METRICS`.
        lesioned_items: (network, item, metric) under each network's inhibition.
        control_scores: Kind of control to (network, control, task, metric) means; the first kind gives the tables' p.
        control_items: Kind of control to (network, item, metric), means over controls.
        rivals: Name to (network, item, metric) under other chosen networks.
        monitors: (1 + network, task, monitor) constant, parsed and repetition, without a lesion first; see :mod:`.monitors`.
        metric: The metric that tables and tests use unless told otherwise.
        sizes: (network, layer) units in each layer.
        discovery: Network name to ``"disjoint"`` or ``"discovery prompts unknown"``.
        about: Method, seed, model, chance and majority of each task.
    """

    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    counts: Int[np.ndarray, " task"]
    baseline_items: Float[np.ndarray, "item metric"]
    lesioned_items: Float[np.ndarray, "network item metric"]
    control_scores: Mapping[str, Float[np.ndarray, "network control task metric"]]
    control_items: Mapping[str, Float[np.ndarray, "network item metric"]]
    rivals: Mapping[str, Float[np.ndarray, "network item metric"]]
    monitors: Float[np.ndarray, "state task monitor"]
    metric: str
    sizes: Int[np.ndarray, "network layer"]
    discovery: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> Float[np.ndarray, "task metric"]:
        """Means without a lesion."""
        return self._means(self.baseline_items)

    @property
    def lesioned(self) -> Float[np.ndarray, "network task metric"]:
        """Means under each network's inhibition."""
        return np.array([self._means(items) for items in self.lesioned_items])

    @property
    def controls(self) -> Float[np.ndarray, "network control task metric"]:
        """Means under the first kind of controls."""
        return self._controls(None)

    def drops(self, metric: str | None = None) -> Float[np.ndarray, "network task"]:
        """Baseline minus lesioned."""
        m = self._metric(metric)
        return self.baseline[None, :, m] - self.lesioned[:, :, m]

    def control_drops(
        self, metric: str | None = None, *, control: str | None = None
    ) -> Float[np.ndarray, "network control task"]:
        """Baseline minus score under each control."""
        m = self._metric(metric)
        return self.baseline[None, None, :, m] - self._controls(control)[..., m]

    def to_dataframe(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """One line a network and task.

        Columns: network, task, metric, baseline, lesioned, drop, control_median, control_p95, p, discovery, low and high (95 % paired bootstrap interval of
        the drop over items), mcnemar_p, chance, majority, constant, parsed, repetition and flag of the lesioned model. Drops of exact_match are shares of items,
        of log_likelihood nats a token.

        Args:
            metric: Another metric than the study's.
            control: Another kind of control than the first.
        """
        m = self._metric(metric)
        drops, controls = self.drops(metric), self.control_drops(metric, control=control)
        p = np.array([empirical_p(own, chance) for own, chance in zip(drops, controls, strict=True)])
        lesioned, spans = self.lesioned, self._spans()
        lines = []
        for i, network in enumerate(self.networks):
            for j, task in enumerate(self.tasks):
                before, after = self.baseline_items[spans[j], m], self.lesioned_items[i, spans[j], m]
                low, high = paired_interval(before - after, self._n_bootstrap, self._seed(j))
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
                        "discovery": self.discovery[network],
                        "low": low,
                        "high": high,
                        "mcnemar_p": mcnemar_p(self.baseline_items[spans[j], 0], self.lesioned_items[i, spans[j], 0]),
                        "chance": self._rate("chance", task),
                        "majority": self._rate("majority", task),
                        **dict(zip(MONITORS, map(float, self.monitors[1 + i, j]), strict=True)),
                        "flag": self.about.get("flags", {}).get(network, {}).get(task, ""),
                    }
                )
        return pd.DataFrame(lines)

    def summary(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """One line a network that is named like a task: its own task against the others and against chance.

        Columns: network, units, own (drop of its task), other_median and other_worst (of the other tasks), worst_task, control_median and control_p95 (own task), p,
        selectivity with low and high, isi. Selectivity is the own drop minus the mean drop of the other tasks, with a 95 % bootstrap interval over the items of each
        task; isi, after RACE (Wang et al. 2026), is max(0, log(own / (mean other + .01))).
        """
        table = self.to_dataframe(metric=metric, control=control)
        m, spans = self._metric(metric), self._spans()
        lines = []
        for i, network in enumerate(self.networks):
            if network not in self.tasks:
                continue
            of_network = table[table["network"] == network].set_index("task")
            own, others = of_network.loc[network], of_network.drop(index=network)["drop"].to_numpy(dtype=float)
            drop = float(self.drops(metric)[i, self.tasks.index(network)])
            mean_other = float(others.mean()) if len(others) else 0.0
            change = self.baseline_items[:, m] - self.lesioned_items[i, :, m]
            drawn = {task: self._drawn(change[spans[j]], j) for j, task in enumerate(self.tasks)}
            rest = [values for task, values in drawn.items() if task != network]
            low, high = np.quantile(drawn[network] - (np.mean(rest, axis=0) if rest else 0.0), [0.025, 0.975])
            ratio = drop / (max(mean_other, 0.0) + 0.01)
            lines.append(
                {
                    "network": network,
                    "units": int(self.sizes[i].sum()),
                    "own": drop,
                    "other_median": float(np.median(others)) if len(others) else np.nan,
                    "other_worst": float(others.max()) if len(others) else np.nan,
                    "worst_task": [task for task in self.tasks if task != network][int(others.argmax())]
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
        self, first: str, second: str, *, metric: str | None = None, control: str | None = None
    ) -> pd.Series:
        """Double dissociation of two networks that are named like their tasks.

        The statistic is the interaction: each network's drop on its own task minus its drop on the other's, summed. Its p compares it with the same interaction of the
        controls, drawn in pairs; low and high are its 95 % bootstrap interval over items. ``double`` is true where p < .01 and, for both networks, the 95 %
        interval of the drop on the own task lies above that on the other's.
        """
        names = (first, second)
        for name in names:
            if name not in self.networks or name not in self.tasks:
                raise ValueError(
                    f"{name!r} must name a network and a task of this study; networks: {', '.join(self.networks)}; tasks: {', '.join(self.tasks)}"
                )
        if first == second:
            raise ValueError(f"a dissociation is of two networks; got {first!r} twice")
        rows, columns = [self.networks.index(n) for n in names], [self.tasks.index(n) for n in names]
        m, spans = self._metric(metric), self._spans()
        own = self.drops(metric)[np.ix_(rows, columns)]
        null = self.control_drops(metric, control=control)[rows][:, :, columns]  # (2, control, 2)
        interaction = own[0, 0] - own[0, 1] + own[1, 1] - own[1, 0]
        chance = null[0, :, 0] - null[0, :, 1] + null[1, :, 1] - null[1, :, 0]
        change = self.baseline_items[None, :, m] - self.lesioned_items[rows][:, :, m]
        drawn = np.array([[self._drawn(change[a, spans[j]], j) for j in columns] for a in range(2)])
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

    def dissociations(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """:meth:`dissociation` of every pair of networks named like tasks.

        Columns: first, second, first_own, first_other, second_own, second_other, interaction, low, high, control_median, p, double.
        """
        lines = []
        named = [name for name in self.networks if name in self.tasks]
        for first, second in itertools.combinations(named, 2):
            found = self.dissociation(first, second, metric=metric, control=control)
            lines.append([first, second, *found.tolist()])
        own = ["first_own", "first_other", "second_own", "second_other"]
        return pd.DataFrame(
            lines, columns=["first", "second", *own, "interaction", "low", "high", "control_median", "p", "double"]
        )

    def equivalence(
        self, margin: float = 0.05, *, metric: str | None = None, control: str | None = None
    ) -> pd.DataFrame:
        """Do random lesions do nothing? Two one-sided tests (Schuirmann 1987) that their mean drop is smaller than a margin either way.

        Columns: network (whose controls), task, metric, control_mean, error, margin, p, equivalent (p < .05).

        Args:
            margin: In the metric's unit; by default 5 points of exact match.
            metric: Another metric than the study's.
            control: Another kind of control than the first.

        Raises:
            ValueError: A margin that is not positive, or fewer than two controls.
        """
        if not margin > 0:
            raise ValueError(f"margin={margin} must be above 0: the drop that would not matter")
        m, spans, kind = self._metric(metric), self._spans(), self._kind(control)
        drops = self.control_drops(metric, control=kind)
        if drops.shape[1] < 2:
            raise ValueError("equivalence needs at least two controls; give n_controls=100")
        lines = []
        for i, network in enumerate(self.networks):
            for j, task in enumerate(self.tasks):
                items = (self.baseline_items[:, m] - self.control_items[kind][i, :, m])[spans[j]]
                mean, error, p = equivalence_p(drops[i, :, j], items, margin)
                lines.append((network, task, METRICS[m], mean, error, margin, p, p < 0.05))
        columns = ["network", "task", "metric", "control_mean", "error", "margin", "p", "equivalent"]
        return pd.DataFrame(lines, columns=columns)

    def rivals_table(self, *, metric: str | None = None) -> pd.DataFrame:
        """What other chosen networks do beside each source network, item by item paired with it.

        Columns: network, rival, task, metric, drop (of the network), rival_drop, difference, low, high (95 % interval of the difference over items).
        """
        m, spans, lines = self._metric(metric), self._spans(), []
        for rival, items in self.rivals.items():
            for i, network in enumerate(self.networks):
                if np.isnan(items[i, :, 1]).all():
                    continue  # no such rival of this network
                for j, task in enumerate(self.tasks):
                    before = self.baseline_items[spans[j], m]
                    own, other = before - self.lesioned_items[i, spans[j], m], before - items[i, spans[j], m]
                    low, high = paired_interval(own - other, self._n_bootstrap, self._seed(j))
                    means = float(own.mean()), float(other.mean()), float((own - other).mean())
                    lines.append((network, rival, task, METRICS[m], *means, low, high))
        columns = ["network", "rival", "task", "metric", "drop", "rival_drop", "difference", "low", "high"]
        return pd.DataFrame(lines, columns=columns)

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        names = ("counts", "baseline_items", "lesioned_items", "monitors", "sizes")
        arrays = {name: getattr(self, name) for name in names}
        for group in ("control_scores", "control_items", "rivals"):
            arrays |= {f"{group}/{name}": array for name, array in getattr(self, group).items()}
        words = {name: getattr(self, name) for name in ("networks", "tasks", "metric")}
        order = {group: list(getattr(self, group)) for group in ("control_scores", "rivals")}
        about = {**words, "order": order, "discovery": dict(self.discovery), "about": dict(self.about)}
        files.write_result(path, "LesionStudy", arrays, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> LesionStudy:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "LesionStudy")
        order = about["order"] | {"control_items": about["order"]["control_scores"]}
        groups = {group: {name: arrays.pop(f"{group}/{name}") for name in names} for group, names in order.items()}
        return cls(
            networks=tuple(about["networks"]),
            tasks=tuple(about["tasks"]),
            metric=about["metric"],
            discovery=about["discovery"],
            about=about["about"],
            control_scores=groups["control_scores"],
            control_items=groups["control_items"],
            rivals=groups["rivals"],
            **arrays,
        )

    def _report_sections_(self) -> list[Any]:
        kinds = ", ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        where = self.about.get("positions", "all")
        found = self.summary() if set(self.networks) & set(self.tasks) else None
        text = (
            f"Each network was silenced ({self.about.get('method', 'zero')}, {where} positions) while every task was scored by {self.metric}; beside it, for each "
            f"network, {kinds} controls with as many units in each layer. Intervals are 95 % over items, paired. A significant map is not a causal one: "
            "what a network is needed for is shown here, against its controls and against the other tasks, or not at all."
        )
        sections: list[Any] = [
            {"title": "What lesions show", "text": text} | ({} if found is None else {"table": found})
        ]
        sections.append(self.to_dataframe())
        if found is not None and len(found) > 1:
            text = "Each pair of networks on each other's tasks. Double: p < .01 and, both ways, the drop on the own task has an interval above that on the other's."
            sections.append({"title": "Double dissociations", "text": text, "table": self.dissociations()})
        if self.controls.shape[1] > 1:
            margin = 0.05
            text = f"Two one-sided tests that random lesions change less than {margin:g} ({'points / 100' if self.metric == 'exact_match' else 'nats a token'})."
            sections.append({"title": "Do random lesions do nothing?", "text": text, "table": self.equivalence(margin)})
        if self.rivals:
            text = "Other chosen networks in the place of each: drops, and the difference with its interval."
            sections.append({"title": "Other networks in its place", "text": text, "table": self.rivals_table()})
        return sections

    def _means(self, items: Float[np.ndarray, "item metric"]) -> Float[np.ndarray, "task metric"]:
        return np.array([items[span].mean(0) for span in self._spans()])

    def _spans(self) -> list[slice]:
        return spans(self.counts)

    def _metric(self, metric: str | None) -> int:
        chosen = self.metric if metric is None else metric
        check_metric(chosen)
        return METRICS.index(chosen)

    def _kind(self, control: str | None) -> str:
        kinds = list(self.control_scores)
        if control is not None and control not in kinds:
            raise ValueError(f"control={control!r} is none of this study's: {', '.join(map(repr, kinds))}")
        return kinds[0] if control is None else control

    def _controls(self, control: str | None) -> Float[np.ndarray, "network control task metric"]:
        return self.control_scores[self._kind(control)]

    @property
    def _n_bootstrap(self) -> int:
        return int(self.about.get("n_bootstrap", 1000))

    def _seed(self, task: int) -> list[int]:
        return [int(self.about.get("seed", 0)), task]

    def _drawn(self, change: Float[np.ndarray, " item"], task: int) -> Float[np.ndarray, " draw"]:
        """Means over resampled items; a task's items are the same draws for every network."""
        return change[resamples(len(change), self._n_bootstrap, self._seed(task))].mean(1)

    def _rate(self, name: str, task: str) -> float:
        return float(self.about.get(name, {}).get(task, np.nan))

    def __repr__(self) -> str:
        kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        return (
            f"LesionStudy of {self.metric}: {len(self.networks)} networks ({', '.join(self.networks)}) x {len(self.tasks)} tasks, "
            f"{kinds} controls each"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())
