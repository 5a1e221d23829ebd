"""Massive activations: curves reach the whole, bars are the table's, costs stand in them where they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.recordings import with_massive_unit
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_curves_and_bars_are_those_of_the_result() -> None:
    found = with_massive_unit().massive(share=0.9985)
    figure = figures.massive(found)
    units, rows, even, bars = figure.data
    assert units.y[0] == pytest.approx(100 * found.unit_shares.max()) and units.y[-1] == pytest.approx(100)
    assert units.x[0] == pytest.approx(100 / 200) and rows.x[0] == pytest.approx(100 / 160)
    assert rows.y[-1] == pytest.approx(100) and (np.diff(rows.y) > 0).all()
    np.testing.assert_array_equal(even.x, even.y)
    np.testing.assert_allclose(bars.x, 100 * found.units["share"].head(12))
    assert "unit 7 of layer 1 holds 99.5 %, first tokens 80 %" in figure.layout.title.text
    assert figure.layout.yaxis2.ticktext[0] == "1, 7" and "token &lt;s&gt;" in bars.customdata[0]
    assert list(bars.text) == [""] * len(bars.x) and len(figure.to_json()) < 40_000


def test_costs_are_written_beside_the_bars() -> None:
    found = with_massive_unit().massive()
    costly = replace(found, units=found.units.assign(cost=15.0, layer_cost=15.0), together=15.0)
    figure = figures.massive(costly, title="x")
    assert list(figure.data[3].text) == ["15.00 nats"] and figure.layout.title.text == "x"
    assert "nats a token" in figure.layout.xaxis2.title.text


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"massive draws a Massive of recording.massive\(\); got dict"):
        figures.massive({})
