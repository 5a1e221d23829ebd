"""Several panels of one kind in a grid, and the marks that pictures share: bands, whiskers, rows of names.

Marks mean the same in every picture of behaviour. A dot or a line in colour is the result of the network itself; a
whisker or a band in that colour is its 95 % interval over items. Grey is what matched random networks do: a line for
their median, a band or a bar for their 5th to 95th percentile. A filled dot passes the test that the picture names, a
hollow one does not, so that nothing depends on colour alone.

Scores are shown in the units in which people state them: :func:`measure` gives exact match in % and its changes in
points (differences of percentages), and log-likelihood in nats a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure

CHANCE = "#8a8a8a"  # colour of lines and marks of random networks; their bands have it too, made transparent
# metric -> (factor from a stored score to a shown one, title of its axis, unit of its changes)
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
    """Raise InputTypeError unless an object has the attributes that a picture reads from it.

    Results of studies are recognised by these attributes and not by their class, so that drawing a picture does not
    import the code that runs studies.

    Args:
        given: The object that the user wants drawn.
        attributes: Names that it needs to have.
        who: Name of the picture, for the message.
        wanted: What it draws, in words, for the message.
    """
    if isinstance(given, type) or not all(hasattr(given, name) for name in attributes):
        raise InputTypeError(f"{who} draws {wanted}; got {type(given).__name__}")


def lines_where(table: pd.DataFrame, which: Any) -> pd.DataFrame:
    """The lines of a table for which something holds."""
    return table.iloc[np.flatnonzero(which)]


def thinned(colour: str, alpha: float) -> str:
    """A colour written ``#rrggbb`` with an opacity between 0 (invisible) and 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def grid(
    titles: Sequence[str], *, columns: int = 3, height: int = 190, gap: int = 92, aside: float = 0.07, **options: Any
) -> tuple[Figure, int, list[dict[str, Any]]]:
    """An empty figure with one panel for each title, filled row by row from the top left.

    Args:
        titles: One title for each panel, with markup already escaped.
        columns: Largest number of panels in a row.
        height: Height of each panel, in pixels.
        gap: Space between two rows of panels, for the axis of the upper and the title of the lower, in pixels.
        aside: Space between two columns of panels, as a share of the figure's width.
        **options: Further arguments of plotly's ``make_subplots``.

    Returns:
        The figure, the height of all rows with the gaps between them in pixels, and the place of each panel as a
        mapping with ``row`` and ``col``, counted from 1.
    """
    _, make_subplots = theme.plotly()
    across = min(columns, len(titles))
    down = -(-len(titles) // across)  # rounded up
    total = down * height + (down - 1) * gap
    # plotly takes spacings as shares of the figure
    spacing = {"vertical_spacing": gap / total if down > 1 else 0, "horizontal_spacing": aside if across > 1 else 0}
    figure = make_subplots(rows=down, cols=across, subplot_titles=list(titles), **spacing, **options)
    return figure, total, [{"row": 1 + i // across, "col": 1 + i % across} for i in range(len(titles))]


def finish(figure: Figure, heading: str, height: int, *, min_width: int = 0, paper: str = "white") -> Figure:
    """:func:`theme.finish` with the legend below, where it can wrap: titles of panels take up to two lines above.

    Args:
        figure: The picture with all its traces; it is changed in place.
        heading: Heading of the picture, as plain text.
        height: Height of all rows of panels with the gaps between them, in pixels.
        min_width: Width in pixels below which the picture cannot be read.
        paper: Colour behind the marks of every panel.

    Returns:
        The same figure.
    """
    theme.finish(figure, heading, height, min_width=min_width, paper=paper)
    traces: Any = figure.data
    layout: Any = figure.layout
    named = sum(trace.showlegend is not False and bool(trace.name) for trace in traces)  # entries of the legend
    above = 84 if layout.annotations else 50  # titles of panels are annotations
    below = 56 + (48 if named > 1 else 0)
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": -58 / height, "yanchor": "top"}
    figure.update_layout(legend=legend, showlegend=named > 1, height=height + above + below)
    figure.update_layout(margin={"t": above, "b": below})
    return figure.update_layout(title={"y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 12, "t": 12}})


def band(x: Any, low: Any, high: Any, colour: str, alpha: float, **options: Any) -> Any:
    """The area between two curves; ``options`` are those of plotly's ``Scatter``."""
    go, _ = theme.plotly()
    x, low, high = (np.asarray(part, dtype=float) for part in (x, low, high))
    # one closed line: along the upper curve, and back along the lower
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
    """Dots with intervals.

    Args:
        x, y: (dot,) places of the dots.
        low, high: (dot,) ends of the intervals, on the axis along which they lie.
        colour: Colour of the intervals.
        upright: Whether intervals are vertical, about ``y``; otherwise they are horizontal, about ``x``.
        **options: Further arguments of plotly's ``Scatter``.
    """
    go, _ = theme.plotly()
    at = np.asarray(y if upright else x, dtype=float)
    # plotly wants the lengths of the whiskers, not their ends
    ends = {"array": np.asarray(high, dtype=float) - at, "arrayminus": at - np.asarray(low, dtype=float)}
    bars = {"type": "data", "symmetric": False, "thickness": 1.6, "width": 3, "color": colour, **ends}
    return go.Scatter(x=x, y=y, **{"error_y" if upright else "error_x": bars, "mode": "markers", **options})


def filled(passed: Any, colour: str, *, size: int = 10, symbol: str = "circle") -> dict[str, Any]:
    """The ``marker`` of dots that are filled where a test is passed, and hollow elsewhere."""
    inside = [colour if yes else "white" for yes in passed]
    return {"color": inside, "size": size, "symbol": symbol, "line": {"color": colour, "width": 2}}


def bars(low: Any, high: Any, rows: Any, **options: Any) -> Any:
    """A grey bar in each row from one number to another: the range of chance."""
    go, _ = theme.plotly()
    low = np.asarray(low, dtype=float)
    high = np.asarray(high, dtype=float)
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
    """A thin dotted line at one value of an axis, such as no change: upright at a value of x, or across at one of y."""
    draw = figure.add_vline if upright else figure.add_hline
    draw(where, line={"dash": "dot", "color": "#777", "width": 1}, **at)


def across(x: Any, level: float, name: str, **options: Any) -> Any:
    """A dotted line at one level from the smallest x to the largest, named in the legend: the untouched model."""
    go, _ = theme.plotly()
    x = np.asarray(x, dtype=float)
    look = {"dash": "dot", "color": "#222", "width": 1.5}
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
