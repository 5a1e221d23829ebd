"""Small pictures of one kind side by side, and the marks they share: bands, whiskers, rows of names.

Marks mean the same in every picture of behaviour. A dot or a line in colour is the claim; a whisker or a band in that colour is its 95 % interval over items;
grey is what matched random networks do: a line for their median, a band or a bar for their 5th to 95th percentile. A filled dot passes the test that the
picture names, a hollow one does not, so that nothing depends on colour alone.

Scores are shown in the units people say them in: :func:`measure` knows exact match in % and its changes in points, log-likelihood in nats a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure

CHANCE = "#8a8a8a"  # of lines and marks; bands are the same, thinned
MEASURES = {
    "exact_match": (100.0, "exact match (%)", "points"),
    "accuracy": (100.0, "accuracy (%)", "points"),
    "log_likelihood": (1.0, "log-likelihood (nats a token)", "nats"),
}
CROWDED = 12  # columns above which the cells of a matrix are too small for numbers


def measure(metric: object) -> tuple[float, str, str]:
    """What a score is multiplied by to be shown, the title of its axis, and the unit of its changes."""
    return MEASURES.get(str(metric), (1.0, str(metric), str(metric)))


def require(given: Any, attributes: Sequence[str], who: str, wanted: str) -> None:
    """Raise InputTypeError unless an object has what a picture reads from it; results of a model's room are known by that alone."""
    if isinstance(given, type) or not all(hasattr(given, name) for name in attributes):
        raise InputTypeError(f"{who} draws {wanted}; got {type(given).__name__}")


def lines_where(table: pd.DataFrame, which: Any) -> pd.DataFrame:
    """The lines of a table for which something holds."""
    return table.iloc[np.flatnonzero(which)]


def thinned(colour: str, alpha: float) -> str:
    """A colour written ``#rrggbb``, seen through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def grid(
    titles: Sequence[str], *, columns: int = 3, height: int = 190, gap: int = 92, aside: float = 0.07, **options: Any
) -> tuple[Figure, int, list[dict[str, Any]]]:
    """Panels in rows of a few.

    Args:
        titles: One a panel, already escaped.
        columns: Most panels in a row.
        height: Height of each panel, in pixels.
        gap: Between rows, for axis and title, in pixels.
        aside: Between columns, as a share of the width.
        **options: Further arguments of plotly's ``make_subplots``.

    Returns:
        The figure, the height of all panels in pixels, and the place (row, col) of each.
    """
    _, make_subplots = theme.plotly()
    across = min(columns, len(titles))
    down = -(-len(titles) // across)
    total = down * height + (down - 1) * gap
    spacing = {"vertical_spacing": gap / total if down > 1 else 0, "horizontal_spacing": aside if across > 1 else 0}
    figure = make_subplots(rows=down, cols=across, subplot_titles=list(titles), **spacing, **options)
    return figure, total, [{"row": 1 + i // across, "col": 1 + i % across} for i in range(len(titles))]


def finish(figure: Figure, heading: str, height: int, *, min_width: int = 0, paper: str = "white") -> Figure:
    """:func:`theme.finish` with the legend below, where it can wrap, because titles of panels take up to two lines above.

    Args:
        figure: The picture so far.
        heading: As plain text.
        height: Height of the panels alone, in pixels.
        min_width: Width below which the picture cannot be read.
        paper: Colour behind the marks.
    """
    theme.finish(figure, heading, height, min_width=min_width, paper=paper)
    traces: Any = figure.data
    layout: Any = figure.layout
    named = sum(trace.showlegend is not False and bool(trace.name) for trace in traces)
    above = 84 if layout.annotations else 50
    below = 56 + (48 if named > 1 else 0)
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": -58 / height, "yanchor": "top"}
    figure.update_layout(legend=legend, showlegend=named > 1, height=height + above + below)
    figure.update_layout(margin={"t": above, "b": below})
    return figure.update_layout(title={"y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 12, "t": 12}})


def band(x: Any, low: Any, high: Any, colour: str, alpha: float, **options: Any) -> Any:
    """The area between two curves; ``options`` as of a scatter."""
    go, _ = theme.plotly()
    x, low, high = (np.asarray(part, dtype=float) for part in (x, low, high))
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=thinned(colour, alpha),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        **options,
    )


def whiskers(x: Any, y: Any, low: Any, high: Any, colour: str, *, upright: bool = False, **options: Any) -> Any:
    """Dots with intervals, lying or upright; ``options`` as of a scatter."""
    go, _ = theme.plotly()
    at = np.asarray(y if upright else x, dtype=float)
    ends = {"array": np.asarray(high, dtype=float) - at, "arrayminus": at - np.asarray(low, dtype=float)}
    bars = {"type": "data", "symmetric": False, "thickness": 1.6, "width": 3, "color": colour, **ends}
    return go.Scatter(x=x, y=y, **{"error_y" if upright else "error_x": bars, "mode": "markers", **options})


def filled(passed: Any, colour: str, *, size: int = 10, symbol: str = "circle") -> dict[str, Any]:
    """Dots that are filled where a test is passed, and hollow elsewhere."""
    inside = [colour if yes else "white" for yes in passed]
    return {"color": inside, "size": size, "symbol": symbol, "line": {"color": colour, "width": 2}}


def bars(low: Any, high: Any, rows: Any, **options: Any) -> Any:
    """A grey bar in each row from one number to another: the range of chance."""
    go, _ = theme.plotly()
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    look = {"color": thinned(CHANCE, 0.35), "line": {"width": 0}}
    return go.Bar(x=high - low, base=low, y=rows, orientation="h", width=0.55, marker=look, **options)


def ticks(x: Any, rows: Any, **options: Any) -> Any:
    """An upright tick in each row: the middle of chance."""
    go, _ = theme.plotly()
    look = {"symbol": "line-ns-open", "size": 15, "color": "#444", "line": {"width": 2}}
    return go.Scatter(x=x, y=rows, mode="markers", marker=look, **options)


def name_rows(figure: Figure, names: Sequence[str], *, shown: bool = True, **at: Any) -> None:
    """Name the rows of a panel, the first at the top."""
    span = [len(names) - 0.5, -0.5]
    places = list(range(len(names)))
    figure.update_yaxes(tickvals=places, ticktext=list(names), range=span, showticklabels=shown, showgrid=False, **at)


def line_at(figure: Figure, where: float, *, upright: bool = True, **at: Any) -> None:
    """A quiet line at one value of an axis, such as no change."""
    draw = figure.add_vline if upright else figure.add_hline
    draw(where, line={"dash": "dot", "color": "#777", "width": 1}, **at)


def across(x: Any, level: float, name: str, **options: Any) -> Any:
    """A dotted line over the whole of an axis that the legend names: the untouched model."""
    go, _ = theme.plotly()
    x, look = np.asarray(x, dtype=float), {"dash": "dot", "color": "#222", "width": 1.5}
    return go.Scatter(
        x=[x.min(), x.max()],
        y=[level, level],
        mode="lines",
        line=look,
        name=name,
        legendgroup=name,
        hovertemplate=f"{name} %{{y:.4g}}<extra></extra>",
        **options,
    )


def cell_text(z: np.ndarray, digits: int, starred: np.ndarray | None) -> list[list[str]]:
    """Numbers with stars as :func:`theme.cells` has them; stars alone where there are too many columns for numbers."""
    full = theme.cells(z, digits, starred)
    return [["*" if "*" in cell else "" for cell in line] for line in full] if z.shape[1] > CROWDED else full


def p_words(p: float) -> str:
    """``p = 0.048``; nothing where there is no test."""
    return f"p = {p:.2g}" if np.isfinite(p) else "no test"
