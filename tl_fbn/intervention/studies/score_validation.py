"""Which score to believe on this model: every score against what lesions measure.

::

    attribution = fbn.attribution.gradient_x_activation(model, chats)
    scores = {"cgvst": fbn.cgvst(model, chats), "gradient x activation": attribution}
    fbn.validate_scores(model, scores, battery, "sort", seed=0)

A score is a map: a number for each unit that is meant to say how much a task needs it. The drop of a lesion is the
task's mean score without it minus that under it. Three measurements are made on the task's items, none of which the
scores have seen:

- **units**: each unit alone is silenced (all of them on a small model, a sample by layer on a large one), and its
  drop is the unit's effect. Reported are Spearman's correlation of a score with the effects, and *recall*: the share
  of the units with the largest effects that are among those with the largest scores;
- **groups**: random sets of units are silenced together. Reported is Spearman's correlation of their drops with the
  sums of their scores. Single units often do little alone, so the two may disagree;
- **top**: the score's own top units are silenced together, beside random sets with as many units in each layer.

Rank correlations come with those of the score shuffled within layers, recall with its expectation for as many units
of each layer drawn at random: a score that merely prefers the right layers gets no credit. Scores are compared by
their values as they are, largest first; where the sign does not matter give magnitudes.

A choice of score made with this table has seen these items: test it on others.

Cost: one evaluation of the task for every unit, group, score and control, and one without a lesion.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.engine import Condition, StudyRuns, silenced_units
from tl_fbn.intervention.studies.item_statistics import METRICS, check_disjoint, check_metric, empirical_p
from tl_fbn.intervention.studies.resume import map_digest, study_folder
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS, method_in_words
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap, UnitSpace, html_frame, top_mask
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words
from tl_fbn.units.result import Arrays, Described, Result

EXHAUSTIVE = 2000  # up to so many units, all are silenced one by one unless another number is asked for


@dataclass(frozen=True, eq=False)
class Validation(Result, step="scores", picture="score_validation", renamed={"about": "provenance"}):
    """Scores of units against the effects of lesions.

    >>> scores = {"t": contrast.t, "effect": contrast.effect}  # both of *sort - reverse*
    >>> found = fbn.validate_scores(
    ...     model, scores, battery, "sort", n_units=40, n_groups=5, n_controls=9, seed=0, progress=False
    ... )
    >>> found
    Validation of 2 scores on 'sort': 40 units silenced one by one, 5 groups
    >>> found.best("top_drop")
    'effect'

    Args:
        space: Unit space of the scores.
        task: Name of the task.
        names: Names of the scores.
        scores: (score, unit) values of the scores.
        effects: (unit,) drop of the metric when the unit alone is silenced; NaN where that was not tried.
        groups: (group, member) numbers of the units that were silenced together.
        group_effects: (group,) drop under each group.
        tops: (score, unit) whether the unit is among the score's top units.
        top_effects: (score,) drop when a score's top units are silenced together.
        controls: (score, control) drops under random sets with as many units in each layer as the score's top units.
        provenance: Metric, method, seed, score without a lesion, and numbers of items, of shuffles, and of units that
            count in recall.
    """

    space: UnitSpace
    task: str
    names: tuple[str, ...]
    scores: Float[np.ndarray, "score unit"]
    effects: Float[np.ndarray, " unit"]
    groups: Int[np.ndarray, "group member"]
    group_effects: Float[np.ndarray, " group"]
    tops: Bool[np.ndarray, "score unit"]
    top_effects: Float[np.ndarray, " score"]
    controls: Float[np.ndarray, "score control"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def effect_map(self) -> UnitMap:
        """The lesion effects as a map; NaN where a unit was not tried."""
        return UnitMap(self.space, self.effects, "effect", {"method": "single-unit lesions", "task": self.task})

    def to_dataframe(self) -> pd.DataFrame:
        """One line a score, best first by ``spearman``.

        Columns: score; spearman (correlation with the units' effects), spearman_by_chance and spearman_by_chance_p95
        (median and 95th percentile under shuffles within layers), spearman_p; recall (of the units with the largest
        effects) and recall_by_chance; group_spearman; top_drop, control_median, control_p95, p (of top_drop against
        the controls). Drops are in the unit of the metric.
        """
        # units that were not silenced alone are left out of the ranks and of recall
        tried = np.flatnonzero(np.isfinite(self.effects))
        rng = np.random.default_rng(self.provenance["seed"])
        n_null = self.provenance["n_null"]
        n_top = self.provenance["n_recall"]
        layers = self.space.layer_of[tried]
        truth = top_mask(self.effects[tried], n_top, layers=layers, seed=self.provenance["seed"])
        # ranks are centred and of unit length, so that their product is Spearman's correlation
        effect_ranks = _unit_ranks(self.effects[tried])
        shuffled = np.array([_order_within_layers(layers, rng) for _ in range(n_null)])  # the same for all scores
        lines = []
        for number, name in enumerate(self.names):
            values = self.scores[number]
            ranks = _unit_ranks(values[tried])
            rho = float(ranks @ effect_ranks)
            # (shuffle,) correlations of the score with its values shuffled within layers
            null = ranks[shuffled] @ effect_ranks
            found = top_mask(values[tried], n_top, layers=layers, seed=self.provenance["seed"])
            # by chance: each of the score's units in a layer is one of the layer's strongest with their share of it
            expected = sum(found[layers == one].sum() * truth[layers == one].mean() for one in np.unique(layers))
            sums = values[self.groups].sum(1)
            # two groups always correlate perfectly
            enough = len(self.groups) > 2
            group_rho = float(_unit_ranks(sums) @ _unit_ranks(self.group_effects)) if enough else np.nan
            controls = self.controls[number]
            own = self.top_effects[number]
            lines.append(
                {
                    "score": name,
                    "spearman": rho,
                    "spearman_by_chance": float(np.median(null)),
                    "spearman_by_chance_p95": float(np.quantile(null, 0.95)),
                    "spearman_p": float(empirical_p(rho, null)),
                    "recall": float((found & truth).sum() / n_top),
                    "recall_by_chance": float(expected / n_top),
                    "group_spearman": group_rho,
                    "top_drop": float(own),
                    "control_median": float(np.median(controls)),
                    "control_p95": float(np.quantile(controls, 0.95)),
                    "p": float(empirical_p(own, controls)),
                }
            )
        return pd.DataFrame(lines).sort_values("spearman", ascending=False, ignore_index=True)

    @checked
    def best(self, by: str = "spearman") -> str:
        """Name of the score that a column of the table puts first.

        Args:
            by: The column, ``"spearman"``, ``"recall"``, ``"group_spearman"`` or ``"top_drop"``; the largest value is
                best.

        Raises:
            InputError: Another column.
        """
        table = self.to_dataframe()
        columns = ("spearman", "recall", "group_spearman", "top_drop")
        one_of(by, columns, "by")
        return str(table.loc[table[by].idxmax(), "score"])

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        settings = dict(about.get("about") or about.get("provenance") or {})
        if "n_shuffles" in settings:  # what version 0.1 called n_null
            settings["n_null"] = settings.pop("n_shuffles")
            about = {**about, "provenance": settings}
            about.pop("about", None)
        return arrays, about

    def _methods_(self) -> list[str]:
        about = self.provenance
        tried = int(np.isfinite(self.effects).sum())
        return [
            f"Scores {listed(self.names)} were compared with lesions of {space_in_words(self.space)}: {tried:,} "
            f"units one by one and {len(self.groups)} random sets of {self.groups.shape[1]:,}, "
            f"{method_in_words(about)}, on {about.get('n_items', NOT_RECORDED)} items of {self.task} "
            f"({METRIC_IN_WORDS.get(about.get('metric', ''), NOT_RECORDED)}); chance shuffles scores within layers "
            f"({about.get('n_null', NOT_RECORDED)} times; seed {about.get('seed', NOT_RECORDED)}). Positions are "
            f"{NOT_RECORDED}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"Each of {int(np.isfinite(self.effects).sum()):,} units was silenced alone "
            f"({self.provenance['method']}), and {len(self.groups)} random sets of {self.groups.shape[1]} together, "
            f"while {self.provenance['n_items']} items of {self.task!r} were scored by {self.provenance['metric']}. "
            "Chance keeps "
            "every score within its layer. A score chosen by this table is to be tested on other items."
        )
        title = f"Scores against lesions: {self.task}"
        return [{"title": title, "text": text, "picture": "score_validation", "table": self.to_dataframe()}]

    def __repr__(self) -> str:
        tried = int(np.isfinite(self.effects).sum())
        lesions = f"{tried:,} units silenced one by one, {len(self.groups)} groups"
        return f"Validation of {len(self.names)} scores on {self.task!r}: {lesions}"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())


@checked
def validate_scores(
    model: HookedModel,
    scores: Mapping[str, UnitMap],
    battery: Battery,
    task: str,
    *,
    seed: int,
    top: int | float = 0.05,
    n_units: int | None = None,
    n_groups: int = 100,
    group: int | float = 0.05,
    n_controls: int = 100,
    n_null: int = 1000,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    allow_other_weights: bool = False,
    metric: str = "log_likelihood",
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> Validation:
    """Measure what lesions do to a task and compare every score with that.

    >>> scores = {"t": contrast.t, "effect": contrast.effect}  # both of *sort - reverse*
    >>> found = fbn.validate_scores(
    ...     model, scores, battery, "sort", n_units=40, n_groups=5, n_controls=9, seed=0, progress=False
    ... )
    >>> table = found.to_dataframe()[["score", "top_drop", "control_p95", "p"]].sort_values("top_drop")
    >>> print(table.round(2).to_string(index=False))  # drops in nats a token
     score  top_drop  control_p95   p
         t      0.00          0.0 0.2
    effect      0.97          0.0 0.1

    Args:
        model: A TransformerLens model in eval mode.
        scores: Names to the scores, maps of one unit space without NaN.
        battery: A battery that has the task, with items that no score was made from.
        task: Name of the task whose items are scored under the lesions.
        seed: Seed of the sample of units, of groups, controls and shuffles; the same seed gives the same result.
        top: Number of units that count as strongest, in recall and in the joint lesion, or their share of all units
            if it is below 1.
        n_units: Number of units that are silenced one by one, sampled evenly from each layer; None takes all, up to
            2,000.
        n_groups: Number of random sets that are silenced together; 0 for none.
        group: Number of units in each of these sets, or their share of all units if it is below 1.
        n_controls: Number of random sets beside each score's top units, with as many units in each layer.
        n_null: Number of shuffles within layers behind chance and p of rank correlations.
        method: What silenced units are given instead of their activations: ``"zero"``, ``"mean"``,
            ``"position_mean"``, ``"resample"`` or ``"noise"``.
        reference: A recording of the same units on other prompts, for all methods but ``"zero"``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        metric: ``"log_likelihood"`` (nats a token, defined for every task and finer) or ``"exact_match"``.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        Scores, effects and drops, with the table that compares them.

    Raises:
        InputError: No scores, scores of different spaces or with NaN, an unknown task or metric, items that a score
            was made from.
    """
    space, names = _space_and_names(scores, metric)
    battery = battery.select([task])
    tops = {name: one.top(top, seed=seed) for name, one in scores.items()}
    for name, network in tops.items():
        check_disjoint(network, battery, tokenizer_of(model), name)
    rng = np.random.default_rng(seed)
    units = sampled_units(space, n_units, rng)
    # how many units a number or share comes to, by the rule that top units follow
    size = len(UnitMap(space, np.zeros(space.n_units), "size").top(group))
    groups = np.array([rng.choice(space.n_units, size, replace=False) for _ in range(n_groups)], dtype=np.int64)
    groups = groups.reshape(n_groups, size)  # (0, size) without groups
    # as many units in each layer as the score's own top units
    sham = [matched_controls(one, n_controls, seed=seed + number) for number, one in enumerate(tops.values())]
    silence = silencer(model, method=method, reference=reference, seed=seed, allow_other_weights=allow_other_weights)
    alone = [Condition(f"unit {unit}", partial(silenced_units, silence, space, [int(unit)])) for unit in units]
    together = [Condition(f"group {i}", partial(silenced_units, silence, space, one)) for i, one in enumerate(groups)]
    conditions = [*alone, *together, *Condition.each(silence, chain(tops.values(), *sham))]
    settings = {
        "study": "score validation",
        "maps": [map_digest(one) for one in scores.values()],
        "seed": seed,
        "n_units": len(units),
        "n_groups": n_groups,
        "group": size,
        "n_controls": n_controls,
        "method": method,
        "reference": None if reference is None else reference.key,
    }
    folder = study_folder(path, model, tops, battery, settings)
    with StudyRuns(
        model,
        n_conditions=1 + len(conditions),
        title=f"lesions of {task}",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        place = METRICS.index(metric)
        before = float(runs.untouched(battery)[:, place].mean())
        # NaN exact match: plain text has no right answer
        if not np.isfinite(before):
            raise InputError(f'task {task!r} has no {metric}; use metric="log_likelihood"')
        under = runs.scores("lesions", battery, conditions)[0]
    drops = before - under[..., place].mean(1)
    of_units, group_effects, top_effects, of_controls = np.split(drops, np.cumsum([len(units), n_groups, len(names)]))
    effects = np.full(space.n_units, np.nan)
    effects[units] = of_units
    controls = of_controls.reshape(len(names), n_controls)
    n_recall = len(tops[names[0]]) * len(units) // space.n_units  # as large a share of the units that were tried
    about = {
        "metric": metric,
        "method": method,
        "seed": seed,
        "baseline": before,
        "n_items": len(battery.tasks[task].items),
        "n_null": n_null,
        "n_recall": max(1, n_recall),
        "model_dtype": number_type(model),
    }
    values = np.array([one.values for one in scores.values()], dtype=float)
    members = np.array([tops[name].members for name in names])
    return Validation(space, task, names, values, effects, groups, group_effects, members, top_effects, controls, about)


def _space_and_names(scores: Mapping[str, UnitMap], metric: str) -> tuple[UnitSpace, tuple[str, ...]]:
    """The unit space that the scores share, and their names; refuses scores or a metric that cannot be compared."""
    if not scores:
        raise InputError("validate_scores got no scores; give a mapping of names to maps")
    check_metric(metric)
    first = next(iter(scores.values()))
    for name, one in scores.items():
        first.space.require_same(one.space, "compare")
        if not np.isfinite(one.values).all():
            n = int((~np.isfinite(one.values)).sum())
            raise InputError(
                f"the score {name!r} has no finite value for {n:,} of {one.space.n_units:,} units, and every unit is "
                "ranked here; give a unit that is ruled out (NaN) a value below all others, an infinite one the "
                "largest finite value, or leave the score out"
            )
    return first.space, tuple(scores)


def sampled_units(space: UnitSpace, n_units: int | None, rng: np.random.Generator) -> Int[np.ndarray, " tried"]:
    """The units that are silenced one by one: all, or about as large a share of every layer, drawn at random.

    Args:
        space: The units.
        n_units: How many; None for all, up to 2,000.
        rng: Makes the draw.

    Raises:
        InputError: Fewer than two, or more than there are.
    """
    if n_units is None:
        n_units = min(space.n_units, EXHAUSTIVE)
    if not 2 <= n_units <= space.n_units:
        raise InputError(f"n_units={n_units} of {space.n_units} units; give 2 to {space.n_units}")
    if n_units == space.n_units:
        return np.arange(n_units)
    # systematic sampling: each layer's units, in random order, get evenly spaced places in (0, 1) with a random start;
    # the n_units smallest places then are as large a share of every layer, within one unit
    order = [rng.permutation(np.arange(space.n_units)[space.layer_slice(layer)]) for layer in range(space.n_layers)]
    places = np.concatenate([(np.arange(len(part)) + rng.random()) / max(len(part), 1) for part in order])
    return np.sort(np.concatenate(order)[np.argsort(places, kind="stable")[:n_units]])


def _unit_ranks(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
    """Ranks, centred and of unit length, so that a product is Spearman's correlation; zero where all are equal."""
    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    length = np.linalg.norm(ranks)
    return ranks / length if length else ranks


def _order_within_layers(layers: Int[np.ndarray, " tried"], rng: np.random.Generator) -> Int[np.ndarray, " tried"]:
    """A random order of the units that were tried, which keeps each in its layer; units are sorted by layer."""
    widths = tuple(int(n) for n in np.bincount(layers))
    return shuffle_within_layers(UnitSpace("tried", widths), rng)
