"""Double dissociations: does each of two networks cost its own task more than the other's?

    dissociation(study)                                  few pairs: the crossing lines everybody knows
    dissociation(atlas_study)                            many: a matrix of all pairs

A single lesion shows that a task is lost, not that it is the network's: the task may be the easiest to lose. Two networks that each cost their own task more
than the other's rule that out (Teuber 1955). For networks a and b, the *effect* of a is its drop of task a less its drop of task b, and likewise of b. Lines cross
where both effects are above 0; the matrix shows the *smaller* of the two, which one strong network cannot make up for the other. The tested number is their
sum, the interaction, against matched random networks drawn in pairs; *double* also asks that both own drops have intervals above those of the other's.

Chance stands beside it: in lines, the median and the 5th to 95th percentile of the drops under matched random networks; beside the matrix, the median of the
smaller effect over pairs of them. A table of dissociations has no single controls and is drawn without; p and interval of the interaction remain.

The table behind it is :func:`dissociation_table`. p values are not corrected for the number of pairs.
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

DISSOCIATION_COLUMNS = ("first", "second", "first_own", "first_other", "second_own", "second_other")
DISSOCIATION_COLUMNS += ("interaction", "low", "high", "p", "double")
PARTS = ("networks", "tasks", "metric", "dissociations", "control_drops", "to_dataframe")
FEW = 3  # pairs that are drawn as lines unless asked otherwise


def dissociation(
    study: Any,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metric: str | None = None,
    control: str | None = None,
) -> Figure:
    """Pairs of networks on each other's tasks: crossing lines of a few pairs, or a matrix of all.

    >>> dissociation(study, pairs=[("sort", "reverse")])                        # doctest: +SKIP

    Args:
        study: A :class:`tl_fbn.studies.LesionStudy` with networks named like tasks; or the table of its ``dissociations()``, where ``metric`` says what its numbers are.
        pairs: Pairs to draw as lines; by default all of them, as lines where there are up to three and as a matrix above.
        metric: Another metric than the study's; of a table, the metric it is of (exact match unless told).
        control: Another kind of controls than the first.

    Raises:
        InputTypeError: Neither a study nor a table.
        InputError: Fewer than two networks that are named like tasks, unknown pairs, missing columns.
    """
    table = dissociation_table(study, metric=metric, control=control)
    named = metric or (study.metric if hasattr(study, "metric") else "exact_match")
    if pairs is None:
        return _lines(study, table, named, control) if len(table) <= FEW else _matrix(study, table, named, control)
    found = {frozenset(pair): i for i, pair in enumerate(zip(table["first"], table["second"], strict=True))}
    unknown = [pair for pair in pairs if frozenset(pair) not in found]
    if unknown or not pairs:
        known = ", ".join(dict.fromkeys([*table["first"], *table["second"]]))
        raise InputError(f"pairs={list(pairs)} must be pairs of two of {known}")
    return _lines(study, table.iloc[[found[frozenset(pair)] for pair in pairs]], named, control)


def dissociation_table(study: Any, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
    """The numbers behind :func:`dissociation`, one line a pair.

    Columns: those of the study's ``dissociations()``, then smaller (of the two effects) and, of a study, control_smaller (the same of matched random networks,
    median over their pairs).
    """
    key = ("first", "second")
    if isinstance(study, pd.DataFrame):
        table = theme.require_lines(study, DISSOCIATION_COLUMNS, key, "dissociation")
    else:
        panels.require(study, PARTS, "dissociation", "a LesionStudy, or the table of its dissociations()")
        table = study.dissociations(metric=metric, control=control)
        if not len(table):
            raise InputError(
                f"dissociation needs two networks that are named like tasks; networks: {', '.join(study.networks)}; tasks: {', '.join(study.tasks)}"
            )
    effects = table["first_own"] - table["first_other"], table["second_own"] - table["second_other"]
    table = table.assign(smaller=np.minimum(*effects))
    if isinstance(study, pd.DataFrame):
        return table
    drops = study.control_drops(metric, control=control)
    chance = []
    for first, second in zip(table["first"], table["second"], strict=True):
        (a, b), (s, t) = (
            [names.index(name) for name in (first, second)] for names in (list(study.networks), list(study.tasks))
        )
        smaller = np.minimum(drops[a, :, s] - drops[a, :, t], drops[b, :, t] - drops[b, :, s])
        chance.append(float(np.median(smaller)))
    return table.assign(control_smaller=chance)


def _lines(study: Any, table: pd.DataFrame, metric: str, control: str | None) -> Figure:
    """One panel a pair: two tasks across, two lines, and what random networks do."""
    go, _ = theme.plotly()
    factor, _, unit = panels.measure(metric)
    lines = theme.records(table)
    bare = isinstance(study, pd.DataFrame)
    whole = None if bare else study.to_dataframe(metric=metric, control=control).set_index(["network", "task"])
    titles = [_title(line, factor, unit) for line in lines]
    everyone = list(dict.fromkeys(name for line in lines for name in (line["first"], line["second"])))
    figure, height, places = panels.grid(titles, height=230, gap=104, shared_yaxes="all")
    drawn: set[str] = set()
    for number, (line, at) in enumerate(zip(lines, places, strict=True)):
        names = [line["first"], line["second"]]
        values = [[line["first_own"], line["first_other"]], [line["second_other"], line["second_own"]]]
        for k, name in enumerate(names):
            y = factor * np.array(values[k])
            x = np.array([0.0, 1.0]) + (k - 0.5) * 0.06
            which = everyone.index(name)
            colour = theme.OKABE_ITO[which % 8]
            dash = ("solid", "dash", "dot")[which % 3]
            low = y
            high = y
            if whole is not None:
                cells = whole.loc[[(name, task) for task in names]]
                low = factor * cells["low"]
                high = factor * cells["high"]
                null = study.control_drops(metric, control=control)[study.networks.index(name)]
                null = factor * null[:, [study.tasks.index(task) for task in names]]
                shown = {"name": "matched random networks, 5 to 95 %", "showlegend": number + k == 0}
                p05, p95 = np.quantile(null, [0.05, 0.95], axis=0)
                figure.add_trace(panels.band(x, p05, p95, panels.CHANCE, 0.2, **shown), **at)
                quiet = {"color": panels.CHANCE, "width": 1.5, "dash": dash}
                middle = go.Scatter(
                    x=x, y=np.median(null, axis=0), mode="lines", line=quiet, showlegend=False, hoverinfo="skip"
                )
                figure.add_trace(middle, **at)
            own = panels.whiskers(
                x,
                y,
                low,
                high,
                colour,
                upright=True,
                name=theme.verbatim(name),
                showlegend=name not in drawn,
                legendgroup=f"own {which}",
                line={"color": colour, "width": 2.5, "dash": dash},
                marker={"size": 9, "symbol": which % 8, "color": colour},
                customdata=[
                    f"without {theme.verbatim(name)}: {theme.verbatim(task)} loses {value:.3g} {theme.verbatim(unit)}"
                    for task, value in zip(names, y, strict=True)
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
            figure.add_trace(own.update(mode="lines+markers"), **at)
            drawn.add(name)
        ticks = [theme.label(name, 14) for name in names]
        figure.update_xaxes(tickvals=[0, 1], ticktext=ticks, range=[-0.35, 1.35], title_text="task", **at)
        figure.update_yaxes(title_text=f"drop ({theme.verbatim(unit)})" if at["col"] == 1 else None, **at)
    heading = f"What losing each of two networks costs each of their tasks{_reach(study, metric, control)}"
    return panels.finish(figure, heading, height, min_width=260 * max(at["col"] for at in places))


def _reach(study: Any, metric: str, control: str | None) -> str:
    """What the heading adds where there are too few controls for any pair to be called double."""
    n = None if isinstance(study, pd.DataFrame) else study.control_drops(metric, control=control).shape[1]
    return "" if n is None or 1 / (1 + n) < 0.01 else f" (none can be shown: p < .01 needs 100 controls, here are {n})"


def _title(line: dict[str, Any], factor: float, unit: str) -> str:
    names = f"{theme.label(line['first'], 16)} and {theme.label(line['second'], 16)}"
    verdict = "double dissociation" if line["double"] else "not shown to be double"
    sums = f"interaction {factor * line['interaction']:.3g} {theme.verbatim(unit)} [{factor * line['low']:.3g}, {factor * line['high']:.3g}], {panels.p_words(line['p'])}"
    return f'{names}: {verdict}<br><span style="font-size:11px">{sums}</span>'


def _matrix(study: Any, table: pd.DataFrame, metric: str, control: str | None) -> Figure:
    """The smaller effect of every pair below the diagonal, beside the same of random networks."""
    _, make_subplots = theme.plotly()
    factor, _, unit = panels.measure(metric)
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    place = {name: i for i, name in enumerate(names)}
    controlled = "control_smaller" in table
    own, chance, stars = (np.full((len(names) - 1, len(names) - 1), np.nan) for _ in range(3))
    hover = np.full(own.shape, "", dtype=object)
    for line in theme.records(table):
        low, high = sorted((place[line["first"]], place[line["second"]]))
        at = high - 1, low
        own[at], stars[at] = factor * line["smaller"], bool(line["double"])
        chance[at] = factor * line["control_smaller"] if controlled else np.nan
        hover[at] = _words(line, factor, unit)
    titles = ["the pair's own lesions", "matched random lesions (median)"][: 1 + controlled]
    figure = make_subplots(rows=1, cols=len(titles), horizontal_spacing=0.03, subplot_titles=titles)
    limit = theme.colour_limit([own, chance], percentile=100.0)
    digits = 2 if limit < 2 else 1 if limit < 20 else 0
    for col, (z, starred) in enumerate([(own, stars), (chance, None)][: len(titles)], start=1):
        heat = theme.matrix(
            z,
            -limit,
            limit,
            text=panels.cell_text(z, digits, starred),
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            showscale=col == len(titles),
            colorbar=theme.colour_bar(unit),
        )
        figure.add_trace(heat, row=1, col=col)
        across = [theme.label(name, 14) for name in names[:-1]]
        theme.matrix_axes(figure, across, [theme.label(name) for name in names[1:]], row=1, col=col)
    if controlled:
        figure.update_yaxes(showticklabels=False, row=1, col=2)
    doubles = f"{sum(map(bool, table['double']))} of {len(table)} pairs are doubly dissociated (*)"
    heading = f"Smaller of two networks' own-task effects, in {unit}: {doubles}{_reach(study, metric, control)}"
    cell = 46 if len(names) <= panels.CROWDED else 24
    width = 200 + len(titles) * cell * len(names)
    return theme.finish(figure, heading, (34 if cell == 46 else 22) * len(names) + 20, min_width=width)


def _words(line: dict[str, Any], factor: float, unit: str) -> str:
    a, b, unit = theme.verbatim(line["first"]), theme.verbatim(line["second"]), theme.verbatim(unit)
    first_own, first_other, second_own, second_other, both, low, high, smaller = (
        factor * line[name]
        for name in (
            "first_own",
            "first_other",
            "second_own",
            "second_other",
            "interaction",
            "low",
            "high",
            "smaller",
        )
    )
    words = [
        f"without {a}: {a} {first_own:.3g}, {b} {first_other:.3g} {unit}",
        f"without {b}: {b} {second_own:.3g}, {a} {second_other:.3g} {unit}",
        f"smaller effect {smaller:.3g}; interaction {both:.3g} [{low:.3g}, {high:.3g}], {panels.p_words(line['p'])}",
        "double dissociation" if line["double"] else "not shown to be double",
    ]
    if "control_smaller" in line:
        words.insert(3, f"random lesions: smaller effect {factor * line['control_smaller']:.3g} (median)")
    return "<br>".join(words)
