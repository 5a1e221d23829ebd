"""Pictures that compare networks, tasks and methods, each number beside what chance gives.

- :func:`recurrence`        in how many samples each network comes back, beside shuffled templates;
- :func:`confusion_matrix`  which task each run was identified as, with accuracy, interval, chance and p;
- :func:`connectivity`      correlations of networks over time; in parentheses where the interval includes 0;
- :func:`concordance`       correlation and Dice of maps made by different methods, with a star where p < .05.

A star says p < .05 of one cell, uncorrected: of twenty cells one is expected to have a star by chance alone. Where a
heading counts stars or intervals, it also says how many chance would give. The tests themselves are those of the
results that are drawn; nothing is tested here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

CONCORDANCE_COLUMNS = ("a", "b", "correlation", "p_correlation", "dice", "expected", "p_dice")


@checked
def recurrence(recurrence: Recurrence, *, title: str | None = None) -> Figure:
    """How many maps of single samples bring each network back, beside the same count for shuffled templates.

    Bars are the counts; an orange tick is the mean of the shuffles and its whisker reaches to their 95th percentile.

    >>> found = fbn.recurrence(atlas, recording, n_null=19, seed=0, progress=False)
    >>> figure = fbn.plot.recurrence(found)
    >>> figure.data[0].y  # of 100 prompts, those whose map resembles network N00, N01 ...
    array([20, 33,  1, 30,  4,  9, 11,  1])

    Args:
        recurrence: What :func:`tl_fbn.recurrence` found: counts of the networks of an atlas, and their null.
        title: Heading of the picture; by default how many networks come back more often than by chance.
    """
    table = recurrence_table(recurrence)
    names = [theme.verbatim(name) for name in recurrence.names]
    samples = recurrence.n_samples
    kind = recurrence.provenance.get("samples", "sample")  # "prompt", "block" or "run"
    come_back = np.count_nonzero(table["p"] < 0.05)
    go, _ = theme.plotly()
    place = np.arange(len(names))
    stars = ["*" if p < 0.05 else "" for p in table["p"]]
    hover = [
        f"{name}<br>{line['samples']:,} of {samples:,} {kind}s, {line['count']:,} maps<br>by chance "
        f"{line['expected']:.2f}, 95 % below {line['expected_95']:.3g}<br>p {line['p']:.3g}, uncorrected"
        for name, line in zip(names, theme.records(table), strict=True)
    ]
    bars = go.Bar(
        x=place,
        y=table["count"].to_numpy(),
        marker={"color": theme.OKABE_ITO[0]},
        text=stars,
        textposition="outside",
        cliponaxis=False,
        name="observed (* p < .05, uncorrected)",
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure = go.Figure(bars)
    mean = table["expected"].to_numpy()
    high = table["expected_95"].to_numpy()
    chance = go.Scatter(
        x=place,
        y=mean,
        mode="markers",
        marker={"symbol": "line-ew", "size": 14, "line": {"width": 2.5, "color": theme.OKABE_ITO[1]}},
        # upwards only, from the mean of the shuffles to their 95th percentile
        error_y={
            "type": "data",
            "array": np.maximum(high - mean, 0.0),
            "arrayminus": np.zeros(len(mean)),
            "color": theme.OKABE_ITO[1],
            "thickness": 2,
            "width": 5,
        },
        name="shuffled templates: mean, up to 95 %",
        hoverinfo="skip",
    )
    figure.add_trace(chance)
    short = [theme.label(name, 14) for name in recurrence.names]
    figure.update_xaxes(tickvals=place, ticktext=short, autotickangles=[0, -45, -90], showgrid=False)
    figure.update_xaxes(range=[-0.6, len(names) - 0.4])
    top = max(float(recurrence.counts.max()), float(high.max()), 1.0)
    figure.update_yaxes(title_text=f"maps of {samples:,} {kind}s", range=[0, 1.12 * top])
    heading = title or (
        f"{come_back} of {len(names)} networks come back more often than by chance "
        f"(IoU above {recurrence.threshold:g}; p < .05, where chance gives at most {0.05 * len(names):.2g})"
    )
    return theme.finish(figure, heading, 260, min_width=160 + 26 * len(names))


def recurrence_table(recurrence: Recurrence) -> pd.DataFrame:
    """The numbers behind :func:`recurrence`, one line for each network.

    Args:
        recurrence: What :func:`tl_fbn.recurrence` found.

    Returns:
        The columns of its own table, and expected_95: the count that 95 % of shuffled templates do not exceed.
    """
    table = recurrence.to_dataframe()
    table.insert(list(table.columns).index("expected") + 1, "expected_95", np.quantile(recurrence.null, 0.95, axis=0))
    return table


@checked
def confusion_matrix(identification: Identification, *, title: str | None = None) -> Figure:
    """Which task each run was identified as: numbers of runs, coloured by their share of the true task's runs.

    >>> recordings = {}
    >>> for name in ("sort", "reverse"):
    ...     shown = fbn.block_design({name: tasks[name], "add": tasks["add"]}, n_runs=4, n_cycles=2, seed=0)
    ...     recordings[name] = fbn.Scanner(model).scan(shown, f"recordings/{name}", progress=False)
    >>> found = fbn.identify_task(recordings, seed=0, progress=False)
    >>> figure = fbn.plot.confusion_matrix(found)
    >>> figure.data[0].text  # runs of each true task (a line), by the task that was told
    (['4', '0'], ['0', '4'])

    Args:
        identification: What :func:`tl_fbn.identify_task` found: the true and the told task of every run; its
            ``.confusion`` is the table that is drawn.
        title: Heading of the picture; by default the accuracy with its 95 % interval, chance and p.
    """
    counts = np.asarray(identification.table, dtype=np.float64)
    totals = counts.sum(1, keepdims=True)  # runs of each true task
    # a task without runs has no shares: its line stays empty
    share = np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), np.nan)
    names = [theme.verbatim(name) for name in identification.tasks]
    go, _ = theme.plotly()
    heat = theme.matrix(
        100 * share,
        0,
        100,
        text=theme.cells(np.where(np.isfinite(share), counts, np.nan), 0),
        customdata=[
            [f"{n:.0f} of {total:.0f} runs of {true}<br>told to be {told}" for told, n in zip(names, line, strict=True)]
            for true, line, total in zip(names, counts, totals[:, 0], strict=True)
        ],
        hovertemplate="%{customdata}<br>%{z:.3g} %<extra></extra>",
        colorbar=theme.colour_bar("% of task"),
    )
    figure = go.Figure(heat)
    rows = [
        f"{theme.label(name)} ({total:.0f})" for name, total in zip(identification.tasks, totals[:, 0], strict=True)
    ]
    theme.matrix_axes(figure, [theme.label(name, 14) for name in identification.tasks], rows)
    figure.update_xaxes(title_text="told")
    figure.update_yaxes(title_text="true (runs)")
    low, high = identification.interval
    heading = title or (
        f"{identification.accuracy:.0%} of {identification.n:,} runs told right by {identification.method} "
        f"(95 % interval {low:.0%} to {high:.0%}; chance {identification.chance:.0%}, p {identification.p:.2g})"
    )
    n = len(names)
    return theme.finish(figure, heading, 36 * n + 40, min_width=240 + 40 * n, paper=theme.NOTHING)


@checked
def connectivity(connectivity: Connectivity, *, title: str | None = None) -> Figure:
    """Correlations of networks over time; in parentheses where the 95 % interval includes 0.

    >>> found = fbn.networks.connectivity(recording, atlas, seed=0)
    >>> figure = fbn.plot.connectivity(found)
    >>> figure.layout.title.text
    'Connectivity (pearson): 21 of 28 intervals leave out 0, by chance about 1.4; (in parentheses) those that do not'

    Args:
        connectivity: What :func:`tl_fbn.networks.connectivity` found: full or partial correlations of the networks'
            courses with 95 % intervals; its ``.to_dataframe()`` is the table that is drawn.
        title: Heading of the picture; by default how many intervals leave out 0, and how many would by chance.
    """
    n = len(connectivity.names)
    off = ~np.eye(n, dtype=bool)  # the diagonal stays empty: a course equals itself
    r, low, high = (np.where(off, one, np.nan) for one in (connectivity.matrix, connectivity.low, connectivity.high))
    sure = (low > 0) | (high < 0)
    plain = theme.cells(r, 2)
    text = [
        [cell if known or not cell else f"({cell})" for cell, known in zip(*line, strict=True)]
        for line in zip(plain, sure, strict=True)
    ]
    names = [theme.verbatim(name) for name in connectivity.names]
    go, _ = theme.plotly()
    heat = theme.matrix(
        r,
        -1,
        1,
        text=text,
        customdata=[
            [
                f"{a} and {b}<br>r {r[i, j]:.3f}, 95 % interval {low[i, j]:.3f} to {high[i, j]:.3f}"
                + ("" if sure[i, j] else "<br>includes 0")
                for j, b in enumerate(names)
            ]
            for i, a in enumerate(names)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        colorbar=theme.colour_bar("partial r" if connectivity.kind == "partial" else "r"),
    )
    figure = go.Figure(heat)
    short = [theme.label(name, 14) for name in connectivity.names]
    theme.matrix_axes(figure, short, [theme.label(name) for name in connectivity.names])
    pairs = n * (n - 1) // 2  # each stands in two cells
    heading = title or (
        f"Connectivity ({connectivity.kind}): {int(sure.sum()) // 2:,} of {pairs:,} intervals leave out 0, "
        f"by chance about {0.05 * pairs:.2g}; (in parentheses) those that do not"
    )
    return theme.finish(figure, heading, 34 * n + 10, min_width=240 + 44 * n, paper=theme.NOTHING)


@checked
def concordance(compared: theme.HasTable | pd.DataFrame, *, title: str | None = None) -> Figure:
    """Do methods point at the same units? Correlation and Dice of every two maps, starred where p < .05.

    >>> found = fbn.concordance({"glm": contrast.t, "ica": atlas}, seed=0)
    >>> figure = fbn.plot.concordance(found)
    >>> [heat.text[0][1] for heat in figure.data]  # correlation over units, Dice of the top 5 %
    ['0.27*', '0.03']

    Args:
        compared: What :func:`tl_fbn.concordance` found; or its table, one line a pair of maps, with the columns a, b,
            correlation, p_correlation, dice, expected (Dice by chance) and p_dice.
        title: Heading of the picture; by default the Dice that chance gives.

    Raises:
        InputError: The table lacks one of these columns, has no lines, or has a pair twice.
    """
    table = theme.require_lines(theme.table_of(compared), CONCORDANCE_COLUMNS, ("a", "b"), "concordance")
    given = list(dict.fromkeys([*table["a"], *table["b"]]))
    place = {name: i for i, name in enumerate(given)}
    r, dice = (np.full((len(given), len(given)), np.nan) for _ in range(2))
    r_stars = np.zeros(r.shape)
    dice_stars = np.zeros(r.shape)
    hover = [np.full(r.shape, "", dtype=object) for _ in range(2)]
    for line in theme.records(table):
        i = place[line["a"]]
        j = place[line["b"]]
        pair = f"{theme.verbatim(line['a'])} and {theme.verbatim(line['b'])}"
        if line.get("network"):
            pair += f"<br>best of the atlas: {theme.verbatim(line['network'])}"
        for at in ((i, j), (j, i)):  # both triangles; the diagonal stays empty
            r[at] = line["correlation"]
            dice[at] = line["dice"]
            r_stars[at] = line["p_correlation"] < 0.05
            dice_stars[at] = line["p_dice"] < 0.05
            hover[0][at] = f"{pair}<br>r {line['correlation']:.3f}, p {line['p_correlation']:.3g}"
            hover[1][at] = (
                f"{pair}<br>dice {line['dice']:.3f}, by chance {line['expected']:.3f}, p {line['p_dice']:.3g}"
            )
    _, make_subplots = theme.plotly()
    titles = ["correlation over units", "Dice of the top units"]
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.16, subplot_titles=titles)
    short = [theme.label(name, 14) for name in given]
    long = [theme.label(name) for name in given]
    for column, (z, stars, words) in enumerate(((r, r_stars, hover[0]), (dice, dice_stars, hover[1])), start=1):
        figure.add_trace(_heatmap_of_pairs(z, stars, words, signed=column == 1), row=1, col=column)
        theme.matrix_axes(figure, short, long if column == 1 else [""] * len(given), row=1, col=column)
    figure.update_yaxes(showticklabels=False, row=1, col=2)
    figure.update_traces(colorbar_x=0.435, selector={"zmin": -1})  # the bar of the left matrix, into the gap
    low = f"{table['expected'].min():.3f}"
    high = f"{table['expected'].max():.3f}"
    heading = title or (
        f"Concordance of {len(given)} maps; by chance Dice {low if low == high else f'{low} to {high}'} (* p < .05, "
        "uncorrected)"
    )
    n = len(given)
    return theme.finish(figure, heading, max(120, 36 * n + 10), min_width=340 + 88 * n, paper=theme.NOTHING)


def _heatmap_of_pairs(z: Float[np.ndarray, "map map"], stars: np.ndarray, words: np.ndarray, *, signed: bool) -> Any:
    """The cells of one measure of all pairs of maps: correlations from -1 to 1, or Dice from 0 to 1."""
    return theme.matrix(
        z,
        -1 if signed else 0,
        1,
        text=theme.cells(z, 2, stars),
        customdata=words,
        hovertemplate="%{customdata}<extra></extra>",
        colorbar=theme.colour_bar("r" if signed else "dice"),
    )
