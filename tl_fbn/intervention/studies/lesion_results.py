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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.errors import InputError, either
from tl_fbn.intervention.studies import lesion_tables
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    check_metric,
    resamples,
    spans,
)
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS, items_in_words, method_in_words
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Arrays, Described, Result


@dataclass(frozen=True, eq=False)
class LesionStudy(Result, step="lesions", picture="lesion_controls", renamed={"about": "provenance"}):
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
        provenance: Method, seed, model, chance and majority of each task.
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
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("metric",)

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
        m = self.metric_index(metric)
        return self.baseline[None, :, m] - self.lesioned[:, :, m]

    def control_drops(
        self, metric: str | None = None, *, control: str | None = None
    ) -> Float[np.ndarray, "network control task"]:
        """Baseline minus score under each control."""
        m = self.metric_index(metric)
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
        return lesion_tables.cells(self, metric=metric, control=control)

    def summary(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """One line a network that is named like a task: its own task against the others and against chance.

        Columns: network, units, own (drop of its task), other_median and other_worst (of the other tasks), worst_task, control_median and control_p95 (own task), p,
        selectivity with low and high, isi. Selectivity is the own drop minus the mean drop of the other tasks, with a 95 % bootstrap interval over the items of each
        task; isi, after RACE (Wang et al. 2026), is max(0, log(own / (mean other + .01))).
        """
        return lesion_tables.own_tasks(self, metric=metric, control=control)

    def dissociation(
        self, first: str, second: str, *, metric: str | None = None, control: str | None = None
    ) -> pd.Series:
        """Double dissociation of two networks that are named like their tasks.

        The statistic is the interaction: each network's drop on its own task minus its drop on the other's, summed. Its p compares it with the same interaction of the
        controls, drawn in pairs; low and high are its 95 % bootstrap interval over items. ``double`` is true where p < .01 and, for both networks, the 95 %
        interval of the drop on the own task lies above that on the other's.
        """
        return lesion_tables.dissociation(self, first, second, metric=metric, control=control)

    def dissociations(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """:meth:`dissociation` of every pair of networks named like tasks.

        Columns: first, second, first_own, first_other, second_own, second_other, interaction, low, high, control_median, p, double.
        """
        return lesion_tables.dissociations(self, metric=metric, control=control)

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
            InputError: A margin that is not positive, or fewer than two controls.
        """
        return lesion_tables.equivalence(self, margin, metric=metric, control=control)

    def rivals_table(self, *, metric: str | None = None) -> pd.DataFrame:
        """What other chosen networks do beside each source network, item by item paired with it.

        Columns: network, rival, task, metric, drop (of the network), rival_drop, difference, low, high (95 % interval of the difference over items).
        """
        return lesion_tables.rivals(self, metric=metric)

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        order = about["order"]
        return arrays, {
            **about,
            "order": {"control_items": order["control_scores"], **order},
        }  # version 0.1 wrote one of the two

    def _methods_(self) -> list[str]:
        about = self.provenance
        sizes = np.asarray(self.sizes).sum(1)
        kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        known = sum(kind == "disjoint" for kind in self.discovery.values())
        span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
        matched = "of as many units in every layer"
        if "activity" in self.control_scores:
            matched += " (activity controls also of like mean activation and outgoing norm)"
        unknown = "" if known == len(self.discovery) else ", and unknown for the others"
        model = f"Model: {about['model']}; site: {about['site']}." if {"model", "site"} <= set(about) else ""
        return [
            f"Activations of the members of {listed(self.networks)} ({span} units) were {method_in_words(about)} at {about.get('positions', NOT_RECORDED)} positions, "
            f"one network at a time, while {listed(self.tasks)} ({items_in_words(self.counts)}) were scored by {METRIC_IN_WORDS[self.metric]}. Beside each network stand "
            f"{kinds} control networks {matched}; {P_FORMULA}, one-sided, for each network and task, not corrected for their number; control seed "
            f"{about.get('seed', NOT_RECORDED)}. Intervals are 95 % paired bootstraps over items ({about.get('n_bootstrap', NOT_RECORDED)} draws). Prompts on which networks "
            f"were found are known and disjoint from the items for {known} of {len(self.discovery)} networks{unknown}. "
            f"{model or f'Model and site are {NOT_RECORDED} in this study.'}"
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        kinds = ", ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        where = self.provenance.get("positions", "all")
        found = self.summary() if set(self.networks) & set(self.tasks) else None
        cells = self.to_dataframe()
        text = (
            f"Each network was silenced ({self.provenance.get('method', 'zero')}, {where} positions) while every task was scored by {self.metric}; beside it, for each "
            f"network, {kinds} controls with as many units in each layer. Intervals are 95 % over items, paired. A significant map is not a causal one: "
            "what a network is needed for is shown here, against its controls and against the other tasks, or not at all."
        )
        drops = (
            "The drop is baseline minus lesioned. p is the share of matched random lesions that cost at least as much, counting the lesion itself among "
            "them; it is not corrected for the number of cells."
        )
        sections: list[dict[str, Any]] = [
            {"title": "What lesions show", "text": text, "picture": "lesion_controls", "table": found},
            {"title": "Lesion study", "text": drops, "picture": ("lesion_matrix", cells), "table": cells},
        ]
        if found is not None and len(found) > 1:
            text = "Each pair of networks on each other's tasks. Double: p < .01 and, both ways, the drop on the own task has an interval above that on the other's."
            pairs = self.dissociations()
            sections.append({"title": "Double dissociations", "text": text, "picture": "dissociation", "table": pairs})
        if self.controls.shape[1] > 1:
            margin = 0.05
            text = f"Two one-sided tests that random lesions change less than {margin:g} ({'points / 100' if self.metric == 'exact_match' else 'nats a token'})."
            sections.append({"title": "Do random lesions do nothing?", "text": text, "table": self.equivalence(margin)})
        if self.rivals:
            text = "Other chosen networks in the place of each: drops, and the difference with its interval."
            sections.append({"title": "Other networks in its place", "text": text, "table": self.rivals_table()})
        return sections

    def _means(self, items: Float[np.ndarray, "item metric"]) -> Float[np.ndarray, "task metric"]:
        return np.array([items[span].mean(0) for span in self.item_spans()])

    def item_spans(self) -> list[slice]:
        """Where each task's items are."""
        return spans(self.counts)

    def metric_index(self, metric: str | None = None) -> int:
        """Number of a metric among those that items are scored by; of the study's own by default."""
        chosen = self.metric if metric is None else metric
        check_metric(chosen)
        return METRICS.index(chosen)

    def control_kind(self, control: str | None = None) -> str:
        """A kind of control that the study has; the first by default."""
        kinds = list(self.control_scores)
        if control is not None and control not in kinds:
            raise InputError(f"control must be one of this study's, {either(kinds)}; got {control!r}")
        return kinds[0] if control is None else control

    def _controls(self, control: str | None) -> Float[np.ndarray, "network control task metric"]:
        return self.control_scores[self.control_kind(control)]

    @property
    def n_bootstrap(self) -> int:
        """Resamples of the items behind every interval."""
        return int(self.provenance.get("n_bootstrap", 1000))

    def bootstrap_seed(self, task: int) -> list[int]:
        """Seed of the resamples of a task's items: the same for every network."""
        return [int(self.provenance.get("seed", 0)), task]

    def bootstrap_means(self, change: Float[np.ndarray, " item"], task: int) -> Float[np.ndarray, " draw"]:
        """Means over resampled items; a task's items are the same draws for every network."""
        return change[resamples(len(change), self.n_bootstrap, self.bootstrap_seed(task))].mean(1)

    def rate(self, name: str, task: str) -> float:
        """The chance or majority rate of a task, NaN where it is not known."""
        return float(self.provenance.get(name, {}).get(task, np.nan))

    def __repr__(self) -> str:
        kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        return (
            f"LesionStudy of {self.metric}: {len(self.networks)} networks ({', '.join(self.networks)}) x {len(self.tasks)} tasks, "
            f"{kinds} controls each"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())
