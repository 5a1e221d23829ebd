"""Small tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any


def html_table(caption: str, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A small escaped HTML table for notebooks."""
    body = "".join(_line(row, "td") for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption>{_line(head, 'th')}{body}</table>"


def _line(cells: Sequence[Any], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
