"""What is left when the first networks of an atlas alone are kept, or are silenced: score against their number.

One panel for each task. The coloured line is the score while the union of the first k networks is kept, or silenced.
Grey is the same under random sets with as many units in every layer: the line is their median and the band reaches from
their 5th to their 95th percentile. Dotted is the score of the untouched model. Networks are taken in the order of the
atlas, so the curve depends on that order. Hovering gives the share of all units that the networks have together.

The table behind it is the table that :func:`tl_fbn.studies.retention_curve` returns. It has no intervals over items and
no test.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd

from tl_fbn.errors import one_of
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

RETENTION_COLUMNS = ("networks", "units", "share", "task", "metric", "baseline", "value")
RETENTION_COLUMNS += ("control_median", "control_p05", "control_p95")
WORDS = {"retain": "the first networks alone are kept", "inhibit": "the first networks are silenced"}


@checked
def retention_curve(
    retention: theme.HasTable | pd.DataFrame, *, mode: Literal["retain", "inhibit"] | None = None
) -> Figure:
    """Score against the number of networks kept or silenced, beside random sets of the same size.

    >>> curve = fbn.studies.retention_curve(model, atlas, battery, sizes=(1, 8), n_controls=2, seed=0, progress=False)
    >>> figure = fbn.plot.retention_curve(curve)
    >>> figure.layout.title.text
    'Scores when the first networks alone are kept'
    >>> line = figure.data[2]
    >>> line.name, line.customdata[1]
    ('networks', '8 networks, 111 units (9.6%)<br>0; random sets 0 (0 to 0)')

    Args:
        retention: What :func:`tl_fbn.studies.retention_curve` found, or its table.
        mode: What was done to the networks, for the heading: ``"retain"`` (they alone were kept) or ``"inhibit"`` (they
            were silenced); by default what the column ``mode`` of the table says, if there is one.

    Raises:
        InputError: Columns are missing, there are no lines, a number of networks, task and metric occur twice, or the
            mode is unknown.
    """
    go, _ = theme.plotly()
    table = theme.require_lines(
        theme.table_of(retention), RETENTION_COLUMNS, ("networks", "task", "metric"), "retention_curve"
    )
    stated = table["mode"].iloc[0] if mode is None and "mode" in table else mode
    if stated is not None:
        one_of(stated, WORDS, "mode")
    pairs = list(dict.fromkeys(zip(table["task"], table["metric"], strict=True)))
    # panels share their axis if all scores are percentages; log-likelihoods of different tasks lie far apart
    alike = all(panels.measure(metric)[0] == 100 for _, metric in pairs)
    controlled = bool(table["control_median"].notna().any())
    figure, height, places = panels.grid(
        [theme.label(task, 40) for task, _ in pairs], shared_yaxes="all" if alike else False
    )
    for number, ((task, metric), at) in enumerate(zip(pairs, places, strict=True)):
        lines = panels.lines_where(table, (table["task"] == task) & (table["metric"] == metric)).sort_values("networks")
        factor, axis, _ = panels.measure(metric)
        x = lines["networks"].to_numpy()
        baseline = factor * float(lines["baseline"].iloc[0])
        median, p05, p95, value = (
            factor * lines[name].to_numpy(dtype=float)
            for name in ("control_median", "control_p05", "control_p95", "value")
        )
        first = {"showlegend": number == 0}
        name = "random sets of as many units: median, 5 to 95 %"
        if controlled:
            # chance is drawn first, so that it lies behind the networks' own line
            band = panels.band(x, p05, p95, panels.CHANCE, 0.3, name=name, legendgroup="chance", **first)
            quiet = {"color": panels.CHANCE, "width": 1.5}
            middle = go.Scatter(x=x, y=median, mode="lines", line=quiet, hoverinfo="skip", showlegend=False)
            figure.add_traces([band, middle], rows=[at["row"]] * 2, cols=[at["col"]] * 2)
        own = go.Scatter(
            x=x,
            y=value,
            mode="lines+markers",
            line={"color": theme.OKABE_ITO[0], "width": 2},
            marker={"size": 7},
            name="networks",
            legendgroup="own",
            customdata=[
                f"{line['networks']} networks, {line['units']:,} units ({line['share']:.1%})<br>{own:.4g}"
                + (f"; random sets {c:.4g} ({a:.4g} to {b:.4g})" if controlled else "")
                for line, own, c, a, b in zip(theme.records(lines), value, median, p05, p95, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            **first,
        )
        figure.add_trace(own, **at)
        figure.add_trace(panels.across(x, baseline, "untouched model", **first), **at)
        figure.update_xaxes(title_text="networks", tickvals=x.tolist(), **at)
        figure.update_yaxes(title_text=theme.verbatim(axis) if at["col"] == 1 or not alike else None, **at)
        if factor == 100:
            figure.update_yaxes(range=[-4, 104], **at)
    alone = "" if controlled else "; no random sets were run"
    done = "the first networks are kept or silenced" if stated is None else WORDS[stated]
    return panels.finish(figure, f"Scores when {done}{alone}", height, min_width=290 * max(at["col"] for at in places))
