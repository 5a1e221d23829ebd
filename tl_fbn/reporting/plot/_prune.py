"""A model before and after pruning: units of each layer, parameters and, where they are given, time and scores.

A :class:`tl_fbn.pruning.PruneReport` contains sizes alone. What the small model can still do, and how fast it is, has
to be measured: give the tables of ``battery.evaluate(model)`` and ``battery.evaluate(small)``, and two times in
seconds, and they are drawn beside the sizes. A tick marks the chance level of each score: a task that falls to it is
lost. Nothing is tested here; what random networks of the same size would leave is measured by
:func:`tl_fbn.studies.retention_curve`.

The table behind it is :func:`prune_table`; layers are in ``report.to_dataframe()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a report
PARTS = ("kept", "heads", "n_before", "n_after", "ratio", "to_dataframe")
SCORE_COLUMNS = ("task", "exact_match", "log_likelihood")
BEFORE, AFTER = "#b9b9b9", theme.OKABE_ITO[0]


@checked
def prune(
    report: Any,
    *,
    before: pd.DataFrame | None = None,
    after: pd.DataFrame | None = None,
    seconds: tuple[float, float] | None = None,
) -> Figure:
    """Neurons, heads, parameters, time and scores of a model before and after pruning.

    >>> small = fbn.prune(model, remove=network, progress=False)
    >>> figure = fbn.plot.prune(small.pruned, before=battery.evaluate(model), after=battery.evaluate(small))
    >>> figure.layout.title.text
    'tl_fbn-demo pruned: 353,760 to 349,321 parameters (-1.3%)'
    >>> {dots.name: dots.x.round().tolist() for dots in figure.data[-3:]}  # % of items right: sort, reverse
    {'chance': [10.0, 10.0], 'score before': [100.0, 100.0], 'score after': [100.0, 80.0]}

    Args:
        report: A :class:`tl_fbn.pruning.PruneReport`, which a pruned model has as ``small.pruned``.
        before: Table of scores of the intact model, as ``battery.evaluate(model)`` returns it; None draws no scores.
        after: Table of scores of the small model on the same tasks, in any order; needed if ``before`` is given.
        seconds: Times that the same work takes before and after, in seconds; None draws no time.

    Raises:
        InputTypeError: ``report`` is no prune report.
        InputError: Only one of the two tables of scores is given, the tables have different tasks or lack columns, or
            the times are not two positive numbers.
    """
    go, _ = theme.plotly()
    whole = prune_table(report, before=before, after=after, seconds=seconds)
    layers = report.to_dataframe()
    scores = panels.lines_where(whole, whole["what"] == "score")
    sizes = panels.lines_where(whole, whole["what"].isin(("parameters", "time")))
    # what is counted, and its columns before and after in the table of layers
    parts = [("neurons", "neurons", "kept")] + ([("heads", "heads", "heads_kept")] if "heads" in layers else [])
    titles = [f"{what} of each layer" for what, _, _ in parts]
    titles += ["parameters" + (" and time" if seconds else "")] + (["scores"] if len(scores) else [])
    figure, height, places = panels.grid(titles, columns=4, height=max(200, 34 * len(scores)), aside=0.12)
    for number, ((what, full, kept), at) in enumerate(zip(parts, places, strict=False)):
        # the bar after is narrower and in front of the bar before
        for name, column, colour, width in (("before", full, BEFORE, 0.86), ("after", kept, AFTER, 0.5)):
            bar = go.Bar(
                x=layers["layer"],
                y=layers[column],
                width=width,
                marker={"color": colour},
                name=name,
                legendgroup=name,
                showlegend=number == 0,
                hovertemplate=f"layer %{{x}}: %{{y:,}} {what} {name}<extra></extra>",
            )
            figure.add_trace(bar, **at)
        figure.update_xaxes(title_text="layer", dtick=-(-len(layers) // 12), showgrid=False, **at)
        figure.update_yaxes(title_text=what, rangemode="tozero", **at)
    at = places[len(parts)]
    rows = np.arange(len(sizes))
    for name, share, colour, width in (
        ("before", np.full(len(sizes), 100.0), BEFORE, 0.7),
        ("after", 100 * sizes["after"].to_numpy() / sizes["before"].to_numpy(), AFTER, 0.42),
    ):
        bar = go.Bar(
            x=share,
            y=rows,
            orientation="h",
            width=width,
            marker={"color": colour},
            name=name,
            legendgroup=name,
            showlegend=False,
            text=[f"{value:.0f} %" for value in share] if name == "after" else None,
            textposition="inside",
            textangle=0,
            customdata=[f"{line['name']}: {line[name]:,.4g} {name}" for line in theme.records(sizes)],
            hovertemplate="%{customdata}<extra></extra>",
        )
        figure.add_trace(bar, **at)
    panels.name_rows(figure, sizes["name"].tolist(), **at)
    figure.update_xaxes(title_text="% of before", range=[0, 104], **at)
    if len(scores):
        _draw_scores(figure, scores, places[-1])
    figure.update_layout(barmode="overlay")
    heading = (
        f"{report.kept.space.model} pruned: {report.n_before:,} to {report.n_after:,} parameters (-{report.ratio:.1%})"
    )
    return panels.finish(figure, heading, height, min_width=330 * len(titles))


def prune_table(
    report: Any,
    *,
    before: pd.DataFrame | None = None,
    after: pd.DataFrame | None = None,
    seconds: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """The numbers behind :func:`prune`, one line for each kind of size, for the time, and for each task.

    Args:
        report: A :class:`tl_fbn.pruning.PruneReport`.
        before: Table of scores of the intact model, as ``battery.evaluate(model)`` returns it; None for no scores.
        after: Table of scores of the small model on the same tasks, in any order; needed if ``before`` is given.
        seconds: Times that the same work takes before and after, in seconds; None for no time.

    Returns:
        Columns what (neurons, heads, parameters, time or score), name (of a score: its task), unit (of a score: its
        metric), before, after, chance (the score that guessing gives; NaN for everything but exact match).
    """
    panels.require(report, PARTS, "prune", "the PruneReport of a pruned model (small.pruned)")
    lines: list[tuple[str, str, str, float, float, float]] = []
    for what, network in (("neurons", report.kept), ("heads", report.heads)):
        if network is not None:
            lines.append((what, what, what, network.space.n_units, len(network), np.nan))
    lines.append(("parameters", "parameters", "parameters", report.n_before, report.n_after, np.nan))
    if seconds is not None:
        if len(seconds) != 2 or not min(seconds) > 0:
            raise InputError(f"seconds={seconds} must be two times above 0: before, after")
        lines.append(("time", "time", "seconds", float(seconds[0]), float(seconds[1]), np.nan))
    if (before is None) != (after is None):
        raise InputError("prune draws scores before and after; give battery.evaluate of both models")
    if before is not None and after is not None:
        old, new = (theme.require_lines(table, SCORE_COLUMNS, ("task",), "prune") for table in (before, after))
        if set(old["task"]) != set(new["task"]):
            raise InputError(
                f"prune needs scores of the same tasks; before has {', '.join(old['task'])}, "
                f"after {', '.join(new['task'])}"
            )
        # each task has one line in either table; those of the second may stand in another order
        new = new.set_index("task", drop=False).loc[list(old["task"])]
        # texts without a right answer are scored by log-likelihood alone
        metric = "exact_match" if np.isfinite(old["exact_match"].to_numpy(dtype=float)).all() else "log_likelihood"
        for a, b in zip(theme.records(old), theme.records(new), strict=True):
            chance = float(a.get("chance", np.nan)) if metric == "exact_match" else np.nan
            lines.append(("score", a["task"], metric, a[metric], b[metric], chance))
    return pd.DataFrame(lines, columns=["what", "name", "unit", "before", "after", "chance"])


def _draw_scores(figure: Figure, table: pd.DataFrame, at: dict[str, Any]) -> None:
    """One row a task: a hollow dot before, a filled one after, a tick for chance."""
    go, _ = theme.plotly()
    factor, axis, _ = panels.measure(table["unit"].iloc[0])
    old = factor * table["before"].to_numpy(dtype=float)
    new = factor * table["after"].to_numpy(dtype=float)
    rows = np.arange(len(table))
    # a grey line from each hollow dot to its filled one: all in one trace, parted by NaN
    gap = np.full(len(table), np.nan)
    way = go.Scatter(
        x=np.stack([old, new, gap], axis=1).ravel(),
        y=np.stack([rows, rows, gap], axis=1).ravel(),
        mode="lines",
        line={"color": "#bbb", "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_trace(way, **at)
    if np.isfinite(table["chance"]).any():
        chance = panels.ticks(factor * table["chance"], rows, name="chance", hovertemplate="chance %{x:.3g}")
        figure.add_trace(chance, **at)
    for name, x, marker in (
        ("score before", old, panels.filled([False] * len(rows), "#666", size=9)),
        ("score after", new, panels.filled([True] * len(rows), AFTER, size=9)),
    ):
        dots = go.Scatter(
            x=x,
            y=rows,
            mode="markers",
            marker=marker,
            name=name,
            customdata=[theme.verbatim(task) for task in table["name"]],
            hovertemplate=f"%{{customdata}} {name.split()[1]}: %{{x:.4g}}<extra></extra>",
        )
        figure.add_trace(dots, **at)
    panels.name_rows(figure, [theme.label(task, 14) for task in table["name"]], **at)
    figure.update_xaxes(title_text=theme.verbatim(axis), **({"range": [-4, 104]} if factor == 100 else {}), **at)
