"""Double dissociations: does silencing each of two networks cost its own task more than the other network's task?

A single lesion shows that a task is lost, but not that the network belongs to that task: the task may simply be the
easiest to lose. Two networks that each cost their own task more than the other's rule that out (Teuber 1955). For
networks a and b, the *effect* of a is the drop of task a minus the drop of task b while a is silenced; the effect of b
is the drop of task b minus the drop of task a while b is silenced.

Up to three pairs are drawn as lines over the two tasks, a panel for each pair: the lines cross where both effects are
above 0. More pairs are drawn as a matrix of the *smaller* of the two effects, since one strong network cannot make that
large by itself. The number that is tested is the sum of both effects, the interaction, against pairs of matched random
networks; a pair is called *double* if its p is below .01 and the interval of each network's own drop lies above that
of its drop of the other task.

Chance stands beside it: with lines, the median and the 5th to 95th percentile of the drops under matched random
networks; beside the matrix, the median of the smaller effect over pairs of these. The table of ``dissociations()``
does not contain the controls one by one and is drawn without them; p and interval of the interaction remain.

The table behind the picture is :func:`dissociation_table`. p values are not corrected for the number of pairs.
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

DISSOCIATION_COLUMNS = ("first", "second", "first_own", "first_other", "second_own", "second_other")
DISSOCIATION_COLUMNS += ("interaction", "low", "high", "p", "double")
# what is read of a study
PARTS = ("networks", "tasks", "metric", "dissociations", "control_drops", "to_dataframe")
FEW = 3  # largest number of pairs that are drawn as lines where ``pairs`` is not given


@checked
def dissociation(
    study: Any,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metric: str | None = None,
    control: str | None = None,
) -> Figure:
    """Pairs of networks on each other's tasks: crossing lines of a few pairs, or a matrix of all.

    >>> reverse = fbn.fit_glm(recording).contrast("reverse - sort").effect.top(0.02)
    >>> networks = {"sort": contrast.effect.top(0.02), "reverse": reverse}
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=19, seed=0, progress=False)
    >>> figure = fbn.plot.dissociation(study, pairs=[("sort", "reverse")])
    >>> lines = {line.name: line.y for line in figure.data if line.name in networks}
    >>> lines["sort"], lines["reverse"]  # points that sort and reverse lose, in this order
    (array([30.,  0.]), array([ 0., 90.]))

    Args:
        study: A :class:`tl_fbn.studies.LesionStudy` with at least two networks that are named like tasks; or the table
            of its ``dissociations()``, where ``metric`` says what the numbers are.
        pairs: Pairs of names to draw as lines; by default all pairs, as lines if there are up to three and as a matrix
            if there are more.
        metric: Metric to draw instead of the study's own; for a table, the metric that its numbers are of (by default
            exact match).
        control: Kind of controls to compare with; by default the study's first.

    Raises:
        InputTypeError: ``study`` is neither a lesion study nor a table.
        InputError: Fewer than two networks are named like tasks, ``pairs`` is empty or names unknown networks, or the
            table lacks columns.
    """
    table = dissociation_table(study, metric=metric, control=control)
    named = metric or (study.metric if hasattr(study, "metric") else "exact_match")
    if pairs is None:
        return (
            _crossing_lines(study, table, named, control)
            if len(table) <= FEW
            else _matrix_of_pairs(study, table, named, control)
        )
    # either network of a pair may be named first
    found = {frozenset(pair): i for i, pair in enumerate(zip(table["first"], table["second"], strict=True))}
    unknown = [pair for pair in pairs if frozenset(pair) not in found]
    if unknown or not pairs:
        known = ", ".join(dict.fromkeys([*table["first"], *table["second"]]))
        raise InputError(f"pairs={list(pairs)} must be pairs of two of {known}")
    return _crossing_lines(study, table.iloc[[found[frozenset(pair)] for pair in pairs]], named, control)


def dissociation_table(study: Any, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
    """The numbers behind :func:`dissociation`, one line for each pair of networks.

    Args:
        study: A lesion study, or the table of its ``dissociations()``.
        metric: Metric of a study to use instead of its own.
        control: Kind of controls of a study; by default its first.

    Returns:
        The columns of the study's ``dissociations()``, then smaller (the smaller of the two effects) and, for a study,
        control_smaller (the median of the smaller effect over pairs of matched random networks).
    """
    key = ("first", "second")
    if isinstance(study, pd.DataFrame):
        table = theme.require_lines(study, DISSOCIATION_COLUMNS, key, "dissociation")
    else:
        panels.require(study, PARTS, "dissociation", "a LesionStudy, or the table of its dissociations()")
        table = study.dissociations(metric=metric, control=control)
        if not len(table):
            raise InputError(
                f"dissociation needs two networks that are named like tasks; networks: {', '.join(study.networks)}; "
                f"tasks: {', '.join(study.tasks)}"
            )
    effects = table["first_own"] - table["first_other"], table["second_own"] - table["second_other"]
    table = table.assign(smaller=np.minimum(*effects))
    if isinstance(study, pd.DataFrame):
        return table
    drops = study.control_drops(metric, control=control)  # (network, control, task)
    chance = []
    for first, second in zip(table["first"], table["second"], strict=True):
        a, b = (list(study.networks).index(name) for name in (first, second))
        own_a, own_b = (list(study.tasks).index(name) for name in (first, second))
        # the n-th control of a and the n-th control of b are a pair
        smaller = np.minimum(drops[a, :, own_a] - drops[a, :, own_b], drops[b, :, own_b] - drops[b, :, own_a])
        chance.append(float(np.nanmedian(smaller)))  # NaN: controls that a rule left out
    return table.assign(control_smaller=chance)


def _crossing_lines(study: Any, table: pd.DataFrame, metric: str, control: str | None) -> Figure:
    """One panel a pair: two tasks across, two lines, and what random networks do."""
    go, _ = theme.plotly()
    factor, _, unit = panels.measure(metric)
    lines = theme.records(table)
    bare = isinstance(study, pd.DataFrame)  # a table has neither intervals of drops nor single controls
    whole = None if bare else study.to_dataframe(metric=metric, control=control).set_index(["network", "task"])
    titles = [_panel_title(line, factor, unit) for line in lines]
    everyone = list(dict.fromkeys(name for line in lines for name in (line["first"], line["second"])))
    figure, height, places = panels.grid(titles, height=230, gap=104, shared_yaxes="all")
    drawn: set[str] = set()
    for number, (line, at) in enumerate(zip(lines, places, strict=True)):
        names = [line["first"], line["second"]]  # of the networks, and of the two tasks across
        values = [[line["first_own"], line["first_other"]], [line["second_other"], line["second_own"]]]
        for k, name in enumerate(names):
            y = factor * np.array(values[k])
            x = np.array([0.0, 1.0]) + (k - 0.5) * 0.06  # side by side, or equal dots would hide each other
            which = everyone.index(name)
            colour = theme.OKABE_ITO[which % 8]
            dash = ("solid", "dash", "dot")[which % 3]
            low = y  # no interval, unless there is a study
            high = y
            if whole is not None:
                cells = whole.loc[[(name, task) for task in names]]
                low = factor * cells["low"]
                high = factor * cells["high"]
                null = study.control_drops(metric, control=control)[study.networks.index(name)]
                null = factor * null[:, [study.tasks.index(task) for task in names]]
                # one entry of the legend for all bands: that of the first
                shown = {"name": "matched random networks, 5 to 95 %", "showlegend": number + k == 0}
                p05, p95 = np.nanquantile(null, [0.05, 0.95], axis=0)
                figure.add_trace(panels.band(x, p05, p95, panels.CHANCE, 0.2, **shown), **at)
                quiet = {"color": panels.CHANCE, "width": 1.5, "dash": dash}
                middle = go.Scatter(
                    x=x, y=np.nanmedian(null, axis=0), mode="lines", line=quiet, showlegend=False, hoverinfo="skip"
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
    heading = (
        f"What losing each of two networks costs each of their tasks{_note_of_too_few_controls(study, metric, control)}"
    )
    return panels.finish(figure, heading, height, min_width=260 * max(at["col"] for at in places))


def _note_of_too_few_controls(study: Any, metric: str, control: str | None) -> str:
    """What the heading adds where there are too few controls for any pair to be called double.

    With n controls the smallest p is 1 / (1 + n), and *double* asks for p < .01.
    """
    n = None if isinstance(study, pd.DataFrame) else study.control_drops(metric, control=control).shape[1]
    return "" if n is None or 1 / (1 + n) < 0.01 else f" (none can be shown: p < .01 needs 100 controls, here are {n})"


def _panel_title(line: dict[str, Any], factor: float, unit: str) -> str:
    """Title of the panel of a pair: whether it is double, and the interaction with interval and p."""
    names = f"{theme.label(line['first'], 16)} and {theme.label(line['second'], 16)}"
    verdict = "double dissociation" if line["double"] else "not shown to be double"
    interval = f"[{factor * line['low']:.3g}, {factor * line['high']:.3g}]"
    sums = (
        f"interaction {factor * line['interaction']:.3g} {theme.verbatim(unit)} {interval}, {panels.p_words(line['p'])}"
    )
    return f'{names}: {verdict}<br><span style="font-size:11px">{sums}</span>'


def _matrix_of_pairs(study: Any, table: pd.DataFrame, metric: str, control: str | None) -> Figure:
    """The smaller effect of every pair below the diagonal, beside the same of random networks."""
    _, make_subplots = theme.plotly()
    factor, _, unit = panels.measure(metric)
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    place = {name: i for i, name in enumerate(names)}
    controlled = "control_smaller" in table
    # below the diagonal only: lines are networks 1 to n - 1, columns networks 0 to n - 2
    own, chance, stars = (np.full((len(names) - 1, len(names) - 1), np.nan) for _ in range(3))
    hover = np.full(own.shape, "", dtype=object)
    for line in theme.records(table):
        low, high = sorted((place[line["first"]], place[line["second"]]))
        at = high - 1, low
        own[at] = factor * line["smaller"]
        stars[at] = bool(line["double"])
        chance[at] = factor * line["control_smaller"] if controlled else np.nan
        hover[at] = _hover_text_of_pair(line, factor, unit)
    titles = ["the pair's own lesions", "matched random lesions (median)"][: 1 + controlled]
    figure = make_subplots(rows=1, cols=len(titles), horizontal_spacing=0.03, subplot_titles=titles)
    limit = theme.colour_limit([own, chance], percentile=100.0)  # one colour scale for both panels
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
    note = _note_of_too_few_controls(study, metric, control)
    heading = f"Smaller of two networks' own-task effects, in {unit}: {doubles}{note}"
    # pixels of a cell: room for a number, or for a star alone
    cell = 46 if len(names) <= panels.CROWDED else 24
    width = 200 + len(titles) * cell * len(names)
    return theme.finish(figure, heading, (34 if cell == 46 else 22) * len(names) + 20, min_width=width)


def _hover_text_of_pair(line: dict[str, Any], factor: float, unit: str) -> str:
    """What hovering over the cell of a pair says."""
    a = theme.verbatim(line["first"])
    b = theme.verbatim(line["second"])
    unit = theme.verbatim(unit)
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
