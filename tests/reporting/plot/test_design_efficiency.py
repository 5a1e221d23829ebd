"""Efficiency of designs beside each other: known answers of small designs."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.glm.efficiency import efficiency
from tl_fbn.analysis.glm.fit import fit_glm
from tl_fbn.reporting.plot._design_efficiency import design_efficiency, efficiency_table

pytest.importorskip("plotly")


def boxcars(block: int, *, slope: bool = True) -> pd.DataFrame:
    """Two conditions in turn over 120 rows, and a slope."""
    a = (np.arange(120) // block % 2 == 0).astype(float)
    table = pd.DataFrame({"a": a, "b": 1 - a})
    return table.assign(slope=np.linspace(-1, 1, 120)) if slope else table


def test_a_slope_costs_long_blocks_more() -> None:
    table = efficiency_table({"short": boxcars(5), "long": boxcars(60)}, ["a - b", "b"])
    short, long = table[table["contrast"] == "a - b"].to_dict("records")
    assert short["alone"] == long["alone"] == pytest.approx(30)  # 1 / (1 / 60 + 1 / 60)
    assert short["lost"] < 0.02 and long["lost"] == pytest.approx(0.75, abs=0.01)
    assert long["efficiency"] == efficiency(boxcars(60), "a - b")
    assert long["implied"] == 2 and long["max_vif_column"] == "slope" and long["max_vif"] == pytest.approx(4, abs=0.1)
    figure = design_efficiency({"short": boxcars(5), "long": boxcars(60)}, ["a - b", "b"])
    ratio = short["efficiency"] / long["efficiency"]
    assert figure.layout.title.text == f"short has the highest efficiency for a - b, {ratio:.2f} times the lowest"
    solid, pale = figure.data[3:5]
    assert solid.y[0] + pale.y[0] == pytest.approx(30) and list(pale.base) == list(solid.y)
    assert solid.name == "long (120 rows)"


def test_runs_add_up_as_in_a_fit(noise_recording: Recording) -> None:
    one = boxcars(5, slope=False)
    alone = efficiency_table(one, "a - b")["efficiency"][0]
    assert efficiency_table([one, one], "a - b")["efficiency"][0] == pytest.approx(2 * alone)
    lacking = one.assign(a=0.0)  # a run that cannot estimate it does not count
    assert efficiency_table([one, lacking], "a - b")["efficiency"][0] == pytest.approx(alone)
    fit = fit_glm(noise_recording)
    expression = " - ".join(list(fit.designs[0].columns)[:2])
    assert efficiency_table({"fit": fit}, expression)["rows"][0] == sum(map(len, fit.designs))
    assert efficiency_table(fit, expression)["efficiency"][0] > 0


def test_implied_columns_of_any_run_are_counted() -> None:
    free = boxcars(5).assign(b=lambda table: table["b"] * np.linspace(0.5, 1, 120))  # no column follows from others
    whole = boxcars(5)  # a and b add up to a constant
    for runs in ([free, whole], [whole, free], [whole, whole]):
        assert efficiency_table(runs, "a - b")["implied"][0] == 2
    assert efficiency_table([free, free], "a - b")["implied"][0] == 0


def test_what_cannot_be_estimated_says_so() -> None:
    figure = design_efficiency(boxcars(5).assign(a=0.0), "a")
    assert list(figure.data[0].text) == ["none"] and "cannot be estimated" in figure.data[0].customdata[0]


def test_a_contrast_given_twice_is_drawn_once() -> None:
    figure = design_efficiency({"short": boxcars(5), "long": boxcars(60)}, ["a - b", "b", "a - b"])
    assert list(figure.layout.xaxis.ticktext) == ["a - b", "b"]
    assert [len(figure.data[i].y) for i in (0, 1, 3, 4)] == [2] * 4  # one bar a position, solid and pale
    assert efficiency_table(boxcars(5), ["a - b", "a - b"])["contrast"].tolist() == ["a - b"]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="no design"):
        design_efficiency({}, "a")
    with pytest.raises(ValueError, match="at least one contrast"):
        design_efficiency(boxcars(5), [])
    with pytest.raises(ValueError, match='names "c"'):
        design_efficiency(boxcars(5), "a - c")
    with pytest.raises(ValueError, match="up to 8 designs; got 9"):
        design_efficiency({str(i): boxcars(5) for i in range(9)}, "a - b")
    with pytest.raises(TypeError, match="'x' is a int"):
        inspect.unwrap(efficiency_table)({"x": 3}, "a")


def test_a_design_without_any_finite_vif_has_an_axis() -> None:
    constant = pd.DataFrame({"a": np.ones(8)})
    figure = design_efficiency(constant, "a")
    assert list(figure.layout.yaxis2.range) == [0, 1.15]
