"""Tokens of a text as cells: in reading order, wrapped, coloured by kind or value, and always text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tl_fbn.acquisition.model.token_layout import COLOURS, TokenLayout
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _token_strip as token_views

pytest.importorskip("plotly")


def layout(words: tuple[str, ...] = ("[INST]", " sort", BOLD, "[/INST]", " ok\n", "end"), **changed) -> TokenLayout:
    kinds = ("special", "content", "content", "special", "answer", "")[: len(words)]
    return TokenLayout(tuple(range(7, 7 + len(words))), words, kinds, np.zeros(len(words), dtype=int), **changed)


def test_kinds_have_the_colours_of_the_layout_and_hover_says_the_rest() -> None:
    figure = figures.token_strip(layout(used=((3,),)))
    assert [trace.name for trace in figure.data] == ["special", "content", "answer", "unknown"]
    special = figure.data[0]
    assert special.marker.color == COLOURS["special"]
    assert list(special.marker.line.width) == [0, 2]
    assert special.customdata[1] == "3: '[/INST]'<br>special, turn 0, id 10<br>scored in group 1"
    assert figure.layout.title.text == "6 tokens by kind; 1 scored (framed)"
    assert BOLD not in str(figure.to_json())


def test_cells_follow_in_reading_order_and_wrap() -> None:
    figure = figures.token_strip(layout(), wrap=20)
    cells = sorted(
        (row, start, width, text)
        for trace in figure.data
        for row, start, width, text in zip(trace.y, trace.base, trace.x, trace.text, strict=True)
    )
    assert [text for *_, text in cells] == [
        "[INST]",
        " sort",
        "&lt;b&gt;bold&lt;/b&gt;",
        "[/INST]",
        " ok\u21b5",
        "end",
    ]
    assert [int(row) for row, *_ in cells] == [0, 0, 1, 2, 2, 3]  # the text breaks the line behind " ok"
    for (row, start, width, _), (below, following, *_) in pairwise(cells):
        assert row != below or start + width <= following


def test_values_have_a_scale_about_zero_and_missing_ones_are_grey() -> None:
    figure = figures.token_strip(layout(), [1.0, -3.0, np.nan, 0.0, 2.0, 0.5], unit="activation")
    known, missing = figure.data
    assert (known.marker.cmin, known.marker.cmax) == (-3, 3) and list(known.marker.color) == [1, -3, 0, 2, 0.5]
    assert list(known.textfont.color) == ["#000", "#fff", "#000", "#fff", "#000"]
    assert list(missing.textfont.color) == ["#000"] and missing.name == "no value"
    assert "activation -3" in known.customdata[1] and "activation" not in missing.customdata[0]
    assert token_views.strip_table(layout(), np.arange(6.0))["value"].tolist() == [0, 1, 2, 3, 4, 5]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"one value a token: 6; got an array of shape \(2,\)"):
        figures.token_strip(layout(), [1.0, 2.0])
    with pytest.raises(ValueError, match="wrap=3 characters"):
        figures.token_strip(layout(), wrap=3)
    with pytest.raises(ValueError, match="without tokens"):
        figures.token_strip(layout(()))
