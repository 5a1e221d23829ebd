"""Events out to the tools of neuroimaging, and in from them: BIDS events files.

The Brain Imaging Data Structure (Gorgolewski et al. 2016) keeps what was shown in one table a run, tab-separated, with
``onset`` and ``duration`` first, ``n/a`` for what is missing, and one JSON file beside them, the sidecar, that says
what the columns mean::

    task-sort_events.json                 of all runs, and how many seconds a row stands for
    task-sort_run-01_events.tsv           onset  duration  trial_type
    task-sort_run-02_events.tsv

This package counts time in rows, one row a token position; BIDS counts seconds. By default a row is written as one
second (``RowSeconds`` 1 in the sidecar), which suits every tool that fits a GLM with a repetition time of 1;
``row_seconds`` writes it as another number of seconds. Reading divides by that number again, so that what was written
comes back exactly.

Prompts and activations are not in these files: prompts are what :func:`~tl_fbn.read_prompts` reads, activations a
:class:`~tl_fbn.Recording`, which :meth:`~tl_fbn.Recording.from_arrays` makes of arrays and of these tables.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn import files
from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.arguments import numbers_of_column, refuse_doubled_columns
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.text_files import delimited_table, json_file

_REQUIRED_COLUMNS = ("onset", "duration", "trial_type")
_MISSING_CELL = "n/a"
_ROUNDING_TOLERANCE = 1e-6  # errors of rounding that are overlooked, in rows or in seconds of a file
_MAX_EXACT_ROWS = 2.0**53  # larger floats skip whole numbers, so that rows could not be told apart


@checked
def write_events(
    source: BlockDesign | Recording | Sequence[pd.DataFrame],
    folder: str | os.PathLike,
    *,
    task: str,
    row_seconds: int | float = 1.0,
) -> list[Path]:
    """Write events as BIDS does: one ``task-<label>_run-<k>_events.tsv`` a run, and one JSON sidecar for all of them.

    >>> paths = fbn.write_events(recording, "bids", task="lists", row_seconds=2)
    >>> [path.name for path in paths]
    ['task-lists_run-01_events.tsv', 'task-lists_run-02_events.tsv']
    >>> paths[0].read_text().splitlines()[:3]  # blocks of 64 rows, written as 128 seconds
    ['onset\\tduration\\ttrial_type', '0.0\\t128.0\\tsort', '128.0\\t128.0\\treverse']

    Args:
        source: A design or a recording, whose events are written, or one table of events a run with ``onset`` and
            ``duration`` in rows and ``trial_type``.
        folder: Folder of the files; made if it is not there. Files of the same task and run are replaced.
        task: Label of the task in the names of the files: letters and digits only, as BIDS demands.
        row_seconds: Number of seconds that a row is written as; 1 writes the numbers of rows as they are.

    Returns:
        Paths of the tables, in the order of the runs.

    Raises:
        InputError: The label is one that BIDS does not allow, ``row_seconds`` is no positive number, there are no runs,
            or :func:`read_events` would refuse the events.
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", task):
        raise InputError(f"task={task!r} is no label of BIDS; give letters and digits only")
    row_seconds = _positive_row_seconds(row_seconds)
    if isinstance(source, BlockDesign):
        tables = [source.events(run) for run in range(source.n_runs)]
    elif isinstance(source, Recording):
        tables = [run.events for run in source.runs_of[0]]
    else:
        tables = list(source)
    if not tables:
        raise InputError("there are no runs to write; give a design, a recording, or one table of events a run")
    checked = [checked_events(table, f"the events of run {run}") for run, table in enumerate(tables)]
    texts = [_tsv_text(table, row_seconds, f"run {run}") for run, table in enumerate(checked)]
    folder = Path(folder)
    digits = max(2, len(str(len(tables))))  # numbers of equal length, so that files sort by run
    paths = [folder / f"task-{task}_run-{run + 1:0{digits}d}_events.tsv" for run in range(len(tables))]
    # all texts are encoded before the first is written: one that cannot be leaves no half-written folder
    coded = [text.encode() for text in (_sidecar_text(checked, row_seconds), *texts)]
    for path, data in zip([folder / f"task-{task}_events.json", *paths], coded, strict=True):
        files.write_atomically(path, data)
    return paths


@checked
def read_events(path: str | os.PathLike, *, row_seconds: int | float | None = None) -> pd.DataFrame:
    """Read a BIDS events file, from this package or another tool; :meth:`Recording.from_arrays` takes such tables.

    >>> paths = fbn.write_events(recording, "bids", task="lists", row_seconds=2)
    >>> fbn.read_events(paths[0]).head(2)  # rows again: the sidecar says that a row is 2 seconds
       onset  duration trial_type
    0      0        64       sort
    1     64        64    reverse

    Args:
        path: A ``*_events.tsv`` file with a header line, in UTF-8.
        row_seconds: Number of seconds that a row stands for; times are divided by it. None takes ``RowSeconds`` of the
            JSON file of the same name or, if that has none, of the file without ``_run-...`` in its name; where neither
            says, a row is 1 second.

    Returns:
        A table with ``onset`` and ``duration`` in rows (integers if all of them are whole) and ``trial_type`` (text),
        then the other columns of the file: numbers where every cell is one, else text; ``n/a`` is read as missing.

    Raises:
        FileNotFoundError: There is no file at ``path``.
        InputError: The file is no table in UTF-8, lacks a column or names it twice; a row has more or fewer cells than
            the header, or a quotation mark is not closed; an onset or duration is no number, negative or infinite; an
            event has no trial_type; or events are out of order or overlap. The message names the file and, where one
            event is wrong, its line and its number from 0.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a BIDS events file, whose name ends in _events.tsv")
    seconds = _positive_row_seconds(_row_seconds_of_sidecar(path) if row_seconds is None else row_seconds)
    head, body = delimited_table(path, _REQUIRED_COLUMNS, delimiter="\t")
    columns = {name: [cells[at] for _, cells in body] for at, name in enumerate(head)}
    table = {
        name: _values_of_cells(columns[name], name == "trial_type")
        for name in (*_REQUIRED_COLUMNS, *(n for n in head if n not in _REQUIRED_COLUMNS))
    }
    checked = checked_events(pd.DataFrame(table), str(path), [line for line, _ in body])
    for name in ("onset", "duration"):
        rows = checked[name].to_numpy(np.float64) / seconds
        if rows.max(initial=0.0) > _MAX_EXACT_ROWS:
            raise InputError(
                f"{path} has the {name} {rows.max():.3g} rows of {seconds:g} s, more than can be counted; "
                "give row_seconds="
            )
        # 0.3 / 0.1 is not quite 3: what is nearly a whole number of rows is one
        checked[name] = np.where(np.abs(rows - np.round(rows)) < _ROUNDING_TOLERANCE, np.round(rows), rows)
    return _with_whole_times(checked)


def checked_events(table: pd.DataFrame, where: str, lines: Sequence[int] | None = None) -> pd.DataFrame:
    """A table of events in BIDS's order of columns, or an error that says which event is wrong.

    Args:
        table: The events of one run; times may be in rows or in seconds.
        where: What holds the events, in words; messages begin with it.
        lines: (event,) number of each event's line in the file that they are from; None where they are from none.

    Returns:
        A new table: onset, duration, trial_type (text), then the other columns; times are integers if all are whole.

    Raises:
        InputError: A column is missing, a time is no finite number of at least 0, a trial_type is missing, or an event
            starts before the end of the event above it.
    """
    refuse_doubled_columns(table.columns, where)
    missing = [name for name in _REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"{where} lack {', '.join(missing)}; events need onset, duration and trial_type")
    table = table.loc[
        :, [*_REQUIRED_COLUMNS, *(name for name in table.columns if name not in _REQUIRED_COLUMNS)]
    ].reset_index(drop=True)
    for name in ("onset", "duration"):
        # what is no number becomes NaN, which is not finite either
        numbers = numbers_of_column(table[name])
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"{_place(where, at, lines)} has the {name} {table[name].tolist()[at]!r}; give a number that is not "
                "negative"
            )
        table[name] = numbers
    names = pd.Series(table["trial_type"])
    unnamed = names.isna() | names.astype(str).isin(["", _MISSING_CELL])
    if bool(unnamed.any()):
        at = int(np.argmax(unnamed.to_numpy()))
        raise InputError(f"{_place(where, at, lines)} has no trial_type; name its condition")
    table["trial_type"] = names.astype(str)
    starts = table["onset"].to_numpy()
    ends = (table["onset"] + table["duration"]).to_numpy()
    # seconds that were rounded may overlap by a rounding error
    early = starts[1:] < ends[:-1] - _ROUNDING_TOLERANCE
    if early.any():
        at = int(np.argmax(early)) + 1
        how = "starts before the event above it" if starts[at] < starts[at - 1] else "overlaps the event above it"
        raise InputError(
            f"{_place(where, at, lines)} {how}; blocks follow one another: sort events by onset, and let none begin in "
            "another"
        )
    return _with_whole_times(table)


def _place(where: str, event: int, lines: Sequence[int] | None) -> str:
    """Where an event is, in words: its line in a file, if it is from one, and its number."""
    return f"{where}, event {event}" if lines is None else f"{where}, line {lines[event]}, event {event}"


def _with_whole_times(table: pd.DataFrame) -> pd.DataFrame:
    """The table with onsets and durations as integers, if all of them are whole; else as it is."""
    times = table[["onset", "duration"]]
    return table.astype({"onset": np.int64, "duration": np.int64}) if bool((times % 1 == 0).to_numpy().all()) else table


def _tsv_text(table: pd.DataFrame, row_seconds: float, where: str) -> str:
    """The events of a run as the text of a file; ``where`` names the run in messages."""
    # integers stay integers where a row is a second
    times = {name: table[name] * row_seconds for name in ("onset", "duration")} if row_seconds != 1 else {}
    out = table.assign(**times)
    text = io.StringIO(newline="")
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(map(str, out.columns))
    for line in zip(*(out[name].tolist() for name in out.columns), strict=True):
        writer.writerow([_cell_text(value, where) for value in line])
    return text.getvalue()


def _cell_text(value: Any, where: str) -> str:
    """One value as a cell, or an error where it would be read as another value."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return _MISSING_CELL
    if isinstance(value, str) and value in ("", _MISSING_CELL):
        raise InputError(
            f"the events of {where} hold the text {value!r}, which BIDS reads as missing; give it another name"
        )
    if isinstance(value, str) and "\r" in value:
        raise InputError(f"the events of {where} hold {value!r}, whose \\r ends a line of the file; give another name")
    if isinstance(value, str) and "\n" in value and "\t" in value:
        raise InputError(f"the events of {where} hold {value!r}, whose lines read as rows; give another name")
    return repr(value) if isinstance(value, float) else str(value)  # repr has all digits that reading needs


def _values_of_cells(cells: list[str], is_text: bool) -> list[Any]:
    """The values of a column: numbers if every cell that is not missing is one (and it is not of text), else text."""
    there = [cell for cell in cells if cell not in ("", _MISSING_CELL)]
    if not is_text:
        # integers if all are, else floats. Python reads 1_0 as 10, and digits of every script; other tools do not
        for kind in (int, float) if all(cell.isascii() and "_" not in cell for cell in there) else ():
            try:
                numbers = iter([kind(cell) for cell in there])
            except ValueError:
                continue
            return [next(numbers) if cell not in ("", _MISSING_CELL) else math.nan for cell in cells]
    return [None if cell in ("", _MISSING_CELL) else cell for cell in cells]


def _sidecar_text(tables: Sequence[pd.DataFrame], row_seconds: float) -> str:
    """The JSON text that says what the columns mean; ``trial_type`` lists the conditions of all runs."""
    unit = "row" if row_seconds == 1 else "s"
    row = "one row is one token position of the model's input" + (
        "" if row_seconds == 1 else f", written as {row_seconds:g} s"
    )
    levels = dict.fromkeys(str(name) for table in tables for name in table["trial_type"])
    about: dict[str, Any] = {
        "onset": {"Description": f"First row of the block, from the beginning of its run; {row}", "Units": unit},
        "duration": {"Description": f"Length of the block; {row}", "Units": unit},
        "trial_type": {
            "Description": "Condition of the block",
            "Levels": {name: f"Prompts of {name}" for name in levels},
        },
        "RowSeconds": row_seconds,
    }
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def _row_seconds_of_sidecar(path: Path) -> Any:
    """``RowSeconds`` of the sidecar of a file, or of its task; 1 where none says."""
    # BIDS's inheritance: a sidecar without the run in its name is for all runs, and the one nearer to the file wins
    own = path.with_suffix(".json")
    shared = path.with_name(re.sub(r"_run-[A-Za-z0-9]+", "", path.stem) + ".json")
    for sidecar in (own, shared):
        if sidecar.is_file():
            about = json_file(sidecar, "mend it, or give row_seconds=")
            if not isinstance(about, dict):
                raise InputError(f"{sidecar} holds no JSON object, as sidecars do; mend it, or give row_seconds=")
            if "RowSeconds" in about:
                return about["RowSeconds"]
    return 1.0


def _positive_row_seconds(row_seconds: Any) -> float:
    """The seconds of a row as a float, or an error; True counts as no number."""
    if isinstance(row_seconds, bool) or not isinstance(row_seconds, (int, float)) or not 0 < row_seconds < math.inf:
        raise InputError(f"row_seconds={row_seconds!r} is no length of a row; give a positive number of seconds")
    return float(row_seconds)
