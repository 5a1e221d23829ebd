"""The tokens of one text as coloured cells: by the kind of each token, or by a number for each.

Cells follow each other in reading order and wrap over lines; a line also ends after a token that ends with a line
break. Kinds (special, content, answer) have the colours that a token layout has in a notebook. Numbers, such as the
activation of a network, have a red-blue scale about 0. Texts of some thousand tokens can be drawn but are slow, because
each token is a cell with its own text.

The table behind it is :func:`strip_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.model.token_layout import COLOURS, TokenLayout
from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked


@checked
def token_strip(
    layout: TokenLayout, values: Sequence[Any] | np.ndarray | None = None, *, unit: str = "value", wrap: int = 90
) -> Figure:
    """The tokens of one text as coloured cells in reading order, wrapped over lines.

    Colours show the kind of each token (special, content, answer). With ``values``, such as a network's activation,
    they show these on a scale about 0, and tokens without a number are grey. Scored tokens have a frame. Hovering shows
    position, kind, turn, id and value.

    >>> layout = fbn.token_layout(model, fbn.chats("sort")[0])
    >>> figure = fbn.plot.token_strip(layout)
    >>> {cells.name: "".join(cells.text[-5:]) for cells in figure.data[1:]}
    {'content': 'kaegi', 'answer': 'aegik'}

    Args:
        layout: The layout that :func:`tl_fbn.token_layout` found.
        values: (token,) one number for each token; NaN where there is none. None colours tokens by kind.
        unit: What the values are, such as ``"mean activation"``, for the legend.
        wrap: Largest number of characters on a line, at least 20.

    Raises:
        InputTypeError: ``layout`` is no token layout.
        InputError: The text has no tokens, there is not one value for each token, or ``wrap`` is too small.
    """
    table = strip_table(layout, values)
    if wrap < 20:
        raise InputError(f"wrap={wrap} characters on a line is too few; give 20 or more")
    # a line break, a tab and an empty token get a sign, or their cells would look empty
    shown = [word.replace("\n", "\u21b5").replace("\t", "\u21e5") or "\u00b7" for word in layout.words]
    sizes = np.array([max(len(word), 1) + 1.2 for word in shown])  # in characters, with a margin
    starts, rows = _cell_positions(sizes, [word.endswith("\n") for word in layout.words], wrap)
    # which scored group a token belongs to, counted from 1; 0 for none
    group = {position: number for number, part in enumerate(layout.used, start=1) for position in part}
    table = table.assign(group=[group.get(i, 0) for i in range(len(table))])
    hover = [_hover_text_of_token(line, unit) for line in theme.records(table)]
    go, _ = theme.plotly()
    figure = go.Figure()
    limit = 1.0 if values is None else theme.colour_limit([table["value"].to_numpy()], percentile=100.0)
    for name, mine, look in _cell_groups(table, limit, unit):
        # text is white on the dark ends of the scale
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


def strip_table(layout: TokenLayout, values: Sequence[Any] | np.ndarray | None = None) -> pd.DataFrame:
    """The numbers behind :func:`token_strip`, one line for each token.

    Args:
        layout: The layout that :func:`tl_fbn.token_layout` found.
        values: (token,) one number for each token; NaN where there is none. None leaves the column out.

    Returns:
        Columns position, token_id, token, kind, turn, and value if there are values.

    Raises:
        InputTypeError: ``layout`` is no token layout.
        InputError: The text has no tokens, or there is not one value for each token.
    """
    panels.require(layout, ("ids", "words", "kinds", "turns", "used", "to_dataframe"), "token_strip", "a TokenLayout")
    table = layout.to_dataframe()
    if not len(table):
        raise InputError("token_strip was given a text without tokens; there is nothing to draw")
    if values is None:
        return table
    given = number_array(values, "values").astype(float)
    if given.shape != (len(table),):
        raise InputError(f"token_strip needs one value a token: {len(table)}; got an array of shape {given.shape}")
    return table.assign(value=given)


def _cell_positions(sizes: np.ndarray, ends: Sequence[bool], wrap: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each cell starts, and on which line it is.

    Args:
        sizes: (token,) width of each cell, in characters.
        ends: (token,) whether the line ends after the token.
        wrap: Width of a line, in characters; a wider cell has a line of its own.
    """
    starts = []
    rows = []
    x = 0.0
    row = 0
    for size, last in zip(sizes, ends, strict=True):
        if x and x + size > wrap:  # the line is full
            x = 0.0
            row += 1
        starts.append(x)
        rows.append(row)
        x += size
        if last:
            x = 0.0
            row += 1
    return np.array(starts), np.array(rows)


def _cell_groups(table: pd.DataFrame, limit: float, unit: str) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """Name, mask over tokens and plotly's ``marker`` of each group of cells: kinds, or values and missing values."""
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


def _hover_text_of_token(line: dict[str, Any], unit: str) -> str:
    """What hovering over a token says."""
    scored = f"<br>scored in group {line['group']}" if line["group"] else ""
    value = f"<br>{theme.verbatim(unit)} {line['value']:.4g}" if np.isfinite(line.get("value", np.nan)) else ""
    return (
        f"{line['position']}: {theme.verbatim(repr(line['token']))}<br>"
        f"{line['kind'] or 'unknown'}, turn {line['turn']}, id {line['token_id']}{scored}{value}"
    )
