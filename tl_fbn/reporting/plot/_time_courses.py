"""What networks do while a text goes by: one line a network over tokens, blocks shaded, every token to be pointed at.

A course is the mean activation of a network's members at a row, members of negative sign counted negatively
(:mod:`tl_fbn.analysis.networks.time_courses`); with ``standardize`` its deviation from its mean over the run, in standard deviations. Rows are token
positions: time in a language model is counted in them.

Every row is drawn up to 2,000 of them. Above, rows are parted into bins of equal length and of each bin the lowest and the highest
row of a network are drawn, in their order: no peak is lost, and the title says so. What is lost is how many rows lie
between the two; ``rows=slice(0, 500)`` shows all of a part.

Shading shows what was asked for when, not what the networks found; ``fit_glm`` of the courses tests that.
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
from tl_fbn.units import Network

_ALL_ROWS = 2000
_MOST_POINTS = 8000
_MOST_PANELS = 32
_MOST_BLOCKS = 400
_ABOUT = ("prompt", "position", "token", "condition")


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

    >>> time_courses(recording, atlas, run=0, rows=slice(0, 400))               # doctest: +SKIP

    Args:
        recording: Activations; or time courses, as :func:`tl_fbn.networks.time_courses` returns them.
        networks: An atlas, a network, or names to networks, up to 32; None where ``recording`` holds time courses already.
        run: Which run.
        rows: Which of its rows; all by default.
        standardize: Draw deviations from the mean over the whole run in standard deviations.
        signed: Members with a negative sign count negatively.
        title: Heading; by default what is shown, and whether rows were left out.

    Raises:
        InputIndexError: The recording has no such run.
        InputError: No networks where there are no courses yet, networks of another space, too many, or no rows.
    """
    table, shown = _table(recording, networks, run, rows, standardize, signed)
    names = [str(name) for name in table.columns[len(_ABOUT) + 1 :]]
    values = table.iloc[:, len(_ABOUT) + 1 :].to_numpy(dtype=np.float64)
    place = table["row"].to_numpy()
    go, _ = theme.plotly()
    n = len(names)
    panel = int(np.clip(520 // n, 34, 110))
    gap = 8
    height = n * panel + (n - 1) * gap
    complete = len(table) <= _ALL_ROWS
    bins = len(table) if complete else max(100, min(_ALL_ROWS, _MOST_POINTS // n) // 2)
    about = _words(table)
    figure = go.Figure()
    for number, (name, course) in enumerate(zip(names, values.T, strict=True)):
        keep = np.arange(len(table)) if complete else extremes(course, bins)
        called = theme.verbatim(name)
        line = go.Scatter(
            x=place[keep].astype(np.int32),
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
    unit = "z over the run" if standardize else "mean activation"
    heading = title or (
        f"{n} network{'' if n == 1 else 's'} over rows {place[0]:,} to {place[-1]:,} of run {run}: {unit}"
        + ("" if complete else f"; of {len(table):,} rows the lowest and highest in {bins:,} bins")
    )
    theme.finish(figure, heading, height, min_width=600)
    pooled = recording.about.get("pool") or recording.about.get("fields", {}).get("pool")
    rows_are = f"row (one {'prompt' if pooled else 'token'} each)"
    figure.update_xaxes(title_text=rows_are, showgrid=False, range=[place[0] - 0.5, place[-1] + 0.5])
    figure.update_xaxes(anchor=f"y{n}" if n > 1 else "y", hoverformat=",d")
    figure.update_yaxes(title_standoff=4, title_font_size=11, tickfont_size=10, showgrid=False)
    figure.update_layout(hovermode="x unified" if complete else "closest")
    if complete:
        figure.update_layout(hoversubplots="axis")
    _shade(go, figure, shown, rows_are)
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
    """The numbers behind :func:`time_courses`: one line a row, with its prompt, position, token, condition, and a column a network.

    Args:
        recording: As for :func:`time_courses`, like all others.
        networks: Networks.
        run: Which run.
        rows: Which of its rows.
        standardize: Deviations in standard deviations over the run.
        signed: Members with a negative sign count negatively.
    """
    return _table(recording, networks, run, rows, standardize, signed)[0]


def extremes(course: Float[np.ndarray, " row"], bins: int) -> Int[np.ndarray, " kept"]:
    """The rows of the lowest and the highest value in each of some bins of equal length, in order.

    >>> extremes(np.array([0.0, 3.0, -1.0, 0.0, 0.0, 5.0]), 2)
    array([1, 2, 3, 5])
    """
    edges = np.linspace(0, len(course), min(bins, len(course)) + 1).astype(int)
    kept = [
        low + place for low, high in pairwise(edges) for place in (course[low:high].argmin(), course[low:high].argmax())
    ]
    return np.unique(kept)


def _table(
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
            f"time_courses needs networks to read from {recording.space.describe()}; give networks=, or the courses that "
            "fbn.networks.time_courses(recording, networks) returns"
        )
    one = Recording(recording.spaces, ((recording.runs[run],),), recording.about)
    if networks is None:
        names = [str(name) for name in recording.about.get("networks") or range(recording.space.n_units)]
    else:
        sets = theme.named_networks(networks, "time_courses")
        names, one = list(sets), courses_of(one, sets, signed=signed)
    if len(names) > _MOST_PANELS:
        raise InputError(
            f"time_courses draws up to {_MOST_PANELS} networks, a panel each; got {len(names)}. Give fewer"
        )
    values = np.asarray(one[0].layer(0), dtype=np.float64)
    if standardize:
        spread = values.std(0)
        values = (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)
    chosen = np.arange(len(values))[slice(None) if rows is None else rows]
    if not chosen.size:
        raise InputError(f"rows={rows} holds none of the {len(values):,} rows of run {run}")
    if (np.diff(chosen) != 1).any():
        raise InputError(f"rows={rows} leaves rows out; give a slice without a step, e.g. slice(0, 500)")
    known = one[0].rows
    conditions = np.full(len(values), "", dtype=object)
    blocks = []
    for condition, span in blocks_of(one[0].events):
        conditions[span] = condition
        low = max(span.start, int(chosen[0]))
        high = min(span.stop, int(chosen[-1]) + 1)
        if low < high:
            blocks.append((str(condition), low, high))
    table = pd.DataFrame({"row": chosen})
    for name in _ABOUT[:3]:
        table[name] = known[name].to_numpy()[chosen] if name in known else None
    table["condition"] = conditions[chosen]
    return pd.concat([table, pd.DataFrame(values[chosen], columns=names)], axis=1), blocks


def _words(table: pd.DataFrame) -> list[str]:
    """What hovering says about every row, beside its number."""
    words = []
    for token, prompt, position, condition in zip(
        *(table[name].tolist() for name in ("token", "prompt", "position", "condition")), strict=True
    ):
        said = [] if token is None else [theme.label(repr(token), 32)]
        if prompt is not None:
            said.append(f"prompt {theme.label(prompt, 32)}" + ("" if position is None else f" at {position}"))
        said += [theme.label(condition, 32)] if condition else []
        words.append(", ".join(said))
    return words


def _shade(go: Any, figure: Figure, blocks: list[tuple[str, int, int]], rows_are: str) -> None:
    """Blocks as shades over all panels, their conditions on top or, without room there, in a legend. Of more than eight, colours repeat."""
    if not blocks:
        return
    conditions = list(dict.fromkeys(condition for condition, _, _ in blocks))
    colours = {name: theme.OKABE_ITO[i % len(theme.OKABE_ITO)] for i, name in enumerate(conditions)}
    merged = _merged(blocks) if len(blocks) > _MOST_BLOCKS else blocks
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
    for name in conditions:
        square = {"symbol": "square", "size": 12, "color": colours[name], "opacity": 0.35}
        key = go.Scatter(x=[None], y=[None], mode="markers", marker=square, name=theme.label(name), hoverinfo="skip")
        figure.add_trace(key)


def _merged(blocks: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Neighbouring blocks of one condition as one."""
    merged = blocks[:1]
    for name, low, high in blocks[1:]:
        before = merged[-1]
        if before[0] == name and before[2] == low:
            merged[-1] = (name, before[1], high)
        else:
            merged.append((name, low, high))
    return merged
