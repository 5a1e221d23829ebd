"""Tables of the page: a DataFrame as short strings, and how much smaller it has to be printed to fit the paper.

Numbers have four significant digits, booleans are "yes" or "no", missing values are a dash. Of a longer table the first
200 lines are shown, and the page says so. A sheet of A4 is about 90 characters of the table's font wide;
:func:`lay_out` adds up the longest cell of every column, and a wider table is printed in smaller type, down to half the
size. If that is not enough, cells break anywhere. Headings break behind underscores. So nothing is cut at the right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

MOST_LINES = 200
ACROSS = 90  # characters of the table's font, bold ones among them, that fit on A4 upright
LONGEST = 32  # a text cell wraps in print, so that it need not be wider than this
SMALLEST = 0.5  # smaller type could not be read


def lay_out(table: pd.DataFrame, most: int | None = MOST_LINES) -> dict[str, Any]:
    """A table as strings, with all that the template needs to know of it.

    Args:
        table: The table; an index with names becomes its first columns.
        most: Largest number of lines that are shown; None shows all.

    Returns:
        ``head`` (for each column its name and ``"n"`` if it holds numbers, ``"long"`` if it holds words that must
        break, else ``""``), ``rows`` (of strings), ``lines`` (number of lines of the whole table), ``left_out`` (number
        of lines that are not shown), and ``fit``, the share of its size on the screen at which the table fits on paper.
    """
    index = table.index
    if index.nlevels > 1 or index.name is not None or not pd.api.types.is_integer_dtype(index):
        table = table.reset_index(allow_duplicates=True)  # an index of names says something, one of numbers does not
    shown = table if most is None else table.head(most)
    # by place and not by name, for two columns may have the same name
    columns = [shown.iloc[:, i] for i in range(shown.shape[1])]
    cells = [[cell(value) for value in column] for column in columns]
    head = [
        (str(name), _column_kind(column, texts))
        for name, column, texts in zip(shown.columns, columns, cells, strict=True)
    ]
    return {
        "head": head,
        "rows": list(zip(*cells, strict=True)),
        "lines": len(table),
        "left_out": len(table) - len(shown),
        "fit": _print_size([name for name, _ in head], cells),
    }


def cell(value: Any) -> str:
    """One value of a table, short enough to read.

    Args:
        value: Any value; floats get four significant digits, booleans are "yes" or "no", missing values a dash.
    """
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}" if math.isfinite(value) else "\u2013" if math.isnan(value) else str(float(value))
    if value is None or value is pd.NA or value is pd.NaT:
        return "\u2013"
    return str(value)


def _column_kind(column: pd.Series, texts: list[str]) -> str:
    """How the template sets a column: ``"n"`` for numbers, ``"long"`` for words that must break, else ``""``."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return "n"
    return "long" if max((len(word) for text in texts for word in text.split()), default=0) > LONGEST else ""


def _print_size(names: list[str], cells: list[list[str]]) -> float:
    """The size of type at which a table fits on paper: 1, or less where its columns are together wider than that."""
    wide = 0  # characters
    for name, column in zip(names, cells, strict=True):
        # a heading breaks at underscores and spaces, so that its longest word counts
        words = name.replace("_", " ").split() or [""]
        longest = max(map(len, column), default=0)
        wide += min(LONGEST, max(longest, *map(len, words))) + 3  # 3 for the space between columns
    return round(min(1.0, max(SMALLEST, ACROSS / max(wide, 1))), 3)
