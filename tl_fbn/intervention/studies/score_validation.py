"""Which score to believe on this model: every score against what lesions measure.

::

    scores = {"cgvst": fbn.cgvst(model, chats), "gradient x activation": fbn.attribution.gradient_x_activation(model, chats), ...}
    fbn.validate_scores(model, scores, battery, "sort", seed=0)

Three measurements of the task's items, none of which the scores have seen:

- **units**: each neuron alone is silenced (all of them on a small model, a sample by layer on a large one), and the drop of the task's
  log-likelihood is its effect; a score's rank correlation with it, and the share of the truly strongest that are among the score's strongest;
- **groups**: random sets of neurons are silenced together; rank correlation of their drops with the sum of their scores. Single neurons often do little
  alone, so the two may disagree;
- **top**: the score's own top units are silenced together, beside layer-matched random sets.

Rank correlations come with those of the score shuffled within layers, recall with its layer-matched expectation: a score that merely prefers the right
layers gets no credit. Scores are compared by their values as they are (largest first); where sign does not matter give magnitudes.

A choice of score made with this table has seen these items: test it on others.

Cost: a task's forward passes, once a unit, group and control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.item_statistics import check_disjoint, check_metric, empirical_p
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS, method_in_words
from tl_fbn.units import Network, UnitMap, UnitSpace, html_frame, top_mask
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words
from tl_fbn.units.result import Arrays, Described, Result

EXHAUSTIVE = 2000


@dataclass(frozen=True, eq=False)
class Validation(Result, step="scores", picture="score_validation", renamed={"about": "provenance"}):
    """Scores against lesions.

    Args:
        space: Where the units are.
        task: The task.
        names: Names of the scores.
        scores: (score, unit).
        effects: (unit,) drop of the metric when the unit alone is silenced; NaN where it was not tried.
        groups: (group, member) units that were silenced together.
        group_effects: (group,) their drops.
        tops: (score, unit) the units that each score puts first.
        top_effects: (score,) drops when they are silenced together.
        controls: (score, control) drops under layer-matched random sets.
        provenance: Metric, method, share, seeds, number of shuffles.
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

        Columns: score; spearman with the units' effects, its median and 95th percentile under shuffles within layers, and p of them; recall of the strongest units, and
        by chance; group_spearman; top_drop, control_median, control_p95, p.
        """
        tried = np.flatnonzero(np.isfinite(self.effects))
        rng = np.random.default_rng(self.provenance["seed"])
        n_null = self.provenance["n_null"]
        n_top = self.provenance["n_recall"]
        truth = top_mask(self.effects[tried], n_top)
        layers = self.space.layer_of[tried]
        effect_ranks = _ranks(self.effects[tried])
        shuffled = np.array([_shuffle(layers, rng) for _ in range(n_null)])
        lines = []
        for number, name in enumerate(self.names):
            values = self.scores[number]
            ranks = _ranks(values[tried])
            rho = float(ranks @ effect_ranks)
            null = ranks[shuffled] @ effect_ranks
            found = top_mask(values[tried], n_top)
            expected = sum(found[layers == one].sum() * truth[layers == one].mean() for one in np.unique(layers))
            sums = values[self.groups].sum(1)
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
                    "group_spearman": float(_ranks(sums) @ _ranks(self.group_effects))
                    if len(self.groups) > 2
                    else np.nan,
                    "top_drop": float(own),
                    "control_median": float(np.median(controls)),
                    "control_p95": float(np.quantile(controls, 0.95)),
                    "p": float(empirical_p(own, controls)),
                }
            )
        return pd.DataFrame(lines).sort_values("spearman", ascending=False, ignore_index=True)

    def best(self, by: str = "spearman") -> str:
        """The score that a column of the table puts first."""
        table = self.to_dataframe()
        columns = ("spearman", "recall", "group_spearman", "top_drop")
        one_of(by, columns, "by")
        return str(table.loc[table[by].idxmax(), "score"])

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        settings = dict(about.get("about") or about.get("provenance") or {})
        if "n_shuffles" in settings:  # version 0.1
            settings["n_null"] = settings.pop("n_shuffles")
            about = {**about, "provenance": settings}
            about.pop("about", None)
        return arrays, about

    def _methods_(self) -> list[str]:
        about = self.provenance
        tried = int(np.isfinite(self.effects).sum())
        return [
            f"Scores {listed(self.names)} were compared with lesions of {space_in_words(self.space)}: {tried:,} units one by one and {len(self.groups)} random "
            f"sets of {self.groups.shape[1]:,}, {method_in_words(about)}, on {about.get('n_items', NOT_RECORDED)} items of {self.task} "
            f"({METRIC_IN_WORDS.get(about.get('metric', ''), NOT_RECORDED)}); chance shuffles scores within layers ({about.get('n_null', NOT_RECORDED)} times; "
            f"seed {about.get('seed', NOT_RECORDED)}). Positions are {NOT_RECORDED}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"Each of {int(np.isfinite(self.effects).sum()):,} units was silenced alone ({self.provenance['method']}), and {len(self.groups)} random sets of "
            f"{self.groups.shape[1]} together, while {self.provenance['n_items']} items of {self.task!r} were scored by {self.provenance['metric']}. Chance keeps "
            "every score within its layer. A score chosen by this table is to be tested on other items."
        )
        title = f"Scores against lesions: {self.task}"
        return [{"title": title, "text": text, "picture": "score_validation", "table": self.to_dataframe()}]

    def __repr__(self) -> str:
        tried = int(np.isfinite(self.effects).sum())
        return f"Validation of {len(self.names)} scores on {self.task!r}: {tried:,} units silenced one by one, {len(self.groups)} groups"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())


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
    metric: str = "log_likelihood",
    batch_size: int = 256,
    progress: bool = True,
) -> Validation:
    """Measure lesions and compare every score with them.

    ::

        fbn.validate_scores(model, {"cgvst": scores, "t": contrast.t}, fbn.demo.battery(seed=1), "sort", seed=0)

    Args:
        model: A TransformerLens model in eval mode.
        scores: Names to maps of one space.
        battery: Holds the task, with items that no score was made from.
        task: Its name.
        seed: Of samples, groups, controls and shuffles.
        top: How many units count as strongest, in recall and in the joint lesion.
        n_units: Units silenced one by one, sampled evenly from each layer; by default all, up to 2,000.
        n_groups: Random sets silenced together; 0 for none.
        group: Their size.
        n_controls: Layer-matched random sets beside each score's top units.
        n_null: Shuffles within layers behind chance and p of rank correlations.
        method: As for :func:`.hooks.inhibit`.
        reference: Likewise.
        metric: ``"log_likelihood"`` (nats a token, defined for every task and finer) or ``"exact_match"``.
        batch_size: Sequences in a pass.
        progress: Show a bar.

    Raises:
        InputError: No scores, scores of different spaces or with NaN, an unknown task or metric, items that a score was made from.
    """
    space, names = _checked(scores, metric)
    battery = battery.select([task])
    tokenizer = tokenizer_of(model)
    tops = {name: one.top(top) for name, one in scores.items()}
    for name, network in tops.items():
        check_disjoint(network, battery, tokenizer, name)
    rng = np.random.default_rng(seed)
    units = _sampled(space, n_units, rng)
    size = len(UnitMap(space, np.zeros(space.n_units), "size").top(group))
    groups = np.array([rng.choice(space.n_units, size, replace=False) for _ in range(n_groups)], dtype=np.int64)
    groups = groups.reshape(n_groups, size)
    sham = {
        name: matched_controls(one, n_controls, seed=seed + number) for number, (name, one) in enumerate(tops.items())
    }
    silence = silencer(model, method=method, reference=reference, seed=seed)
    total = len(units) + n_groups + len(names) * (1 + n_controls)
    with tqdm(total=total, desc=f"lesions of {task}", unit="lesion", disable=not progress) as bar:

        def drops(networks: Iterable[Network]) -> Iterator[float]:
            for network in networks:
                with silence(network):
                    yield before - battery.score(model, batch_size=batch_size)[task].of(metric)
                bar.update()

        before = battery.score(model, batch_size=batch_size)[task].of(metric)
        if not np.isfinite(before):
            raise InputError(f'task {task!r} has no {metric}; use metric="log_likelihood"')
        effects = np.full(space.n_units, np.nan)
        effects[units] = list(drops(Network.from_indices(space, [int(unit)]) for unit in units))
        group_effects = np.array(list(drops(Network.from_indices(space, one) for one in groups)))
        top_effects = np.array(list(drops(tops.values())))
        controls = np.array([list(drops(sham[name])) for name in names])
    n_recall = len(tops[names[0]]) * len(units) // space.n_units  # as large a share of those tried
    about = {
        "metric": metric,
        "method": method,
        "seed": seed,
        "baseline": before,
        "n_items": len(battery.tasks[task].items),
        "n_null": n_null,
        "n_recall": max(1, n_recall),
    }
    values = np.array([one.values for one in scores.values()], dtype=float)
    members = np.array([tops[name].members for name in names])
    return Validation(space, task, names, values, effects, groups, group_effects, members, top_effects, controls, about)


def _checked(scores: Mapping[str, UnitMap], metric: str) -> tuple[UnitSpace, tuple[str, ...]]:
    if not scores:
        raise InputError("validate_scores got no scores; give a mapping of names to maps")
    check_metric(metric)
    first = next(iter(scores.values()))
    for name, one in scores.items():
        first.space.require_same(one.space, "compare")
        if not np.isfinite(one.values).all():
            raise InputError(f"the score {name!r} has values that are not finite; np.nan_to_num them, or leave it out")
    return first.space, tuple(scores)


def _sampled(space: UnitSpace, n_units: int | None, rng: np.random.Generator) -> Int[np.ndarray, " tried"]:
    """The units that are silenced one by one: all, or as large a share of every layer."""
    if n_units is None:
        n_units = min(space.n_units, EXHAUSTIVE)
    if not 2 <= n_units <= space.n_units:
        raise InputError(f"n_units={n_units} of {space.n_units} units; give 2 to {space.n_units}")
    if n_units == space.n_units:
        return np.arange(n_units)
    order = [rng.permutation(np.arange(space.n_units)[space.layer_slice(layer)]) for layer in range(space.n_layers)]
    places = np.concatenate([(np.arange(len(part)) + rng.random()) / max(len(part), 1) for part in order])
    return np.sort(np.concatenate(order)[np.argsort(places, kind="stable")[:n_units]])


def _ranks(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
    """Ranks, centred and of unit length, so that a product is Spearman's correlation; zero where all are equal."""
    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    length = np.linalg.norm(ranks)
    return ranks / length if length else ranks


def _shuffle(layers: Int[np.ndarray, " tried"], rng: np.random.Generator) -> Int[np.ndarray, " tried"]:
    """A random order of some units that keeps each in its layer; layers come in blocks."""
    widths = tuple(int(n) for n in np.bincount(layers))
    return shuffle_within_layers(UnitSpace("tried", widths), rng)
