"""What a claim about a lesion needs, whoever makes it: items it was not found on, chance, and intervals.

- *Disjointness.* A network remembers digests of the prompts it was found on; scoring those is an error.
- *p against controls* = (1 + controls that do at least as much) / (1 + controls), never 0 (Phipson and Smyth 2010).
- *Paired bootstrap.* The same items before and after; items are resampled with replacement, percentile interval. It speaks of such items.
- *McNemar's exact test* of items that were right before and wrong after against the reverse.
- *Equivalence.* Two one-sided t tests (Schuirmann 1987): the change is shown to be smaller than a stated margin either way. "Not significant" never shows that.
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
from tl_fbn.units import Network

METRICS = ("exact_match", "log_likelihood")


def check_metric(metric: str) -> None:
    """Raise InputError unless a metric is one of :data:`METRICS`."""
    one_of(metric, METRICS, "metric")


def metric_of(battery: Battery, metric: str | None) -> str:
    """The metric that scores every task of a battery: the one asked for, or exact match if every task has one."""
    defined = all(task.kind != "text" for task in battery.tasks.values())
    metric = metric or ("exact_match" if defined else "log_likelihood")
    if metric not in METRICS or (metric == "exact_match" and not defined):
        raise InputError(
            f"metric={metric!r} cannot score this battery; plain text has log_likelihood, other tasks exact_match too"
        )
    return metric


def check_disjoint(network: Network, battery: Battery, tokenizer: Any, name: str) -> str:
    """``"disjoint"`` or ``"discovery prompts unknown"``; ValueError if the network was found on items of the battery."""
    prompts = network.provenance.get("prompts")
    if prompts is None:
        return "discovery prompts unknown"
    found_on = set(prompts)
    for task, digests in battery.digests(tokenizer).items():
        if shared := found_on & digests:
            raise InputError(
                f"network {name!r} was found on {len(shared)} of the prompts that task {task!r} scores; a result on its own "
                "discovery prompts is no result. Score other items, or find the network on other prompts"
            )
    return "disjoint"


def spans(counts: Int[np.ndarray, " task"]) -> list[slice]:
    """Where each task's items are among those of all."""
    ends = np.cumsum(counts)
    return [slice(int(end - n), int(end)) for end, n in zip(ends, counts, strict=True)]


def by_item(scores: Mapping[str, Scores]) -> Float[np.ndarray, "item metric"]:
    """Item by item, task after task; exact match is NaN for passages."""
    parts = []
    for one in scores.values():
        likelihood = np.asarray(one.log_likelihood, dtype=float)
        exact = np.asarray(one.exact_match, dtype=float) if len(one.exact_match) else np.full(len(likelihood), np.nan)
        parts.append(np.stack([exact, likelihood], axis=1))
    return np.concatenate(parts)


def empirical_p(own: Any, controls: np.ndarray) -> Any:
    """(1 + controls at least as large) / (1 + controls), over the first axis of the controls; NaN where one of them is no number."""
    p = (1 + (controls >= own - 1e-12).sum(0)) / (1 + len(controls))
    return np.where(np.isnan(own) | np.isnan(controls).any(0), np.nan, p)[()]


def resamples(n_items: int, n_bootstrap: int, seed: Any) -> Int[np.ndarray, "draw item"]:
    """Items drawn with replacement."""
    return np.random.default_rng(seed).integers(0, n_items, (n_bootstrap, n_items))


def paired_interval(
    differences: Float[np.ndarray, " item"], n_bootstrap: int, seed: Any, *, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a mean difference over items."""
    means = differences[resamples(len(differences), n_bootstrap, seed)].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar_p(before: Float[np.ndarray, " item"], after: Float[np.ndarray, " item"]) -> float:
    """Exact two-sided McNemar test of right and wrong items; NaN where they are not right or wrong."""
    if np.isnan(before).any() or np.isnan(after).any():
        return math.nan
    worse = int(((before > 0.5) & (after < 0.5)).sum())
    better = int(((before < 0.5) & (after > 0.5)).sum())
    unchanged = 0  # the exact test looks at the discordant items alone
    test: Any = mcnemar([[unchanged, worse], [better, unchanged]], exact=True)
    return float(test.pvalue) if worse + better else 1.0


def equivalence_p(
    by_control: Float[np.ndarray, " control"], by_item: Float[np.ndarray, " item"], margin: float
) -> tuple[float, float, float]:
    """Two one-sided t tests that the mean effect of controls lies within a margin.

    Controls and items are both samples: the squared standard error is the variance of control means over the number of controls plus that of item means over the
    number of items, which is a little too much (noise counts twice), with as many degrees of freedom as the smaller of the two allows.

    Args:
        by_control: What each control changes, mean over items.
        by_item: What is changed in each item, mean over controls.
        margin: In the effects' own unit.

    Returns:
        Mean effect, its standard error, p.
    """
    mean = float(by_control.mean())
    error = math.sqrt(by_control.var(ddof=1) / len(by_control) + by_item.var(ddof=1) / len(by_item))
    if error == 0:
        return mean, 0.0, 0.0 if abs(mean) < margin else 1.0
    dof = min(len(by_control), len(by_item)) - 1
    return mean, error, float(stats.t.sf((margin - abs(mean)) / error, dof))
