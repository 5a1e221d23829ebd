"""Small HTML tables for notebooks, and checks of tables with one line a unit that users hand in.

A table of units has the columns ``layer``, ``unit`` (numbered within its layer, from 0) and a column of values. The
checks name the first line that is wrong, counted from 0.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.arguments import numbers_of_column
from tl_fbn.errors import InputError


def html_table(caption: str, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A small HTML table for notebooks; all text is escaped.

    Args:
        caption: Text above the table.
        head: Names of the columns.
        rows: For every line its cells, as text or anything that ``str`` turns into text.
    """
    body = "".join(_line(row, "td") for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption>{_line(head, 'th')}{body}</table>"


def html_frame(caption: str, table: pd.DataFrame, digits: str = ".3g") -> str:
    """A data frame as a small HTML table for notebooks; its index is left out.

    Args:
        caption: Text above the table.
        table: The data frame.
        digits: Format of floating-point numbers, as in ``format(x, digits)``.
    """
    rows = [tuple(f"{x:{digits}}" if isinstance(x, float) else x for x in row) for row in table.itertuples(index=False)]
    return html_table(caption, tuple(table.columns), rows)


def _line(cells: Sequence[Any], tag: str) -> str:
    """One line of a table; ``tag`` is ``th`` for its head and ``td`` for its body."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def frame_columns(
    table: pd.DataFrame, value: str
) -> tuple[Int[np.ndarray, " line"], Int[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """The columns of layers, units and values of a table with one line a unit, as arrays.

    Args:
        table: Columns ``layer``, ``unit`` and the one that ``value`` names; others are left alone.
        value: Name of the column of values.

    Returns:
        Layers and units as integers, and values as float64 (NaN where a cell is empty); each (line,).

    Raises:
        InputError: A column is missing, there is no line, a layer or unit is no whole number, or a value is no number.
    """
    # all missing columns in one message
    missing = [name for name in ("layer", "unit", value) if name not in table.columns]
    if missing:
        raise InputError(
            f"the table has the columns {', '.join(map(str, table.columns)) or 'none'}, but no "
            f"{' and no '.join(missing)}; it needs layer, unit and {value} (value= names another column)"
        )
    if table.empty:
        raise InputError("the table has no lines; give one a unit")
    numbers = {}
    for name in ("layer", "unit", value):
        # what is no number becomes NaN here, and is told from an empty cell below
        column = table[name]
        # a value may be a boolean, a layer not
        found = numbers_of_column(column.astype(float) if name == value and column.dtype.kind == "b" else column)
        # values may be empty (NaN), layers and units must be whole numbers in every line
        wrong = (
            np.isnan(found) & ~table[name].isna().to_numpy()
            if name == value
            else ~(np.isfinite(found) & (np.floor(found) == found))
        )
        if wrong.any():
            line = int(np.argmax(wrong))
            what = "number" if name == value else "whole number"
            raise InputError(
                f"line {line} has the {name} {table[name].tolist()[line]!r}, no {what}; {name} needs one in every line"
            )
        numbers[name] = found
    return numbers["layer"].astype(np.int64), numbers["unit"].astype(np.int64), numbers[value]


def complete_widths(layers: Int[np.ndarray, " line"], units: Int[np.ndarray, " line"]) -> tuple[int, ...]:
    """The width of every layer, from a table that has a line for every unit of every layer.

    Args:
        layers: (line,) layers.
        units: (line,) units, numbered within their layer.

    Raises:
        InputError: A layer or unit is missing below the largest that is there; the message names the first.
    """
    widths = []
    # a layer that no line mentions is an error too: its width is unknown
    for layer in range(int(layers.max()) + 1):
        there = np.unique(units[layers == layer])  # complete if these are 0 ... width - 1
        width = int(there.max(initial=-1)) + 1
        if width == 0 or there.size < width:
            lost = f"unit {np.setdiff1d(np.arange(width), there)[0]} of layer {layer}" if width else f"layer {layer}"
            raise InputError(
                f"{lost} is not in the table, so that it cannot tell how wide the layers are; give "
                "space=UnitSpace(site, widths), and what is missing becomes NaN"
            )
        widths.append(width)
    return tuple(widths)


def refuse_repeated(flat: np.ndarray, layers: np.ndarray, units: np.ndarray) -> None:
    """Raise an error where a unit has two lines.

    Args:
        flat: (line,) flat indices of the units.
        layers: (line,) layers, for the message.
        units: (line,) units, for the message.

    Raises:
        InputError: A unit has two lines; the message names both.
    """
    # True for every line whose unit has come before
    repeated = pd.Series(flat).duplicated().to_numpy()
    if repeated.any():
        line = int(np.argmax(repeated))  # argmax of booleans is the place of the first True
        first = int(np.argmax(flat == flat[line]))
        raise InputError(
            f"layer {layers[line]}, unit {units[line]} is in line {first} and in line {line}; give one line a unit"
        )
