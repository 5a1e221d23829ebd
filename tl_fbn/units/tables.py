"""Small tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd


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
