"""What pictures of behaviour share: places, units, marks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tl_fbn.reporting.plot import _panels as panels

pytest.importorskip("plotly")


def test_scores_are_shown_in_the_units_people_use() -> None:
    assert panels.measure("exact_match") == (100.0, "exact match (%)", "points")
    assert panels.measure("log_likelihood")[0::2] == (1.0, "nats")
    assert panels.measure("bleu") == (1.0, "bleu", "bleu")


def test_panels_fill_rows_and_keep_their_height() -> None:
    figure, height, places = panels.grid(list("abcd"), columns=3, height=100, gap=50)
    assert places[2:] == [{"row": 1, "col": 3}, {"row": 2, "col": 1}] and height == 250
    top, bottom = figure.layout.yaxis.domain, figure.layout.yaxis4.domain
    assert (top[0] - bottom[1]) * height == pytest.approx(50)


def test_a_band_goes_there_and_back_and_whiskers_end_at_the_interval() -> None:
    band = panels.band([0, 1], [1, 2], [3, 5], "#0072B2", 0.5)
    assert list(zip(band.x, band.y, strict=True)) == [(0, 3), (1, 5), (1, 2), (0, 1)]
    assert band.fillcolor == "rgba(0,114,178,0.5)"
    dot = panels.whiskers([2.0], [0], [1.5], [4.0], "#000000")
    assert (dot.error_x.array[0], dot.error_x.arrayminus[0]) == (2.0, 0.5)
    bar = panels.bars([1.0], [4.0], [0])
    assert (bar.base[0], bar.x[0]) == (1.0, 3.0)


def test_crowded_cells_keep_their_stars() -> None:
    z, starred = np.full((1, 13), 5.0), np.eye(1, 13)
    assert panels.cell_text(z, 0, starred) == [["*", *[""] * 12]]
    assert panels.cell_text(z[:, :2], 0, starred[:, :2]) == [["5*", "5"]]


def test_p_and_what_is_required() -> None:
    assert (panels.p_words(0.0476), panels.p_words(np.nan)) == ("p = 0.048", "no test")
    with pytest.raises(TypeError, match=r"picture draws a thing; got DataFrame"):
        panels.require(pd.DataFrame(), ("nothing_of_this_name",), "picture", "a thing")
