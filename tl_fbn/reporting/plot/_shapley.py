"""Shapley values of networks: how what all of them do for a task is divided among them.

One panel for each task, one row for each network. The large dot is the network's value with its 95 % interval over
items; hovering gives the interval over permutations where values are estimated. Grey marks stand at what silencing the
network alone costs (a cross) and at what keeping it alone gains (a hollow diamond): a value lies between them where the
other networks make ever more, or ever less, of it. Dotted is 0; a task's values add up to what silencing all networks
costs it, which the title of the panel gives. No mark is a test against chance: random units have values, too.

The table behind it is ``values.to_dataframe()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a result
PARTS = ("networks", "tasks", "metric", "permutations", "whole", "to_dataframe")


@checked
def shapley(values: Any) -> Figure:
    """The value of each network for every task, with its interval over items, beside its lesion alone.

    >>> every = ~fbn.Network.from_indices(network.space, [])
    >>> layers = fbn.Atlas.from_networks({f"layer {i}": every.restrict(layers=[i]) for i in range(3)})
    >>> figure = fbn.plot.shapley(fbn.shapley(model, layers, battery, seed=0, progress=False))
    >>> figure.data[2].x.round(1)  # points of sort's exact match
    array([98.3, -1.7,  3.3])

    Args:
        values: What :func:`tl_fbn.shapley` found, a :class:`tl_fbn.studies.ShapleyValues`.

    Raises:
        InputTypeError: ``values`` are no Shapley values.
    """
    panels.require(values, PARTS, "shapley", "a ShapleyValues")
    go, _ = theme.plotly()
    table = values.to_dataframe()
    factor, _, unit = panels.measure(values.metric)
    titles = [
        f"{theme.label(task, 40)}: {factor * whole:+.3g} {theme.verbatim(unit)} in all"
        for task, whole in zip(values.tasks, values.whole, strict=True)
    ]
    names = [theme.label(name) for name in values.networks]
    rows = np.arange(len(names))
    figure, height, places = panels.grid(titles, height=26 * len(names) + 40, aside=0.04)
    colour = theme.OKABE_ITO[0]
    for number, (task, at) in enumerate(zip(values.tasks, places, strict=True)):
        lines = panels.lines_where(table, table["task"] == task)
        first = {"showlegend": number == 0}
        for column, symbol, words in (
            ("lesioned_alone", "x-thin-open", "cost of silencing it alone"),
            ("kept_alone", "diamond-open", "gain of keeping it alone"),
        ):
            mark = {"symbol": symbol, "size": 9, "color": panels.CHANCE, "line": {"width": 1.6}}
            x = factor * lines[column].to_numpy(dtype=float)
            hover = f"{words}: %{{x:.4g}}<extra></extra>"
            dots = go.Scatter(x=x, y=rows, mode="markers", marker=mark, name=words, legendgroup=column, **first)
            figure.add_trace(dots.update(hovertemplate=hover), **at)
        value, low, high = (factor * lines[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
        own = panels.whiskers(
            value,
            rows,
            low,
            high,
            colour,
            marker={"color": colour, "size": 10},
            name="Shapley value, 95 % over items",
            legendgroup="value",
            customdata=[_hover_text(line, factor, unit, values) for line in theme.records(lines)],
            hovertemplate="%{customdata}<extra></extra>",
            **first,
        )
        figure.add_trace(own, **at)
        panels.line_at(figure, 0.0, **at)
        panels.name_rows(figure, names, shown=at["col"] == 1, **at)
        figure.update_xaxes(title_text=f"value ({theme.verbatim(unit)})", **at)
    heading = f"What each of {len(names)} networks contributes to what all of them do"
    return panels.finish(figure, heading, height, min_width=300 * max(at["col"] for at in places))


def _hover_text(line: dict[str, Any], factor: float, unit: str, values: Any) -> str:
    """What hovering over the large dot of a network says."""
    value, low, high, from_, to = (
        factor * line[name] for name in ("value", "low", "high", "permutation_low", "permutation_high")
    )
    how = "from all sets of networks"
    if values.permutations is not None:
        how = f"over permutations {from_:.4g} to {to:.4g}"
    return (
        f"{theme.verbatim(line['network'])}, {theme.verbatim(line['task'])}<br>{value:.4g} {theme.verbatim(unit)} "
        f"[{low:.4g}, {high:.4g}]<br>{how}"
    )
