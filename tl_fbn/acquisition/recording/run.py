"""One run of a recording: the activations of its layers, its events, and a table that says what every row was.

A :class:`Run` is what the model did without a break: for every layer an array (row, unit), for every block a line of
``events``, for every row a line of ``rows``. Where the run is on disk its layers are read-only memory maps, so that
a run costs next to nothing until it is read, and then only the bytes asked for. Its tables are read when they are
first used.

The first row of a prompt does not follow the row before it in the model's time: a prompt has a context of its own, or,
where the context is carried, tokens that are no rows lie between. :attr:`Run.segment_starts` marks these rows for every
analysis that relates neighbouring rows, such as a GLM with autocorrelated noise.

:func:`pooled_run` makes of a run one with one row a prompt. No torch, no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.massive_units import without_variance
from tl_fbn.acquisition.recording.pooling import Pool, long_enough, pool_rows, pooled_tables
from tl_fbn.acquisition.recording.run_sums import blocks_of, segment_starts_of
from tl_fbn.acquisition.recording.stored_tensors import StoredTensors
from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError, InputIndexError, InputTypeError, one_of
from tl_fbn.kinds import as_integer, is_sequence, shown
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitSpace


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a recording, at one site.

    >>> run = recording[0]
    >>> run
    Run of 768 rows, 12 blocks: tl_fbn-demo mlp.neurons (3 x 384)
    >>> run.rows["token"].tolist()[:3], run.rows["trial_type"].tolist()[:3]
    (['<bos>', '[INST]', 'sort'], ['sort', 'sort', 'sort'])

    Args:
        space: The units of the site; the columns of a layer's array are the units of that layer.
        layers: Number of a layer, from 0, to its (row, unit) array. Layers without units are left out. Arrays of
            recordings in 16 bits are decoded to float32 where they are indexed. Those of a run on disk are mapped when
            they are asked for, and its file is open while one of them is held.
        about: Description of the run: of a run on disk what its ``run.json`` holds, of a run in memory at least
            ``key``, the key of the recording that its activations come from.
        folder: Folder of the run on disk, from which the tables are read; None for a run in memory.
        tables: The tables ``"events"`` and ``"rows"`` of a run in memory; empty for a run on disk.
    """

    space: UnitSpace
    layers: Mapping[int, Float[np.ndarray, "row unit"] | HalfArray]
    about: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows of the run; all its layers have them."""
        if isinstance(self.layers, StoredTensors):
            return self.layers.n_rows  # known without opening the file
        # a run of which no layer was recorded still has its row table
        return next(iter(self.layers.values())).shape[0] if self.layers else len(self.rows)

    @checked
    def layer(self, layer: int) -> Float[np.ndarray, "row unit"]:
        """Activations of one layer, all rows and units.

        >>> recording[0].layer(2).shape
        (768, 384)

        Args:
            layer: Number of the layer, from 0.

        Returns:
            (row, unit) activations: of a float32 recording on disk a read-only memory map, which reads the rows that
            are used; of a 16-bit recording a copy, decoded to float32; of a run in memory its own array.

        Raises:
            InputIndexError: The layer was not recorded at this site.
        """
        if layer not in self.layers:
            raise InputIndexError(
                f"layer {layer} was not recorded at {self.space.describe()}; layers: {', '.join(map(str, self.layers))}"
            )
        array = self.layers[layer]
        return array[:] if isinstance(array, HalfArray) else array

    def read(
        self,
        *,
        units: Network | Iterable[int] | Int[np.ndarray, " few"] | None = None,
        rows: slice | Sequence[int] | Int[np.ndarray, " some"] | Bool[np.ndarray, " row"] | None = None,
    ) -> Float[np.ndarray, "row unit"]:
        """Activations of some units and rows, as one array in memory; only those bytes are read.

        >>> recording[0].read(units=network, rows=slice(0, 100)).shape
        (100, 23)

        Args:
            units: A network, whose members are read, or ascending flat indices of units (over all layers, from 0), each
                once; None reads all units. A mask is refused: ``Network(run.space, mask)`` makes it a network.
            rows: A slice of rows, or row numbers in any order, where negative ones count from the end of the run, or a
                mask with one boolean a row; None reads all rows.

        Returns:
            (row, unit) activations: rows as they were asked for, units in ascending flat order.

        Raises:
            InputError: The network is of another unit space, indices do not ascend, or a mask has not one boolean a
                row.
            InputIndexError: An index is of no unit or no row.
            InputTypeError: An index is no integer: a float, or a boolean of a mask of units.
        """
        # (unit,) True for the units to read, over all layers
        if units is None:
            members = np.ones(self.space.n_units, dtype=bool)
        elif isinstance(units, Network):
            self.space.require_same(units.space, "read")
            members = units.members
        else:
            members = self._members_of(units)
        chosen_rows = slice(None) if rows is None else self._chosen_rows(rows)
        parts = []
        for layer, array in self.layers.items():
            columns = np.flatnonzero(members[self.space.layer_slice(layer)])
            if columns.size == array.shape[1]:  # all units of the layer: no list of columns is needed
                parts.append(np.asarray(array[chosen_rows]))
            elif columns.size:  # one index for both axes, so that nothing else is read or decoded
                is_slice = isinstance(chosen_rows, slice)
                # numpy would pair two lists item by item; np.ix_ makes it take every row at every column
                index = (chosen_rows, columns) if is_slice else np.ix_(chosen_rows, columns)
                parts.append(array[index])
        if not parts:  # no units: the array still has the rows that were asked for
            return np.empty((len(np.arange(self.n_rows)[chosen_rows]), 0), np.float32)
        return np.concatenate(parts, axis=1)

    def _members_of(self, units: Iterable[Any]) -> Bool[np.ndarray, " unit"]:
        """The units of ascending flat indices as a mask, in whose order they are read."""
        if not is_sequence(units, loose=True):
            raise InputTypeError(f"units= must be a list of units; got {shown(units)}")
        listed = units.tolist() if isinstance(units, np.ndarray) else list(units)
        members = Network.from_indices(self.space, listed).members
        if any(one >= following for one, following in itertools.pairwise(listed)):
            raise InputError(
                "units= are no ascending indices, and columns would come in another order than asked for; give "
                "np.unique(units)"
            )
        return members

    def _chosen_rows(self, rows: Any) -> slice | Int[np.ndarray, " some"]:
        """Rows as a slice or as numbers of rows that exist, from a slice, numbers or a mask."""
        if isinstance(rows, slice):
            if any(one is not None and as_integer(one) is None for one in (rows.start, rows.stop, rows.step)):
                raise InputTypeError(f"rows={rows} is no slice of whole numbers")
            return rows
        numbers = number_array(rows, "rows=")
        if not numbers.size:  # numpy takes an empty list for floats
            return np.zeros(0, np.intp)
        if numbers.ndim != 1 or numbers.dtype.kind == "f":
            raise InputTypeError(f"rows={rows!r} are no row numbers; give a slice, a list of integers, or a mask")
        if numbers.dtype.kind == "b":
            if len(numbers) != self.n_rows:
                raise InputError(f"rows= is a mask of {len(numbers)} rows, the run has {self.n_rows}; give one a row")
            return np.flatnonzero(numbers)
        if numbers.min() < -self.n_rows or numbers.max() >= self.n_rows:
            wrong = numbers[(numbers < -self.n_rows) | (numbers >= self.n_rows)][0]
            raise InputIndexError(f"row {wrong} is not in the run; rows: 0 to {self.n_rows - 1}")
        return numbers

    # A cached property writes to the instance's __dict__, which a frozen dataclass allows.
    @cached_property
    def events(self) -> pd.DataFrame:
        """The blocks, one line each: ``onset`` and ``duration`` in rows, and ``trial_type``, the condition."""
        return self._table("events", store.EVENTS)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What every row was, one line a row, indexed by the row's number from 0.

        A scan gives the columns ``prompt`` and ``block`` (numbers from 0), ``position`` (of the token in its context,
        from 0), ``token_id``, ``token``, ``trial_type`` (the condition), ``surprisal`` (nats) and ``flags`` (words
        such as ``bos``, ``special`` and ``cut``). Where rows are pooled prompts, ``n_tokens`` counts the rows that were
        pooled, and what is known of single tokens is missing. Recordings of other arrays have the columns given.
        """
        table = self._table("rows", store.ROWS)
        return table.set_index("row") if "row" in table else table  # in memory the index is the row already

    def _table(self, name: str, file: str) -> pd.DataFrame:
        """A table of the run: from memory, or from its file where the run is on disk."""
        return self.tables[name] if self.folder is None else store.read_run_table(self.folder, file, self.about)

    def blocks(self) -> list[tuple[str, slice]]:
        """The blocks as pairs of a condition and the slice of its rows.

        >>> recording[0].blocks()[:2]
        [('sort', slice(0, 64, None)), ('reverse', slice(64, 128, None))]
        """
        return blocks_of(self.events)

    @property
    def segment_starts(self) -> Bool[np.ndarray, " row"]:
        """(row,) True at the first row of every prompt; at row 0 only where the row table has no column ``prompt``.

        Rows of two prompts are no neighbours in the model's time: either each prompt has a context of its own, or,
        where the context is carried, tokens that are no rows lie between them.
        """
        return segment_starts_of(self.rows)

    def __repr__(self) -> str:
        return f"Run of {self.n_rows:,} rows, {len(self.events)} blocks: {self.space.describe()}"


def pooled_run(run: Run, how: Pool, drop_first: int = 0) -> Run:
    """A run in memory with one row a prompt.

    Args:
        run: The run to pool; its row table needs the column ``prompt``.
        how: ``"last"`` takes the last row of every prompt, ``"mean"`` the mean of its rows.
        drop_first: Number of rows at the start of every prompt that take no part.

    Returns:
        The pooled run: its events count prompts, and its row table has one line a prompt.

    Raises:
        InputError: ``how`` is neither, the row table has no prompts, or one that was not cut is too short.
    """
    one_of(how, Pool, "pool")
    if "prompt" not in run.rows:
        raise InputError("pooling makes one row a prompt and needs the row table's column prompt; give rows= with it")
    # a segment is a prompt: its rows are those from its start to the next
    starts = np.flatnonzero(run.segment_starts)
    long = long_enough(run.rows, starts, drop_first)
    stops = np.append(starts[1:], run.n_rows)[long]
    starts = starts[long] + drop_first
    layers = {layer: pool_rows(array, starts, run.n_rows, how, stops=stops) for layer, array in run.layers.items()}
    events, rows = pooled_tables(run.events, run.rows, starts, run.n_rows, stops=stops, dropped=drop_first)
    return Run(run.space, layers, without_variance(run.about), None, {"events": events, "rows": rows})


def read_only_view(array: np.ndarray) -> np.ndarray:
    """The same numbers, not copied, as an array that cannot be written to.

    Args:
        array: An array of any shape; it stays as writable as it was.
    """
    view = array.view()
    view.flags.writeable = False
    return view
