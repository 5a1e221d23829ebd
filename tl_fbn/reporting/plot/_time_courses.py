"""Networks over time: a line for each network over the tokens of a run, with its blocks shaded behind.

A time course is the mean activation of a network's members at each row, with members of negative sign counted
negatively (:mod:`tl_fbn.analysis.networks.time_courses`); with ``standardize`` it is the deviation from the mean over
the run, in standard deviations. Rows are tokens, which is how time is counted in a language model (or prompts, where a
recording is pooled). Pointing at a line shows the token, its prompt and its condition.

Up to 2,000 rows are all drawn. More are divided into bins of equal length, and the lowest and the highest row of each
bin are drawn, in their order: no peak is lost, and the heading says so. The rows between the two are lost;
``rows=slice(0, 500)`` shows every row of a part.

The shading shows which condition was shown when, and is no finding about the networks. Whether a network follows the
conditions is tested by :func:`tl_fbn.fit_glm` of the time courses.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_sums import blocks_of
from tl_fbn.analysis.networks.time_courses import SITE
from tl_fbn.analysis.networks.time_courses import time_courses as courses_of
from tl_fbn.errors import InputError, InputIndexError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network

_MOST_ROWS_ONE_BY_ONE = 2000  # so many are drawn one by one
_MOST_POINTS = 8000  # of all networks together, where rows are binned
_MOST_PANELS = 32
_MOST_BLOCKS = 400  # plotly draws each shade as a shape of its own, which is slow
_ROW_COLUMNS = ("prompt", "position", "token", "condition")  # columns of the table after the row's number


@checked
def time_courses(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    run: int = 0,
    rows: slice | None = None,
    standardize: bool = False,
    signed: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw the time courses of networks over the tokens of a run, with its blocks behind them.

    >>> figure = fbn.plot.time_courses(recording, atlas, run=0, rows=slice(0, 200))
    >>> figure.layout.title.text
    '8 networks over rows 0 to 199 of run 0: mean activation in spreads'
    >>> [block.text for block in figure.layout.annotations]
    ['sort', 'reverse', 'add', 'sort']

    Args:
        recording: A recording of activations; or one of time courses, as :func:`tl_fbn.networks.time_courses` returns
            it.
        networks: An atlas, whose preparation of activations is applied, a network, or a mapping of names to networks,
            up to 32; None if ``recording`` already holds time courses.
        run: Index of the run, counted from 0.
        rows: Rows of the run to draw, as a slice without a step; None draws all.
        standardize: True draws deviations from the mean over the whole run in standard deviations, False the mean
            activation.
        signed: Whether members of a network with a negative sign count negatively.
        title: Heading of the picture; by default what is shown, and whether rows were left out.

    Raises:
        InputIndexError: The recording has no run ``run``.
        InputError: ``networks`` is None and the recording holds no time courses, the networks are of another unit space
            or too many, or ``rows`` has a step or no row of the run.
    """
    table, shown = _courses_and_blocks(recording, networks, run, rows, standardize, signed)
    # columns: row, those about it, and then one for each network
    names = [str(name) for name in table.columns[len(_ROW_COLUMNS) + 1 :]]
    values = table.iloc[:, len(_ROW_COLUMNS) + 1 :].to_numpy(dtype=np.float64)
    place = table["row"].to_numpy()
    go, _ = theme.plotly()
    n = len(names)
    panel = int(np.clip(520 // n, 34, 110))  # pixels; the picture grows beyond 520 with more than fifteen networks
    gap = 8
    height = n * panel + (n - 1) * gap
    complete = len(table) <= _MOST_ROWS_ONE_BY_ONE
    # two points a bin, for at most _MOST_POINTS of all networks, but never fewer than 100 bins
    bins = len(table) if complete else max(100, min(_MOST_ROWS_ONE_BY_ONE, _MOST_POINTS // n) // 2)
    about = _hover_texts_of_rows(table)
    figure = go.Figure()
    for number, (name, course) in enumerate(zip(names, values.T, strict=True)):
        keep = np.arange(len(table)) if complete else extremes(course, bins)
        called = theme.verbatim(name)
        line = go.Scatter(
            x=place[keep].astype(np.int32),  # plotly packs 4 bytes a number, half of what 64 bits would take
            y=course[keep].astype(np.float32),
            yaxis=f"y{number + 1}" if number else "y",
            mode="lines",
            line={"width": 1 if complete else 0.6, "color": "#1a1a1a"},
            name=called,
            showlegend=False,
            # rows are the same in every panel, so one of them says which token it is; of bins each has its own
            customdata=None if complete and number else [about[i] for i in keep],
            hovertemplate=(
                "" if complete and number else "%{customdata}<br>" if complete else "row %{x:,d}: %{customdata}<br>"
            )
            + f"{called} %{{y:.4g}}<extra></extra>",
        )
        figure.add_trace(line)
        top = 1 - number * (panel + gap) / height
        axis = {
            "domain": [max(0.0, top - panel / height), top],
            "anchor": "x",
            "title": {"text": theme.label(name, 12)},
            "nticks": 3,
        }
        figure.update_layout({f"yaxis{number + 1}" if number else "yaxis": axis})
    prepared = isinstance(networks, Atlas) and networks.preparation is not None and networks.preparation.standardize
    unit = "z over the run" if standardize else f"mean activation{' in spreads' if prepared else ''}"
    heading = title or (
        f"{n} network{'' if n == 1 else 's'} over rows {place[0]:,} to {place[-1]:,} of run {run}: {unit}"
        + ("" if complete else f"; of {len(table):,} rows the lowest and highest in {bins:,} bins")
    )
    theme.finish(figure, heading, height, min_width=600)
    # pooled after the scan, or already by the scanner, whose settings are the "fields"
    pooled = recording.about.get("pool") or recording.about.get("fields", {}).get("pool")
    rows_are = f"row (one {'prompt' if pooled else 'token'} each)"
    figure.update_xaxes(title_text=rows_are, showgrid=False, range=[place[0] - 0.5, place[-1] + 0.5])
    figure.update_xaxes(anchor=f"y{n}" if n > 1 else "y", hoverformat=",d")
    figure.update_yaxes(title_standoff=4, title_font_size=11, tickfont_size=10, showgrid=False)
    figure.update_layout(hovermode="x unified" if complete else "closest")
    if complete:
        figure.update_layout(hoversubplots="axis")
    _shade_blocks(go, figure, shown, rows_are)
    return figure


def course_table(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    run: int = 0,
    rows: slice | None = None,
    standardize: bool = False,
    signed: bool = True,
) -> pd.DataFrame:
    """The numbers behind :func:`time_courses`, one line for each row.

    Args:
        recording: A recording of activations; or one of time courses, as :func:`tl_fbn.networks.time_courses` returns
            it.
        networks: An atlas, a network, or a mapping of names to networks, up to 32; None if ``recording`` already holds
            time courses.
        run: Index of the run, counted from 0.
        rows: Rows of the run, as a slice without a step; None takes all.
        standardize: True gives deviations from the mean over the whole run in standard deviations, False the mean
            activation.
        signed: Whether members of a network with a negative sign count negatively.

    Returns:
        Columns row, prompt, position, token, condition, and one for each network.

    Raises:
        InputIndexError: The recording has no run ``run``.
        InputError: ``networks`` is None and the recording holds no time courses, the networks are of another unit space
            or too many, or ``rows`` has a step or no row of the run.
    """
    return _courses_and_blocks(recording, networks, run, rows, standardize, signed)[0]


def extremes(course: Float[np.ndarray, " row"], bins: int) -> Int[np.ndarray, " kept"]:
    """The rows of the lowest and the highest value in each of some bins of equal length, in order.

    >>> extremes(np.array([0.0, 3.0, -1.0, 0.0, 0.0, 5.0]), 2)
    array([1, 2, 3, 5])

    Args:
        course: (row,) values of one network.
        bins: Number of bins; no more than rows are made.

    Returns:
        Up to two indices a bin, each once, ascending.
    """
    edges = np.linspace(0, len(course), min(bins, len(course)) + 1).astype(int)  # bins differ by one row at most
    kept = [
        low + place for low, high in pairwise(edges) for place in (course[low:high].argmin(), course[low:high].argmax())
    ]
    return np.unique(kept)


def _courses_and_blocks(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None,
    run: int,
    rows: slice | None,
    standardize: bool,
    signed: bool,
) -> tuple[pd.DataFrame, list[tuple[str, int, int]]]:
    """Rows with their courses, and the blocks among them as (condition, first row, row after the last)."""
    if not 0 <= run < len(recording):
        raise InputIndexError(f"run {run} of a recording of {len(recording)} runs; give 0 to {len(recording) - 1}")
    if networks is None and recording.space.site != SITE:
        raise InputError(
            f"time_courses needs networks to read from {recording.space.describe()}; give networks=, or the courses "
            "that fbn.networks.time_courses(recording, networks) returns"
        )
    # a recording of this run alone: the courses of the other runs are not needed
    one = Recording(recording.spaces, ((recording.runs[run],),), recording.about)
    if networks is None:
        names = [str(name) for name in recording.about.get("networks") or range(recording.space.n_units)]
    else:
        sets = theme.named_networks(networks, "time_courses")
        names = list(sets)
        # an atlas prepares activations as its own were; other networks say nothing of it
        one = courses_of(one, networks if isinstance(networks, Atlas) else sets, signed=signed)
    if len(names) > _MOST_PANELS:
        raise InputError(
            f"time_courses draws up to {_MOST_PANELS} networks, a panel each; got {len(names)}. Give fewer"
        )
    values = np.asarray(one[0].layer(0), dtype=np.float64)
    if standardize:  # before rows are chosen: z is of the whole run, whichever part of it is drawn
        spread = values.std(0)
        values = (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)
    chosen = np.arange(len(values))[slice(None) if rows is None else rows]
    if not chosen.size:
        raise InputError(f"rows={rows} holds none of the {len(values):,} rows of run {run}")
    if (np.diff(chosen) != 1).any():
        raise InputError(f"rows={rows} leaves rows out; give a slice without a step, e.g. slice(0, 500)")
    known = one[0].rows
    conditions = np.full(len(values), "", dtype=object)  # rows between blocks have no condition
    blocks = []
    for condition, span in blocks_of(one[0].events):
        conditions[span] = condition
        low = max(span.start, int(chosen[0]))  # the part of the block that is drawn
        high = min(span.stop, int(chosen[-1]) + 1)
        if low < high:
            blocks.append((str(condition), low, high))
    table = pd.DataFrame({"row": chosen})
    for name in _ROW_COLUMNS[:3]:
        table[name] = known[name].to_numpy()[chosen] if name in known else None
    table["condition"] = conditions[chosen]
    return pd.concat([table, pd.DataFrame(values[chosen], columns=names)], axis=1), blocks


def _hover_texts_of_rows(table: pd.DataFrame) -> list[str]:
    """What hovering says about every row: token, prompt and position in it, condition, as far as they are known."""
    words = []
    for token, prompt, position, condition in zip(
        *(table[name].tolist() for name in ("token", "prompt", "position", "condition")), strict=True
    ):
        parts = [] if token is None else [theme.label(repr(token), 32)]
        if prompt is not None:
            parts.append(f"prompt {theme.label(prompt, 32)}" + ("" if position is None else f" at {position}"))
        parts += [theme.label(condition, 32)] if condition else []
        words.append(", ".join(parts))
    return words


def _shade_blocks(go: Any, figure: Figure, blocks: list[tuple[str, int, int]], rows_are: str) -> None:
    """Draw blocks as shades over all panels, with their conditions on top or, without room there, in a legend.

    Args:
        go: plotly's graph objects.
        figure: The picture with its lines; it is changed in place.
        blocks: (condition, first row, row after the last) of each block that is drawn. With more than eight conditions
            colours repeat.
        rows_are: Title of the axis of rows; words are added where there are too many blocks to shade.
    """
    if not blocks:
        return
    conditions = list(dict.fromkeys(condition for condition, _, _ in blocks))
    colours = {name: theme.OKABE_ITO[i % len(theme.OKABE_ITO)] for i, name in enumerate(conditions)}
    merged = _merged_blocks(blocks) if len(blocks) > _MOST_BLOCKS else blocks
    if len(merged) > _MOST_BLOCKS:
        figure.update_xaxes(title_text=f"{rows_are}; {len(blocks):,} blocks, too many to shade")
        return
    shapes = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": low - 0.5,
            "x1": high - 0.5,
            "y0": 0,
            "y1": 1,
            "fillcolor": colours[name],
            "opacity": 0.2,
            "line": {"width": 0},
            "layer": "below",
        }
        for name, low, high in merged
    ]
    figure.update_layout(shapes=shapes)
    width = 900 / (blocks[-1][2] - blocks[0][1])  # pixels a row, on an ordinary screen
    # a letter takes about 8 pixels: names stand above their blocks if every name fits
    if all(width * (high - low) > 8 * min(len(name), 14) for name, low, high in blocks):
        for name, low, high in blocks:
            figure.add_annotation(
                text=theme.label(name, 14),
                x=(low + high) / 2 - 0.5,
                y=1,
                xref="x",
                yref="paper",
                yanchor="bottom",
                showarrow=False,
                font={"size": 11, "color": "#444"},
            )
        return
    for name in conditions:  # traces without points, for the legend alone
        square = {"symbol": "square", "size": 12, "color": colours[name], "opacity": 0.35}
        key = go.Scatter(x=[None], y=[None], mode="markers", marker=square, name=theme.label(name), hoverinfo="skip")
        figure.add_trace(key)


def _merged_blocks(blocks: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Blocks of one condition that follow each other without a gap, as one block."""
    merged = blocks[:1]
    for name, low, high in blocks[1:]:
        previous_name, previous_low, previous_high = merged[-1]
        if previous_name == name and previous_high == low:
            merged[-1] = (name, previous_low, high)
        else:
            merged.append((name, low, high))
    return merged
