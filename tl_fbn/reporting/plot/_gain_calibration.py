"""A calibrated amplification: the amounts that were tried, and what the chosen one does to other items.

Left, on the calibration items: the change of the target task at each amount with its paired 95 % interval and, where
both are in nats, the change of the other task that loses most, whose fall the tolerance limits. A hollow dot lies
beyond the tolerance; a ring marks the chosen amount. The change at that amount is too good to be believed, because the
amount was chosen for it.

Right, on held-out items, which had no part in the choice: the change of every task with its 95 % interval, over what
matched random networks do. Controls that were calibrated chose their own amounts in the same way. A dot is filled where
p < .05; p is the share of matched random networks that raise the task at least as much. A target that is measured by
exact match has a panel of its own, since points and nats cannot share an axis.

The tables behind it are ``calibration.to_dataframe()`` and ``calibration.held_out()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a calibration
PARTS = (
    "network",
    "kind",
    "amounts",
    "chosen",
    "tasks",
    "metric",
    "controls",
    "provenance",
    "to_dataframe",
    "held_out",
)
AXES = {"gain": "gain", "add": "added (activation units)", "add_sd": "added (standard deviations)"}
NEUTRAL_AMOUNTS = {"gain": 1.0, "add": 0.0, "add_sd": 0.0}  # the amount that changes nothing


@checked
def gain_calibration(calibration: Any) -> Figure:
    """The amounts tried on some items, and the chosen one on others, beside matched random networks.

    >>> found = fbn.calibrate_gain(
    ...     model, network, battery, task="sort", gains=(1.1, 1.5), n_controls=9, seed=0, progress=False
    ... )
    >>> figure = fbn.plot.gain_calibration(found)
    >>> figure.layout.title.text  # the model already sorts every item of this battery
    'Amplifying sort - reverse for sort: no amount helps'
    >>> [panel.text for panel in figure.layout.annotations]
    ['amounts tried, on the items they were chosen on', 'chosen amount, on other items']

    Args:
        calibration: What :func:`tl_fbn.calibrate_gain` found, a :class:`tl_fbn.studies.GainCalibration`.

    Raises:
        InputTypeError: ``calibration`` is no gain calibration.
    """
    panels.require(calibration, PARTS, "gain_calibration", "a GainCalibration of calibrate_gain")
    tried = calibration.to_dataframe()
    held = calibration.held_out()
    # a panel for each metric: the target's first, as its line is the first of the table
    groups = [held[held["metric"] == metric] for metric in dict.fromkeys(held["metric"])]
    titles = ["amounts tried, on the items they were chosen on"]
    titles += ["chosen amount, on other items" + (", target" if len(groups) > 1 else ""), "other tasks, likewise"]
    used = titles[: 1 + len(groups)]
    height = max(190, 30 * max(len(group) for group in groups))
    figure, height, places = panels.grid(used, height=height, aside=0.11 if len(groups) > 1 else 0.14)
    _draw_amounts_tried(figure, calibration, tried, places[0])
    for number, (group, at) in enumerate(zip(groups, places[1:], strict=True)):
        _draw_held_out_changes(figure, calibration, group, number == 0, at)
    line = held.iloc[0]  # the target
    factor, _, unit = panels.measure(calibration.metric)
    interval = f"[{factor * line['low']:.3g}, {factor * line['high']:.3g}]"
    change = f"{factor * line['change']:+.3g} {unit} {interval}, {panels.p_words(line['p'])}"
    chosen = f"{calibration.kind.replace('_', ' ')} {calibration.chosen:g}: {change} on other items"
    none = "no amount helps" if calibration.chosen == NEUTRAL_AMOUNTS[calibration.kind] else chosen
    heading = f"Amplifying {calibration.network.name} for {calibration.tasks[0]}: {none}"
    return panels.finish(figure, heading, height, min_width=400 * len(used))


def _draw_amounts_tried(figure: Figure, calibration: Any, table: pd.DataFrame, at: dict[str, Any]) -> None:
    """The change of the target and of the worst other task by amount."""
    go, _ = theme.plotly()
    kind = calibration.kind
    factor, _, unit = panels.measure(calibration.metric)
    x = table[kind].to_numpy(dtype=float)  # the column of amounts is named after their kind
    worst = go.Scatter(
        x=x,
        y=table["worst_change"],
        mode="lines+markers",
        line={"color": theme.OKABE_ITO[1], "dash": "dash"},
        marker=panels.filled(table["allowed"], theme.OKABE_ITO[1], size=7, symbol="square"),
        name="worst other task, nats a token (hollow: beyond the tolerance)",
        customdata=[theme.verbatim(task) for task in table["worst_task"]],
        hovertemplate="%{customdata} %{y:.3g} nats a token<extra></extra>",
    )
    own = panels.whiskers(
        x,
        factor * table["change"],
        factor * table["low"],
        factor * table["high"],
        theme.OKABE_ITO[0],
        upright=True,
        marker=panels.filled(table["allowed"], theme.OKABE_ITO[0], size=8),
        line={"color": theme.OKABE_ITO[0], "width": 2},
        name=f"target, {unit}, 95 % over items",
        customdata=[_hover_text_of_amount(line, kind, factor, unit) for line in theme.records(table)],
        hovertemplate="%{customdata}<extra></extra>",
    )
    chosen = table[table["chosen"]]
    ring = {"symbol": "circle-open", "size": 18, "color": "#222", "line": {"width": 2}}
    mark = go.Scatter(
        x=chosen[kind], y=factor * chosen["change"], mode="markers", marker=ring, name="chosen", hoverinfo="skip"
    )
    # other tasks are measured in nats: they share the axis of a target in nats alone
    if len(calibration.tasks) > 1 and factor == 1:
        figure.add_trace(worst, **at)
        if calibration.provenance.get("tolerance") is not None:
            figure.add_hline(
                y=-float(calibration.provenance["tolerance"]),
                line={"dash": "dash", "color": theme.OKABE_ITO[1], "width": 1},
                **at,
            )
    figure.add_trace(own.update(mode="lines+markers"), **at)
    figure.add_trace(mark, **at)
    panels.line_at(figure, 0.0, upright=False, **at)
    panels.line_at(figure, NEUTRAL_AMOUNTS[kind], **at)
    figure.update_xaxes(title_text=AXES[kind], **at)
    figure.update_yaxes(title_text=f"change ({theme.verbatim(unit)})", **at)


def _hover_text_of_amount(line: dict[str, Any], kind: str, factor: float, unit: str) -> str:
    """What hovering over an amount that was tried says."""
    words = [
        f"{AXES[kind]}: {line[kind]:g}{', chosen' if line['chosen'] else ''}",
        f"{theme.verbatim(line['task'])} {factor * line['change']:+.3g} {unit} "
        f"[{factor * line['low']:.3g}, {factor * line['high']:.3g}]",
    ]
    if np.isfinite(line["worst_change"]):  # NaN where the target is the only task
        words.append(f"worst other: {theme.verbatim(line['worst_task'])} {line['worst_change']:+.3g} nats a token")
    return "<br>".join([*words, "within the tolerance" if line["allowed"] else "beyond the tolerance"])


def _draw_held_out_changes(
    figure: Figure, calibration: Any, table: pd.DataFrame, shown: bool, at: dict[str, Any]
) -> None:
    """What the chosen amount does to each task, over matched random networks."""
    factor, _, unit = panels.measure(table["metric"].iloc[0])
    rows = np.arange(len(table))
    rule = next(iter(calibration.controls))  # how the amounts of the controls were found
    amounts = {"calibrated": "which chose their own amounts", "chosen": "at the same amount"}.get(rule, rule)
    n = len(calibration.controls[rule])
    chance = panels.bars(
        factor * table["control_p05"],
        factor * table["control_p95"],
        rows,
        name=f"{n} matched random networks, {amounts}: 5 to 95 %",
        legendgroup="chance",
        showlegend=shown,
        hoverinfo="skip",
    )
    figure.add_trace(chance, **at)
    middle = panels.ticks(factor * table["control_median"], rows, name="their median", legendgroup="median")
    figure.add_trace(middle.update(showlegend=shown, hoverinfo="skip"), **at)
    dots = panels.whiskers(
        factor * table["change"],
        rows,
        factor * table["low"],
        factor * table["high"],
        theme.OKABE_ITO[0],
        marker=panels.filled(table["p"] < 0.05, theme.OKABE_ITO[0]),
        name="the network, 95 % over items (filled: p < .05)",
        legendgroup="own",
        showlegend=shown,
        customdata=[
            f"{theme.verbatim(line['task'])}, {line['items']} items<br>"
            f"{factor * line['change']:+.3g} {unit} [{factor * line['low']:.3g}, {factor * line['high']:.3g}]<br>"
            f"random networks: median {factor * line['control_median']:.3g}, 95 % {factor * line['control_p95']:.3g}; "
            f"{panels.p_words(line['p'])}"
            for line in theme.records(table)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_trace(dots, **at)
    panels.line_at(figure, 0.0, **at)
    names = [theme.label(line["task"], 14) + (" (target)" if line["target"] else "") for line in theme.records(table)]
    panels.name_rows(figure, names, **at)
    figure.update_xaxes(title_text=f"change ({theme.verbatim(unit)})", **at)
