"""Where the variance of a recording lies: how few units and rows hold it, and what zeroing the largest units costs.

On the left the share of the variance that the first n units hold together, units in order of what each holds, and the
same of rows; n is a share of all on a logarithmic axis, so that curves of thousands of units and rows can be compared.
Dotted is the line of an even recording, in which a tenth of the units holds a tenth. On the right the units that hold
most, one bar each; where the model was asked, the number in front of a bar is what zeroing that unit alone costs it, in
nats a token.

The table behind it is the table of units that :meth:`tl_fbn.Recording.massive` finds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

PARTS = ("unit_shares", "row_shares", "units", "space", "first")
_POINTS = 200  # of a curve: it is smooth on a logarithmic axis, and a page stays small
_BARS = 12


@checked
def massive(found: Any, *, title: str | None = None) -> Figure:
    """How few units and rows hold the variance of a recording, and which units those are.

    >>> figure = fbn.plot.massive(recording.massive())
    >>> [trace.name for trace in figure.data]
    ['units', 'rows', 'even', 'share of the variance']

    Args:
        found: What :meth:`tl_fbn.Recording.massive` found.
        title: Heading of the picture; by default which unit holds most, and how much lies in first tokens.
    """
    panels.require(found, PARTS, "massive", "a Massive of recording.massive()")
    go, make_subplots = theme.plotly()
    titles = ["share of the variance in the first units, and rows", "the units that hold most"]
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.16, column_widths=[0.55, 0.45], subplot_titles=titles)
    for name, shares, colour in (
        ("units", found.unit_shares, theme.OKABE_ITO[0]),
        ("rows", found.row_shares, theme.OKABE_ITO[1]),
    ):
        counts, held = _cumulative(shares)
        curve = go.Scatter(
            x=100 * counts / len(shares),
            y=100 * held,
            name=name,
            mode="lines",
            line={"color": colour, "width": 2},
            customdata=[f"{count:,} of {len(shares):,} {name}" for count in counts.tolist()],
            hovertemplate="%{customdata}: %{y:.3g} %<extra></extra>",
        )
        figure.add_trace(curve, row=1, col=1)
    smallest = 100 / max(len(found.unit_shares), len(found.row_shares))
    even = np.geomspace(smallest, 100, 50)
    look = {"dash": "dot", "color": "#777", "width": 1}
    line = go.Scatter(x=even, y=even, name="even", mode="lines", line=look, hoverinfo="skip")
    figure.add_trace(line, row=1, col=1)
    table = found.units.head(_BARS)
    names = [f"{layer}, {unit}" for layer, unit in zip(table["layer"].tolist(), table["unit"].tolist(), strict=True)]
    costs = table["cost"].tolist() if "cost" in table else [None] * len(table)
    bars = go.Bar(
        x=100 * table["share"].to_numpy(dtype=float),
        y=np.arange(len(table)),
        orientation="h",
        name="share of the variance",
        showlegend=False,
        marker={"color": theme.OKABE_ITO[0]},
        text=["" if cost is None else f"{cost:.2f} nats" for cost in costs],
        textposition="auto",
        customdata=[
            f"layer {line['layer']}, unit {line['unit']}: {100 * line['share']:.3g} %, {line['times']:,.3g} times the "
            f"average<br>farthest from its mean at {line['peak']:.4g}"
            + (f", token {theme.verbatim(line['token'])}" if "token" in line else "")
            for line in theme.records(table)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_trace(bars, row=1, col=2)
    figure.update_xaxes(type="log", title_text="first of all, in %", row=1, col=1)
    figure.update_yaxes(title_text="% of variance", range=[0, 103], row=1, col=1)
    cost = ", with nats a token that zeroing costs" if "cost" in table else ""
    figure.update_xaxes(title_text=f"% of variance{cost}", rangemode="tozero", row=1, col=2)
    span = [len(table) - 0.4, -0.6]  # the largest at the top
    place = {"tickvals": list(range(len(table))), "ticktext": names, "range": span, "showgrid": False}
    figure.update_yaxes(title_text="layer, unit", **place, row=1, col=2)
    return panels.finish(figure, title or _heading(found), 300, min_width=720)


def _heading(found: Any) -> str:
    """Which unit holds most, and how much of the variance lies in first tokens."""
    layer, unit = found.space.locate(int(np.argmax(found.unit_shares)))
    first = "" if found.first is None else f", first tokens {100 * found.first[0]:.0f} %"
    return f"Of the variance unit {unit} of layer {layer} holds {100 * found.unit_shares.max():.3g} %{first}"


def _cumulative(
    shares: Float[np.ndarray, " _"],
) -> tuple[np.ndarray, Float[np.ndarray, " point"]]:
    """Numbers of entries, 1 to all and few of them, and the share that so many of the largest hold together."""
    counts = np.unique(np.geomspace(1, len(shares), _POINTS).round().astype(int))
    return counts, np.cumsum(np.sort(shares)[::-1])[counts - 1]
