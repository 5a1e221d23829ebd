"""The tokens of one text, coloured by what each belongs to or by a number of yours.

    token_strip(fbn.token_layout(model, chat))                       special, content, answer
    token_strip(layout, activations, unit="mean activation")         one number a token

Cells follow each other in reading order and wrap over lines; a line also ends with a token that breaks it. The colours of kinds are those that a layout has in a
notebook. Texts of some thousand tokens are drawn, if slowly: each token is a cell with its own text.

The table behind it is :func:`strip_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.model.token_layout import COLOURS, TokenLayout
from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure


def token_strip(
    layout: TokenLayout, values: Sequence[float] | np.ndarray | None = None, *, unit: str = "value", wrap: int = 90
) -> Figure:
    """The tokens of one text as coloured cells in reading order, wrapped over lines.

    Colours say what each token belongs to (special, content, answer); with ``values``, such as a network's activation, they are those on a scale
    about 0 and tokens without a number are grey. Scored tokens have a frame. Hovering shows position, kind, turn, id and value.

    >>> token_strip(fbn.token_layout(model, chat))                              # doctest: +SKIP

    Args:
        layout: The layout that :func:`tl_fbn.token_layout` found.
        values: (token,) one number a token; NaN where there is none.
        unit: What the values are.
        wrap: Characters on a line.

    Raises:
        InputError: No tokens, values of another length, a line that is too short.
    """
    table = strip_table(layout, values)
    if wrap < 20:
        raise InputError(f"wrap={wrap} characters on a line is too few; give 20 or more")
    shown = [word.replace("\n", "\u21b5").replace("\t", "\u21e5") or "\u00b7" for word in layout.words]
    sizes = np.array([max(len(word), 1) + 1.2 for word in shown])
    starts, rows = _wrapped(sizes, [word.endswith("\n") for word in layout.words], wrap)
    group = {position: number for number, part in enumerate(layout.used, start=1) for position in part}
    table = table.assign(group=[group.get(i, 0) for i in range(len(table))])
    hover = [_token_words(line, unit) for line in theme.records(table)]
    go, _ = theme.plotly()
    figure = go.Figure()
    limit = 1.0 if values is None else theme.colour_limit([table["value"].to_numpy()], percentile=100.0)
    for name, mine, look in _looks(table, limit, unit):
        dark = np.abs(table["value"].to_numpy()[mine]) / limit > 0.6 if "value" in table else np.zeros(mine.sum(), bool)
        look["line"] = {"color": "#222", "width": np.where(table["group"].to_numpy()[mine] > 0, 2, 0).tolist()}
        cells = go.Bar(
            x=sizes[mine] - 0.2,
            base=starts[mine],
            y=rows[mine],
            orientation="h",
            width=0.8,
            marker=look,
            name=name,
            text=[theme.verbatim(shown[i]) for i in np.flatnonzero(mine)],
            textposition="inside",
            insidetextanchor="middle",
            constraintext="none",
            textangle=0,
            textfont={
                "family": "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
                "size": 12,
                "color": ["#fff" if deep else "#000" for deep in dark],
            },
            customdata=[hover[i] for i in np.flatnonzero(mine)],
            hovertemplate="%{customdata}<extra></extra>",
        )
        figure.add_trace(cells)
    n_rows = int(rows.max()) + 1
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(visible=False, range=[-0.5, max(wrap, float((starts + sizes).max())) + 0.5])
    figure.update_yaxes(visible=False, range=[n_rows - 0.4, -0.6])
    heading = f"{len(table)} tokens by {'kind' if values is None else unit}"
    if group:
        heading += f"; {len(group)} scored (framed)"
    panels.finish(figure, heading, max(26 * n_rows, 60), min_width=int(7.8 * wrap) + 40)
    if values is not None:  # the scale takes the place of the legend
        return figure.update_layout(showlegend=False, margin_b=84, height=max(26 * n_rows, 60) + 134)
    return figure.update_layout(legend_y=-10 / max(26 * n_rows, 60))


def strip_table(layout: TokenLayout, values: Sequence[float] | np.ndarray | None = None) -> pd.DataFrame:
    """The numbers behind :func:`token_strip`, one line a token: position, token_id, token, kind, turn, and value where there are values."""
    panels.require(layout, ("ids", "words", "kinds", "turns", "used", "to_dataframe"), "token_strip", "a TokenLayout")
    table = layout.to_dataframe()
    if not len(table):
        raise InputError("token_strip was given a text without tokens; there is nothing to draw")
    if values is None:
        return table
    given = np.asarray(values, dtype=float)
    if given.shape != (len(table),):
        raise InputError(f"token_strip needs one value a token: {len(table)}; got an array of shape {given.shape}")
    return table.assign(value=given)


def _wrapped(sizes: np.ndarray, ends: Sequence[bool], wrap: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each cell starts, and on which line; a line ends when it is full or with a token that breaks the line."""
    starts = []
    rows = []
    x = 0.0
    row = 0
    for size, last in zip(sizes, ends, strict=True):
        if x and x + size > wrap:
            x, row = 0.0, row + 1
        starts.append(x)
        rows.append(row)
        x, row = (0.0, row + 1) if last else (x + size, row)
    return np.array(starts), np.array(rows)


def _looks(table: pd.DataFrame, limit: float, unit: str) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """Name, cells and colours of each group of cells."""
    if "value" not in table:
        kinds = [kind for kind in COLOURS if kind in set(table["kind"])]
        masks = [(kind, (table["kind"] == kind).to_numpy()) for kind in kinds]
        return [(kind or "unknown", mask, {"color": COLOURS[kind] if kind else theme.NOTHING}) for kind, mask in masks]
    known = np.isfinite(table["value"].to_numpy())
    scale = {"cmin": -limit, "cmax": limit, "colorscale": theme.DIVERGING, "showscale": True}
    below = {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "len": 0.3, "ypad": 8}
    bar = theme.colour_bar(unit, **below)
    bar["title"]["side"] = "right"
    scale |= {"color": table["value"].to_numpy()[known], "colorbar": bar}
    parts = [("value", known, scale), ("no value", ~known, {"color": theme.NOTHING})]
    return [part for part in parts if part[1].any()]


def _token_words(line: dict[str, Any], unit: str) -> str:
    scored = f"<br>scored in group {line['group']}" if line["group"] else ""
    value = f"<br>{theme.verbatim(unit)} {line['value']:.4g}" if np.isfinite(line.get("value", np.nan)) else ""
    return (
        f"{line['position']}: {theme.verbatim(repr(line['token']))}<br>{line['kind'] or 'unknown'}, turn {line['turn']}, "
        f"id {line['token_id']}{scored}{value}"
    )
