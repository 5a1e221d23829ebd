"""Medians and spreads of units, for blocks of many rows.

A median is found by partial sorting (introselect), which numpy does many times faster on numbers that lie side by side.
Rows lie side by side in a recording, and so a block is turned first, and turned once for the median and for the median
absolute deviation.

=================== =================================================================================================
standardize         spread of a unit, over the rows of all runs, each run less its own centre
=================== =================================================================================================
``"robust"``        1.4826 times the median of \\|x - median\\|, which is the standard deviation of a Gaussian. A unit
                    that stands still in most rows has 0 there and is given its standard deviation
else                standard deviation (ddof = 1)
=================== =================================================================================================

A unit that never varies (spread at most float32's precision; the rule of Liu et al. 2025) counts as one of spread 1.

Cost: some ten comparisons a number, and the block once more in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_GAUSSIAN = 1.4826  # median absolute deviation of a Gaussian, to its standard deviation


def centres_and_spread(
    values: Sequence[Float[np.ndarray, "_ unit"]], *, robust: bool
) -> tuple[Float[np.ndarray, "run unit"], Float[np.ndarray, " unit"]]:
    """Centre of every unit in every run, and its spread over all runs, in float32.

    Args:
        values: For every run the (row, unit) activations of a block of units.
        robust: Whether centre and spread are medians; else mean and standard deviation.

    Returns:
        (run, unit) centres and (unit,) spreads; a unit that never varies has spread 1.
    """
    if not robust:
        means = [part.mean(axis=0, dtype=np.float64).astype(np.float32) for part in values]
        centred = np.concatenate([part - mean for part, mean in zip(values, means, strict=True)])
        return np.array(means), at_least_precision(centred.std(axis=0, ddof=1, dtype=np.float64))
    turned = np.empty((values[0].shape[1], sum(map(len, values))), np.float32)  # (unit, row)
    centres = []
    first = 0
    for part in values:
        columns = turned[:, first : first + len(part)]
        columns[:] = part.T
        centre = _medians(np.array(columns))
        columns -= centre[:, None]
        centres.append(centre)
        first += len(part)
    spread = _GAUSSIAN * _medians(np.abs(turned)).astype(np.float64)
    still = ~(spread > np.finfo(np.float32).eps)
    if still.any():  # 0 in most rows, as units behind a threshold are
        spread[still] = turned[still].std(axis=1, ddof=1, dtype=np.float64)
    return np.array(centres), at_least_precision(spread)


def at_least_precision(spread: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """Spreads in float32, with 1 for a unit that varies by no more than float32's precision.

    Args:
        spread: (unit,) spreads.
    """
    return np.where(spread > np.finfo(np.float32).eps, spread, 1.0).astype(np.float32)


def _medians(lines: Float[np.ndarray, "unit row"]) -> Float[np.ndarray, " unit"]:
    """The median of every line, whose numbers are put in another order."""
    n = lines.shape[1]
    half = n // 2
    lines.partition(half, axis=1)
    upper = lines[:, half]
    if n % 2:
        return upper.copy()
    # the lower middle is the largest of those before the upper one
    return (lines[:, :half].max(axis=1) + upper) / np.float32(2)
