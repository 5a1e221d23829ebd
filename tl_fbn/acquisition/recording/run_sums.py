"""Runs that are read only once, and the sums over rows that an analysis gets of them.

A stream (:class:`tl_fbn.acquisition.scan.streaming.Stream`) stores no activations: an analysis says beforehand which
sums over rows it needs, and gets them when the model has read a run. :class:`Streamed` is what an analysis asks of a
stream, :class:`StreamRun` what is known of a run beforehand, :class:`RowSums` what comes back. With activations ``y_t``
of a unit at row t, less the unit's shift:

=========== ==========================================================================
products    ``sum_t f_t y_t`` for every functional f, a vector with a number a row
squares     ``sum_t y_t**2``
lagged      ``sum_t y_t y_(t-1)``, over rows t whose row before is in the same context
ends        ``sum y_first**2 + y_last**2``, over contexts
=========== ==========================================================================

No torch, no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tl_fbn.units import UnitSpace
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over the rows of one run, of activations less ``shift``.

    Args:
        products: (functional, unit) products of every functional (a vector with a number a row) with the activations.
        squares: (unit,) sums of squared activations.
        lagged: (unit,) sums of products of the activations of neighbouring rows of one context.
        ends: (unit,) sums of squared activations of the first and last rows of contexts; the row of a context of one
            row is both and counts twice.
        shift: (unit,) number that was taken off every activation of the unit; 0 where nothing was.
        sketch: (row, component) activations times the vectors over units that were asked for, without the shift; None
            if none were asked for.
    """

    products: Float[np.ndarray, "functional unit"]
    squares: Float[np.ndarray, " unit"]
    lagged: Float[np.ndarray, " unit"]
    ends: Float[np.ndarray, " unit"]
    shift: Float[np.ndarray, " unit"]
    sketch: Float[np.ndarray, "row component"] | None = None


def blocks_of(events: pd.DataFrame) -> list[tuple[str, slice]]:
    """The blocks of a table of events as pairs of a condition and the slice of its rows.

    Args:
        events: One line a block, with ``trial_type``, and ``onset`` and ``duration`` in rows.
    """
    columns = (events[name] for name in ("trial_type", "onset", "duration"))
    return [(str(kind), slice(int(at), int(at) + int(n))) for kind, at, n in zip(*columns, strict=True)]


def segment_starts_of(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """(row,) True at the first row of every prompt; at row 0 only where the table has no column ``prompt``.

    Args:
        rows: A row table, one line a row in order.
    """
    starts = np.arange(len(rows)) == 0  # row 0 starts a segment in any case
    if "prompt" in rows:
        prompt = rows["prompt"].to_numpy()
        # a row starts a segment if its prompt is another than that of the row before
        starts[1:] = prompt[1:] != prompt[:-1]
    return starts


@dataclass(frozen=True, eq=False)
class StreamRun:
    """What is known of a run before the model has read it: rows, events, contexts.

    Args:
        space: The units of the site that is read.
        events: The blocks, one line each: ``onset`` and ``duration`` in rows, ``trial_type``.
        rows: The row table, one line a row, with the columns that a recording has; surprisal is NaN, and the token_id
            of tokens that the model has yet to write is -1.
    """

    space: UnitSpace
    events: pd.DataFrame
    rows: pd.DataFrame

    @property
    def n_rows(self) -> int:
        """Number of rows of the run."""
        return len(self.rows)

    def blocks(self) -> list[tuple[str, slice]]:
        """The blocks as pairs of a condition and the slice of its rows."""
        return blocks_of(self.events)

    @property
    def segment_starts(self) -> Bool[np.ndarray, " row"]:
        """(row,) True at the first row of every context."""
        return segment_starts_of(self.rows)


@runtime_checkable
class Streamed(Protocol):
    """Runs that can be summed over while a model reads them."""

    # Iterating tells of every run what is known beforehand; it costs no forward pass.
    def __iter__(self) -> Iterator[StreamRun]: ...

    def __len__(self) -> int: ...

    @property
    def space(self) -> UnitSpace:
        """The units of the site that is read."""
        ...

    @property
    def provenance(self) -> Provenance:
        """What a network found in the stream remembers of it: key, digest of the weights, digests of the prompts."""
        ...

    @property
    def outgoing_norms(self) -> Float[np.ndarray, " unit"] | None:
        """(unit,) norms of the outgoing weights of the units; None where they are not known, or there are none."""
        ...

    def sums(
        self, functionals: Iterable[Any], *, shifted: Iterable[bool] | None = None, loadings: Any = None
    ) -> Iterator[RowSums]:
        """Let the model read the runs, one after the other, and yield the sums of each.

        Args:
            functionals: For every run a (functional, row) array, dense or sparse, of vectors over rows whose products
                with the activations are wanted; taken when the run's turn comes.
            shifted: For every run True where a value near each unit's mean is taken off its activations first, which
                keeps digits in the sums of squares; None shifts all runs.
            loadings: (unit, component) vectors over units that every row is multiplied with; None for none.

        Returns:
            The sums of one run after the other.
        """
        ...
