"""Activations from elsewhere, checked before they become a recording: shapes, values, events and row tables.

What is checked is what every analysis later takes for granted: all runs have the same layers and units, all layers of
a run the same rows, values are finite and fit float32, blocks lie within their run, and row tables have a line a row.
Every message names the run, and the layer where there is one. Blocks may overlap or be out of order.

float32 keeps 24 bits of a number, about 7 digits. A unit that varies by 1 about a mean of 1e7 would come out in whole
numbers, and another t with it. So a unit is refused whose values rounding moves by more than a thousandth of their
standard deviation,

    max over rows |x - float32(x)| > SHARE sd(x),        SHARE = 1e-3 (our choice)

and the message says to subtract its mean; what still passes moves a t between 200 rows of noise by .002. Units that
only the rounding of float64 tells from a constant may pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from tl_fbn.arguments import number_array, numbers_of_column, refuse_doubled_columns
from tl_fbn.errors import InputError

_REQUIRED_COLUMNS = ("onset", "duration", "trial_type")
_SHARE = 1e-3  # largest rounding error, in standard deviations of a unit
_COLUMNS_AT_ONCE = 256  # units whose rounding is looked at together: temporaries stay small
_EXACT_TYPES = ("f4", "f2", "i2", "i1", "u2", "u1", "b1")  # float32 holds every number of these


def arrays_of(activations: Any) -> list[list[Shaped[np.ndarray, "row unit"]]]:
    """The activations of all runs as arrays of numbers, whatever they were given as; shapes are not checked.

    Args:
        activations: A list (run) of lists (layer) of arrays, tensors or nested lists (row, unit).

    Raises:
        InputError: There are no such lists, or a layer holds no real numbers or masked ones; the message names run and
            layer.
    """
    allowed = "give a list (run) of lists (layer) of arrays (row, unit)"
    found = []
    for number, run in enumerate(_listed(activations, f"activations are {type(activations).__name__}; {allowed}")):
        layers = _listed(run, f"run {number} of the activations is {type(run).__name__}; {allowed}")
        found.append([number_array(layer, f"run {number}, layer {place}") for place, layer in enumerate(layers)])
    return found


def stored_array(array: Shaped[np.ndarray, "row unit"]) -> Float[np.ndarray, "row unit"]:
    """An array as a recording keeps it in memory: float32, and nobody else's.

    Args:
        array: (row, unit) numbers, which stay as they are.
    """
    return np.array(array, np.float32, order="C")  # a copy: who wrote the array may go on, and the key must stay true


def _listed(given: Any, otherwise: str) -> list[Any]:
    """The parts of a list, tuple or array; anything else is an error with the message ``otherwise``."""
    if isinstance(given, (str, bytes, Mapping, pd.DataFrame)) or not isinstance(given, Iterable):
        raise InputError(otherwise)
    return list(given)


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
        if isinstance(tables, pd.DataFrame):
            raise InputError(f"{what} is one table; give a list with a table for every run")
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
            _check_rounding(array, f"run {number}, layer {layer}")
        checked.append(
            (
                _check_events(events[number], number, n_rows),
                _check_rows(None if rows is None else rows[number], number, n_rows),
            )
        )
    return checked


def _check_rounding(array: np.ndarray, where: str) -> None:
    """Raise an error where float32 would keep too little of how a unit varies; ``where`` names the layer."""
    if array.dtype.str[1:] in _EXACT_TYPES:
        return
    for first in range(0, array.shape[1], _COLUMNS_AT_ONCE):
        x = array[:, first : first + _COLUMNS_AT_ONCE]
        lost = np.abs(x - x.astype(np.float32)).max(0)  # (unit,) the largest error of rounding
        if not lost.any():  # numbers that were float32 once, or small integers
            continue
        x = x.astype(np.float64)
        sd = x.std(0)
        varies = sd > 1e3 * np.finfo(np.float64).eps * np.abs(x).max(0)
        wrong = varies & (lost > _SHARE * sd)
        if wrong.any():
            unit = int(np.argmax(wrong))
            raise InputError(
                f"{where}, unit {first + unit} has a standard deviation of {sd[unit]:.3g} about a mean of "
                f"{x[:, unit].mean():.6g}, and float32, in which activations are stored, would change its values by up "
                f"to {lost[unit]:.2g}; subtract each unit's mean, or scale the unit up, first"
            )


def _check_events(table: pd.DataFrame, run: int, n_rows: int) -> pd.DataFrame:
    """The events of one run with times as integers, or an error."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"events of run {run} are {type(table).__name__}; give a DataFrame with onset, duration ...")
    refuse_doubled_columns(table.columns, f"the events of run {run}")
    missing = [name for name in _REQUIRED_COLUMNS if name not in table]
    if missing:
        raise InputError(f"events of run {run} lack {', '.join(missing)}; columns: onset, duration (rows), trial_type")
    # (block, 2) onsets and durations; what is no number becomes NaN, and NaN % 1 is not 0
    times = np.stack([numbers_of_column(table[name]) for name in ("onset", "duration")], axis=1)
    if (times % 1 != 0).any() or (times[:, 1] < 1).any() or bool(np.any(table["trial_type"].isna().to_numpy())):
        raise InputError(
            f"events of run {run} need whole numbers of rows (a duration of at least 1) and a trial_type in every "
            "line; onset and duration count rows, not seconds"
        )
    # as floats, before they are cast: 1e30 would come out as another number. 0 where a run has no blocks
    first = times[:, 0].min(initial=0)
    end = times.sum(1).max(initial=0)
    if first < 0:
        raise InputError(f"events of run {run} begin at row {first:.0f}; onset counts rows from 0")
    if end > n_rows:
        raise InputError(
            f"events of run {run} reach row {end:.0f}, the run has {n_rows}; onset and duration count rows"
        )
    onsets, durations = times.astype(np.int64).T
    return pd.DataFrame(
        {"onset": onsets, "duration": durations, "trial_type": table["trial_type"].astype(str).to_list()}
    )


def _check_rows(table: pd.DataFrame | None, run: int, n_rows: int) -> pd.DataFrame:
    """The row table of one run, indexed by the row's number, or an error."""
    index = pd.RangeIndex(n_rows, name="row")
    if table is None:
        return pd.DataFrame(index=index)
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"the row table of run {run} is {type(table).__name__}; give a DataFrame with one line a row")
    refuse_doubled_columns(table.columns, f"the row table of run {run}")
    if len(table) != n_rows:
        raise InputError(
            f"the row table of run {run} has {len(table)} lines, the run {n_rows} rows; give one line a row"
        )
    # Line i is of row i, whatever the table's own index says. Columns run and row are those that to_dataframe() adds.
    return table.drop(columns=["run", "row"], errors="ignore").set_axis(index, axis=0)
