"""Pictures of behaviour: what lesions cost, and what gains do.

- :func:`lesion_matrix` the drop of each task under each lesion, beside that under matched random lesions;
- :func:`amplification` the score of each task against the gain of a network.

The cost of a lesion is drawn beside the cost of matched random lesions, on the same colour scale, so that a claim is
never shown without its control. A star compares a cell with its own controls and is not corrected for the number of
cells. p values and controls are those of the table; nothing is tested here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

LESION_COLUMNS = ("network", "task", "metric", "baseline", "lesioned", "drop", "control_median", "control_p95", "p")
GAIN_COLUMNS = ("network", "gain", "task", "value", "metric")


@checked
def lesion_matrix(study: theme.HasTable | pd.DataFrame, *, metrics: Sequence[str] | None = None) -> Figure:
    """What each lesion costs each task and, beside it on the same colour scale, what matched random lesions cost.

    A cell is the drop, the score without the lesion minus the score under it: in points (100 times the drop) for exact
    match and accuracy, in nats a token for log-likelihood, otherwise in the metric's own unit. A star marks p < .05
    against the matched controls, uncorrected for the number of cells. Several metrics give several rows of panels, each
    with its own colour scale. With more than twelve tasks cells have stars alone; hovering gives every number, with the
    interval over items where the table has one.

    >>> networks = {"sort": contrast.effect.top(0.02)}  # the units that *sort* drives most beyond *reverse*
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=39, seed=0, progress=False)
    >>> figure = fbn.plot.lesion_matrix(study)
    >>> own, random = figure.data
    >>> own.text, random.text  # points that sort and reverse lose
    ((['30*', '0'],), (['0', '0'],))

    Args:
        study: What :func:`tl_fbn.lesion_study` found; or any object whose ``to_dataframe()`` has the columns network,
            task, metric, baseline, lesioned, drop, control_median, control_p95 and p; or such a table.
        metrics: Names of the metrics to draw, such as ``("exact_match", "log_likelihood")``; by default the study's
            own, or all of a table.

    Raises:
        InputError: Columns are missing, there are no lines, a network, task and metric occur twice, or the study does
            not have a metric.
    """
    who = "lesion_matrix"
    key = ("network", "task", "metric")
    table = theme.require_lines(_table_of_metrics(study, metrics), LESION_COLUMNS, key, who)
    _, make_subplots = theme.plotly()
    metrics = list(dict.fromkeys(table["metric"]))
    networks = list(dict.fromkeys(table["network"]))
    wide = max(len(set(each)) for _, each in table.groupby("metric")["task"])
    # width and height of a cell in pixels: room for a number, or for a star alone
    cell = (46, 34) if wide <= panels.CROWDED else (22, 22)
    panel = max(cell[1] * len(networks), 60)
    gap = 130
    n = len(metrics)
    height = n * panel + (n - 1) * gap
    titles = ["its own lesion", "matched random lesions (median)"] * n
    spacing = gap / height if n > 1 else 0
    figure = make_subplots(rows=n, cols=2, horizontal_spacing=0.03, vertical_spacing=spacing, subplot_titles=titles)
    for row, metric in enumerate(metrics, start=1):
        lines = [line for line in theme.records(table) if line["metric"] == metric]
        tasks = list(dict.fromkeys(line["task"] for line in lines))
        scale, _, unit = panels.measure(metric)
        own, control, stars = (np.full((len(networks), len(tasks)), np.nan) for _ in range(3))
        hover = np.full(own.shape, "", dtype=object)
        for line in lines:
            at = networks.index(line["network"]), tasks.index(line["task"])
            own[at] = scale * line["drop"]
            control[at] = scale * line["control_median"]
            stars[at] = line["p"] < 0.05
            hover[at] = _hover_text_of_lesion(line, scale, unit)
        limit = theme.colour_limit([own, control], percentile=100.0)  # one colour scale for both panels
        digits = 2 if limit < 2 else 1 if limit < 20 else 0
        bar = {"len": panel / height, "y": 1 - (row - 1) * (panel + gap) / height, "yanchor": "top"}
        for col, z, starred in ((1, own, stars), (2, control, None)):
            heat = theme.matrix(
                z,
                -limit,
                limit,
                text=panels.cell_text(z, digits, starred),
                customdata=hover,
                hovertemplate="%{customdata}<extra></extra>",
                showscale=col == 2,
                colorbar=theme.colour_bar(unit, **bar),
            )
            figure.add_trace(heat, row=row, col=col)
            columns = [theme.label(task, 14) for task in tasks]
            theme.matrix_axes(figure, columns, [theme.label(name) for name in networks], row=row, col=col)
        figure.update_yaxes(showticklabels=False, row=row, col=2)
        if np.isnan(control).all():  # the panel stays, empty: a claim without controls should look like one
            figure.layout.annotations[2 * row - 1].text = "no matched random lesions were run"
    units = " and ".join(dict.fromkeys(panels.measure(m)[2] for m in metrics))
    heading = f"Drop in {units}: what losing a network (row) costs a task (column). * p < .05, uncorrected"
    width = max(600, 240 + 2 * cell[0] * wide)
    return theme.finish(figure, heading, height + 30, min_width=width, paper=theme.NOTHING)


@checked
def amplification(table: pd.DataFrame) -> Figure:
    """Behaviour against gain: a line for each network, a panel for each task and metric.

    Gain is what the activations of the network's units are multiplied by: 1 is the untouched model, which a dotted line
    marks.

    >>> drivers = contrast.effect.top(0.02)  # the units that *sort* drives most beyond *reverse*
    >>> curve = fbn.dose_response(model, drivers, battery, gains=(0, 1, 2), n_controls=9, seed=0, progress=False)
    >>> figure = fbn.plot.amplification(curve.to_dataframe())
    >>> {panel.text: line.y for panel, line in zip(figure.layout.annotations, figure.data)}  # at gains 0, 1 and 2
    {'sort': (0.7, 1.0, 1.0), 'reverse': (1.0, 1.0, 1.0)}

    Args:
        table: Table with the columns network, gain, task, metric and value (the score), one line for each network,
            gain, task and metric.

    Raises:
        InputError: Columns are missing, there are no lines, or a network, gain, task and metric occur twice.
    """
    theme.require_lines(table, GAIN_COLUMNS, ("network", "gain", "task", "metric"), "amplification")
    go, make_subplots = theme.plotly()
    metrics = list(dict.fromkeys(table["metric"]))
    networks = list(dict.fromkeys(table["network"]))
    pairs = list(dict.fromkeys(zip(table["task"], table["metric"], strict=True)))
    cols = min(3, len(pairs))
    rows = -(-len(pairs) // cols)
    height = 250 * rows - 70
    gap = 70
    titles = [theme.label(task if len(metrics) == 1 else f"{task}, {metric}", 40) for task, metric in pairs]
    spacing = gap / height if rows > 1 else 0
    places = {"rows": rows, "cols": cols, "vertical_spacing": spacing, "horizontal_spacing": 0.07}
    same = "all" if len(metrics) == 1 else False  # scores of different metrics cannot share an axis
    figure = make_subplots(**places, subplot_titles=titles, shared_yaxes=same)
    for i, (task, metric) in enumerate(pairs):
        at = {"row": i // cols + 1, "col": i % cols + 1}
        here = [line for line in theme.records(table) if line["task"] == task and line["metric"] == metric]
        for k, network in enumerate(networks):
            points = sorted((line["gain"], line["value"]) for line in here if line["network"] == network)
            scatter = go.Scatter(
                x=[gain for gain, _ in points],
                y=[value for _, value in points],
                name=theme.verbatim(network),
                legendgroup=str(k),
                showlegend=i == 0,
                mode="lines+markers",
                marker={"symbol": k % 8, "size": 7},
                line={"color": theme.OKABE_ITO[k % 8], "dash": ("solid", "dash", "dot")[k // 8 % 3]},
                hovertemplate="gain %{x}: %{y:.4g}",
            )
            figure.add_trace(scatter, **at)
        figure.add_vline(x=1, line={"dash": "dot", "color": "#777", "width": 1}, **at)
        figure.update_xaxes(title_text="gain", **at)
        figure.update_yaxes(title_text=theme.verbatim(metric) if len(metrics) > 1 or at["col"] == 1 else None, **at)
    heading = f"{' and '.join(map(str, metrics))} when a network's activations are multiplied by a gain"
    return panels.finish(figure, heading, height + 20, min_width=300 * cols)


def _table_of_metrics(study: theme.HasTable | pd.DataFrame, metrics: Sequence[str] | None) -> pd.DataFrame:
    """The table of a study, of each of several metrics one below the other."""
    if isinstance(study, pd.DataFrame):
        return study if metrics is None else panels.lines_where(study, study["metric"].isin(list(metrics)))
    if metrics is None:
        return study.to_dataframe()
    if not metrics:
        raise InputError("lesion_matrix draws one metric or more; metrics= names none")
    read: Any = study.to_dataframe  # of a lesion study it takes a metric, which HasTable does not know
    return pd.concat([read(metric=metric) for metric in metrics], ignore_index=True)


def _hover_text_of_lesion(line: Mapping[str, Any], scale: float, unit: str) -> str:
    """What hovering over one lesion and task says."""
    words = [
        f"without {theme.verbatim(line['network'])}: {theme.verbatim(line['task'])}",
        f"{theme.verbatim(line['metric'])} {line['baseline']:.4g} before, {line['lesioned']:.4g} after",
        f"drop {scale * line['drop']:.3g} {theme.verbatim(unit)}",
    ]
    if np.isfinite(line.get("low", np.nan)):
        words[-1] += f" [{scale * line['low']:.3g}, {scale * line['high']:.3g}], 95 % over items"
    if np.isfinite(line["control_median"]):  # NaN where no random lesions were run
        median = scale * line["control_median"]
        p95 = scale * line["control_p95"]
        words += [f"random lesions: median {median:.3g}, 95th percentile {p95:.3g}", f"p = {line['p']:.3g}"]
    return "<br>".join(words)
