"""The tables of a run as text files: tab-separated, a line a row, every value as it was.

Texts are escaped as in JSON, so that a token with a tab or a line break in it is one cell of one line, and what is
missing is ``n/a``, as BIDS writes it. Any reader of tab-separated files reads the tables; this one also gives back
every type and digit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as BIDS does: tab-separated, ``n/a`` for what is missing.

    Texts in the columns token, trial_type and flags are escaped as in JSON, so that a cell is one line; in other
    columns every cell is a JSON value (strings in quotes). So all values come back as they were.
    """
    columns = [_cells_of_column(str(name), pd.Series(table[name])) for name in table.columns]
    lines = ["\t".join(_escaped_text(str(name)) for name in table.columns), *map("\t".join, zip(*columns))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    return parsed_table(path.read_text(encoding="utf-8"))


def parsed_table(text: str) -> pd.DataFrame:
    """The table that the text of a file holds.

    Args:
        text: What :func:`write_table` wrote.
    """
    lines = text.split("\n")[:-1]  # splitlines() would also split at other characters
    columns = [json.loads(f'"{name}"') for name in lines[0].split("\t")]
    cells = list(zip(*(line.split("\t") for line in lines[1:]), strict=True)) or [()] * len(columns)
    return pd.DataFrame({name: _values_of_cells(name, column) for name, column in zip(columns, cells, strict=True)})


_TEXT_COLUMNS = {"token", "trial_type", "flags"}  # their cells are always texts, written without quotes


def _values_of_cells(name: str, cells: Sequence[str]) -> list[Any]:
    """The values of a column, from its cells."""
    quote = '"' if name in _TEXT_COLUMNS else ""
    # one document a column: json is fast and keeps integers, floats, booleans and strings apart
    return json.loads(f"[{','.join('NaN' if cell == 'n/a' else f'{quote}{cell}{quote}' for cell in cells)}]")


def _cells_of_column(name: str, column: pd.Series) -> list[str]:
    """The cells of a column, each one line of text."""
    missing = column.isna().tolist()
    values = column.tolist()
    if name in _TEXT_COLUMNS:
        # a vocabulary is smaller than a run: each text is escaped once
        escaped = {text: _escaped_text(text) for text in set(map(str, values))}
        cells = [escaped[str(value)] for value in values]
    elif pd.api.types.is_numeric_dtype(column):
        # one document for all numbers, as it is quicker; 0 stands in for what is missing and becomes n/a below
        plain = [0 if gone else value for gone, value in zip(missing, values, strict=True)]
        cells = json.dumps(plain, separators=(",", ":"))[1:-1].split(",") if plain else []
    else:
        cells = [json.dumps(value if isinstance(value, (bool, int, float)) else str(value)) for value in values]
    return ["n/a" if gone else cell for gone, cell in zip(missing, cells, strict=True)]


def _escaped_text(text: str) -> str:
    """Text as inside a JSON string; printable characters stay as they are, and no text looks like a missing value."""
    return r"n\/a" if text == "n/a" else json.dumps(text, ensure_ascii=not text.isprintable())[1:-1]
