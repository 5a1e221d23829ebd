"""Intervals over items: of a share of right answers, of a change of it, of a mean, and of sums of such numbers.

A bootstrap of right and wrong answers has no width where all items agree: of 20 items that no lesion changed every draw
gives 0, and an interval from 0 to 0 claims what 20 items cannot show. Each kind of score therefore has an interval of
its own:

====================== ===============================================================================================
:func:`of_share`       share of right answers: Wilson (1927), the rates that a score test does not reject
:func:`of_change`      change of right answers on the same items: Tango (1998), the changes that a score test of paired
                       shares does not reject; it holds 0 where McNemar's test (without correction) does not reject it.
                       Changes in between, as means over doses are: Bonett and Price (2012), with one more item that
                       gains 1 and one that loses 1: ``m = sum d / (n + 2)``, and an error of
                       ``sqrt(((sum d^2 + 2) / (n + 2) - m^2) / (n + 2))``
:func:`of_mean`        mean of other scores (nats): bootstrap of Student's t (Efron 1979; Hall 1988), whose ends are
                       ``mean - t* s / sqrt(n)`` at quantiles t* of the draws' own t; it follows skewed scores, for
                       which percentiles of means (and their BCa correction) cover too seldom at 20 items
:func:`of_sum`         weighted sum of independent numbers from their own intervals (Zou and Donner 2008):
                       ``sum - sqrt(sum of squared distances of each term from its own lower end)``
====================== ===============================================================================================

Coverage at a nominal .95, at rates from 0 to 1 and 20, 60 and 200 items, is printed by
``python -m tests.benchmarks.interval_coverage --full``. Counts are whole numbers, so that coverage jumps from rate to
rate (.905 at the least, and 1 at a rate of 0). In the mean over rates within .02 it is .944 to .969 for shares, at all
rates. For changes it is at least .94, and above .97 only where few items change: under .06 of 60 and .02 of 200 items,
.24 of 20 items, and of 20 items that are only lost .76. With so few, an interval that holds 0 whenever nothing is seen
cannot be shorter.

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
    found: Any = proportion_confint(float(right.sum()), len(right), alpha=1 - level, method="wilson")
    # where all agree the end is 0 or 1 but for rounding
    return min(max(float(found[0]), 0.0), float(right.mean())), max(min(float(found[1]), 1.0), float(right.mean()))


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
    z = float(stats.norm.ppf((1 + level) / 2))
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
        # the lower end of a change is that of its opposite, turned round
        return -_tango_end(lost, gained, len(differences), z), _tango_end(gained, lost, len(differences), z)
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    error = math.sqrt(max((float(np.square(differences).sum()) + 2) / n - mean**2, 0.0) / n)
    return max(mean - z * error, -1.0), min(mean + z * error, 1.0)


def _tango_end(gained: int, lost: int, n: int, z: float) -> float:
    """The largest change that the score test of paired shares does not reject.

    Args:
        gained: Number of items that became right.
        lost: Number of items that became wrong.
        n: Number of items.
        z: Normal deviate beyond which the test rejects.
    """

    def rejected(change: float) -> bool:
        # q: the likeliest share of items that become wrong if the true change were this one, the larger root of
        # 2n q^2 + b q + c = 0 (Tango 1998)
        b = (2 * n - gained + lost) * change - gained - lost
        c = -lost * change * (1 - change)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * max(2 * q + change * (1 - change), 0.0)
        return (gained - lost - n * change) ** 2 > z * z * variance

    inside, outside = (gained - lost) / n, 1.0
    for _ in range(60):  # halved to the last digit of a float
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside


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
