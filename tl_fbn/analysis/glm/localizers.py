"""Rival localizers as maps of the same kind, so that they can be compared on one footing.

======================== ==========================================================================================
function                 score of a unit
======================== ==========================================================================================
``welch_t``              Welch's t between the prompts of two conditions, one number a prompt: the localizer of AlKhamissi
                         et al. 2025 ("The LLM Language Network"; \\|activation\\| of the last token)
``activation_difference`` mean difference between two conditions
``lape``                 minus the entropy, over conditions, of how often the unit is positive (Tang et al. 2024)
======================== ==========================================================================================

Each takes a recording and returns a :class:`~tl_fbn.units.UnitMap`; select with ``.top(0.01)``. Prompts, not tokens, are the
replicates of ``welch_t``; its p has no correction for anything (``z`` and ``p`` are the GLM's business).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, either, one_of
from tl_fbn.units import UnitMap

Pool = Literal["last", "mean"]


def welch_t(recording: Recording, condition: str, other: str, *, pool: Pool = "last", absolute: bool = True) -> UnitMap:
    """Welch's t of pooled activations between the prompts of two conditions.

    ::

        fbn.glm.welch_t(recording, "sort", "rest").top(0.01)  # a localizer: the last token of every prompt

    Args:
        recording: Any recording; one row a prompt is made of it where it has one a token.
        condition: The condition that should be larger.
        other: What it is compared with.
        pool: ``"last"`` or ``"mean"`` row of a prompt.
        absolute: Of \\|activations\\|, as published; False for signed ones.

    Returns:
        (unit,) t; 0 for a unit that never varies.

    Raises:
        InputError: A condition that the recording lacks, or fewer than two prompts of it.
    """
    one_of(pool, Pool, "pool")
    _check(recording, (condition, other))
    sums = {name: np.zeros((3, recording.space.n_units)) for name in (condition, other)}
    for name, values in _prompts(recording, pool):
        if name in sums:
            values = np.abs(values) if absolute else values
            sums[name] += np.array([np.ones_like(values), values, np.square(values)])
    counts = {name: int(total[0, 0]) for name, total in sums.items()}
    if min(counts.values()) < 2:
        raise InputError(f"welch_t needs at least two prompts a condition; got {counts}")
    (n_a, mean_a, variance_a), (n_b, mean_b, variance_b) = (_mean_variance(sums[name]) for name in (condition, other))
    # a unit that never varies has no t; what its variance shows is rounding
    varies = variance_a / n_a + variance_b / n_b > 1e-14 * np.maximum(mean_a**2, mean_b**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        test = stats.ttest_ind_from_stats(
            mean_a, np.sqrt(variance_a), n_a, mean_b, np.sqrt(variance_b), n_b, equal_var=False
        )
    t = np.where(varies, test.statistic, 0.0)
    return _map(recording, t, "t", "welch_t", f"{condition} - {other}", {"pool": pool, "absolute": absolute})


def activation_difference(recording: Recording, condition: str, other: str) -> UnitMap:
    """Mean activation in one condition less that in another, over rows.

    ::

        fbn.glm.activation_difference(recording, "sort", "rest").top(0.01)

    Args:
        recording: Any recording.
        condition: The condition that should be larger.
        other: What it is compared with.

    Returns:
        (unit,) differences, in activation units.

    Raises:
        InputError: The recording lacks a condition.
    """
    means = _means(recording, (condition, other), lambda values: values)
    return _map(recording, means[0] - means[1], "effect", "activation_difference", f"{condition} - {other}", {})


def lape(
    recording: Recording, conditions: Sequence[str], *, minimum: float = 0.95, condition: str | None = None
) -> UnitMap:
    """Minus the activation-probability entropy over conditions: high where a unit is positive in few of them.

    ::

        fbn.glm.lape(recording, ["sort", "add", "copy"], condition="sort").top(0.01)

    Args:
        recording: Of post-nonlinearity neurons, whose sign says whether they are on.
        conditions: At least two of its conditions.
        minimum: Units whose highest probability is below this quantile of all probabilities are out of the race (they get
            the lowest score), as in the paper.
        condition: Only units that are positive most often in this condition stay in the race: the map of one condition.

    Returns:
        (unit,) minus the entropy in nats.

    Raises:
        InputError: Fewer than two conditions, or one the recording lacks, or ``condition`` is none of them.
    """
    if condition is not None and condition not in conditions:
        raise InputError(f"condition must be one of those compared, {either(conditions)}; got {condition!r}")
    if len(set(conditions)) < 2:
        raise InputError(f"lape compares at least two conditions; got {list(conditions)}")
    on = np.array(_means(recording, conditions, lambda values: (values > 0).astype(float)))  # (condition, unit)
    total = on.sum(0)
    shares = on / np.where(total > 0, total, 1.0)
    entropy = special.entr(shares).sum(0)
    out = (on.max(0) < np.quantile(on, minimum)) | (total == 0)
    if condition is not None:
        out |= on.argmax(0) != list(conditions).index(condition)
    scores = -np.where(out, np.log(len(on)), entropy)
    return _map(recording, scores, "score", "lape", ", ".join(conditions), {"minimum": minimum, "condition": condition})


def _map(
    recording: Recording, values: np.ndarray, kind: str, method: str, contrast: str, options: dict[str, Any]
) -> UnitMap:
    return UnitMap(
        recording.space, values, kind, {"method": method, "contrast": contrast, **options, **recording.provenance}
    )


def _check(recording: Recording, conditions: Sequence[str]) -> None:
    present = sorted(recording.conditions)
    if missing := [name for name in conditions if name not in present]:
        raise InputError(f"no condition {', '.join(missing)} in this recording; conditions: {', '.join(present)}")


def _prompts(recording: Recording, pool: Pool) -> Iterator[tuple[str, Float[np.ndarray, " unit"]]]:
    """Condition and pooled activations of every prompt."""
    for run in recording:
        labels = np.full(run.n_rows, "", dtype=object)
        for name, rows in run.blocks():
            labels[rows] = name
        starts = np.flatnonzero(run.segment_starts)
        for first, stop in zip(starts, [*starts[1:], run.n_rows], strict=True):
            rows = slice(stop - 1, stop) if pool == "last" else slice(first, stop)
            yield str(labels[first]), run.read(rows=rows).astype(float).mean(0)


def _means(
    recording: Recording, conditions: Sequence[str], of: Callable[[np.ndarray], np.ndarray]
) -> list[Float[np.ndarray, " unit"]]:
    """Mean of some function of the activations over all rows of each condition, a layer at a time."""
    _check(recording, conditions)
    sums = np.zeros((len(conditions), recording.space.n_units))
    counts = np.zeros(len(conditions))
    for run in recording:
        owners = [(conditions.index(name), rows) for name, rows in run.blocks() if name in conditions]
        for layer, array in run.layers.items():
            span = run.space.layer_slice(layer)
            for which, rows in owners:
                sums[which, span] += of(np.asarray(array[rows], dtype=float)).sum(0)
        for which, rows in owners:
            counts[which] += rows.stop - rows.start
    return list(sums / counts[:, None])


def _mean_variance(sums: Float[np.ndarray, "3 unit"]) -> tuple[float, np.ndarray, np.ndarray]:
    n = float(sums[0, 0])
    mean = sums[1] / n
    return n, mean, np.maximum(sums[2] - n * mean**2, 0.0) / (n - 1)
