"""What an analysis gets of a stream: sums over rows, and what is known of each run beforehand. No torch, no model."""

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
        products: (functional, unit) the row vectors times the activations.
        squares: (unit,) sum of squares.
        lagged: (unit,) sum of products of neighbouring rows of one context.
        ends: (unit,) sum of squares of first and last rows of contexts (a row that is both counts twice).
        shift: (unit,) what was taken off every activation.
        sketch: (row, component) activations times the unit vectors, if any were given; nothing is taken off there.
    """

    products: Float[np.ndarray, "functional unit"]
    squares: Float[np.ndarray, " unit"]
    lagged: Float[np.ndarray, " unit"]
    ends: Float[np.ndarray, " unit"]
    shift: Float[np.ndarray, " unit"]
    sketch: Float[np.ndarray, "row component"] | None = None


def blocks_of(events: pd.DataFrame) -> list[tuple[str, slice]]:
    """Events as (trial_type, rows)."""
    columns = (events[name] for name in ("trial_type", "onset", "duration"))
    return [(str(kind), slice(int(at), int(at) + int(n))) for kind, at, n in zip(*columns, strict=True)]


def segment_starts_of(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """True at the first row of every prompt; of the first row only where the table has no prompts."""
    starts = np.arange(len(rows)) == 0
    if "prompt" in rows:
        prompt = rows["prompt"].to_numpy()
        starts[1:] = prompt[1:] != prompt[:-1]
    return starts


@dataclass(frozen=True, eq=False)
class StreamRun:
    """What is known of a run before the model has read it: rows, events, contexts.

    Args:
        space: The units of its columns.
        events: One line a block: onset and duration in rows, trial_type.
        rows: One line a row, as a recording has it, without surprisal; tokens to be generated are -1.
    """

    space: UnitSpace
    events: pd.DataFrame
    rows: pd.DataFrame

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def blocks(self) -> list[tuple[str, slice]]:
        """The events as (trial_type, rows)."""
        return blocks_of(self.events)

    @property
    def segment_starts(self) -> Bool[np.ndarray, " row"]:
        """True at the first row of every context."""
        return segment_starts_of(self.rows)


@runtime_checkable
class Streamed(Protocol):
    """Runs that can be summed over while a model reads them."""

    def __iter__(self) -> Iterator[StreamRun]: ...

    def __len__(self) -> int: ...

    @property
    def space(self) -> UnitSpace: ...

    @property
    def provenance(self) -> Provenance: ...

    def sums(
        self, functionals: Iterable[Any], *, shifted: Iterable[bool] | None = None, loadings: Any = None
    ) -> Iterator[RowSums]: ...
