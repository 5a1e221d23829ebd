"""What came of Shapley values: scores while each set of networks was kept, and the tables that divide them.

:mod:`.shapley` makes it and says what each interval speaks of, :mod:`.coalition_values` has the formulas. Values are
weighted sums of scores, so that each item has its own; intervals over items are those of their mean
(:mod:`.item_statistics`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from tl_fbn.intervention.studies import study_prose as prose
from tl_fbn.intervention.studies.coalition_values import (
    interaction_weights,
    number_of,
    permutation_errors,
    shapley_weights,
)
from tl_fbn.intervention.studies.intervals import Interval
from tl_fbn.intervention.studies.item_statistics import change_interval, resamples, spans, task_means
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result

_NO_TEST = (
    "Values divide the effect of all networks among them; they are no test against chance, which a lesion study with "
    "matched random networks is."
)


@dataclass(frozen=True, eq=False)
class ShapleyValues(Result, step="lesions", picture="shapley"):
    """Shapley values of networks for every task: how what all of them do together is divided among them.

    >>> every = ~fbn.Network.from_indices(network.space, [])
    >>> layers = fbn.Atlas.from_networks({f"layer {i}": every.restrict(layers=[i]) for i in range(3)})
    >>> found = fbn.shapley(model, layers, battery, seed=0, progress=False)
    >>> found
    ShapleyValues of 3 networks for 2 tasks (exact_match), exact, from all 8 sets of networks
    >>> found.pairs().query("task == 'reverse'")[["network", "other", "interaction"]].round(2)
       network    other  interaction
    3  layer 0  layer 1         0.35
    4  layer 0  layer 2         0.45
    5  layer 1  layer 2        -0.35

    Args:
        networks: Names of the networks.
        tasks: Names of the tasks.
        counts: (task,) number of items of each task.
        metric: ``"exact_match"`` or ``"log_likelihood"`` (nats a token), what the scores are.
        coalitions: (coalition, network) True for the networks that were kept, False for those that were silenced.
        items: (coalition, item) scores, task after task.
        permutations: (permutation, network) orders that values are estimated from, each followed by its reverse; None
            where all sets of networks were scored.
        provenance: Seed, numbers of permutations and bootstrap draws, method, positions, and the origins of the atlas.
    """

    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    counts: Int[np.ndarray, " task"]
    metric: str
    coalitions: Bool[np.ndarray, "coalition network"]
    items: Float[np.ndarray, "coalition item"]
    permutations: Int[np.ndarray, "permutation network"] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("metric",)

    @cached_property
    def values(self) -> Float[np.ndarray, "network task"]:
        """(network, task) Shapley values, in the unit of the metric; a task's add up to :attr:`whole`."""
        return self._by_task(self._weights @ self.items)

    @cached_property
    def errors(self) -> Float[np.ndarray, "network task"]:
        """(network, task) standard errors of the values over pairs of permutations; 0 where all sets were scored."""
        if self.permutations is None:
            return np.zeros_like(self.values)
        return permutation_errors(self.coalitions, self._by_task(self.items), self.permutations)

    @cached_property
    def interactions(self) -> Float[np.ndarray, "task network network"] | None:
        """(task, network, network) interactions, NaN for a network with itself; None where values are estimated."""
        if self.permutations is not None:
            return None
        found = np.moveaxis(self._by_task(self._pair_items), -1, 0)
        return np.where(np.eye(len(self.networks), dtype=bool), np.nan, found)

    @cached_property
    def whole(self) -> Float[np.ndarray, " task"]:
        """(task,) score of the untouched model less the score with all networks silenced."""
        return self._by_task(self._whole_items)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network and task.

        Columns: network, task, metric, value (positive where the task needs the network), low and high (95 % interval
        over items), permutation_error (standard error over pairs of permutations), permutation_low and
        permutation_high (95 % interval over permutations), lesioned_alone (what silencing only this network costs),
        kept_alone (what keeping only this network gains over silencing all). Where all sets of networks were scored the
        error is 0 and its interval the value.
        """
        one = np.eye(len(self.networks), dtype=bool)
        everybody, nobody = self._scores_of(np.ones_like(one[:1])), self._scores_of(np.zeros_like(one[:1]))
        lesioned = self._by_task(everybody - self._scores_of(~one))
        kept = self._by_task(self._scores_of(one) - nobody)
        by_item = self._weights @ self.items
        # Student's t over pairs of permutations
        pairs = 2 if self.permutations is None else len(self.permutations) // 2
        away = float(stats.t.ppf(0.975, pairs - 1)) * self.errors
        lines = []
        for task, number, span, draws in self._spans():
            for i, network in enumerate(self.networks):
                value, error, width = (float(of[i, number]) for of in (self.values, self.errors, away))
                interval = change_interval(by_item[i, span], self.metric, draws)
                alone = (float(lesioned[i, number]), float(kept[i, number]))
                over_permutations = (error, value - width, value + width)
                lines.append((network, task, self.metric, value, *interval, *over_permutations, *alone))
        columns = ["network", "task", "metric", "value", "low", "high"]
        columns += ["permutation_error", "permutation_low", "permutation_high", "lesioned_alone", "kept_alone"]
        return pd.DataFrame(lines, columns=columns)

    def pairs(self) -> pd.DataFrame:
        """One line a task and two networks; none where values are estimated, which gives no interactions.

        Columns: task, network, other, interaction (above 0 where the two need each other, below 0 where either will do;
        unit of the metric), low and high (95 % interval over items).
        """
        columns = ["task", "network", "other", "interaction", "low", "high"]
        if self.interactions is None:
            return pd.DataFrame(columns=columns)
        lines = []
        for task, number, span, draws in self._spans():
            for i, j in zip(*np.triu_indices(len(self.networks), 1), strict=True):
                found = float(self.interactions[number, i, j])
                interval = self._of_pair(self._pair_items[i, j, span], draws)
                lines.append((task, self.networks[i], self.networks[j], found, *interval))
        return pd.DataFrame(lines, columns=columns)

    def summary(self) -> pd.DataFrame:
        """One line a task: what all networks do, and the network with the largest value.

        Columns: task, metric, untouched (score of the model as it is), silenced (score with all networks silenced),
        whole (their difference, which the values add up to), low and high (95 % interval over items), largest (the
        network with the largest value) and largest_value.
        """
        nobody = np.zeros((1, len(self.networks)), dtype=bool)
        untouched, silenced = (self._by_task(self._scores_of(one)[0]) for one in (~nobody, nobody))
        lines = []
        for task, number, span, draws in self._spans():
            best = int(self.values[:, number].argmax())
            scores = (float(untouched[number]), float(silenced[number]), float(self.whole[number]))
            interval = change_interval(self._whole_items[span], self.metric, draws)
            lines.append((task, self.metric, *scores, *interval, self.networks[best], float(self.values[best, number])))
        columns = ["task", "metric", "untouched", "silenced", "whole", "low", "high", "largest", "largest_value"]
        return pd.DataFrame(lines, columns=columns)

    @cached_property
    def _weights(self) -> Float[np.ndarray, "network coalition"]:
        return shapley_weights(self.coalitions, self.permutations)

    @cached_property
    def _pair_items(self) -> Float[np.ndarray, "network network item"]:
        """Interactions item by item, where all sets were scored."""
        return interaction_weights(self.coalitions) @ self.items

    @property
    def _whole_items(self) -> Float[np.ndarray, " item"]:
        nobody = np.zeros((1, len(self.networks)), dtype=bool)
        return (self._scores_of(~nobody) - self._scores_of(nobody))[0]

    def _scores_of(self, kept: Bool[np.ndarray, "some network"]) -> Float[np.ndarray, "some item"]:
        """Scores while some sets of networks are kept."""
        return self.items[number_of(self.coalitions, kept)]

    def _by_task(self, items: Float[np.ndarray, "*of item"]) -> Float[np.ndarray, "*of task"]:
        return task_means(items[..., None], self.counts)[..., 0]

    def _of_pair(self, differences: Float[np.ndarray, " item"], draws: Int[np.ndarray, "draw item"]) -> Interval:
        """Interval of an interaction, whose items are within -2 and 2 where values are within -1 and 1."""
        low, high = change_interval(differences / 2, self.metric, draws)
        return 2 * low, 2 * high

    def _spans(self) -> Iterator[tuple[str, int, slice, Int[np.ndarray, "draw item"]]]:
        """Each task, its number, its items, and the draws of these, which are the same for all networks."""
        about = self.provenance
        for number, (task, span) in enumerate(zip(self.tasks, spans(self.counts), strict=True)):
            draws = resamples(span.stop - span.start, int(about["n_bootstrap"]), [int(about["seed"]), span.stop])
            yield task, number, span, draws

    def _how(self) -> str:
        """How the values were computed, as part of a sentence."""
        if self.permutations is None:
            return f"exact, from all {len(self.coalitions):,} sets of networks"
        return (
            f"estimated from {len(self.permutations):,} antithetic permutations ({len(self.coalitions):,} sets of "
            "networks)"
        )

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Shapley values of {len(self.networks)} networks, {self._how()}: of each set its own networks were kept "
            f"and the units of all others {prose.method_in_words(about)} at {about.get('positions', NOT_RECORDED)} "
            f"positions, scored by {prose.METRIC_IN_WORDS[self.metric]} on {listed(self.tasks)} "
            f"({prose.items_in_words(self.counts)}); 95 % intervals over items ({prose.intervals_in_words(about)}); "
            f"seed {about.get('seed', NOT_RECORDED)}; discovery prompts: {about.get('discovery', NOT_RECORDED)}. "
            f"{_NO_TEST}"
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self!r}. A task's values add up to what silencing all networks costs it; above 0 the task needs the "
            "network. Low and high are 95 % intervals over items, permutation_low and permutation_high over "
            f"permutations (the value itself where all sets were scored). {_NO_TEST}"
        )
        sections: list[dict[str, Any]] = [
            {"title": "Shapley values of networks", "text": text, "picture": "shapley"}
            | {"table": self.to_dataframe()},
            {"title": "What all networks do together", "text": f"Whole is what the values divide. {_NO_TEST}"}
            | {"table": self.summary()},
        ]
        if self.interactions is not None and len(self.networks) > 1:
            about = (
                "Above 0 two networks need each other, below 0 either will do, and networks that share units need each "
                "other for that reason alone. Low and high are 95 % intervals over items."
            )
            sections.append({"title": "Interactions of networks", "text": about, "table": self.pairs()})
        return sections

    def __repr__(self) -> str:
        return (
            f"ShapleyValues of {len(self.networks)} networks for {len(self.tasks)} tasks ({self.metric}), {self._how()}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe().head(20))
