"""Lesions beside each of their controls: what a network costs its own task, over what each random network costs it.

A row of the picture is a network and a task. Grey dots are the drops under the network's matched random networks, each
moved up or down so that equal drops do not hide each other, with ticks at their median and 95th percentile. The large
dot is the drop under the network itself with its paired 95 % interval over items. It is filled where p < .05; p is the
share of controls that cost at least as much, with the network itself counted among them, and is not corrected for the
number of rows. No p can be smaller than 1 / (1 + number of controls): it then says only that the large dot lies to the
right of all others, and the picture shows by how far. Drops are in points of exact match or in nats a token.

The table behind it is :func:`controls_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a study
PARTS = ("networks", "tasks", "control_scores", "control_drops", "to_dataframe")
GOLDEN = (5**0.5 - 1) / 2  # the fractional parts of its multiples fill 0 to 1 evenly, however many there are


@checked
def lesion_controls(
    study: Any, *, tasks: Sequence[str] | None = None, metric: str | None = None, control: str | None = None
) -> Figure:
    """The drop of each network's own task over the drops under its matched random networks.

    >>> networks = {"sort": contrast.effect.top(0.02)}  # the units that *sort* drives most beyond *reverse*
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=19, seed=0, progress=False)
    >>> figure = fbn.plot.lesion_controls(study)
    >>> controls, own = figure.data[0], figure.data[-1]
    >>> print(own.x, controls.x.max())  # points of exact match lost: to the network, and at most to 19 random ones
    [30.] 0.0

    Args:
        study: A :class:`tl_fbn.studies.LesionStudy`.
        tasks: Names of tasks on which every network is drawn; by default each network is drawn on the task of its own
            name or, where no network is named like a task, on every task.
        metric: Metric to draw instead of the study's own.
        control: Kind of controls to draw; by default every kind of the study, each in a row of its own.

    Raises:
        InputTypeError: ``study`` is no lesion study.
        InputError: The study does not have one of the tasks, the metric or the kind of control.
    """
    go, _ = theme.plotly()
    table = controls_table(study, tasks=tasks, metric=metric, control=control)
    factor, _, unit = panels.measure(table["metric"].iloc[0])
    lines = theme.records(table)
    figure = go.Figure()
    kinds = list(dict.fromkeys(table["control"]))
    spread_x = []
    spread_y = []
    for row, line in enumerate(lines):
        drops = study.control_drops(metric, control=line["control"])
        values = drops[study.networks.index(line["network"]), :, study.tasks.index(line["task"])]
        values = np.sort(values[~np.isnan(values)])  # NaN: controls that a rule left out
        spread_x.append(factor * values)
        # equal drops follow each other after sorting, and go to different heights within .31 of the row's middle
        spread_y.append(row + 0.62 * ((GOLDEN * np.arange(1, 1 + len(values))) % 1 - 0.5))
    dots = go.Scatter(
        x=np.concatenate(spread_x),
        y=np.concatenate(spread_y),
        mode="markers",
        marker={"color": panels.thinned(panels.CHANCE, 0.45), "size": 5, "line": {"width": 0}},
        name="matched random lesions",
        hovertemplate="one random lesion: %{x:.4g}<extra></extra>",
    )
    figure.add_trace(dots)
    rows = np.arange(len(lines))
    for name, column, size, colour in (  # the longer behind the shorter, so that both show where they are one
        ("their 95th percentile", "control_p95", 22, theme.OKABE_ITO[3]),
        ("their median", "control_median", 13, "#222"),
    ):
        mark = {"symbol": "line-ns-open", "size": size, "color": colour, "line": {"width": 2}}
        tick = go.Scatter(x=factor * table[column], y=rows, mode="markers", marker=mark, name=name, hoverinfo="skip")
        figure.add_trace(tick)
    own = panels.whiskers(
        factor * table["drop"],
        rows,
        factor * table["low"],
        factor * table["high"],
        theme.OKABE_ITO[0],
        marker=panels.filled(table["p"] < 0.05, theme.OKABE_ITO[0]),
        name="the network itself, 95 % over items (filled: p < .05)",
        customdata=[_hover_text_of_row(line, factor, unit) for line in lines],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_trace(own)
    panels.line_at(figure, 0.0)
    panels.name_rows(figure, [_row_name(line, len(kinds) > 1) for line in lines])
    figure.update_xaxes(title_text=f"drop ({theme.verbatim(unit)})")
    own_only = all(line["network"] == line["task"] for line in lines)
    what = "its own task" if own_only else "a task"
    return panels.finish(
        figure, f"What silencing a network costs {what}, over its controls", 34 * len(lines) + 10, min_width=440
    )


def controls_table(
    study: Any, *, tasks: Sequence[str] | None = None, metric: str | None = None, control: str | None = None
) -> pd.DataFrame:
    """The numbers behind :func:`lesion_controls`, one line for each row of the picture.

    Args:
        study: A :class:`tl_fbn.studies.LesionStudy`.
        tasks: Names of tasks for every network; by default each network has the task of its own name or, where no
            network is named like a task, every task.
        metric: Metric to use instead of the study's own.
        control: Kind of controls; by default every kind of the study.

    Returns:
        Columns network, task, metric, drop, low and high (95 % paired interval over items), control (kind of controls),
        controls (how many), control_median, control_p95 and control_max (of their drops), p.
    """
    panels.require(study, PARTS, "lesion_controls", "a LesionStudy")
    named_like_tasks = [name for name in study.networks if name in study.tasks]
    unknown = [task for task in tasks or () if task not in study.tasks]
    if unknown or (tasks is not None and not tasks):
        raise InputError(
            f"lesion_controls got tasks={list(tasks or ())}; this study has {', '.join(map(repr, study.tasks))}"
        )
    pairs = [(name, name) for name in named_like_tasks]
    if tasks is not None or not named_like_tasks:
        pairs = [(name, task) for name in study.networks for task in tasks or study.tasks]
    parts = {}
    for kind in [control] if control is not None else list(study.control_scores):
        table = study.to_dataframe(metric=metric, control=kind).set_index(["network", "task"])
        drops = study.control_drops(metric, control=kind)
        of_pairs = [drops[study.networks.index(a), :, study.tasks.index(b)] for a, b in pairs]
        # controls that a rule left out are NaN; so is the exact match of passages, which has no controls to show
        seen = [values[~np.isnan(values)] for values in of_pairs]
        counts = [len(values) or drops.shape[1] for values in seen]
        most = [values.max(initial=-np.inf) if len(values) else np.nan for values in seen]
        parts[kind] = table.loc[pairs].reset_index().assign(control=kind, controls=counts, control_max=most)
    columns = ["network", "task", "metric", "drop", "low", "high", "control", "controls"]
    columns += ["control_median", "control_p95", "control_max", "p"]
    whole = pd.DataFrame({column: pd.concat([part[column] for part in parts.values()]) for column in columns})
    return whole.sort_index(kind="stable").reset_index(drop=True)  # kinds of one pair one below the other


def _row_name(line: dict[str, Any], several: bool) -> str:
    """Network, its task unless that has the same name, and the kind of controls where there are several kinds."""
    who = theme.label(line["network"])
    task = "" if line["network"] == line["task"] else f": {theme.label(line['task'], 14)}"
    return f"{who}{task}, {theme.verbatim(line['control'])}" if several else f"{who}{task}"


def _hover_text_of_row(line: dict[str, Any], factor: float, unit: str) -> str:
    """What hovering over the large dot of a row says."""
    drop, low, high, median, p95, most = (
        factor * line[name] for name in ("drop", "low", "high", "control_median", "control_p95", "control_max")
    )
    return (
        f"without {theme.verbatim(line['network'])}: {theme.verbatim(line['task'])}<br>"
        f"drop {drop:.3g} {theme.verbatim(unit)} [{low:.3g}, {high:.3g}]<br>"
        f"{line['controls']} random lesions ({theme.verbatim(line['control'])}): median {median:.3g}, 95 % {p95:.3g}, "
        f"largest {most:.3g}<br>{panels.p_words(line['p'])}"
    )
