"""The look every picture shares, and the checks every picture makes."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import HOSTILE
from tests.helpers.units import TOY
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _theme as paint
from tl_fbn.units import Network, UnitMap

pytest.importorskip("plotly")


def test_plotly_is_left_as_it_was() -> None:
    import plotly.io

    before = plotly.io.templates.default
    figure = figures.layer_profile(Network.from_indices(TOY, [0]))
    assert plotly.io.templates.default == before
    assert "sendChartToCloud" in figure.layout.modebar.remove


def test_without_plotly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match=r'pip install "tl-fbn\[plot\]"'):
        figures.layer_profile(Network.from_indices(TOY, [0]))


def test_a_colour_scale_ends_at_a_percentile_of_the_magnitudes() -> None:
    values = np.concatenate([np.arange(-500.0, 500.0), [np.nan, np.inf]])
    finite = np.abs(np.arange(-500.0, 500.0))
    assert paint.colour_limit([values]) == pytest.approx(np.percentile(finite, 99.5))
    assert paint.colour_limit([values[:500], values[500:]]) == paint.colour_limit([values])
    assert paint.colour_limit([values], percentile=50.0) == pytest.approx(250)
    sparse = np.zeros(1000)
    sparse[3] = -7.0
    assert paint.colour_limit([sparse]) == 7.0  # the percentile is 0
    for nothing in (np.zeros(5), np.full(3, np.nan), np.zeros(0)):
        assert paint.colour_limit([nothing]) == 1.0


def test_cells_say_numbers_stars_and_nothing() -> None:
    z = np.array([[0.5, -0.001], [np.nan, -1.25]])
    assert paint.cells(z, 2) == [["0.50", "0.00"], ["", "-1.25"]]  # no "-0.00"
    assert paint.cells(z, 1, np.array([[1, 0], [1, 1]])) == [["0.5*", "0.0"], ["", "-1.2*"]]


def test_names_are_shortened_and_stay_text() -> None:
    assert paint.verbatim("a < b & 'c'") == "a &lt; b &amp; 'c'"
    assert paint.label("x" * 24) == "x" * 24 and paint.label("x" * 25) == "x" * 23 + "\u2026"
    assert paint.label("<" * 30, 4) == "&lt;&lt;&lt;\u2026"  # cut first, so that no entity is
    assert "<" not in paint.verbatim(HOSTILE)


@pytest.mark.parametrize(("low", "colours"), [(-1, paint.DIVERGING), (0, paint.SEQUENTIAL)])
def test_signed_numbers_have_two_hues_and_shares_one(low: int, colours: str) -> None:
    import plotly.graph_objects as go

    heat = paint.matrix(np.array([[0.0, 1.0]]), low, 1, text=[["a", "b"]])
    wanted = go.Heatmap(colorscale=colours).colorscale
    assert heat.colorscale == wanted and (heat.zmin, heat.zmax) == (low, 1)
    assert heat.texttemplate == "%{text}" and paint.matrix(np.zeros((1, 1)), low, 1).texttemplate is None


def test_the_first_row_of_a_matrix_is_at_the_top_and_places_are_numbers() -> None:
    import plotly.graph_objects as go

    figure = go.Figure(paint.matrix(np.zeros((3, 2)), 0, 1))
    paint.matrix_axes(figure, ["7", "2024-01-01"], ["x", "y", "z"])
    assert tuple(figure.layout.yaxis.range) == (2.5, -0.5)
    assert list(figure.layout.xaxis.tickvals) == [0, 1] and list(figure.layout.xaxis.ticktext) == ["7", "2024-01-01"]


def test_lines_of_a_table_by_column() -> None:
    table = pd.DataFrame({"a": [1, 2], 3: ["x", "y"]})
    assert paint.records(table) == [{"a": 1, "3": "x"}, {"a": 2, "3": "y"}]
    assert paint.records(table.iloc[:0]) == []


def test_names_to_pictures_or_an_error_that_says_what_came() -> None:
    scores, network = UnitMap(TOY, np.zeros(10), "t"), Network.from_indices(TOY, [0], name="n")
    assert paint.named({3: scores}, UnitMap, "unit_map") == {"3": scores}
    assert paint.named_networks(network, "overlap") == {"n": network}
    with pytest.raises(TypeError, match="unit_map draws a UnitMap or a mapping of names to them; got Network"):
        paint.named(network, UnitMap, "unit_map")
    with pytest.raises(TypeError, match="unit_map needs every value to be a UnitMap; 'b' is Network"):
        paint.named({"a": scores, "b": network}, UnitMap, "unit_map")
    with pytest.raises(ValueError, match="overlap was given no Network; give at least one"):
        paint.named_networks({}, "overlap")


def test_a_table_has_one_line_for_every_key() -> None:
    table = pd.DataFrame({"network": ["a", "a", "b"], "task": ["x", "y", "x"], "drop": 0.5})
    key = ["network", "task"]
    assert paint.require_lines(table, ["drop"], key, "lesion_matrix") is table
    with pytest.raises(ValueError, match="lesion_matrix needs columns drop, p; this table lacks p"):
        paint.require_lines(table, ["drop", "p"], key, "lesion_matrix")
    with pytest.raises(ValueError, match="without lines"):
        paint.require_lines(table.iloc[:0], ["drop"], key, "lesion_matrix")
    with pytest.raises(ValueError, match=r"one line for every network; network 'a' occurs again\. Average first"):
        paint.require_lines(table, ["drop"], ["network"], "lesion_matrix")
