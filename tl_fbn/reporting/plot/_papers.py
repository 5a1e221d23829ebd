"""A paper's protocol: its claims beside what was found, and its tables as matrices or curves.

The claims have a panel each, with a scale of its own: the dot is what was found here, the whisker its 95 % interval
(over what the claim's column ``n`` says), the hollow square the same number of a control. A filled dot is a claim that
holds here.

The tables behind them are ``study.claims`` and ``study.table(name)``.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

PARTS = ("claims", "tables", "paper", "model")  # what is read of a study
_WIDE = 62  # letters of a panel's title in one line


@checked
def paper_claims(study: Any) -> Figure:
    """Every claim of a paper: what was found here beside a control that the paper does not have.

    >>> study = fbn.papers.s2.run(model, fbn.demo.topics(), "s2", seed=0, quick=True, progress=False)
    >>> fbn.plot.paper_claims(study).layout.title.text
    'Claims of s2 on tl_fbn-demo: found here, and a control'

    Args:
        study: What a protocol found, a :class:`tl_fbn.papers.PaperStudy`.

    Raises:
        InputTypeError: ``study`` is no study of a paper.
        InputError: It has no claims.
    """
    panels.require(study, PARTS, "paper_claims", "a PaperStudy")
    go, _ = theme.plotly()
    lines = study.claims.to_dict("records")
    if not lines:
        raise InputError("paper_claims draws claims, and this study has none")
    titles = [_title(line) for line in lines]
    figure, height, places = panels.grid(titles, columns=2, height=62, gap=104, aside=0.1)
    for number, (line, at) in enumerate(zip(lines, places, strict=True)):
        first = {"showlegend": number == 0}
        found, control = float(line["found"]), float(line["control"])
        low, high = (found if np.isnan(end) else end for end in (float(line["low"]), float(line["high"])))
        dot = panels.whiskers(
            [found],
            [0.0],
            [low],
            [high],
            theme.OKABE_ITO[0],
            marker=panels.filled([line["verdict"] == "holds"], theme.OKABE_ITO[0]),
            name="found here",
            legendgroup="found",
            hovertemplate=f"{theme.verbatim(line['measure'])} %{{x:.4g}}<extra></extra>",
            **first,
        )
        figure.add_trace(dot, **at)
        if np.isfinite(control):
            look = {"symbol": "square-open", "size": 10, "color": panels.CHANCE, "line": {"width": 2}}
            words = theme.verbatim(line["beside"])
            beside = go.Scatter(
                x=[control],
                y=[0.0],
                mode="markers",
                marker=look,
                name="its control",
                legendgroup="control",
                hovertemplate=f"{words} %{{x:.4g}}<extra></extra>",
                **first,
            )
            figure.add_trace(beside, **at)
        figure.update_yaxes(visible=False, range=[-1, 1], **at)
        figure.update_xaxes(title_text=theme.label(line["measure"], 56), **at)
    heading = f"Claims of {study.paper} on {study.model}: found here, and a control"
    return panels.finish(figure, heading, height, min_width=330 * max(at["col"] for at in places))


@checked
def paper_table(study: Any, name: str) -> Figure:
    """One table of a paper's protocol, as the matrix or the curves that the study says it is.

    >>> study = fbn.papers.s2.run(model, fbn.demo.topics(), "s2", seed=0, quick=True, progress=False)
    >>> fbn.plot.paper_table(study, "confusion").data[0].z.shape
    (4, 4)

    Args:
        study: What a protocol found, a :class:`tl_fbn.papers.PaperStudy`.
        name: Name of the table.

    Raises:
        InputTypeError: ``study`` is no study of a paper.
        InputError: No table of that name, or one without a picture.
    """
    panels.require(study, PARTS, "paper_table", "a table of a PaperStudy")
    drawn = {one: table for one, table in study.tables.items() if table.picture}
    if name not in drawn:
        raise InputError(f"no table {name!r} with a picture; these have one: {', '.join(drawn) or 'none'}")
    one = drawn[name]
    return (_matrix if one.picture == "matrix" else _curves)(one.table, one.title)


def _title(line: dict[str, Any]) -> str:
    """A claim and its verdict as the title of a panel, in up to two lines."""
    words = textwrap.wrap(f"{line['claim']}: {line['verdict']}", _WIDE, max_lines=2, placeholder=" \u2026")
    return "<br>".join(map(theme.verbatim, words))


def _matrix(table: pd.DataFrame, title: str) -> Figure:
    """The cells of a table whose first column names the rows."""
    go, _ = theme.plotly()
    rows, columns = [theme.label(one) for one in table.iloc[:, 0]], [theme.label(one) for one in table.columns[1:]]
    z = table.iloc[:, 1:].to_numpy(dtype=float)
    top = theme.colour_limit([z], percentile=100.0)
    low = -top if np.nanmin(z) < 0 else 0.0
    figure = go.Figure(theme.matrix(z, low, top, text=panels.cell_text(z, 2, None)))
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=columns, tickangle=-35)
    panels.name_rows(figure, rows)
    return panels.finish(figure, title, 60 + 30 * len(rows), min_width=200 + 52 * len(columns))


def _curves(table: pd.DataFrame, title: str) -> Figure:
    """A line for each series of a table with columns x, y and series; low and high make a band."""
    go, _ = theme.plotly()
    figure = go.Figure()
    x_name, y_name = table.columns[1], table.columns[2]
    for number, (series, of) in enumerate(table.groupby(table.columns[0], sort=False)):
        of = of.sort_values(x_name)
        colour = theme.OKABE_ITO[number % len(theme.OKABE_ITO)]
        x, y = of[x_name].to_numpy(dtype=float), of[y_name].to_numpy(dtype=float)
        if {"low", "high"} <= set(of) and np.isfinite(of["low"].to_numpy(dtype=float)).any():
            band = panels.band(x, of["low"], of["high"], colour, 0.15, legendgroup=str(series), showlegend=False)
            figure.add_trace(band)
        line = go.Scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            name=theme.verbatim(series),
            legendgroup=str(series),
            hovertemplate=f"{theme.verbatim(series)} %{{x:.4g}}: %{{y:.4g}}<extra></extra>",
        )
        figure.add_trace(line)
    figure.update_xaxes(title_text=theme.verbatim(x_name))
    figure.update_yaxes(title_text=theme.verbatim(y_name))
    return panels.finish(figure, title, 320, min_width=420)
