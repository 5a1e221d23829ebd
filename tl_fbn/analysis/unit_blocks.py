"""Reading the activations of a layer in pieces, so that memory depends neither on its rows nor on its units.

A piece is some 2,000 rows of 1,024 units in float64, 16 MB: small enough for a processor's cache, large enough that a
matrix product with it is fast. Pieces go through all units before the next rows, as they lie on disk. Pages of a
mapped file are given back to the system once they were read (it may keep them in its cache); otherwise a process
would seem to hold every recording that it has read.
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
    """Slices of at most ``UNITS`` neighbouring units that cover ``n`` units."""
    return [slice(start, min(start + UNITS, n)) for start in range(0, n, UNITS)]


def pieces(
    array: np.ndarray | HalfArray, shift: Float[np.ndarray, " unit"], *, lead: int = 0
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Go through a layer in pieces, in float64 and with a shift taken off.

    Args:
        array: (row, unit) activations of one layer.
        shift: (unit,) number that is taken off every row.
        lead: Number of rows before the first of each piece that its activations begin with (fewer at the beginning of
            the run); the slice of rows does not count them.

    Yields:
        The slice of rows and the slice of units of a piece, and its activations, in a buffer that the next piece
        overwrites.
    """
    n_rows, n_units = array.shape
    # one buffer for all pieces: fresh memory for each would cost as much as filling it
    buffer = np.empty((min(ROWS + lead, n_rows), min(UNITS, n_units)))
    for first in range(0, n_rows, ROWS):
        rows = slice(first, min(first + ROWS, n_rows))
        for units in unit_blocks(n_units):
            values = array[max(first - lead, 0) : rows.stop, units]
            yield rows, units, np.subtract(values, shift[units], out=buffer[: len(values), : values.shape[1]])
        hand_back(array)  # after all units of these rows, which share the pages of the file


def hand_back(array: np.ndarray | HalfArray) -> None:
    """Give the memory pages of a mapped file back to the system; nothing happens to an array that is in memory."""
    mapped.hand_back(array.words if isinstance(array, HalfArray) else array)
