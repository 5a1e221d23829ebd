"""Reading tables: a column as numbers, lines as mappings, and those lines in which columns have given values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float


def column(table: pd.DataFrame, name: str) -> Float[np.ndarray, " line"]:
    """(line,) the numbers of a column.

    Args:
        table: The table.
        name: Name of the column.
    """
    return np.asarray(table[name], dtype=float)


def where(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The lines in which columns have the values given.

    Args:
        table: The table.
        **values: Name of a column to its value.
    """
    wanted = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        wanted &= np.asarray(table[name] == value)
    return table.iloc[np.flatnonzero(wanted)]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, each a mapping of columns to cells.

    Args:
        table: The table.
    """
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def one_line(table: pd.DataFrame, **values: Any) -> dict[str, Any] | None:
    """The first line in which columns have the values given; None where there is none.

    Args:
        table: The table.
        **values: Name of a column to its value.
    """
    return next(iter(records(where(table, **values))), None)
