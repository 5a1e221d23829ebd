"""Coverage of the intervals over items, of the package's own functions.

Shares and changes are counts, so that their coverage is no simulation: the probabilities of all outcomes whose interval
holds the truth are added. Counts are whole numbers, so that exact coverage jumps between neighbouring rates;
:func:`averaged` takes its mean over all rates within .02.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from scipy.special import gammaln, xlogy

from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.isolation import isolation, isolation_interval
from tl_fbn.intervention.studies.item_statistics import change_interval

RATES = np.linspace(0.0, 1.0, 201)
NEAR = 0.02
BAND = 0.93, 0.97
# of the items that change, the share that is lost: from a lesion that only costs to one that moves items either way
LOST = 1.0, 0.9, 0.75, 0.5


def of_shares(n: int) -> np.ndarray:
    """(rate,) exact coverage of the interval of a share of n right answers."""
    right = np.arange(n + 1)
    low, high = np.array([intervals.of_share(np.r_[np.ones(k), np.zeros(n - k)]) for k in right]).T
    log_count = gammaln(n + 1) - gammaln(right + 1) - gammaln(n - right + 1)
    log_p = log_count + xlogy(right, RATES[:, None]) + xlogy(n - right, 1 - RATES[:, None])
    holds = (low <= RATES[:, None] + 1e-9) & (RATES[:, None] <= high + 1e-9)
    return (np.exp(log_p) * holds).sum(1)


def of_changes(n: int) -> dict[float, np.ndarray]:
    """For each share lost: (rate,) exact coverage of the interval of a change; rates are of items that change."""
    plus, minus = (part.ravel() for part in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    plus, minus = plus[plus + minus <= n], minus[plus + minus <= n]
    same = n - plus - minus
    items = [np.repeat([1.0, -1.0, 0.0], counts) for counts in zip(plus, minus, same, strict=True)]
    low, high = np.array([intervals.of_change(one) for one in items]).T
    log_count = gammaln(n + 1) - gammaln(plus + 1) - gammaln(minus + 1) - gammaln(same + 1)
    found = {}
    for lost in LOST:
        covered = []
        for rate in RATES:
            p, q = rate * lost, rate * (1 - lost)
            probability = np.exp(log_count + xlogy(plus, p) + xlogy(minus, q) + xlogy(same, 1 - rate))
            covered.append(probability[(low <= p - q + 1e-9) & (p - q <= high + 1e-9)].sum())
        found[lost] = np.array(covered)
    return found


def of_means(n: int, draw: Callable[[np.random.Generator, int], np.ndarray], truth: float, trials: int) -> float:
    """Simulated coverage of the interval of a mean of n scores."""
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(trials):
        low, high = intervals.of_mean(draw(rng, n), rng.integers(0, n, (1000, n)))
        hits += low <= truth <= high
    return hits / trials


@cache
def _of_counts(lost: int, won: int, n: int, level: float) -> intervals.Interval:
    """Interval of a change of right answers, which depends on counts alone."""
    return intervals.of_change(np.repeat([1.0, -1.0, 0.0], [lost, won, n - lost - won]), level=level)


def averaged(coverage: np.ndarray) -> np.ndarray:
    """(rate,) mean coverage over all rates within .02."""
    return np.array([coverage[np.abs(RATES - rate) <= NEAR + 1e-9].mean() for rate in RATES])


def line(name: str, n: int, coverage: np.ndarray) -> str:
    """One line of the table."""
    near = averaged(coverage)
    inside = (near >= BAND[0]) & (near <= BAND[1])
    above = RATES[near > BAND[1]]
    where = f"{above.min():.3f} to {above.max():.3f}" if len(above) else "nowhere"
    return (
        f"{name:28s} {n:4d}   {coverage.min():.3f} {coverage.max():.3f}   {near.min():.3f} {near.max():.3f}   "
        f"{inside.mean():.2f}   {(near < BAND[0]).mean():.2f}   {where}"
    )


def of_isolation(
    rates: Sequence[float], n: int, trials: int, *, metric: str = "exact_match", n_bootstrap: int = 1000
) -> dict[str, tuple[float, float]]:
    """How often the truth lies below the lower end, and above the upper end, of an interval of isolation.

    Args:
        rates: Mean drop of the own task, then of each other task. Right answers are lost at these rates (a negative one
            is won), nats are skewed (exponential) with a standard deviation of 1.
        n: Number of items of each task.
        trials: Number of studies.
        metric: ``"exact_match"`` or ``"log_likelihood"``.
        n_bootstrap: Number of draws.

    Returns:
        Of the package's interval, and of a percentile bootstrap that chooses the worst task anew in each draw.
    """
    rng = np.random.default_rng([n, len(rates)])
    truth = isolation(rates[0], rates[1:])
    found: dict[str, list] = {"ours": [], "percentile bootstrap": []}
    for _ in range(trials):
        if metric == "exact_match":
            items = [np.sign(rate) * (rng.random(n) < abs(rate)) for rate in rates]
        else:
            items = [rate + rng.exponential(1.0, n) - 1.0 for rate in rates]
        draws = [rng.integers(0, n, (n_bootstrap, n)) for _ in rates]

        def term(of: int, level: float, items: list = items, draws: list = draws) -> tuple[float, intervals.Interval]:
            if metric == "exact_match":
                counts = (int((items[of] > 0).sum()), int((items[of] < 0).sum()))
                return float(items[of].mean()), _of_counts(*counts, n, level)
            return float(items[of].mean()), change_interval(items[of], metric, draws[of], level=level)

        terms = [partial(term, of) for of in range(len(rates))]
        found["ours"].append(isolation_interval(terms[0], terms[1:]))
        means = np.array([one[drawn].mean(1) for one, drawn in zip(items, draws, strict=True)])
        own, worst = np.maximum(means[0], 0.0), np.maximum(means[1:].max(0), 0.0)
        index = (own - worst) / np.where(own + worst > 0, own + worst, 1.0)
        found["percentile bootstrap"].append(np.quantile(index, [0.025, 0.975]))
    ends = {name: np.array(one) for name, one in found.items()}
    return {
        name: (float((one[:, 0] > truth + 1e-9).mean()), float((one[:, 1] < truth - 1e-9).mean()))
        for name, one in ends.items()
    }
