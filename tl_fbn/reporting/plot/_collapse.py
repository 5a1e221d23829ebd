"""Collapse neurons: what silencing each unit, pair and group costs a model on neutral text.

One row for each set of units that is called, the costliest first, and below them the costliest that are not. The dot is
the cost in nats a token with its 95 % interval over texts: filled where the set is called, hollow where not. A grey
cross stands at what the parts of a pair or group cost apart; the farther the dot is from it, the more they stand in for
each other. The grey band is what random units cost, 5th to 95th percentile, and dotted is the threshold beyond which a
unit is called alone.

The table behind it is ``collapse.to_dataframe()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

PARTS = ("to_dataframe", "threshold", "random", "partners", "space", "network")
_OTHERS = 6  # rows of sets that are not called
_ROWS = 30


@checked
def collapse(found: Any) -> Figure:
    """The cost of each unit, pair and group beside that of random units and of its parts.

    >>> found = fbn.collapse_neurons(model, fbn.prompts("sort", n=12), least=0.02, progress=False)
    >>> [trace.name for trace in fbn.plot.collapse(found).data]
    ['random units', 'its parts apart', 'cost, 95 % over texts']

    Args:
        found: What :func:`tl_fbn.collapse_neurons` found, a :class:`tl_fbn.studies.Collapse`.

    Raises:
        InputTypeError: It is something else.
    """
    panels.require(found, PARTS, "collapse", "a Collapse")
    go, _ = theme.plotly()
    table = found.to_dataframe()
    called = table["found"].to_numpy(dtype=bool)
    table = table.head(min(int(called.sum()) + _OTHERS, _ROWS))
    called = called[: len(table)]
    rows = np.arange(len(table))
    figure, height, places = panels.grid(["cost on neutral text"], height=24 * len(table) + 60)
    low, high = np.quantile(found.random, [0.05, 0.95]) if len(found.random) else (0.0, 0.0)
    words = f"random units: {low:.2g} to {high:.2g} nats a token<extra></extra>"
    width = np.full(len(rows), 1.0)
    chance = panels.bars(np.full(len(rows), low), np.full(len(rows), high), rows, name="random units")
    figure.add_trace(chance.update(width=width, hovertemplate=words), **places[0])
    sets = table["size"].to_numpy() > 1
    mark = {"symbol": "x-thin-open", "size": 9, "color": panels.CHANCE, "line": {"width": 1.6}}
    parts = go.Scatter(x=table["apart"][sets], y=rows[sets], mode="markers", marker=mark, name="its parts apart")
    figure.add_trace(parts.update(hovertemplate="apart: %{x:.3g} nats a token<extra></extra>"), **places[0])
    colour = theme.OKABE_ITO[0]
    dots = panels.whiskers(
        table["cost"].to_numpy(),
        rows,
        table["low"].to_numpy(),
        table["high"].to_numpy(),
        colour,
        marker=panels.filled(called, colour),
        name="cost, 95 % over texts",
        customdata=[
            f"{theme.verbatim(line['units'])}: {line['cost']:.3g} nats a token [{line['low']:.3g}, {line['high']:.3g}]"
            f"<br>{panels.p_words(line['p'])}, {'called' if line['found'] else 'not called'}"
            for line in theme.records(table)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_trace(dots, **places[0])
    panels.line_at(figure, found.threshold, **places[0])
    panels.name_rows(figure, [theme.label(one, 40) for one in table["units"]], **places[0])
    figure.update_xaxes(title_text="nats a token lost", **places[0])
    heading = f"{len(found.network)} units break {found.space.model} whatever its task, alone or a few together"
    return panels.finish(figure, heading, height, min_width=480)
