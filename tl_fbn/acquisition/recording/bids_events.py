"""Events out to the tools of neuroimaging, and in from them: BIDS events files.

The Brain Imaging Data Structure keeps what was shown in one table a run, tab-separated, with ``onset`` and ``duration`` first,
``n/a`` for what is missing, and one JSON sidecar that says what the columns mean::

    task-sort_events.json                 of all runs, and how many seconds a row stands for
    task-sort_run-01_events.tsv           onset  duration  trial_type
    task-sort_run-02_events.tsv

This package counts time in rows, one row a token position; BIDS counts seconds. Written as they are, rows *are* the seconds (``RowSeconds``
1 in the sidecar), which is what every tool that fits a GLM wants with a repetition time of 1; ``row_seconds`` scales them. Reading
divides by it again, so that what was written comes back exactly.

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
from tl_fbn.errors import InputError

_FIRST = ("onset", "duration", "trial_type")
_MISSING = "n/a"
_NEARLY_WHOLE = 1e-6  # of a row: what dividing by row_seconds may leave
_MOST_ROWS = 2.0**53  # beyond, floats skip whole numbers


def write_events(
    source: BlockDesign | Recording | Sequence[pd.DataFrame],
    folder: str | os.PathLike,
    *,
    task: str,
    row_seconds: int | float = 1.0,
) -> list[Path]:
    """Write events as BIDS does: one ``task-<label>_run-<k>_events.tsv`` a run, and one JSON sidecar for all of them.

    ::

        paths = fbn.write_events(recording, "bids/", task="sort")
        events = [fbn.read_events(path) for path in paths]      # the same tables again

    Args:
        source: A design, a recording, or one table of events a run; onset and duration count rows.
        folder: Where to; made if it is not there. Files of the same task and run are replaced.
        task: The task's label: letters and digits.
        row_seconds: Seconds that a row stands for.

    Returns:
        Paths of the tables, in the order of the runs.

    Raises:
        InputError: A label that BIDS does not allow, ``row_seconds`` that is no positive number, or events that :func:`read_events` would
            refuse.
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", task):
        raise InputError(f"task={task!r} is no label of BIDS; give letters and digits only")
    row_seconds = _positive(row_seconds)
    if isinstance(source, BlockDesign):
        tables = [source.events(run) for run in range(source.n_runs)]
    elif isinstance(source, Recording):
        tables = [run.events for run in source.runs_of[0]]
    else:
        tables = list(source)
    if not tables:
        raise InputError("there are no runs to write; give a design, a recording, or one table of events a run")
    checked = [checked_events(table, f"the events of run {run}") for run, table in enumerate(tables)]
    texts = [_tsv(table, row_seconds, f"run {run}") for run, table in enumerate(checked)]
    folder = Path(folder)
    digits = max(2, len(str(len(tables))))
    paths = [folder / f"task-{task}_run-{run + 1:0{digits}d}_events.tsv" for run in range(len(tables))]
    coded = [text.encode() for text in (_sidecar(checked, row_seconds), *texts)]  # what cannot be written stops here
    for path, data in zip([folder / f"task-{task}_events.json", *paths], coded, strict=True):
        files.write_atomically(path, data)
    return paths


def read_events(path: str | os.PathLike, *, row_seconds: int | float | None = None) -> pd.DataFrame:
    """Read a BIDS events file, ours or another's; :meth:`Recording.from_arrays` takes the tables.

    ::

        events = [fbn.read_events(path) for path in sorted(Path("bids").glob("task-sort_run-*_events.tsv"))]
        recording = fbn.Recording.from_arrays(activations, events=events)

    Args:
        path: A ``*_events.tsv`` file with a header line.
        row_seconds: Seconds that a row stands for; None: ``RowSeconds`` of the sidecar (beside the file, or that of its task), and 1 where
            there is none.

    Returns:
        onset and duration in rows (integers if all of them are whole), trial_type (text), then the further columns: numbers where every
        cell is one, text otherwise, ``n/a`` as missing.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A column is missing; an onset or duration is no number, negative or infinite; events without a trial_type, out of order,
            or overlapping. Messages name the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a BIDS events file, whose name ends in _events.tsv")
    seconds = _positive(_stated_seconds(path) if row_seconds is None else row_seconds)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, dialect="excel-tab") if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no table of text in UTF-8 ({error}); save it as tab-separated UTF-8") from error
    if not lines:
        raise InputError(f"{path} is empty; it needs a header line with onset, duration and trial_type")
    head = lines[0]
    body = lines[1:]
    missing = [name for name in _FIRST if name not in head]
    if missing or len(set(head)) < len(head):
        trouble = f"lacks {', '.join(missing)}" if missing else "has two columns of one name"
        raise InputError(f"{path} {trouble}; columns: {', '.join(head)}; it needs onset, duration and trial_type")
    for number, line in enumerate(body):
        if len(line) != len(head):
            raise InputError(
                f"{path}, event {number} has {len(line)} cells, the header {len(head)}; cells are parted by tabs"
            )
    columns = {name: [line[at] for line in body] for at, name in enumerate(head)}
    table = {
        name: _column(columns[name], name == "trial_type") for name in (*_FIRST, *(n for n in head if n not in _FIRST))
    }
    checked = checked_events(pd.DataFrame(table), str(path))
    for name in ("onset", "duration"):
        rows = checked[name].to_numpy(np.float64) / seconds
        if rows.max(initial=0.0) > _MOST_ROWS:
            raise InputError(
                f"{path} has the {name} {rows.max():.3g} rows of {seconds:g} s, more than can be counted; give row_seconds="
            )
        checked[name] = np.where(np.abs(rows - np.round(rows)) < _NEARLY_WHOLE, np.round(rows), rows)
    return _whole(checked)


def checked_events(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """A table of events in BIDS's order of columns, or an error that says which event is wrong."""
    missing = [name for name in _FIRST if name not in table.columns]
    if missing:
        raise InputError(f"{where} lack {', '.join(missing)}; events need onset, duration and trial_type")
    table = table.loc[:, [*_FIRST, *(name for name in table.columns if name not in _FIRST)]].reset_index(drop=True)
    for name in ("onset", "duration"):
        numbers = pd.Series(pd.to_numeric(table[name], errors="coerce")).to_numpy(np.float64, na_value=np.nan)
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"{where}, event {at} has the {name} {table[name].tolist()[at]!r}; give a number that is not negative"
            )
        table[name] = numbers
    names = pd.Series(table["trial_type"])
    unnamed = names.isna() | names.astype(str).isin(["", _MISSING])
    if bool(unnamed.any()):
        raise InputError(f"{where}, event {int(np.argmax(unnamed.to_numpy()))} has no trial_type; name its condition")
    table["trial_type"] = names.astype(str)
    starts = table["onset"].to_numpy()
    ends = (table["onset"] + table["duration"]).to_numpy()
    early = starts[1:] < ends[:-1] - _NEARLY_WHOLE
    if early.any():
        at = int(np.argmax(early)) + 1
        how = "starts before the event above it" if starts[at] < starts[at - 1] else "overlaps the event above it"
        raise InputError(
            f"{where}, event {at} {how}; blocks follow one another: sort events by onset, and let none begin in another"
        )
    return _whole(table)


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Onsets and durations as integers where all of them are."""
    times = table[["onset", "duration"]]
    return table.astype({"onset": np.int64, "duration": np.int64}) if bool((times % 1 == 0).to_numpy().all()) else table


def _tsv(table: pd.DataFrame, row_seconds: float, where: str) -> str:
    times = {name: table[name] * row_seconds for name in ("onset", "duration")} if row_seconds != 1 else {}
    out = table.assign(**times)
    text = io.StringIO(newline="")
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(map(str, out.columns))
    for line in zip(*(out[name].tolist() for name in out.columns), strict=True):
        writer.writerow([_cell(value, where) for value in line])
    return text.getvalue()


def _cell(value: Any, where: str) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    if isinstance(value, str) and value in ("", _MISSING):
        raise InputError(
            f"the events of {where} hold the text {value!r}, which BIDS reads as missing; give it another name"
        )
    if isinstance(value, str) and "\r" in value:
        raise InputError(f"the events of {where} hold {value!r}, whose \\r ends a line of the file; give another name")
    return repr(value) if isinstance(value, float) else str(value)


def _column(cells: list[str], is_text: bool) -> list[Any]:
    """Numbers where every cell that is there is one."""
    there = [cell for cell in cells if cell not in ("", _MISSING)]
    if not is_text:
        # Python reads 1_0 as 10 and digits of every script; other tools do not
        for kind in (int, float) if all(cell.isascii() and "_" not in cell for cell in there) else ():
            try:
                numbers = iter([kind(cell) for cell in there])
            except ValueError:
                continue
            return [next(numbers) if cell not in ("", _MISSING) else math.nan for cell in cells]
    return [None if cell in ("", _MISSING) else cell for cell in cells]


def _sidecar(tables: Sequence[pd.DataFrame], row_seconds: float) -> str:
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


def _stated_seconds(path: Path) -> Any:
    """``RowSeconds`` of the sidecar of a file, or of its task; 1 where none says."""
    own = path.with_suffix(".json")
    shared = path.with_name(re.sub(r"_run-[A-Za-z0-9]+", "", path.stem) + ".json")
    for sidecar in (own, shared):
        if sidecar.is_file():
            try:
                about = json.loads(sidecar.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{sidecar} is no JSON ({error}); mend it, or give row_seconds=") from error
            if isinstance(about, dict) and "RowSeconds" in about:
                return about["RowSeconds"]
    return 1.0


def _positive(row_seconds: Any) -> float:
    if isinstance(row_seconds, bool) or not isinstance(row_seconds, (int, float)) or not 0 < row_seconds < math.inf:
        raise InputError(f"row_seconds={row_seconds!r} is no length of a row; give a positive number of seconds")
    return float(row_seconds)
