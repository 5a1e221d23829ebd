"""Small tables for notebooks, and tables of units from elsewhere, checked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.errors import InputError


def html_table(caption: str, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A small escaped HTML table for notebooks."""
    body = "".join(_line(row, "td") for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption>{_line(head, 'th')}{body}</table>"


def html_frame(caption: str, table: pd.DataFrame, digits: str = ".3g") -> str:
    """A data frame as :func:`html_table` lays tables out, its numbers shortened."""
    rows = [tuple(f"{x:{digits}}" if isinstance(x, float) else x for x in row) for row in table.itertuples(index=False)]
    return html_table(caption, tuple(table.columns), rows)


def _line(cells: Sequence[Any], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def frame_columns(
    table: pd.DataFrame, value: str
) -> tuple[Int[np.ndarray, " line"], Int[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """The columns layer, unit and ``value`` of a table, or an error that names the line at fault."""
    missing = [name for name in ("layer", "unit", value) if name not in table.columns]
    if missing:
        raise InputError(
            f"the table has the columns {', '.join(map(str, table.columns)) or 'none'}, but no {' and no '.join(missing)}; it needs layer, "
            f"unit and {value} (value= names another column)"
        )
    if table.empty:
        raise InputError("the table has no lines; give one a unit")
    numbers = {}
    for name in ("layer", "unit", value):
        found = pd.Series(pd.to_numeric(table[name], errors="coerce")).to_numpy(np.float64, na_value=np.nan)
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
    """Widths of the layers of a table that has every unit; an error names the first that is missing."""
    widths = []
    for layer in range(int(layers.max()) + 1):
        there = np.unique(units[layers == layer])
        width = int(there.max(initial=-1)) + 1
        if width == 0 or there.size < width:
            lost = f"unit {np.setdiff1d(np.arange(width), there)[0]} of layer {layer}" if width else f"layer {layer}"
            raise InputError(
                f"{lost} is not in the table, so that it cannot tell how wide the layers are; give space=UnitSpace(site, widths), and "
                "what is missing becomes NaN"
            )
        widths.append(width)
    return tuple(widths)


def refuse_repeated(flat: np.ndarray, layers: np.ndarray, units: np.ndarray) -> None:
    """Raise where one unit has two lines."""
    repeated = pd.Series(flat).duplicated().to_numpy()
    if repeated.any():
        line = int(np.argmax(repeated))
        first = int(np.argmax(flat == flat[line]))
        raise InputError(
            f"layer {layers[line]}, unit {units[line]} is in line {first} and in line {line}; give one line a unit"
        )
