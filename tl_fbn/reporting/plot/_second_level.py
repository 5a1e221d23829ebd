"""A forest plot: an effect in several models, its mean, and where that of one more model is expected.

One panel for each network on the task it is named like (of an identification: for each task; where no network is named
like a task: for each network and task), one row for each model, and two below them. Dots are effects with 95 %
intervals over the items of their model; the diamond is the mean over models with its interval by Hartung and Knapp; the
grey bar is where the effect of one more model is expected. Dotted is 0.

The table behind it is ``found.to_dataframe()``; the dots are ``found.by_model()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a result
PARTS = ("models", "cells", "measure", "summary", "by_model", "to_dataframe")


@checked
def second_level(found: Any) -> Figure:
    """Effects in every model, their mean, and where one more model's is expected.

    >>> first = (~fbn.Network.from_indices(network.space, [])).restrict(layers=[0])
    >>> study = fbn.lesion_study(model, {"sort": first}, battery, n_controls=1, seed=0, progress=False)
    >>> figure = fbn.plot.second_level(fbn.second_level({"seed 0": study, "seed 1": study}))
    >>> figure.data[0].x.round(2)  # the drop in each of the two
    array([1., 1.])

    Args:
        found: What :func:`tl_fbn.second_level` found, a :class:`tl_fbn.studies.SecondLevel`.

    Raises:
        InputTypeError: ``found`` is no second level.
    """
    panels.require(found, PARTS, "second_level", "a SecondLevel")
    table = found.summary()
    table = table if len(table) else found.to_dataframe()
    by_model = found.by_model()
    names = [theme.label(name) for name in found.models]
    rows = [*names, "mean", "one more"]
    titles = []
    for line in theme.records(table):
        network, task = line["network"], line["task"]
        titles.append(theme.label(network if task in (network, "identified") else f"{network}: {task}", 40))
    figure, height, places = panels.grid(titles, height=26 * len(rows) + 50, aside=0.05)
    blue, orange = theme.OKABE_ITO[0], theme.OKABE_ITO[1]
    for number, (line, at) in enumerate(zip(theme.records(table), places, strict=True)):
        own = panels.lines_where(
            by_model, (by_model["network"] == line["network"]) & (by_model["task"] == line["task"])
        )
        x, away = (own[name].to_numpy(dtype=float) for name in ("effect", "error"))
        first = {"showlegend": number == 0}
        dots = panels.whiskers(
            x,
            np.arange(len(x)),
            x - 1.96 * away,
            x + 1.96 * away,
            blue,
            marker={"color": blue, "size": 8},
            name="model, 95 % over items",
            legendgroup="model",
            hovertemplate="%{x:.4g}<extra></extra>",
            **first,
        )
        mean = panels.whiskers(
            [line["mean"]],
            [len(x)],
            [line["low"]],
            [line["high"]],
            orange,
            marker={"color": orange, "size": 12, "symbol": "diamond"},
            name="mean over models, 95 %",
            legendgroup="mean",
            hovertemplate=f"%{{x:.4g}}, p {line['p']:.3g}, I2 {line['i2']:.2f}<extra></extra>",
            **first,
        )
        figure.add_trace(dots, **at)
        figure.add_trace(mean, **at)
        next_one = panels.bars(
            [line["predicted_low"]],
            [line["predicted_high"]],
            [len(x) + 1],
            name="where one more model is expected",
            legendgroup="next",
            hovertemplate=f"{line['predicted_low']:.4g} to {line['predicted_high']:.4g}<extra></extra>",
            **first,
        )
        figure.add_trace(next_one, **at)
        panels.line_at(figure, 0.0, **at)
        panels.name_rows(figure, rows, shown=at["col"] == 1, **at)
    heading = f"{found.measure.capitalize()} in {len(names)} models"
    return panels.finish(figure, heading, height, min_width=300 * max(at["col"] for at in places))
