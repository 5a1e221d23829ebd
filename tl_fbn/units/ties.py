"""The largest of many scores, where several may be equal at the cut.

Scores often tie: activations after a ReLU are 0 for most units, counts of few items have few values. Where ``n`` units
are to be taken and more than fit have the value at the cut, which of those are taken says nothing about them, so chance
decides, with a seed: the same seed takes the same units of the same scores. (The scores are part of the seed, so that
different maps draw for themselves; one draw for all would make them agree.) The draw is spread over layers. Of ``m``
tied units with ``m_l`` in layer l, about ``k m_l / m`` of the ``k`` that fit come from layer l, within one unit; the
order of layers, by which a plain sort would decide, fills a network with units of the first.

The draw is systematic: each layer's tied units, in random order, get evenly spaced places in (0, 1) with a random
start, and the smallest places are taken. A larger ``n`` therefore keeps all units of a smaller one. NaN is no score
and is never taken. Cost: linear in the number of scores.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError


def top_mask(
    scores: Float[np.ndarray, " unit"],
    n: int,
    *,
    layers: Int[np.ndarray, " unit"] | None = None,
    seed: int | Sequence[int] = 0,
) -> Bool[np.ndarray, " unit"]:
    """The ``n`` largest scores as booleans; fewer where fewer are numbers, for NaN is never taken.

    Args:
        scores: (unit,) scores; infinity is a score.
        n: Number of units to select.
        layers: (unit,) layer of every unit, over which a draw among equal scores is spread; None takes all units for
            one layer.
        seed: Seed of the draw among units whose score is that at the cut; of the same scores the same seed draws the
            same units.
    """
    mask, tied, n_missing = _at_cut(scores, n)
    if n_missing < len(tied):
        layer_of_tied = np.zeros(len(tied), dtype=np.int64) if layers is None else np.asarray(layers)[tied]
        # + 0.0 makes -0.0 and 0.0 one number, of one digest
        digest = zlib.crc32(np.ascontiguousarray(scores + 0.0).tobytes())
        rng = np.random.default_rng([*np.atleast_1d(seed).tolist(), digest])
        tied = tied[_spread_order(layer_of_tied, rng)[:n_missing]]
    mask[tied] = True
    return mask


def tied_at_cut(scores: Float[np.ndarray, " unit"], n: int) -> tuple[int, int]:
    """How many units have the score at the cut, and how many of them are among the ``n`` largest; 0, 0 if all are.

    Args:
        scores: (unit,) scores; NaN is none.
        n: Number of units that are selected.
    """
    _, tied, n_missing = _at_cut(scores, n)
    return (len(tied), n_missing) if n_missing < len(tied) else (0, 0)


def checked_seed(seed: Any) -> int:
    """The seed of a draw as an integer; an error if it is none, or negative.

    Args:
        seed: What the user gave.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed={seed!r} is no seed; give a whole number of at least 0, e.g. seed=0")
    return int(seed)


def without_infinity(values: Float[np.ndarray, "*unit"]) -> Float[np.ndarray, "*unit"]:
    """Scores for correlations: infinity becomes the largest finite magnitude (or 1), with its sign; NaN stays.

    Args:
        values: Scores, for instance t, which is infinite for a unit that a design explains without error.
    """
    values = np.asarray(values, dtype=float)
    infinite = np.isinf(values)
    if not infinite.any():
        return values
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    return np.where(infinite, np.copysign(largest, values), values)


def _at_cut(
    scores: Float[np.ndarray, " unit"], n: int
) -> tuple[Bool[np.ndarray, " unit"], Int[np.ndarray, " tied"], int]:
    """Units above the score at the cut, places of those that have it, and how many of these are needed."""
    numbers = scores[~np.isnan(scores)]
    n = min(n, len(numbers))
    if n <= 0:
        return np.zeros(scores.shape, dtype=bool), np.zeros(0, dtype=np.int64), 0
    cut = np.partition(numbers, len(numbers) - n)[len(numbers) - n]  # the n-th largest
    above = scores > cut  # False for NaN
    return above, np.flatnonzero(scores == cut), n - int(above.sum())


def _spread_order(layers: Int[np.ndarray, " tied"], rng: np.random.Generator) -> Int[np.ndarray, " tied"]:
    """A random order of units of which every beginning takes about as large a share of each layer."""
    shuffled = rng.permutation(len(layers))
    _, of, counts = np.unique(layers[shuffled], return_inverse=True, return_counts=True)
    # number of each unit within its layer, in the shuffled order
    by_layer = np.argsort(of, kind="stable")
    within = np.empty(len(of), dtype=np.int64)
    within[by_layer] = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = (within + rng.random(len(counts))[of]) / counts[of]
    return shuffled[np.argsort(places, kind="stable")]
