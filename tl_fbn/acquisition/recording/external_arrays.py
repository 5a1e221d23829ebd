"""Activations from elsewhere, checked before they become a recording: shapes, values, events and row tables.

What is checked is what every analysis later takes for granted: all runs have the same layers and units, all layers of
a run the same rows, values are finite and fit float32, blocks lie within their run, and row tables have a line a row.
Every message names the run, and the layer where there is one. Blocks may overlap or be out of order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError

_REQUIRED_COLUMNS = ("onset", "duration", "trial_type")


def check_arrays(
    arrays: list[list[np.ndarray]], events: Sequence[pd.DataFrame], rows: Sequence[pd.DataFrame] | None
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Check the arrays and tables of all runs.

    Args:
        arrays: A list (run) of lists (layer) of arrays (row, unit).
        events: For every run a table of its blocks: ``onset`` and ``duration`` in whole rows, and ``trial_type``.
        rows: For every run a table with one line a row; None where nothing is known of rows.

    Returns:
        For every run its events (with the three columns only) and its row table (indexed by the row's number, and
        without columns where nothing is known).

    Raises:
        InputError: Something does not fit; the message names the run and, where there is one, the layer.
    """
    if not arrays or not arrays[0]:
        raise InputError("from_arrays got no activations; give a list (run) of lists (layer) of arrays (row, unit)")
    for what, tables in (("events", events), ("rows", rows)):
        if tables is not None and len(tables) != len(arrays):
            raise InputError(f"{len(arrays)} runs of activations, but {len(tables)} tables of {what}; give one a run")
    checked = []
    for number, run in enumerate(arrays):
        # run 0 says how many layers there are and how wide each is
        if [layer.ndim for layer in run] != [2] * len(run) or [a.shape[1] for a in run] != [
            a.shape[1] for a in arrays[0]
        ]:
            raise InputError(
                f"run {number} has layers of shape {[layer.shape for layer in run]}, "
                f"run 0 {[layer.shape for layer in arrays[0]]}; "
                "every layer is (row, unit), with the same units in every run"
            )
        n_rows = run[0].shape[0]
        if n_rows == 0 or any(layer.shape[0] != n_rows for layer in run):
            raise InputError(
                f"run {number} has layers of {[layer.shape[0] for layer in run]} rows; "
                "all layers share the rows, at least one"
            )
        for layer, array in enumerate(run):
            # written as "not all are small enough", because every comparison with NaN is False
            if not (np.abs(array) <= np.finfo(np.float32).max).all():
                raise InputError(
                    f"run {number}, layer {layer} has activations that are NaN, infinite or too large for float32; "
                    "remove those rows or units first"
                )
        checked.append(
            (
                _check_events(events[number], number, n_rows),
                _check_rows(None if rows is None else rows[number], number, n_rows),
            )
        )
    return checked


def _check_events(table: pd.DataFrame, run: int, n_rows: int) -> pd.DataFrame:
    """The events of one run with times as integers, or an error."""
    missing = [name for name in _REQUIRED_COLUMNS if name not in table]
    if missing:
        raise InputError(f"events of run {run} lack {', '.join(missing)}; columns: onset, duration (rows), trial_type")
    # (block, 2) onsets and durations; what is no number becomes NaN, and NaN % 1 is not 0
    times = table[["onset", "duration"]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if (times % 1 != 0).any() or (times[:, 1] < 1).any() or bool(np.any(table["trial_type"].isna().to_numpy())):
        raise InputError(
            f"events of run {run} need whole numbers of rows (a duration of at least 1) and a trial_type in every "
            "line; onset and duration count rows, not seconds"
        )
    onsets, durations = times.astype(np.int64).T
    # the row after the last block; 0 where a run has no blocks
    end = int((onsets + durations).max(initial=0))
    if onsets.min(initial=0) < 0:
        raise InputError(f"events of run {run} begin at row {onsets.min()}; onset counts rows from 0")
    if end > n_rows:
        raise InputError(f"events of run {run} reach row {end}, the run has {n_rows}; onset and duration count rows")
    return pd.DataFrame(
        {"onset": onsets, "duration": durations, "trial_type": table["trial_type"].astype(str).to_list()}
    )


def _check_rows(table: pd.DataFrame | None, run: int, n_rows: int) -> pd.DataFrame:
    """The row table of one run, indexed by the row's number, or an error."""
    index = pd.RangeIndex(n_rows, name="row")
    if table is None:
        return pd.DataFrame(index=index)
    if len(table) != n_rows:
        raise InputError(
            f"the row table of run {run} has {len(table)} lines, the run {n_rows} rows; give one line a row"
        )
    # Line i is of row i, whatever the table's own index says. Columns run and row are those that to_dataframe() adds.
    return table.drop(columns=["run", "row"], errors="ignore").set_axis(index, axis=0)
