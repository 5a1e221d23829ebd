"""A report: results in, one HTML file out that opens anywhere, for years, without a network.

    Report("What sorts?", contrast.z, atlas, study).save("sort.html")

One file holds everything: text, tables, the numbers of every picture and one copy of plotly.js (4.8 MB; left out when
there is no picture). It loads nothing: fonts are the system's, and a content security policy in its head forbids every
request and every script but the page's own. Without scripts it still reads, because each picture is followed by its
table. Where plotly is not installed the page has the tables alone and says so.

Safety: titles, tokens, names and table cells are text and are escaped; the numbers of a picture are embedded as JSON
in which ``<`` is written ``\\u003c``, so no label can end the script element it stands in. The one exception is the
HTML of a result's own ``_repr_html_()``, put in as it is; scripts in it do not run.

Cost: plotly.js plus about 11 bytes for every cell of a map that is drawn. Tables are cut at 200 lines, and say so. What
a section says about a result is decided in :mod:`tl_fbn.reporting.sections`.

What it does not do: no model is run and nothing is tested here; a report only shows what results already hold.
"""

from __future__ import annotations

import html
import json
import math
import os
import platform
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tl_fbn import files
from tl_fbn.reporting.sections import Section, require_showable, sections_of
from tl_fbn.units import html_table

__all__ = ["Report", "Section"]

MOST_LINES = 200
PACKAGES = ("tl-fbn", "numpy", "pandas", "plotly")


@dataclass(frozen=True, eq=False, init=False)
class Report:
    """Results, in the order in which they are to be read.

    >>> Report("What sorts?", Section("Method", "Six cycles of sort and rest."))
    Report "What sorts?": 1 result

    Args:
        title: Heading of the page.
        *results: Maps, networks, atlases, studies, tables, :class:`Section` objects.
        intro: Plain text under the title; a blank line starts a new paragraph.

    Raises:
        TypeError: A result that no report can show.
    """

    title: str
    results: tuple[Any, ...]
    intro: str | None

    def __init__(self, title: str, *results: Any, intro: str | None = None) -> None:
        if not isinstance(title, str):
            raise TypeError(f"a report's first argument is its title, a string; got {type(title).__name__}")
        if not results:
            raise ValueError(f'report "{title}" has no results; give at least one after the title')
        for place, result in enumerate(results, start=1):
            require_showable(result, place)
        for name, value in (("title", title), ("results", results), ("intro", intro)):
            object.__setattr__(self, name, value)

    def sections(self) -> list[Section]:
        """The sections of the page, in order."""
        return [section for result in self.results for section in sections_of(result)]

    def to_html(self) -> str:
        """The page as one string."""
        plotly_js = _plotly_js()
        sections = self.sections()
        wanted = sum(section.figure is not None for section in sections)
        blocks, figures, tables = [], 0, 0
        for section in sections:
            picture = None if plotly_js is None or section.figure is None else _picture(section)
            figures += picture is not None
            tables += section.table is not None
            blocks.append(
                {
                    "title": section.title,
                    "paragraphs": _paragraphs(section.text),
                    "picture": picture and {**picture, "number": figures},
                    "table": None if section.table is None else {**_table(section.table), "number": tables},
                    "html": None if section.html is None else Markup(section.html),
                }
            )
        environment = Environment(
            loader=PackageLoader("tl_fbn", "reporting"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("page.html.jinja").render(
            title=self.title,
            intro=_paragraphs(self.intro or ""),
            sections=blocks,
            left_out=wanted if plotly_js is None else 0,
            plotly_js=Markup(plotly_js) if plotly_js and figures else None,
            nonce=secrets.token_urlsafe(12),
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            versions=_versions(),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the page to one HTML file."""
        files.write_atomically(Path(path), self.to_html().encode("utf-8"))

    def __repr__(self) -> str:
        return f'Report "{self.title}": {len(self.results)} result{"" if len(self.results) == 1 else "s"}'

    def _repr_html_(self) -> str:
        lines = [(number, section.title) for number, section in enumerate(self.sections(), start=1)]
        return html_table(f"{self!r}; .save(path) writes the page", ("section", "title"), lines)


def _picture(section: Section) -> dict[str, Any]:
    """A figure as JSON that is safe inside a script element, its title moved out into a caption that can wrap."""
    spec = json.loads(str(section.draw().to_json()))
    layout = spec.setdefault("layout", {})
    title = layout.pop("title", None) or {}
    heading = title.get("text", "") if isinstance(title, dict) else str(title)
    height = int(layout.get("height", 450))
    if heading:
        margin = layout.setdefault("margin", {})
        spare = max(0, margin.get("t", 100) - 44)  # titles of panels keep their place
        margin["t"] = margin.get("t", 100) - spare
        layout["height"] = height = height - spare
    layout.pop("width", None)
    return {
        "caption": html.unescape(re.sub(r"<[^>]*>", " ", heading)) or section.title,
        "json": Markup(_safe_json({"data": spec.get("data", []), "layout": layout})),
        "height": height,
        "min_width": int((layout.get("meta") or {}).get("min_width", 0)),
    }


def _safe_json(value: Any) -> str:
    """JSON that cannot end, or be mistaken for, the HTML around it."""
    text = json.dumps(value, separators=(",", ":"))  # ASCII only, so U+2028 and U+2029 are escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(table: pd.DataFrame) -> dict[str, Any]:
    """A table as strings, with which columns are numbers and how many lines were left out."""
    index = table.index
    if index.nlevels > 1 or index.name is not None or not pd.api.types.is_integer_dtype(index):
        table = table.reset_index(allow_duplicates=True)  # an index of names says something, one of numbers does not
    shown = table.head(MOST_LINES)
    columns = [shown.iloc[:, i] for i in range(shown.shape[1])]
    return {
        "head": [
            (str(name), pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))
            for name, column in zip(shown.columns, columns, strict=True)
        ],
        "rows": list(zip(*([_cell(value) for value in column] for column in columns), strict=True)),
        "lines": len(table),
        "left_out": len(table) - len(shown),
    }


def _cell(value: Any) -> str:
    """One value of a table, short enough to read."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}" if math.isfinite(value) else "\u2013" if math.isnan(value) else str(float(value))
    if value is None or value is pd.NA or value is pd.NaT:
        return "\u2013"
    return str(value)


def _paragraphs(text: str) -> Sequence[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _plotly_js() -> str | None:
    """plotly.js as text, or None where plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return get_plotlyjs()


def _versions() -> list[str]:
    """Versions of what made the page; ``unknown`` for what runs from a bare checkout."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} {'not installed' if name == 'plotly' else 'unknown'}")
    return found
