"""More than one model: what a lesion, or an identification, does in models like these, and in the next one.

A study of one model speaks about its items only. Several models of one kind, say the same architecture trained from
other seeds, several checkpoints, or several families, are a sample of models; the mean over them needs their spread::

    studies = {f"seed {seed}": fbn.lesion_study(model, atlas, battery, seed=0) for seed, model, atlas in ...}
    print(fbn.second_level(studies))

Each model gives an effect with the variance that its items leave it (a drop of a task under a network, or how often a
task is identified beyond chance). They are combined by random effects, as studies are in a meta-analysis, and as
subjects are in neuroimaging: ``effect_i = mean + between_i + within_i``. Paule and Mandel's (1982) estimate of tau2,
the variance between models, comes from :func:`statsmodels.stats.meta_analysis.combine_effects`; the interval of the
mean is Hartung and Knapp's (2001), with Student's t on k - 1 degrees of freedom, which holds for as few as two models
where the common normal one does not. The prediction interval is where the effect of one more such model is expected: of
the mean, by its t, and of tau2, by the distribution of Cochran's Q, drawn together (Nagashima, Noma and Furukawa 2019).
The common one (Higgins et al. 2009), which takes the estimate of tau2 for the truth, held .84 of new models instead of
.95 where ten of them differed a little, in the simulation that the tests repeat; this one holds .93 to .98.

Every model counts alike, with the mean of the models' variances: a share that is near 0 or 1 has a small error, so that
weights by each model's own would pull the mean towards such shares.

Networks and tasks go together by name: network "sort" of one model and of another are what one recipe found for *sort*
in each. They need no units in common.

Cost: nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.errors import InputError, InputTypeError, visible
from tl_fbn.intervention.studies.item_statistics import spans
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.signatures import checked
from tl_fbn.units import html_frame
from tl_fbn.units.prose import listed
from tl_fbn.units.result import Result

Cell = tuple[str, str]
Effects = dict[Cell, tuple[float, float]]  # (network, task) to effect and the variance that items leave it
_DRAWS = 2000  # of an effect in one more model: the ends of its interval are good to about 3 % of its width
COLUMNS = ["mean", "low", "high", "p", "predicted_low", "predicted_high", "tau2", "i2", "q", "q_p"]


@dataclass(frozen=True, eq=False)
class SecondLevel(Result, step="comparison", picture="second_level"):
    """Effects in several models, and what they say of models like these.

    :func:`tl_fbn.second_level` makes one.

    >>> first = (~fbn.Network.from_indices(network.space, [])).restrict(layers=[0])
    >>> study = fbn.lesion_study(model, {"sort": first}, battery, n_controls=1, seed=0, progress=False)
    >>> print(fbn.second_level({"seed 0": study, "seed 1": study}, metric="log_likelihood").verdict())
    In models like these 2, the mean network costs its own task beyond 0 for 1 of 1: sort.
    In one more such model it may be expected for 0.
    2 models say little about how models differ: intervals are wide, and tau2 is a guess.

    Args:
        models: Names of the models.
        networks: (cell,) names of the networks of the effects; of an identification, of its tasks.
        tasks: (cell,) names of their tasks; of an identification "identified".
        effects: (model, cell) effects.
        variances: (model, cell) variance of each over the items of its model.
        measure: What an effect is, in words.
        placed: Names of networks whose depth is known; none of an identification.
        depths: (model, network) mean relative depth of the network's units: 0 in the first layer, 1 in the last.
        depth_variances: (model, network) variance of that mean over units.
        provenance: Metric, and what some models have and others lack.
    """

    models: tuple[str, ...]
    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    effects: Float[np.ndarray, "model cell"]
    variances: Float[np.ndarray, "model cell"]
    measure: str
    placed: tuple[str, ...] = ()
    depths: Float[np.ndarray, "_ network"] = field(default_factory=lambda: np.zeros((0, 0)))
    depth_variances: Float[np.ndarray, "_ network"] = field(default_factory=lambda: np.zeros((0, 0)))
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """(network, task) of each effect."""
        return list(zip(self.networks, self.tasks, strict=True))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network and task.

        Columns: network, task, models (their number), mean (over models), low and high (its 95 % interval), p (that it
        is 0, two-sided), predicted_low and predicted_high (95 % interval of the effect in one more model; NaN for two
        models), tau2 (variance between models), i2 (share of the variance that is between models), q and q_p (Cochran's
        test that models do not differ).
        """
        lines = [(*cell, len(self.models), *of) for cell, of in zip(self.cells, self._combined, strict=True)]
        return pd.DataFrame(lines, columns=["network", "task", "models", *COLUMNS])

    @cached_property
    def _combined(self) -> list[tuple[float, ...]]:
        """Of each cell the numbers of :data:`COLUMNS`, which table, summary, words and picture all read."""
        return [combined(*of) for of in zip(self.effects.T, self.variances.T, strict=True)]

    def summary(self) -> pd.DataFrame:
        """The lines of :meth:`to_dataframe` of networks on the task they are named like, or of identified tasks."""
        table = self.to_dataframe()
        own = [a == b or b == "identified" for a, b in self.cells]
        return table.iloc[np.flatnonzero(own)].reset_index(drop=True)

    def by_model(self) -> pd.DataFrame:
        """One line a model, network and task. Columns: model, network, task, effect, error (standard error)."""
        errors = np.sqrt(self.variances)
        lines = [
            (model, *cell, float(self.effects[i, j]), float(errors[i, j]))
            for i, model in enumerate(self.models)
            for j, cell in enumerate(self.cells)
        ]
        return pd.DataFrame(lines, columns=["model", "network", "task", "effect", "error"])

    def layers(self) -> pd.DataFrame:
        """One line a network: where its units lie, 0 in the first layer and 1 in the last, combined over models.

        Columns: network, models, and those of :meth:`to_dataframe` from mean on; p is left out, as no depth is 0 by
        chance.
        """
        lines = [
            (name, len(self.models), *combined(self.depths[:, place], self.depth_variances[:, place]))
            for place, name in enumerate(self.placed)
        ]
        return pd.DataFrame(lines, columns=["network", "models", *COLUMNS]).drop(columns="p")

    def verdict(self) -> str:
        """In words: what holds for models like these, and what may be expected of the next one."""
        own = self.summary()
        n = len(self.models)
        if own.empty:
            return f"No network is named like a task, so that none has a task of its own; {n} models."
        holds = own[own["low"] > 0]
        next_one = own[own["predicted_low"] > 0]
        what = "task is identified" if set(own["task"]) == {"identified"} else "network costs its own task"
        lines = [
            f"In models like these {n}, the mean {what} beyond 0 for {len(holds)} of {len(own)}"
            + (f": {listed(list(holds['network']))}." if len(holds) else "."),
            f"In one more such model it may be expected for {len(next_one)}"
            + (f": {listed(list(next_one['network']))}." if len(next_one) else "."),
        ]
        if n < 5:
            lines.append(f"{n} models say little about how models differ: intervals are wide, and tau2 is a guess.")
        return "\n".join(lines)

    def _methods_(self) -> list[str]:
        return [
            f"{self.measure.capitalize()} of {len(self.models)} models ({listed(self.models)}) were combined by random "
            "effects: variance between models after Paule and Mandel (1982), intervals and p of the mean after Hartung "
            "and Knapp (2001), prediction intervals over the distributions of both after Nagashima et al. (2019), with "
            "the variance of each effect over items. p is not corrected for the number of cells."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self.verdict()} Low and high are the 95 % interval of the mean over models, predicted_low and "
            "predicted_high that of one more model; i2 is the share of the variance that is between models."
        )
        sections: list[dict[str, Any]] = [
            {"title": "More than one model", "text": text, "picture": "second_level", "table": self.to_dataframe()},
            {"title": "Model by model", "text": f"{self.measure.capitalize()}.", "table": self.by_model()},
        ]
        if self.placed:
            words = "Relative depth of units: 0 is the first layer, 1 the last."
            sections.append({"title": "Where the networks lie", "text": words, "table": self.layers()})
        return sections

    def __repr__(self) -> str:
        return f"SecondLevel of {len(self.models)} models, {len(self.cells)} effects: {self.measure}"

    def __str__(self) -> str:
        table = self.summary() if len(self.summary()) else self.to_dataframe()
        shown = table.drop(columns=["models", "q", "q_p", "tau2"]).round(3).to_string(index=False)
        return visible("\n".join([repr(self), shown, self.verdict()]))

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())


@checked
def second_level(studies: Mapping[str, Any], *, metric: str | None = None) -> SecondLevel:
    """Combine the same study of several models by random effects.

    >>> every = ~fbn.Network.from_indices(network.space, [])
    >>> studies = {  # of models from other seeds, say; here other networks stand in for them
    ...     f"model {i}": fbn.lesion_study(
    ...         model, {"sort": every.restrict(layers=[i])}, battery, n_controls=1, seed=0, progress=False
    ...     )
    ...     for i in range(3)
    ... }
    >>> found = fbn.second_level(studies)
    >>> found
    SecondLevel of 3 models, 2 effects: drop of exact_match under lesions
    >>> found.by_model().query("task == 'sort'")["effect"].round(2).tolist()
    [1.0, 0.0, 0.1]

    Args:
        studies: Name of each model to its :class:`tl_fbn.studies.LesionStudy`, or to its
            :class:`tl_fbn.networks.Identification`; at least two. Networks and tasks go together by name; those that
            not every model has are left out, and said in the provenance.
        metric: ``"exact_match"`` or ``"log_likelihood"``; None takes that of the studies.

    Raises:
        InputError: One model, studies of different metrics, or without a network and task in common.
        InputTypeError: Other results, or some of either kind.
    """
    if len(studies) < 2:
        raise InputError(f"a second level combines models; give studies of two or more, got {len(studies)}")
    values = list(studies.values())
    if all(isinstance(one, LesionStudy) for one in values):
        metrics = {one.metric for one in values} if metric is None else {metric}
        if len(metrics) > 1:
            raise InputError(f"the studies have metrics {listed(sorted(metrics))}; say which with metric=")
        effects = [_of_lesions(one, metric) for one in values]
        measure = f"drop of {metrics.pop()} under lesions"
    elif all(isinstance(one, Identification) for one in values):
        if metric is not None:
            raise InputError("metric= is for lesion studies; identifications have one measure")
        effects = [_of_identification(one) for one in values]
        measure = "share of runs identified beyond chance"
    else:
        kinds = listed(sorted({type(one).__name__ for one in values}))
        raise InputTypeError(
            f"second_level combines lesion studies, or identifications, of several models; got {kinds}"
        )
    cells = [cell for cell in effects[0] if all(cell in one for one in effects)]
    if not cells:
        have = [f"{name}: {listed(sorted({a for a, _ in one}))}" for name, one in zip(studies, effects, strict=True)]
        raise InputError(f"the models have no network and task in common; they have {'; '.join(have)}")
    every = {cell for one in effects for cell in one}
    about = {"left_out": sorted(" / ".join(cell) for cell in every - set(cells))}
    found = np.array([[one[cell] for cell in cells] for one in effects])  # (model, cell, effect and variance)
    placed: list[str] = []
    depths = variances = np.zeros((0, 0))
    if isinstance(values[0], LesionStudy):
        placed = [name for name in dict.fromkeys(a for a, _ in cells) if all(_depth(one, name) for one in values)]
        places = np.array([[_depth(one, name) for name in placed] for one in values]).reshape(len(values), -1, 2)
        depths, variances = places[..., 0], places[..., 1]
    of_cells = tuple(a for a, _ in cells), tuple(b for _, b in cells)
    return SecondLevel(
        tuple(studies), *of_cells, found[..., 0], found[..., 1], measure, tuple(placed), depths, variances, about
    )


def combined(effects: Float[np.ndarray, " model"], variances: Float[np.ndarray, " model"]) -> tuple[float, ...]:
    """Random effects of one cell: the numbers of :data:`COLUMNS`.

    Args:
        effects: Effect in each model.
        variances: Variance of each over its items; 0 of all where no item of any model changed.
    """
    k = len(effects)
    if not variances.any() and np.ptp(effects) == 0:
        return (float(effects[0]), *[np.nan] * 5, 0.0, np.nan, np.nan, np.nan)
    # every model counts alike: the error of a share goes with the share, and weights by it would pull the mean down
    shared = np.full(k, max(variances.mean(), 1e-12 * max(np.square(effects).max(), 1e-12)))
    with np.errstate(divide="ignore"):  # statsmodels divides by Q, which is 0 where all effects are the same
        result: Any = combine_effects(effects, shared, method_re="iterated", use_t=True)
    error = float(result.sd_eff_w_re_hksj)
    mean = float(result.mean_effect_re)
    tau2 = max(float(result.tau2), 0.0)
    away = float(stats.t.ppf(0.975, k - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, k - 1)) if error > 0 else np.nan
    q = float(result.q)
    i2 = max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0
    q_p = float(stats.chi2.sf(q, k - 1))
    predicted = _prediction(effects, shared)
    return mean, mean - away, mean + away, p, *predicted, tau2, i2, q, q_p


def _prediction(effects: Float[np.ndarray, " model"], variances: Float[np.ndarray, " model"]) -> tuple[float, float]:
    """95 % interval of the effect in one more model, over the confidence distributions of tau2 and of the mean."""
    k = len(effects)
    if k < 3:
        return np.nan, np.nan
    rng = np.random.default_rng(0)  # the same interval at every call
    wanted = rng.chisquare(k - 1, _DRAWS)
    low = np.zeros(_DRAWS)
    high = np.full(_DRAWS, 1e3 * (np.var(effects) + variances.max()))
    # Q(tau2) falls with tau2, and at the true one its distribution is chi square (Viechtbauer 2007): the tau2 at which
    # it has a drawn value is a draw of tau2, and 0 if it is below that value everywhere
    for _ in range(40):
        middle = (low + high) / 2
        above = _q_of(middle, effects, variances) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    tau2 = np.where(_q_of(np.zeros(_DRAWS), effects, variances) < wanted, 0.0, (low + high) / 2)
    weights = 1 / (variances + tau2[:, None])
    means = (weights * effects).sum(1) / weights.sum(1)
    # the error of a mean by Hartung and Knapp, as that of the interval is
    error = np.sqrt(_q_of(tau2, effects, variances) / (k - 1) / weights.sum(1))
    drawn = means + error * rng.standard_t(k - 1, _DRAWS) + np.sqrt(tau2) * rng.normal(size=_DRAWS)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _q_of(
    tau2: Float[np.ndarray, " draw"], effects: Float[np.ndarray, " model"], variances: Float[np.ndarray, " model"]
) -> Float[np.ndarray, " draw"]:
    """Cochran's Q with weights of random effects, at each of several variances between models."""
    weights = 1 / (variances + tau2[:, None])
    means = (weights * effects).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    return (weights * (effects - means) ** 2).sum(1)


def _of_lesions(study: LesionStudy, metric: str | None) -> Effects:
    place = study.metric_index(metric)
    change = study.baseline_items[:, place] - study.lesioned_items[..., place]  # (network, item)
    effects: Effects = {}
    for network, row in zip(study.networks, change, strict=True):
        for task, span in zip(study.tasks, spans(study.counts), strict=True):
            items = row[span]
            if np.isfinite(items).all():  # plain text has no exact match
                n = len(items)
                effects[network, task] = (float(items.mean()), float(items.var(ddof=1) / n) if n > 1 else 0.0)
    return effects


def _of_identification(found: Identification) -> Effects:
    effects: Effects = {}
    chance = 1 / len(found.tasks)
    for number, name in enumerate(found.tasks):
        n = found.table[number].sum()
        if n:
            share = found.table[number, number] / n
            # of two more runs, one is right: no share is known without error
            smooth = (found.table[number, number] + 1) / (n + 2)
            effects[name, "identified"] = (float(share - chance), float(smooth * (1 - smooth) / n))
    return effects


def _depth(study: LesionStudy, network: str) -> tuple[float, float] | None:
    """Mean relative depth of a network's units, and its variance over them; None where there are no units."""
    counts = np.asarray(study.sizes[study.networks.index(network)], dtype=float) if network in study.networks else None
    if counts is None or counts.sum() < 2 or len(counts) < 2:
        return None
    places = np.arange(len(counts)) / (len(counts) - 1)
    mean = float((counts * places).sum() / counts.sum())
    spread = float((counts * (places - mean) ** 2).sum() / (counts.sum() - 1))
    return mean, spread / counts.sum()
