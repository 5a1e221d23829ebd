"""Localizers of other papers, as maps of the same kind as a GLM contrast, so that they can be compared with it.

========================= =============================================================================================
function                  score of a unit
========================= =============================================================================================
``welch_t``               Welch's t between the prompts of two conditions, one number a prompt: the localizer of
                          AlKhamissi et al. (2025), "The LLM Language Network", with \\|activation\\| of the last token
``activation_difference`` mean activation in one condition minus that in another, over rows
``lape``                  minus the entropy, over conditions, of how often the unit is positive (Tang et al. 2024)
========================= =============================================================================================

Each takes a recording and returns a :class:`~tl_fbn.units.UnitMap`, one number a unit; ``.top(0.01)`` makes a network
of the highest one percent. They model neither drift, position nor autocorrelation, and correct nothing for the number
of units: ``welch_t`` treats prompts (not tokens) as independent observations, the other two have no test at all. For
p and z values use a contrast of :func:`~tl_fbn.fit_glm`.

Cost: one pass over the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.glm.run_fit import ROUNDING
from tl_fbn.errors import InputError, either, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap

Pool = Literal["last", "mean"]


@checked
def welch_t(recording: Recording, condition: str, other: str, *, pool: Pool = "last", absolute: bool = True) -> UnitMap:
    """Welch's t between the prompts of two conditions, with one number for each prompt and unit.

    >>> fbn.glm.welch_t(recording, "sort", "reverse").top(0.01)
    Network "top 0.01 of sort - reverse": 11 of 1,152 units (0.95%) of tl_fbn-demo mlp.neurons (3 x 384), ...

    Args:
        recording: Any recording with events; the rows of each prompt are pooled to one.
        condition: Name of the condition whose larger activation gives a positive t.
        other: Name of the condition that it is compared with.
        pool: How the rows of a prompt become one number: ``"last"`` takes its last row, ``"mean"`` the mean of its
            rows.
        absolute: Whether \\|activations\\| are compared, as published (True), or activations with their sign (False).

    Returns:
        (unit,) t; NaN for a unit that never varies, and infinite for one that differs between the conditions and varies
        within neither.

    Raises:
        InputError: A condition that the recording lacks, or fewer than two prompts of it.
    """
    one_of(pool, Pool, "pool")
    _require_conditions(recording, (condition, other))
    counts = dict.fromkeys((condition, other), 0)
    first: dict[str, np.ndarray] = {}  # of each condition the first prompt, which is taken off the others
    sums = {name: np.zeros((2, recording.space.n_units)) for name in counts}
    for name, values in _pooled_prompts(recording, pool):
        if name in sums:
            values = np.abs(values) if absolute else values
            away = values - first.setdefault(name, values)
            # sum and sum of squares: one pass, and no prompt is kept
            counts[name] += 1
            sums[name] += np.array([away, np.square(away)])
    if min(counts.values()) < 2:
        raise InputError(f"welch_t needs at least two prompts a condition; got {counts}")
    (mean_a, variance_a), (mean_b, variance_b) = (
        _mean_and_variance(sums[name], counts[name], first[name]) for name in counts
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        test = stats.ttest_ind_from_stats(
            mean_a, np.sqrt(variance_a), counts[condition], mean_b, np.sqrt(variance_b), counts[other], equal_var=False
        )
    # without any variance in either condition, a difference of the means is infinitely many standard errors; means
    # that are equal but for rounding are those of a unit that never varies, which has no t
    without_error = (variance_a == 0) & (variance_b == 0)
    difference = mean_a - mean_b
    differs = np.abs(difference) > ROUNDING * np.maximum(np.abs(mean_a), np.abs(mean_b))
    t = np.where(without_error, np.where(differs, np.copysign(np.inf, difference), np.nan), test.statistic)
    return _localizer_map(recording, t, "t", "welch_t", f"{condition} - {other}", {"pool": pool, "absolute": absolute})


@checked
def activation_difference(recording: Recording, condition: str, other: str) -> UnitMap:
    """Mean activation in one condition minus that in another, over rows.

    >>> fbn.glm.activation_difference(recording, "sort", "reverse")
    UnitMap of effect: tl_fbn-demo mlp.neurons (3 x 384), -1.39 to 1.2

    Args:
        recording: Any recording with events.
        condition: Name of the condition whose larger activation gives a positive difference.
        other: Name of the condition that it is compared with.

    Returns:
        (unit,) differences, in the units of the activations.

    Raises:
        InputError: The recording lacks a condition.
    """
    means = _condition_means(recording, (condition, other), lambda values: values)
    return _localizer_map(
        recording, means[0] - means[1], "effect", "activation_difference", f"{condition} - {other}", {}
    )


@checked
def lape(
    recording: Recording, conditions: Sequence[str], *, minimum: float = 0.95, condition: str | None = None
) -> UnitMap:
    """Minus the activation-probability entropy over conditions: high where a unit is positive in few of them.

    >>> fbn.glm.lape(recording, ["sort", "reverse", "add"], condition="sort").top(0.01)
    Network "top 0.01 of sort, reverse, add": 11 of 1,152 units (0.95%) of tl_fbn-demo mlp.neurons (3 x 384), ...

    With p_c the share of the rows of condition c in which the unit is positive, and ``q_c = p_c / sum(p)``, the score
    is ``sum_c q_c log q_c`` (Tang et al. 2024): 0 for a unit that is positive in one condition only,
    ``-log(conditions)`` for one that is equally often positive in all.

    Args:
        recording: A recording of neurons after their nonlinearity (``mlp.neurons``), where positive means active.
        conditions: Names of the conditions to compare, at least two.
        minimum: Quantile, 0 to 1, of all the probabilities p of the recording. A unit whose highest probability is
            below it is left out, as in the paper: it gets no score (NaN), and no selection takes it.
        condition: Name of one of the conditions; units that are positive most often in another one get no score (NaN),
            so that the map is that of this condition. None keeps the units of all conditions.

    Returns:
        (unit,) minus the entropy, in nats; NaN for units that are left out.

    Raises:
        InputError: Fewer than two conditions, or one the recording lacks, or ``condition`` is none of them; ``minimum``
            is no quantile.
    """
    if not 0 <= minimum <= 1:
        raise InputError(f"minimum={minimum} is no quantile; give a number from 0 to 1")
    if condition is not None and condition not in conditions:
        raise InputError(f"condition must be one of those compared, {either(conditions)}; got {condition!r}")
    if len(set(conditions)) < 2:
        raise InputError(f"lape compares at least two conditions; got {list(conditions)}")
    # p: (condition, unit) share of rows in which the unit is positive
    on = np.array(_condition_means(recording, conditions, lambda values: (values > 0).astype(float)))
    total = on.sum(0)
    # q: probabilities of a unit, made to add up to 1 over conditions; all 0 for a unit that is never positive
    shares = on / np.where(total > 0, total, 1.0)
    entropy = special.entr(shares).sum(0)
    left_out = (on.max(0) < np.quantile(on, minimum)) | (total == 0)
    if condition is not None:
        left_out |= on.argmax(0) != list(conditions).index(condition)
    scores = np.where(left_out, np.nan, -entropy)
    return _localizer_map(
        recording, scores, "score", "lape", ", ".join(conditions), {"minimum": minimum, "condition": condition}
    )


def _localizer_map(
    recording: Recording, values: np.ndarray, kind: str, method: str, contrast: str, options: dict[str, Any]
) -> UnitMap:
    return UnitMap(
        recording.space, values, kind, {"method": method, "contrast": contrast, **options, **recording.provenance}
    )


def _require_conditions(recording: Recording, conditions: Sequence[str]) -> None:
    present = sorted(recording.conditions)
    if missing := [name for name in conditions if name not in present]:
        raise InputError(f"no condition {', '.join(missing)} in this recording; conditions: {', '.join(present)}")


def _pooled_prompts(recording: Recording, pool: Pool) -> Iterator[tuple[str, Float[np.ndarray, " unit"]]]:
    """Condition and pooled activations of every prompt."""
    for run in recording:
        labels = np.full(run.n_rows, "", dtype=object)
        for name, rows in run.blocks():
            labels[rows] = name
        starts = np.flatnonzero(run.segment_starts)  # a segment is a prompt
        for first, stop in zip(starts, [*starts[1:], run.n_rows], strict=True):
            rows = slice(stop - 1, stop) if pool == "last" else slice(first, stop)
            yield str(labels[first]), run.read(rows=rows).astype(float).mean(0)


def _condition_means(
    recording: Recording, conditions: Sequence[str], transform: Callable[[np.ndarray], np.ndarray]
) -> list[Float[np.ndarray, " unit"]]:
    """Mean of some function of the activations over all rows of each condition, a layer at a time."""
    _require_conditions(recording, conditions)
    sums = np.zeros((len(conditions), recording.space.n_units))
    counts = np.zeros(len(conditions))
    for run in recording:
        # blocks by the number of their condition; conditions that are not compared are left out
        blocks = [(conditions.index(name), rows) for name, rows in run.blocks() if name in conditions]
        for layer, array in run.layers.items():
            span = run.space.layer_slice(layer)
            for which, rows in blocks:
                sums[which, span] += transform(np.asarray(array[rows], dtype=float)).sum(0)
        for which, rows in blocks:
            counts[which] += rows.stop - rows.start
    return list(sums / counts[:, None])


def _mean_and_variance(
    sums: Float[np.ndarray, "2 unit"], n: int, first: Float[np.ndarray, " unit"]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of every unit over n prompts, from sum and sum of squares less the first prompt."""
    away = sums[0] / n
    # sum of squared deviations = sum of squares - n mean^2; rounding may leave it below 0
    variance = np.maximum(sums[1] - n * away**2, 0.0) / (n - 1)
    mean = first + away
    # deviations below this share of the mean are rounding, of pooled rows for instance
    return mean, np.where(variance > np.square(ROUNDING * mean), variance, 0.0)
