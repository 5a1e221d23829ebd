"""Activations of a layer, a piece of its rows and units at a time, so that memory depends on neither.

A piece is some 2,000 rows of 1,024 units in float64, 16 MB: small enough for a processor's cache, large enough that a matrix
product with it is fast. Pieces go through all units before the next rows, as they lie on disk; pages of a mapped file are handed
back behind them (they stay in the system's cache), or a process would seem to hold every recording it has read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording import memory_maps as mapped
from tl_fbn.acquisition.recording.half_precision import HalfArray

ROWS = 2048
UNITS = 1024


def unit_blocks(n: int) -> list[slice]:
    """Slices of neighbouring units."""
    return [slice(start, min(start + UNITS, n)) for start in range(0, n, UNITS)]


def pieces(
    array: np.ndarray | HalfArray, shift: Float[np.ndarray, " unit"], *, lead: int = 0
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Rows, units and float64 activations of every piece, with the shift off, in one buffer that the next piece overwrites.

    Args:
        array: (row, unit) one layer.
        shift: What to take off every row.
        lead: Rows before each piece's first that come with it, as far as there are any; they are not in its ``rows``.
    """
    n_rows, n_units = array.shape
    room = np.empty((min(ROWS + lead, n_rows), min(UNITS, n_units)))  # fresh memory a piece costs as much as filling it
    for first in range(0, n_rows, ROWS):
        rows = slice(first, min(first + ROWS, n_rows))
        for units in unit_blocks(n_units):
            values = array[max(first - lead, 0) : rows.stop, units]
            yield rows, units, np.subtract(values, shift[units], out=room[: len(values), : values.shape[1]])
        hand_back(array)


def hand_back(array: np.ndarray | HalfArray) -> None:
    """Let go of the pages of a mapped file; nothing happens to any other array."""
    mapped.hand_back(array.words if isinstance(array, HalfArray) else array)
