"""Intervals over items: of a share of right answers, of a change of it, of a mean, and of sums of such numbers.

A bootstrap of right and wrong answers has no width where all items agree: of 20 items that no lesion changed every draw
gives 0, and an interval from 0 to 0 claims what 20 items cannot show. Each kind of score therefore has an interval of
its own:

====================== ===============================================================================================
:func:`of_share`       share of right answers: Agresti and Coull (1998), the Wald interval of the items and, at 95 %,
                       about two more right and two more wrong ones
:func:`of_change`      change of a share on the same items, scores of -1 to 1: Bonett and Price (2012), the Wald
                       interval of the items and one more that gains and one that loses. With differences d,
                       ``m = sum d / (n + 2)`` and ``error^2 = ((sum d^2 + 2) / (n + 2) - m^2) / (n + 2)``
:func:`of_mean`        mean of other scores (nats): bootstrap of Student's t (Efron 1979; Hall 1988), whose ends are
                       ``mean - t* s / sqrt(n)`` at quantiles t* of the draws' own t; it follows skewed scores, for
                       which percentiles of means (and their BCa correction) cover too seldom at 20 items
:func:`of_sum`         weighted sum of independent numbers from their own intervals (Zou and Donner 2008):
                       ``sum - sqrt(sum of squared distances of each term from its own lower end)``
====================== ===============================================================================================

Coverage at a nominal .95, over rates 0 to 1 and 20, 60 and 200 items, is printed by
``python -m tests.benchmarks.interval_coverage``. Where nearly all items agree, coverage is above: an interval of 0
right answers that holds a rate of 0 holds it always.

Intervals speak of other such items, not of other networks, and are not corrected for their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Interval = tuple[float, float]
_NO_INTERVAL = (math.nan, math.nan)


def of_share(right: Float[np.ndarray, " item"], *, level: float = 0.95) -> Interval:
    """Interval of a share of right answers, within 0 and 1; NaN without items, or where one has no right answer.

    Args:
        right: 1 for each item that was answered rightly, 0 for each that was not.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end.
    """
    if not len(right) or np.isnan(right).any():
        return _NO_INTERVAL
    found: Any = proportion_confint(float(right.sum()), len(right), alpha=1 - level, method="agresti_coull")
    return float(found[0]), float(found[1])


def of_change(differences: Float[np.ndarray, " item"], *, level: float = 0.95) -> Interval:
    """Interval of a mean change of right answers on the same items, within -1 and 1.

    Args:
        differences: Change of the score of each item, -1 to 1; NaN where an item has no right answer.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end; NaN without items, or where one has no right answer.
    """
    if not len(differences) or np.isnan(differences).any():
        return _NO_INTERVAL
    n = len(differences) + 2  # with an item that gains 1 and one that loses 1: their sum is 0, their squares add 2
    mean = float(differences.sum()) / n
    error = math.sqrt(max((float(np.square(differences).sum()) + 2) / n - mean**2, 0.0) / n)
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return max(mean - half, -1.0), min(mean + half, 1.0)


def of_mean(
    values: Float[np.ndarray, " item"], draws: Int[np.ndarray, "draw item"], *, level: float = 0.95
) -> Interval:
    """Interval of a mean over items, by a bootstrap of Student's t.

    Args:
        values: A number for each item, in any unit.
        draws: Numbers of items, drawn with replacement.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end, in the unit of the values; the mean itself where all items have it, and NaN for a single
        item, which shows no spread, or for a value that is no finite number.
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return _NO_INTERVAL
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    if error <= 1e-12 * abs(mean):
        return mean, mean
    drawn = values[draws]
    errors = drawn.std(1, ddof=1) / math.sqrt(n)
    away = drawn.mean(1) - mean
    spread = errors > 1e-9 * error  # a draw of equal items has no t of its own
    t = away[spread] / errors[spread]
    # it takes the largest |t| of the others, or Student's where that is more
    farthest = max(float(np.abs(t).max(initial=0.0)), float(stats.t.ppf((1 + level) / 2, n - 1)))
    t = np.concatenate([t, farthest * np.sign(away[~spread])])
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    # the large t of the draws belong to the lower end
    return mean - float(high) * error, mean - float(low) * error


def of_sum(terms: Sequence[tuple[float, Interval]]) -> Interval:
    """Interval of a sum of independent numbers, from the interval of each.

    Args:
        terms: Each number and its interval. The interval of a number times -1 is that of the number, turned round.

    Returns:
        Lower and upper end.
    """
    total = sum(number for number, _ in terms)
    below = math.sqrt(sum((number - low) ** 2 for number, (low, _) in terms))
    above = math.sqrt(sum((high - number) ** 2 for number, (_, high) in terms))
    return total - below, total + above


def scaled(number: float, interval: Interval, weight: float) -> tuple[float, Interval]:
    """A number and its interval, times a weight of either sign, as a term of :func:`of_sum`.

    Args:
        number: The number.
        interval: Lower and upper end.
        weight: What both are multiplied by.
    """
    low, high = sorted(weight * end for end in interval)
    return weight * number, (low, high)
