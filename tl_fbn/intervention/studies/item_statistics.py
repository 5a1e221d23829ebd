"""What a claim about a lesion needs, whoever makes it: items it was not found on, chance, and intervals.

- *Disjointness.* A network remembers digests of the prompts it was found on; scoring it on one of those prompts is an
  error.
- *p against controls* = (1 + controls that do at least as much) / (1 + controls). It counts the network among its
  controls, so it is never 0 and is valid for a network that is exchangeable with them (Phipson and Smyth 2010).
- *Intervals* (:mod:`.intervals`) are paired: of the differences of the same items before and after. They speak of other
  such items, not of other networks.
- *McNemar's exact test* (McNemar 1947). Items that were right before and wrong after, against items that were wrong
  before and right after: under no effect both are as likely, so their number is binomial with probability 1/2.
- *Equivalence.* Two one-sided t tests (Schuirmann 1987): the change is shown to be smaller than a stated margin
  either way. "Not significant" never shows that.

Scores of items are arrays (item, metric), the items of all tasks one task after the other. Exact match is 1 or 0 (NaN
where a task has no right answer), log-likelihood is in nats a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.intervals import Interval
from tl_fbn.units import Network

METRICS = ("exact_match", "log_likelihood")  # in the order of the last axis of item-level arrays


def check_metric(metric: str) -> None:
    """Refuse a metric that is none of :data:`METRICS`.

    Args:
        metric: Name of the metric, as the user gave it.

    Raises:
        InputError: The name is neither ``"exact_match"`` nor ``"log_likelihood"``.
    """
    one_of(metric, METRICS, "metric")


def metric_of(battery: Battery, metric: str | None) -> str:
    """The metric that scores every task of a battery.

    Args:
        battery: The tasks.
        metric: Name of the metric that is asked for; None takes exact match if every task has one, else log-likelihood.

    Raises:
        InputError: An unknown metric, or exact match where some task is plain text, which has no right answer.
    """
    # plain text has no right answer
    defined = all(task.kind != "text" for task in battery.tasks.values())
    metric = metric or ("exact_match" if defined else "log_likelihood")
    if metric not in METRICS or (metric == "exact_match" and not defined):
        raise InputError(
            f"metric={metric!r} cannot score this battery; plain text has log_likelihood, other tasks exact_match too"
        )
    return metric


def check_disjoint(network: Network, battery: Battery, tokenizer: Any, name: str) -> str:
    """Whether the items of a battery are other prompts than those a network was found on.

    Args:
        network: The network; its provenance may hold digests of its discovery prompts.
        battery: The tasks whose items would be scored.
        tokenizer: Tokenizer of the model; prompts are compared by digests of their tokens.
        name: What the network is called in the error message.

    Returns:
        ``"disjoint"``, or ``"discovery prompts unknown"`` where the network does not know its prompts.

    Raises:
        InputError: The network was found on prompts that the battery scores.
    """
    prompts = network.provenance.get("prompts")
    if prompts is None:
        return "discovery prompts unknown"  # an atlas from elsewhere, or units that were chosen by hand
    found_on = set(prompts)
    for task, digests in battery.digests(tokenizer).items():
        if shared := found_on & digests:
            raise InputError(
                f"network {name!r} was found on {len(shared)} of the prompts that task {task!r} scores; a result on "
                "its own "
                "discovery prompts is no result. Score other items, or find the network on other prompts"
            )
    return "disjoint"


def item_counts(battery: Battery) -> Int[np.ndarray, " task"]:
    """Number of items of each task of a battery.

    Args:
        battery: The tasks.
    """
    return np.array([len(task.items) for task in battery.tasks.values()])


def spans(counts: Int[np.ndarray, " task"]) -> list[slice]:
    """Where the items of each task are among the items of all tasks.

    Args:
        counts: Number of items of each task.

    Returns:
        One slice a task.
    """
    ends = np.cumsum(counts)
    return [slice(int(end - n), int(end)) for end, n in zip(ends, counts, strict=True)]


def task_means(
    items: Float[np.ndarray, "*state item metric"], counts: Int[np.ndarray, " task"]
) -> Float[np.ndarray, "*state task metric"]:
    """Mean of each task over its items.

    Args:
        items: Scores of the items of all tasks, task after task, in one state of the model or in several.
        counts: Number of items of each task.
    """
    ends = np.cumsum(counts)
    by_task = np.split(items, ends[:-1], axis=-2)  # the last end is the end of the array, which needs no cut
    return np.stack([of_task.mean(-2) for of_task in by_task], axis=-2)


def by_item(scores: Mapping[str, Scores]) -> Float[np.ndarray, "item metric"]:
    """Scores of a battery item by item, task after task.

    Args:
        scores: Task to scores, as :meth:`.Battery.score` gives them.

    Returns:
        (item, metric) exact match, which is NaN for items of plain text, and log-likelihood in nats a token.
    """
    parts = []
    for one in scores.values():
        likelihood = np.asarray(one.log_likelihood, dtype=float)
        exact = np.asarray(one.exact_match, dtype=float) if len(one.exact_match) else np.full(len(likelihood), np.nan)
        parts.append(np.stack([exact, likelihood], axis=1))
    return np.concatenate(parts)


ROUNDING = 1e-12  # values that differ by rounding only count as equal


def empirical_p(own: Any, controls: np.ndarray) -> Any:
    """p of a value against those of its controls: (1 + controls at least as large) / (1 + controls).

    Args:
        own: The value, or an array of values that are tested one by one.
        controls: Values of the controls along the first axis; the other axes are those of ``own``.

    Returns:
        p, in the shape of ``own``; NaN where the value or one of its controls is NaN.
    """
    p = (1 + (controls >= own - ROUNDING).sum(0)) / (1 + len(controls))
    return np.where(np.isnan(own) | np.isnan(controls).any(0), np.nan, p)[()]


def resamples(n_items: int, n_bootstrap: int, seed: Any) -> Int[np.ndarray, "draw item"]:
    """Bootstrap draws: numbers of items, drawn with replacement.

    Args:
        n_items: Number of items, which is also how many are drawn each time.
        n_bootstrap: Number of draws.
        seed: Seed of the draws, anything that :func:`numpy.random.default_rng` takes; the same seed gives the same
            draws.
    """
    return np.random.default_rng(seed).integers(0, n_items, (n_bootstrap, n_items))


def change_interval(
    differences: Float[np.ndarray, " item"], metric: str, draws: Int[np.ndarray, "draw item"], *, level: float = 0.95
) -> Interval:
    """Interval of a mean change over items, by the kind of score (:mod:`.intervals`).

    Args:
        differences: Score of each item in one state of the model minus its score in another.
        metric: What the scores are, one of :data:`METRICS`: right answers have an interval that needs no bootstrap.
        draws: Numbers of items, drawn with replacement, as :func:`resamples` gives them.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end; NaN where an item has no score.
    """
    if metric == "exact_match":
        return intervals.of_change(differences, level=level)
    return intervals.of_mean(differences, draws, level=level)


def score_interval(
    scores: Float[np.ndarray, " item"], metric: str, draws: Int[np.ndarray, "draw item"], *, level: float = 0.95
) -> Interval:
    """Interval of a mean score over items, by the kind of score (:mod:`.intervals`).

    Args:
        scores: Score of each item.
        metric: What the scores are, one of :data:`METRICS`: a share of right answers has an interval that needs no
            bootstrap.
        draws: Numbers of items, drawn with replacement, as :func:`resamples` gives them.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end; NaN where an item has no score.
    """
    if metric == "exact_match":
        return intervals.of_share(scores, level=level)
    return intervals.of_mean(scores, draws, level=level)


def mcnemar_p(before: Float[np.ndarray, " item"], after: Float[np.ndarray, " item"]) -> float:
    """p of the exact two-sided McNemar test that as many items turn wrong as turn right.

    Args:
        before: 1 for each item that was answered rightly, 0 for each that was not.
        after: 1 or 0 for the same items in another state of the model.

    Returns:
        p; 1 where no item changed, NaN where the items have no right answer.
    """
    if np.isnan(before).any() or np.isnan(after).any():
        return math.nan
    # the two kinds of items that changed; scores are 0 or 1
    worse = int(((before > 0.5) & (after < 0.5)).sum())
    better = int(((before < 0.5) & (after > 0.5)).sum())
    unchanged = 0  # the exact test is binomial in the items that changed; the others do not enter
    test: Any = mcnemar([[unchanged, worse], [better, unchanged]], exact=True)
    return float(test.pvalue) if worse + better else 1.0


def equivalence_p(
    by_control: Float[np.ndarray, " control"], by_item: Float[np.ndarray, " item"], margin: float
) -> tuple[float, float, float]:
    """Two one-sided t tests that the mean effect of controls lies within a margin.

    Controls and items are both samples: the squared standard error is the variance of control means over the number
    of controls plus that of item means over the number of items. That is a little too much, because the noise of
    single scores counts twice. The degrees of freedom are those of the smaller of the two samples.

    Args:
        by_control: What each control changes, mean over items.
        by_item: What is changed in each item, mean over controls.
        margin: The effect that would not matter, above 0, in the unit of the effects.

    Returns:
        Mean effect, its standard error, and p: small where the mean effect lies between -margin and margin.
    """
    mean = float(by_control.mean())
    # SE^2 = var(control means) / controls + var(item means) / items
    error = math.sqrt(by_control.var(ddof=1) / len(by_control) + by_item.var(ddof=1) / len(by_item))
    if error == 0:  # no control changed any item: t would be 0 / 0 or infinite
        return mean, 0.0, 0.0 if abs(mean) < margin else 1.0
    # the larger p of both one-sided tests is that of the nearer margin, margin - |mean| away
    dof = min(len(by_control), len(by_item)) - 1
    return mean, error, float(stats.t.sf((margin - abs(mean)) / error, dof))


def monotonicity(distance: Float[np.ndarray, " dose"], curves: Float[np.ndarray, "*draw dose"]) -> Any:
    """Spearman's correlation of each curve with the distance of the dose from none; 0 where a curve never varies.

    Args:
        distance: Distance of each dose from the dose that changes nothing.
        curves: Score at each dose, of one curve or of several.

    Returns:
        Correlations, in the shape of ``curves`` without its last axis.
    """
    # Pearson's correlation of average ranks: (a . b) / (|a| |b|) of centred ranks
    a = stats.rankdata(distance)
    b = stats.rankdata(curves, axis=-1)
    a = a - a.mean()
    b = b - b.mean(-1, keepdims=True)
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=-1)
    return np.where(lengths > 0, (b * a).sum(-1) / np.where(lengths > 0, lengths, 1.0), 0.0)
