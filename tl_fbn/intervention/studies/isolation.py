"""Isolation: how much more a network's own task loses than the worst of the other tasks.

With ``own`` the drop of the network's task and ``worst`` the largest drop of any other task, where a gain counts as no
drop, ::

    isolation = (own - worst) / (own + worst)

It is 1 where only the own task loses, .5 where it loses three times as much as any other, 0 where another loses as
much, -1 where the own task alone loses nothing, and NaN where no task loses. Unlike own / worst it has no pole where
the others lose nothing. Drops are compared as they are: a task that can lose no more than it had counts for no more.

The interval
============

The index falls as ``worst`` grows, so that it is the smallest of the indices of the own task with each other task.

- *Each of these* is a ratio in disguise: the index is c where ``(1 - c) own - (1 + c) other`` is 0. The interval holds
  every c for which the interval of that sum of independent drops (:func:`.intervals.of_sum`) holds 0, and the drops
  bring their own intervals: Tango's for right answers, the bootstrap of Student's t for nats. With ``q = (1 - c) /
  (1 + c)``, which is other / own, both ends are roots of a quadratic (Donner and Zou 2012).
- *Lower end:* the smallest of the lower ends. It is above the truth only where that of the truly worst task is, so that
  it errs in 2.5 % at most, however many tasks there are and whichever of them is worst (intersection and union; Berger
  1982).
- *Upper end:* the smallest of the upper ends, each at ``1 - .05 / other tasks``: any of them may be the one that is too
  small, and their errors add up (Bonferroni).

The worst task is thus chosen within the interval. A bootstrap that chooses it anew in each draw is centred too low
where several tasks lose alike, since the largest of several noisy drops is larger than each; and of right answers that
are all lost it has no width. ``python -m tests.benchmarks.isolation_coverage`` prints the coverage of both.

The estimate itself has that bias, too: with many other tasks that lose alike it understates isolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tl_fbn.intervention.studies.intervals import Interval

Term = tuple[float, Interval]  # a drop and its interval


def isolation(own: float, others: Sequence[float]) -> float:
    """Own drop less the worst other one, over their sum; a gain counts as no drop.

    Args:
        own: Drop of the network's own task.
        others: Drops of the other tasks, in the same unit.

    Returns:
        -1 to 1; NaN without other tasks, where nothing is lost, or where a drop is NaN.
    """
    if not len(others) or np.isnan([own, *others]).any():
        return math.nan
    own, worst = max(own, 0.0), max(0.0, *others)
    return (own - worst) / (own + worst) if own + worst > 0 else math.nan


def isolation_interval(
    own: Callable[[float], Term], others: Sequence[Callable[[float], Term]], *, level: float = 0.95
) -> Interval:
    """Interval of :func:`isolation`, whichever of the other tasks is truly the worst.

    Args:
        own: Given the coverage of an interval, the drop of the own task and that interval.
        others: For each of the other tasks a function that gives its drop and interval; their items are other ones.
        level: Coverage of the interval, .95 for a 95 % interval.

    Returns:
        Lower and upper end within -1 and 1; NaN without other tasks, or where a drop has no interval.
    """
    if not others:
        return math.nan, math.nan
    stricter = 1 - (1 - level) / len(others)
    first, second = own(level), own(stricter)
    low = [_lower_end(first, other(level)) for other in others]
    high = [-_lower_end(other(stricter), second) for other in others]
    # np.min keeps a NaN, which min may lose
    return float(np.min(low)), float(np.min(high))


def _lower_end(own: Term, other: Term) -> float:
    """Lower end of the index of two drops. Exchanging them turns its sign, which gives the upper end.

    c is too low where the interval of ``q own - other`` lies above 0, q = (1 - c) / (1 + c)::

        q own - other > sqrt((q (own - own_low))^2 + (other_high - other)^2)

    The smallest such q is the larger root of a quadratic; without one, no c is too low and the end is -1.
    """
    (x, (x_low, _)), (y, (_, y_high)) = own, other
    if any(map(math.isnan, (x, x_low, y, y_high))):
        return math.nan
    # a gain counts as no drop, and so do the ends of its interval
    x, x_low, y, y_high = (max(one, 0.0) for one in (x, x_low, y, y_high))
    leading = x_low * (2 * x - x_low)  # q^2 of the quadratic; 0 only where the own drop may be 0
    if leading <= 0:
        return -1.0
    root = math.sqrt(max((x * y) ** 2 - leading * y_high * (2 * y - y_high), 0.0))
    q = (x * y + root) / leading
    return (1 - q) / (1 + q)
