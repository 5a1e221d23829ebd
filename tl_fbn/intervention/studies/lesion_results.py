"""What a lesion study found: source network x target task, with controls, intervals and tests.

The drop of a cell is the mean score of a task without a lesion minus its mean score while a network is lesioned. A
drop says something about a task only beside the drops of the other tasks, which is why the table is a matrix, and
about a network only beside its matched controls. Every number is computed from item-level results, so that intervals
and tests are paired: the same items with and without the lesion.

================================ ============================================================================
``to_dataframe()``               every cell: drop, interval, p against controls, McNemar's test, and whether
                                 the lesioned model still answers
``summary()``                    each network on its own task against the worst other one: isolation with its
                                 interval; then controls, selectivity, ISI
``dissociation(a, b)``           two networks named like their tasks: the crossed interaction;
                                 ``dissociations()`` has all pairs
``equivalence(margin)``          do random lesions do nothing? two one-sided tests, never "not significant"
``verdict()``                    in words: which networks are isolated, and which do nothing beyond chance
``lesion_map()``                 which units cost a task more where random lesions hold them (:mod:`.lesion_map`)
``rivals_table()``               what other chosen networks do: the lowest-ranked units, those of an
                                 untrained model, those of another method
================================ ============================================================================

The tables themselves are made in :mod:`.lesion_tables`. p values are per cell and not corrected for the number of
cells; n controls cannot give less than 1 / (n + 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.errors import InputError, either, one_of, visible
from tl_fbn.intervention.studies import dissociations, lesion_tables
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    task_means,
)
from tl_fbn.intervention.studies.lesion_map import LesionMap, lesion_map
from tl_fbn.intervention.studies.lesion_sections import lesion_methods, lesion_sections
from tl_fbn.intervention.studies.lesion_tables import lesion_means
from tl_fbn.intervention.studies.lesion_verdicts import verdicts
from tl_fbn.signatures import checked
from tl_fbn.units import UnitSpace, html_frame
from tl_fbn.units.result import Arrays, Described, Result

TableColumns = Literal["main", "all"]
MAIN_CELLS = ("network", "task", "baseline", "lesioned", "drop", "control_p95", "p")
MAIN_SUMMARY = ("network", "own", "other_worst", "worst_task", "isolation", "isolation_low", "p")


@dataclass(frozen=True, eq=False)
class LesionStudy(Result, step="lesions", picture="lesion_controls", renamed={"about": "provenance"}):
    """Source network x target task, with controls.

    >>> networks = {"sort": contrast.effect.top(0.02)}
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=19, seed=0, progress=False)
    >>> study.to_dataframe()[["network", "task", "baseline", "lesioned", "drop", "p"]].round(2)
      network     task  baseline  lesioned  drop     p
    0    sort     sort       1.0       0.7   0.3  0.05
    1    sort  reverse       1.0       1.0   0.0  1.00

    Args:
        networks: Names of the source networks, those that were lesioned.
        tasks: Names of the tasks that were scored.
        counts: (task,) number of items of each task.
        baseline_items: (item, metric) scores of every item without a lesion, task after task; the metrics are those of
            :data:`.item_statistics.METRICS`, exact match (NaN where a task has none) and log-likelihood in nats a
            token.
        lesioned_items: (network, item, metric) scores of every item while each network is lesioned.
        control_scores: Kind of control to (network, control, task, metric) means over items under matched random
            networks; p values in tables come from the first kind unless another is asked for.
        control_items: Kind of control to (network, item, metric) scores of items, averaged over the controls of that
            kind.
        rivals: Name of a rival to (network, item, metric) scores under the other chosen network that stands beside
            each source network; NaN where a source network has no such rival.
        monitors: (1 + network, task, monitor) of the model without a lesion first, then of each lesioned one: share
            of outputs that are the commonest one, share that are possible answers, and share that are wrong and loop;
            see :mod:`.output_checks`.
        metric: Name of the metric that tables and tests use unless told otherwise.
        sizes: (network, layer) number of units of each network in each layer.
        discovery: Network name to ``"disjoint"``, where no item is a prompt the network was found on, or
            ``"discovery prompts unknown"``.
        provenance: Settings of the study: method, positions, seed, number of bootstrap draws, model, site, and the
            chance and majority rate of each task.
        excluded: What was taken out of networks, rivals and controls, one line a unit or set: units, size, with
            collapse neurons their cost in nats a token (with low, high and apart), and the networks that held them;
            None where nothing was.
        space: The units; None in studies of earlier versions.
        control_units: Kind of control to (network, control, member) flat numbers of the units that each control
            silenced, -1 where a network has fewer members than the largest; without ``"rotated"`` ones, which are no
            units, and empty in studies of earlier versions.
        digests: Task to digests of its prompts, as networks remember those that they were found on.
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
    excluded: pd.DataFrame | None = None
    space: UnitSpace | None = None
    control_units: Mapping[str, Int[np.ndarray, "network control member"]] = field(default_factory=dict)
    digests: Mapping[str, list[str]] = field(default_factory=dict)

    _settings_ = ("metric",)

    @property
    def baseline(self) -> Float[np.ndarray, "task metric"]:
        """Means over the items of each task without a lesion."""
        return task_means(self.baseline_items, self.counts)

    @property
    def lesioned(self) -> Float[np.ndarray, "network task metric"]:
        """Means over the items of each task while each network is lesioned."""
        return task_means(self.lesioned_items, self.counts)

    @property
    def controls(self) -> Float[np.ndarray, "network control task metric"]:
        """Means over the items of each task under each control of the first kind."""
        return self.control_scores[self.control_kind()]

    @checked
    def drops(self, metric: str | None = None) -> Float[np.ndarray, "network task"]:
        """Mean score without a lesion minus mean score while each network is lesioned; above 0 where the lesion harms.

        Args:
            metric: ``"exact_match"`` (shares of items) or ``"log_likelihood"`` (nats a token); None takes the study's.
        """
        m = self.metric_index(metric)
        return self.baseline[None, :, m] - self.lesioned[:, :, m]

    @checked
    def control_drops(
        self, metric: str | None = None, *, control: str | None = None
    ) -> Float[np.ndarray, "network control task"]:
        """Mean score without a lesion minus mean score under each matched random network.

        Args:
            metric: ``"exact_match"`` (shares of items) or ``"log_likelihood"`` (nats a token); None takes the study's.
            control: Kind of control networks, such as ``"random"``; None takes the first kind of the study.
        """
        m = self.metric_index(metric)
        return self.baseline[None, None, :, m] - self.control_scores[self.control_kind(control)][..., m]

    @checked
    def to_dataframe(
        self, *, metric: str | None = None, control: str | None = None, columns: TableColumns = "all"
    ) -> pd.DataFrame:
        """One line a network and task.

        Columns: network, task, metric, baseline, lesioned, drop, control_median, control_p95, p, discovery, low and
        high (95 % interval of the drop over items, paired), mcnemar_p, chance, majority, constant, parsed,
        repetition and flag of the lesioned model. Drops of exact_match are shares of items, those of log_likelihood
        nats a token.

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks behind p, such as ``"activity"``; None takes the first kind of the study.
            columns: ``"main"`` gives those that answer first and fit a line of 80 characters: network, task, baseline,
                lesioned, drop, control_p95 and p; ``"all"`` gives every one.
        """
        one_of(columns, TableColumns, "columns")
        table = lesion_tables.cells(lesion_means(self, metric, control))
        return table if columns == "all" else table.filter(items=list(MAIN_CELLS))

    @checked
    def verdict(self, *, metric: str | None = None, control: str | None = None) -> str:
        """In words: which networks are isolated, which pairs dissociate, and which networks do nothing beyond chance.

        >>> networks = {"sort": contrast.effect.top(0.05)}
        >>> study = fbn.lesion_study(model, networks, battery, n_controls=19, seed=0, progress=False)
        >>> print(study.verdict())  # doctest: +ELLIPSIS
        1 of 1 networks is isolated (the own task loses more than any other, ...): sort 1.00 [0.18, 1.00].
        Silencing costs the own task more than random networks do (p <= 0.05) and more than any other task loses: sort.

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks behind p, such as ``"activity"``; None takes the first kind of the study.

        Returns:
            A sentence a line: isolated networks, double dissociations, what stands against the isolation of the others;
            then networks that did nothing, those that cost another task more, the rest. p is of single cells.
        """
        return "\n".join(verdicts(lesion_means(self, metric, control)))

    @checked
    def summary(
        self, *, metric: str | None = None, control: str | None = None, columns: TableColumns = "all"
    ) -> pd.DataFrame:
        """One line a network that is named like a task: its own task against the others and against chance.

        Columns: network, units, own (drop of its task), other_worst (largest drop of another task), worst_task,
        isolation with isolation_low and isolation_high, other_median, control_median and control_p95 (of the controls'
        drops on the own task), p, selectivity with low and high, isi. Isolation is (own - worst) / (own + worst), where
        a gain counts as no drop: 1 where only the own task loses, .5 where it loses three times as much as any other,
        0 where another loses as much, below 0 where one loses more; its 95 % interval over items holds whichever task
        is truly the worst (:mod:`.isolation`). Selectivity is the own drop minus the mean drop of the other tasks, with
        a 95 % interval over the items of each task; isi, after RACE (Wang et al. 2026), is max(0, log(own / (mean other
        + .01))).

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks behind p, such as ``"activity"``; None takes the first kind of the study.
            columns: ``"main"`` gives those that answer first and fit a line: network, own, other_worst, worst_task,
                isolation, isolation_low and p; ``"all"`` gives every one.
        """
        one_of(columns, TableColumns, "columns")
        table = lesion_tables.own_tasks(lesion_means(self, metric, control))
        return table if columns == "all" or table.empty else table.filter(items=list(MAIN_SUMMARY))

    @checked
    def dissociation(
        self, first: str, second: str, *, metric: str | None = None, control: str | None = None
    ) -> pd.Series:
        """Double dissociation of two networks that are named like their tasks.

        The statistic is the interaction: each network's drop on its own task minus its drop on the other's, summed
        over both networks. Its p compares it with the same interaction of the controls, the k-th control of one
        network paired with the k-th of the other; low and high are its 95 % interval over items. ``double``
        is true where p < .01 and, for both networks, the 95 % interval of the drop on the own task lies above that on
        the other's.

        Args:
            first: Name of a network that is also the name of a task.
            second: Name of another such network.
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks behind p, such as ``"activity"``; None takes the first kind of the study.

        Raises:
            InputError: A name that is not both a network and a task of this study, or the same name twice.
        """
        return dissociations.dissociation(lesion_means(self, metric, control), first, second)

    @checked
    def dissociations(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """:meth:`dissociation` of every pair of networks named like tasks.

        Columns: first, second, first_own, first_other, second_own, second_other, interaction, low, high,
        control_median, p, double. p values are not corrected for the number of pairs.

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks behind p, such as ``"activity"``; None takes the first kind of the study.
        """
        return dissociations.dissociations(lesion_means(self, metric, control))

    @checked
    def equivalence(
        self, margin: float = 0.05, *, metric: str | None = None, control: str | None = None
    ) -> pd.DataFrame:
        """Do random lesions do nothing? Two one-sided tests that their mean drop is smaller than a margin either way.

        Columns: network (whose controls), task, metric, control_mean, error (standard error of that mean), margin, p,
        equivalent (p < .05). The tests are those of Schuirmann (1987).

        Args:
            margin: The drop that would not matter: a share of items (5 points by default) or nats a token.
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks that are tested; None takes the first kind of the study.

        Raises:
            InputError: A margin that is not positive, or fewer than two controls.
        """
        return lesion_tables.equivalence(lesion_means(self, metric, control), margin)

    @checked
    def lesion_map(
        self,
        *,
        seed: int | None = None,
        metric: str | None = None,
        control: str | None = None,
        n_permutations: int = 1000,
        min_lesions: int = 5,
        progress: bool = True,
    ) -> LesionMap:
        """Which units cost a task more where random lesions hold them: a regression on the controls already paid for.

        Args:
            seed: Seed of the permutations and of the folds that are held out; None takes the study's.
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
            control: Kind of control networks, ``"random"`` or ``"activity"``; None takes the first kind of the study.
            n_permutations: Number of permutations of drops among the controls of a source network, at least 19.
            min_lesions: Number of controls that must have silenced a unit for it to be tested, at least 2.
            progress: Show a progress bar, which appears after some seconds.

        Returns:
            Maps of every task, and held-out R2; its ``verdict()`` says where lesions are too few to know.

        Raises:
            InputError: A study of an earlier version, controls that are no units, or fewer than ten lesions.
        """
        return lesion_map(
            self,
            seed=int(self.provenance.get("seed", 0)) if seed is None else seed,
            metric=METRICS[self.metric_index(metric)],
            control=self.control_kind(control),
            n_permutations=n_permutations,
            min_lesions=min_lesions,
            progress=progress,
        )

    @checked
    def rivals_table(self, *, metric: str | None = None) -> pd.DataFrame:
        """What other chosen networks do beside each source network, item by item paired with it.

        Columns: network, rival, task, metric, drop (under the network), rival_drop, difference (drop - rival_drop),
        low, high (95 % interval of the difference over items).

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.
        """
        return lesion_tables.rivals(lesion_means(self, metric))

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        order = about["order"]
        # version 0.1 wrote the order of the kinds of control for one of the two mappings only
        return arrays, {**about, "order": {"control_items": order["control_scores"], **order}}

    def _methods_(self) -> list[str]:
        return [lesion_methods(self)]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return lesion_sections(self)

    @checked
    def metric_index(self, metric: str | None = None) -> int:
        """Place of a metric in the last axis of the item-level arrays.

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"``; None takes the study's metric.

        Raises:
            InputError: A name that is neither of them.
        """
        chosen = self.metric if metric is None else metric
        one_of(chosen, METRICS, "metric")
        return METRICS.index(chosen)

    @checked
    def control_kind(self, control: str | None = None) -> str:
        """A kind of control that the study has.

        Args:
            control: Name of the kind, such as ``"random"``; None takes the first kind.

        Raises:
            InputError: A kind that this study does not have.
        """
        kinds = list(self.control_scores)
        if control is not None and control not in kinds:
            raise InputError(f"control must be one of this study's, {either(kinds)}; got {control!r}")
        return kinds[0] if control is None else control

    @property
    def n_bootstrap(self) -> int:
        """Number of times the items were resampled for every interval."""
        return int(self.provenance.get("n_bootstrap", 1000))

    @checked
    def rate(self, name: str, task: str) -> float:
        """Exact match that a task gives away for nothing; NaN where it is not known.

        Args:
            name: ``"chance"``, the rate of guessing, or ``"majority"``, the rate of always giving the commonest answer.
            task: Name of the task.
        """
        return float(self.provenance.get(name, {}).get(task, np.nan))

    def __repr__(self) -> str:
        kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in self.control_scores.items())
        kinds = kinds if self.provenance.get("stop") is None else f"up to {kinds}"
        out = self.provenance.get("excluded")
        without = f"; excluded units: {out['units']:,}" if out else ""
        return (
            f"LesionStudy of {self.metric}: {len(self.networks)} networks ({', '.join(self.networks)}) x "
            f"{len(self.tasks)} tasks, {kinds} controls each{without}"
        )

    def __str__(self) -> str:
        means = lesion_means(self)
        own = lesion_tables.own_tasks(means)
        table = own[list(MAIN_SUMMARY)] if len(own) else lesion_tables.cells(means)[list(MAIN_CELLS)]
        return visible("\n".join([repr(self), table.round(3).to_string(index=False), *verdicts(means)]))

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe(columns="main"))
