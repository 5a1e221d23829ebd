"""Behaviour against dose: against the gain of a network, the amount added to it, or the number of units silenced.

One panel for each task. The coloured line is the score under the network at each dose, with a band of its 95 %
interval over items. The grey line is the median of matched random networks, with a band from their 5th to their 95th
percentile. Dotted is the untouched model: a horizontal line at its score, and a vertical line at the dose that changes
nothing. The title of a panel gives the area (mean change from the untouched model over the doses, in points or nats)
and the monotonicity (rank correlation of the score with the distance from the dose that changes nothing), each with its
p against the matched curves. p is not corrected for the number of tasks.

Sizes (shares of units silenced) are drawn on a logarithmic axis. A size of 0 has no place on it: it stands one step to
the left of the smallest size, and is labelled 0.

The table behind it is ``dose.to_dataframe()``; area and monotonicity are in ``dose.summary()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a response
PARTS = ("kind", "doses", "tasks", "metric", "controls", "to_dataframe", "summary")
AXES = {
    "gain": "gain (1: untouched)",
    "add": "added to each member (activation units)",
    "add_sd": "added to each member (its standard deviations)",
    "size": "units silenced (% of all)",
}
WORDS = {
    "gain": "gain",
    "add": "amount added",
    "add_sd": "amount added, in standard deviations",
    "size": "share of units silenced",
}
NEUTRAL_DOSES = {"gain": 1.0, "add": 0.0, "add_sd": 0.0, "size": 0.0}  # the dose that changes nothing


@checked
def dose_response(dose: Any) -> Figure:
    """Score against dose for every task, with intervals, matched random curves and the untouched model.

    >>> drivers = contrast.effect.top(0.02)  # the units that *sort* drives most beyond *reverse*
    >>> curve = fbn.dose_response(model, drivers, battery, gains=(0, 1, 2), n_controls=9, seed=0, progress=False)
    >>> figure = fbn.plot.dose_response(curve)
    >>> figure.layout.title.text
    'Exact match of each task by gain: top 0.02 of sort - reverse'
    >>> sorting = figure.data[3]
    >>> sorting.x, sorting.y  # gains, and % of sort's items that are right
    (array([0., 1., 2.]), array([ 70., 100., 100.]))

    Args:
        dose: What :func:`tl_fbn.dose_response` found, a :class:`tl_fbn.studies.DoseResponse`; or a mapping of names to
            several of them that share kind, doses, tasks and metric. Area and monotonicity are given for a single one
            alone.

    Raises:
        InputTypeError: ``dose`` is neither a dose response nor a mapping of names to such.
        InputError: The mapping is empty, or its responses differ in kind, doses, tasks or metric.
    """
    curves = _responses_by_name(dose)
    first = next(iter(curves.values()))
    factor, axis, unit = panels.measure(first.metric)
    tables = {name: one.to_dataframe() for name, one in curves.items()}
    single = len(curves) == 1
    table = next(iter(tables.values()))  # for the untouched model, which is the same for all networks
    tests = dict(zip(first.tasks, theme.records(first.summary()), strict=True)) if single else {}
    titles = [_panel_title(task, tests.get(task), factor) for task in first.tasks]
    # shares of right answers have one axis; log-likelihoods of different tasks lie too far apart for that
    shared = "all" if factor == 100 else False
    figure, height, places = panels.grid(titles, shared_yaxes=shared, gap=104)
    x, ticks = _dose_positions(first.kind, np.asarray(first.doses, dtype=float))
    for number, (task, at) in enumerate(zip(first.tasks, places, strict=True)):
        for place, (name, whole) in enumerate(tables.items()):
            lines = whole[whole["task"] == task]
            for trace in _traces_of_network(name, place, lines, x, curves[name], factor, unit, number == 0, single):
                figure.add_trace(trace, **at)
        baseline = factor * float(table.loc[table["task"] == task, "baseline"].iloc[0])
        figure.add_trace(panels.across(x, baseline, "untouched model", showlegend=number == 0), **at)
        if first.kind != "size":
            panels.line_at(figure, NEUTRAL_DOSES[first.kind], **at)
        scale = {"type": "log"} | ticks if first.kind == "size" else {}
        figure.update_xaxes(title_text=AXES[first.kind], **scale, **at)
        figure.update_yaxes(title_text=theme.verbatim(axis) if at["col"] == 1 else None, **at)
        if factor == 100:
            figure.update_yaxes(range=[-4, 104], **at)
    whose = next(iter(curves)) if single else f"{len(curves)} networks"
    heading = f"{axis.split(' (')[0].capitalize()} of each task by {WORDS[first.kind]}: {whose}"
    return panels.finish(figure, heading, height, min_width=320 * max(at["col"] for at in places))


def _responses_by_name(dose: Any) -> dict[str, Any]:
    """Names to responses that can be drawn together."""
    wanted = "a DoseResponse, or a mapping of names to several"
    if not isinstance(dose, Mapping):
        panels.require(dose, (*PARTS, "network"), "dose_response", wanted)
        return {str(dose.network): dose}
    if not dose:
        raise InputError("dose_response was given an empty mapping; give at least one DoseResponse")
    for one in dose.values():
        panels.require(one, PARTS, "dose_response", wanted)
    (first_name, first), *others = dose.items()
    for name, one in others:
        for what in ("kind", "metric", "tasks"):
            if getattr(one, what) != getattr(first, what):
                raise InputError(
                    f"dose_response draws responses of one {what} together; {first_name!r} has "
                    f"{getattr(first, what)!r} and {name!r} {getattr(one, what)!r}. Draw them apart"
                )
        if not np.array_equal(one.doses, first.doses):
            given = [", ".join(f"{value:g}" for value in each.doses) for each in (first, one)]
            raise InputError(
                f"dose_response draws responses to the same doses together; {first_name!r} has {given[0]} and "
                f"{name!r} {given[1]}. Draw them apart"
            )
    return {str(name): one for name, one in dose.items()}


def _panel_title(task: str, test: Any, factor: float) -> str:
    """Name of a task and, where a single network is drawn, its area and monotonicity in a second line."""
    if test is None:
        return theme.label(task, 40)
    area = f"area {factor * test['area']:+.3g}, {panels.p_words(test['p'])}"
    rank = f"monotonicity {test['monotonicity']:+.2f}, {panels.p_words(test['monotonicity_p'])}"
    return f'{theme.label(task, 40)}<br><span style="font-size:11px">{area}; {rank}</span>'


def _dose_positions(kind: str, doses: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Where doses stand on their axis (sizes in %), and the ticks of the logarithmic axis of sizes."""
    if kind != "size":
        return doses, {}
    positive = doses[doses > 0]
    # a size of 0 stands as far left of the smallest as that is from the next, on the logarithmic axis
    step = positive[1] / positive[0] if len(positive) > 1 else 3.0
    at = 100 * np.where(doses > 0, doses, positive[0] / step)
    return at, {"tickvals": at.tolist(), "ticktext": [f"{100 * dose:.3g}" for dose in doses]}


def _traces_of_network(
    name: str, place: int, lines: pd.DataFrame, x: Any, dose: Any, factor: float, unit: str, shown: bool, single: bool
) -> list[Any]:
    """Bands and lines of one network on one task: matched random networks, interval, score.

    Args:
        name: Name of the network, as plain text.
        place: Index of the network, which gives its colour, dash and symbol.
        lines: Lines of the task in the response's table, one for each dose.
        x: (dose,) places of the doses on the axis.
        dose: The dose response.
        factor: What scores are multiplied by to be shown.
        unit: Unit of the changes, "points" or "nats".
        shown: Whether the legend names these traces; true for the first task alone.
        single: Whether this is the only network.
    """
    go, _ = theme.plotly()
    colour = theme.OKABE_ITO[place % 8]
    median, p05, p95, value, low, high = (
        factor * lines[column].to_numpy(dtype=float)
        for column in ("control_median", "control_p05", "control_p95", "value", "low", "high")
    )
    chance = f"{len(dose.controls)} matched random networks" + (": median, 5 to 95 %" if single else " each: 5 to 95 %")
    grey = {"legendgroup": "chance", "showlegend": shown and place == 0, "name": chance}
    hover = [
        f"{theme.verbatim(name)}, {WORDS[dose.kind]} {at:g}, {units:,} units<br>{own:.4g} [{a:.4g}, {b:.4g}]<br>"
        f"random networks: median {c:.4g}, 5 to 95 % {d:.4g} to {e:.4g}"
        for at, units, own, a, b, c, d, e in zip(
            dose.doses, lines["units"], value, low, high, median, p05, p95, strict=True
        )
    ]
    own = go.Scatter(
        x=x,
        y=value,
        name=f"{theme.verbatim(name)}, 95 % over items" if single else theme.verbatim(name),
        legendgroup=f"own {place}",
        showlegend=shown,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": ("solid", "dash", "dot")[place // 8 % 3]},
        marker={"symbol": place % 8, "size": 7},
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
    )
    inner = {"legendgroup": f"own {place}", "showlegend": False}
    parts = [panels.band(x, p05, p95, panels.CHANCE, 0.3 if single else 0.16, **grey)]
    if single:
        quiet = {"color": panels.CHANCE, "width": 1.5}
        parts.append(go.Scatter(x=x, y=median, mode="lines", line=quiet, hoverinfo="skip", showlegend=False))
    # in the order in which they are drawn: chance first, the score on top
    return [*parts, panels.band(x, low, high, colour, 0.2, **inner), own]
