"""Lesion map: which units cost a task more where a random lesion holds them, from the controls already paid for.

A lesion study silences many random networks that nobody looks at again. They are lesions of known units with known
cost, and :mod:`.lesion_regression` asks of every unit what loss goes with its presence, corrected over units, and of
all units together whether they predict the loss of lesions that were held out.

Since the draw decides which units a lesion holds, a unit's effect is causal: what silencing it costs more than
silencing the units that otherwise stand in its place, others of its layer, in such company. How many units a lesion has
in each layer says nothing: controls are matched for it.

Little is known where few lesions hold a unit. Of n lesions of k units among N each unit is in about n k / N, so that
100 controls of .1 % of all units hold most units never. A unit is tested from ``min_lesions`` lesions on, the others
have no number, and :meth:`LesionMap.verdict` says where lesions are too few to know.

p is corrected over units, not over tasks. Units that a lesion map finds were found on the items of its study, which
they remember: to score them, take other items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.errors import InputError, either, one_of
from tl_fbn.intervention.studies import study_prose as prose
from tl_fbn.intervention.studies.item_statistics import empirical_p
from tl_fbn.intervention.studies.lesion_regression import (
    N_FOLDS,
    RandomLesions,
    corrected_p,
    held_out,
    ridge_weights,
    unit_tests,
)
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

MapKind = Literal["t", "effect", "p", "weight"]
ALPHA = 0.05
FEWEST = 10  # lesions, of which folds can be held out
_HELD_OUT_PERMUTATIONS = 199  # each of them is a ridge regression a fold
_SHOWN = 5  # units that the verdict names, and 4 times as many in a report


@dataclass(frozen=True, eq=False)
class LesionMap(Result, step="lesions", picture="lesion_map"):
    """Which units cost a task more where random lesions hold them.

    >>> networks = {"sort": contrast.effect.top(0.1)}
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=60, seed=0, progress=False)
    >>> found = study.lesion_map(metric="log_likelihood", n_permutations=199, progress=False)
    >>> found
    LesionMap of log_likelihood: 2 tasks, 60 random lesions, a unit in 5 (median); tl_fbn-demo mlp.neurons (3 x 384)
    >>> found.summary()[["task", "tested", "found"]]  # 60 lesions find little
          task  tested  found
    0     sort     635      0
    1  reverse     635      0

    Args:
        space: The units.
        tasks: Names of the tasks.
        metric: What drops are: ``"exact_match"`` (shares of items) or ``"log_likelihood"`` (nats a token).
        inclusions: (unit,) number of random lesions that silenced each unit.
        effects: (task, unit) mean drop of lesions that hold the unit less that of lesions that do not, within source
            networks; NaN where too few lesions hold it.
        statistics: (task, unit) t of the effects.
        largest: (task, permutation) largest t over all tested units in each permutation of the drops.
        weights: (task, unit) weights of a ridge regression of drops on all units.
        r2: (task,) R2 of such regressions on lesions that they were not fitted to; NaN for a task that never changed.
        r2_null: (task, null) the same with permuted drops.
        digests: Task to digests of its prompts; empty where they are not known.
        provenance: Source networks, kind of controls, numbers of lesions and permutations, degrees of freedom, seed,
            and settings of the study.
    """

    space: UnitSpace
    tasks: tuple[str, ...]
    metric: str
    inclusions: Int[np.ndarray, " unit"]
    effects: Float[np.ndarray, "task unit"]
    statistics: Float[np.ndarray, "task unit"]
    largest: Float[np.ndarray, "task permutation"]
    weights: Float[np.ndarray, "task unit"]
    r2: Float[np.ndarray, " task"]
    r2_null: Float[np.ndarray, "task null"]
    digests: Mapping[str, list[str]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("metric",)

    @checked
    def map(self, task: str, kind: MapKind = "t") -> UnitMap:
        """One number for every unit.

        Args:
            task: Name of the task.
            kind: ``"t"``, ``"effect"`` (mean drop with the unit silenced less that without it), ``"p"`` (one-sided,
                corrected over units by the largest t) or ``"weight"`` (of the ridge regression).

        Returns:
            A map; NaN for units that too few lesions hold, but for weights.

        Raises:
            InputError: A task or kind that there is not.
        """
        number = self._number(task)
        one_of(kind, MapKind, "kind")
        values = {
            "t": lambda: self.statistics[number],
            "effect": lambda: self.effects[number],
            "p": lambda: corrected_p(self.statistics[number], self.largest[number]),
            "weight": lambda: self.weights[number],
        }[kind]()
        known = {"prompts": list(self.digests[task])} if task in self.digests else {}
        origin = {"method": "lesion_map", "task": task, "metric": self.metric, **self.provenance, **known}
        return UnitMap(self.space, values, kind, origin)

    @checked
    def threshold(self, task: str, *, fwe: float = ALPHA, name: str | None = None) -> Network:
        """The units whose corrected p is at most a family-wise error rate.

        Args:
            task: Name of the task.
            fwe: Chance, between 0 and 1, that there is any false unit among those returned.
            name: Name of the network; by default the task and ``lesion map``.

        Raises:
            InputError: A task that there is not, a rate that is none, or one that the permutations cannot show.
        """
        if not 0 < fwe < 1:
            raise InputError(f"fwe={fwe} is no error rate; give a number between 0 and 1, e.g. fwe=0.05")
        n = self.largest.shape[1]
        if 1 / (1 + n) > fwe:
            raise InputError(f"{n} permutations show no p below {1 / (1 + n):.3g}, so fwe={fwe} selects nothing")
        p = self.map(task, "p")
        passed = p.values <= fwe  # never where p is NaN
        about = {**p.provenance, "threshold": {"fwe": fwe, "two_sided": False}}
        return Network(self.space, passed, passed.astype(np.int8), name or f"{task} (lesion map)", about)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a task and unit that was tested.

        Columns: task, layer, unit, lesions (how many silenced it), effect (unit of the metric), t, p (corrected over
        units), weight.
        """
        parts = []
        for number, task in enumerate(self.tasks):
            table = self.map(task).to_dataframe().rename(columns={"value": "t"})
            table = table.assign(p=self.map(task, "p").values, weight=self.weights[number])
            table.insert(0, "task", task)
            table.insert(3, "lesions", self.inclusions)
            table.insert(4, "effect", self.effects[number])
            parts.append(table[~np.isnan(self.statistics[number])])
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One line a task: how many units go with its loss, and whether units predict the loss of held-out lesions.

        Columns: task, tested (number of units), found (of these with p <= .05), critical_t (which p <= .05 takes),
        detectable (effect at which a unit of the usual number of lesions would reach it), r2, r2_p95 (95th percentile
        of its null), r2_p.
        """
        lines = []
        for number, task in enumerate(self.tasks):
            t, effect = self.statistics[number], self.effects[number]
            if np.isfinite(t).any():
                # p <= .05 where less than 5 % of permutations, the data among them, reach t
                beyond = max(int(ALPHA * (1 + len(self.largest[number])) + 1e-9) - 1, 0)
                critical = float(np.sort(self.largest[number])[::-1][beyond])
                errors = effect[t != 0] / t[t != 0]
                detectable = critical * float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.nan
                found = int((self.map(task, "p").values <= ALPHA).sum())
            else:
                critical, detectable, found = np.nan, np.nan, 0
            null = self.r2_null[number]
            r2 = float(self.r2[number])
            held = (r2, float(np.quantile(null, 1 - ALPHA)), float(empirical_p(r2, null)))
            lines.append((task, int(np.isfinite(t).sum()), found, critical, detectable, *held))
        columns = ["task", "tested", "found", "critical_t", "detectable", "r2", "r2_p95", "r2_p"]
        return pd.DataFrame(lines, columns=columns)

    def verdict(self) -> str:
        """In words, a sentence a line: whether lesions are enough to know, and which units each loss goes with."""
        said = [self._too_few()] if self.too_few else []
        for line in self.summary().to_dict("records"):
            task = line["task"]
            if np.isnan(line["r2"]):
                said.append(f"{task}: no random lesion changed it.")
                continue
            n, found, needed = int(line["tested"]), int(line["found"]), float(line["detectable"])
            # what it takes where a unit is in as many lesions as most are
            usual = "" if np.isnan(needed) else f", as the usual one would be by {self._amount(needed)}"
            units = (
                f"{found:,} of {n:,} tested units cost more where they are silenced (p <= {ALPHA:g}, corrected over "
                f"units): {self._names(task, found)}"
                if found
                else f"none of {n:,} tested units is shown to cost more where it is silenced{usual}"
            )
            does = "predicts" if line["r2_p"] <= ALPHA else "does not predict"
            r2, chance = (round(line[name], 2) + 0.0 for name in ("r2", "r2_p95"))  # no "-0.00"
            said.append(
                f"{task}: {units}; which units are silenced {does} the loss of other lesions (held-out R2 {r2:.2f}, by "
                f"chance at most {chance:.2f} in 95 %, p = {line['r2_p']:.2g})."
            )
        return "\n".join(said)

    @property
    def too_few(self) -> bool:
        """Whether most units of the layers that were lesioned are in too few lesions to be tested."""
        return float(np.median(self._of_lesioned_layers())) < self._least

    @property
    def _least(self) -> int:
        return int(self.provenance["min_lesions"])

    def _of_lesioned_layers(self) -> Int[np.ndarray, " some"]:
        """Inclusions of all units of the layers that have any."""
        spans = map(self.space.layer_slice, range(self.space.n_layers))
        return np.concatenate([self.inclusions[span] for span in spans if self.inclusions[span].any()])

    def _too_few(self) -> str:
        could = self._of_lesioned_layers()
        needed = int(np.ceil(self.provenance["n_lesions"] * self._least / could.mean()))
        return (
            f"{self.provenance['n_lesions']:,} random lesions are too few to know single units: of {len(could):,} "
            f"units half are in {int(np.median(could))} or fewer, and a unit is tested from {self._least} on, as are "
            f"{int((~np.isnan(self.statistics).all(0)).sum()):,}. It takes about {needed:,} lesions of this size."
        )

    def _names(self, task: str, found: int) -> str:
        """Units of the largest t, each with its effect."""
        number = self._number(task)
        p = self.map(task, "p").values
        order = np.lexsort((-np.nan_to_num(self.statistics[number], nan=-np.inf), np.nan_to_num(p, nan=2.0)))
        first = order[: min(found, _SHOWN)]
        places = [(*self.space.locate(int(unit)), self._amount(self.effects[number, unit])) for unit in first]
        names = ", ".join(f"layer {layer} unit {unit} ({cost})" for layer, unit, cost in places)
        return names + (f" and {found - _SHOWN:,} more" if found > _SHOWN else "")

    def _amount(self, drop: float) -> str:
        return f"{100 * drop:.1f} points" if self.metric == "exact_match" else f"{drop:.3g} nats a token"

    def _number(self, task: str) -> int:
        if task not in self.tasks:
            raise InputError(f"task must be one of this map's, {either(self.tasks)}; got {task!r}")
        return self.tasks.index(task)

    def _methods_(self) -> list[str]:
        about = self.provenance
        n_lesions, kind = about.get("n_lesions", NOT_RECORDED), about.get("control", NOT_RECORDED)
        return [
            f"Over {n_lesions:,} random lesions ({kind} controls of {listed(about.get('networks', []))}; units "
            f"{prose.method_in_words(about)}), the drop of {prose.METRIC_IN_WORDS[self.metric]} was regressed on the "
            f"presence of each unit, with the source network as covariate; units of fewer than {self._least} lesions "
            "were not tested. p is one-sided and corrected over units by the largest t of "
            f"{self.largest.shape[1]:,} permutations within source networks. Held-out R2 is of ridge regression on all "
            f"units ({N_FOLDS} folds of lesions, against the mean of the source network), its null of "
            f"{self.r2_null.shape[1]:,} of these permutations; seed {about.get('seed', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self!r}. Effect is what silencing a unit costs more than silencing others of its layer, in the company "
            "of random ones; p is corrected over units, not over tasks.\n\n" + " ".join(self.verdict().splitlines())
        )
        table = self.to_dataframe().sort_values(["p", "t"], ascending=[True, False]).head(4 * _SHOWN)
        return [
            {"title": "Which units loss goes with", "text": text, "picture": "lesion_map", "table": self.summary()},
            {
                "title": "Units of the smallest p",
                "text": "Units in random lesions, all tasks together.",
                "table": table,
            },
        ]

    def __repr__(self) -> str:
        could = self._of_lesioned_layers()
        few = "; too few to know single units" if self.too_few else ""
        return (
            f"LesionMap of {self.metric}: {len(self.tasks)} tasks, {self.provenance['n_lesions']:,} random lesions, a "
            f"unit in {int(np.median(could))} (median){few}; {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())


def lesion_map(
    study: LesionStudy,
    *,
    seed: int,
    metric: str,
    control: str,
    n_permutations: int = 1000,
    min_lesions: int = 5,
    progress: bool = True,
) -> LesionMap:
    """Regress what the controls of a study cost on the units that they silenced; :meth:`.LesionStudy.lesion_map`.

    Args:
        study: The study.
        seed: Seed of the permutations and of the folds.
        metric: ``"exact_match"`` or ``"log_likelihood"``.
        control: Kind of controls.
        n_permutations: Number of permutations.
        min_lesions: Number of lesions from which on a unit is tested.
        progress: Show a progress bar.
    """
    if n_permutations < 19:
        raise InputError(f"n_permutations={n_permutations} shows no p below .05; give at least 19, better 1,000")
    if min_lesions < 2 or seed < 0:
        raise InputError(f"min_lesions={min_lesions} must be at least 2, better 5, and seed={seed} at least 0")
    if control == "rotated":
        raise InputError('controls of kind "rotated" silence directions, no units; give control="random" or "activity"')
    if study.space is None or control not in study.control_units:
        raise InputError(
            "this study was saved by a version that did not keep which units its controls silenced; run lesion_study "
            "again (with the same path= it scores nothing anew)"
        )
    drops = study.control_drops(metric, control=control)
    if undefined := [task for j, task in enumerate(study.tasks) if np.isnan(drops[..., j]).all()]:
        raise InputError(f'no {metric} for {", ".join(undefined)}; give metric="log_likelihood"')
    lesions = RandomLesions.of(study.control_units[control], drops, study.space.n_units)
    if len(lesions.groups) < FEWEST:
        raise InputError(
            f"{len(lesions.groups)} random lesions are too few to hold any out; a lesion map takes {FEWEST} at least, "
            "and 100 of each network or more to know single units"
        )
    rng = np.random.default_rng(seed)
    orders = lesions.permutations(n_permutations, rng)
    tests = unit_tests(lesions, orders, min_lesions=min_lesions, progress=progress)
    r2, null = held_out(lesions, orders[:_HELD_OUT_PERMUTATIONS], rng)
    about = {
        "networks": list(study.networks),
        "control": control,
        "n_lesions": len(lesions.groups),
        "n_permutations": int(n_permutations),
        "min_lesions": int(min_lesions),
        "dof": lesions.dof,
        "seed": int(seed),
        **{key: study.provenance[key] for key in ("method", "positions", "model", "site") if key in study.provenance},
    }
    return LesionMap(
        study.space,
        study.tasks,
        metric,
        lesions.inclusions(),
        tests.effects,
        tests.t,
        tests.largest,
        ridge_weights(lesions),
        r2,
        null,
        {task: list(found) for task, found in study.digests.items()},
        about,
    )
