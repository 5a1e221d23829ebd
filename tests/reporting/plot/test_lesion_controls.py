"""Lesions over their controls: every control is drawn, dots and whiskers are the study's, p decides what is filled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import controlled_study
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _lesion_controls as strips

pytest.importorskip("plotly")


def test_every_control_is_drawn_and_none_hides_another() -> None:
    one = controlled_study()
    dots = figures.lesion_controls(one, control="random").data[0]
    drops = one.control_drops()
    for row in range(3):
        mine = np.abs(np.array(dots.y) - row) < 0.5
        np.testing.assert_allclose(np.array(dots.x)[mine], np.sort(100 * drops[row, :, row]))
        assert len(set(np.round(np.array(dots.y)[mine], 6))) == 120
    assert len(dots.x) == 360


def test_dots_whiskers_and_what_is_filled() -> None:
    one = controlled_study()
    table, figure = strips.controls_table(one), figures.lesion_controls(one)
    assert list(zip(table["network"], table["control"], strict=True))[:3] == [
        ("sort", "random"),
        ("sort", "activity"),
        ("add", "random"),
    ]
    own = figure.data[-1]
    np.testing.assert_allclose(own.x, [80, 80, 80, 80, 0, 0])
    np.testing.assert_allclose(np.array(own.x) - own.error_x.arrayminus, 100 * table["low"])
    assert [colour == "white" for colour in own.marker.color] == [False] * 4 + [True] * 2
    assert table["p"].iloc[0] == pytest.approx(1 / 121) and table["controls"].tolist()[:2] == [120, 50]
    assert table["control_max"].iloc[0] == pytest.approx(one.control_drops()[0, :, 0].max())
    median = next(trace for trace in figure.data if trace.name == "their median")
    np.testing.assert_allclose(median.x, 100 * table["control_median"])
    assert list(figure.layout.yaxis.ticktext)[-1] == "&lt;b&gt;bold&lt;/b&gt;, activity"
    assert BOLD not in str(figure.to_json())


def test_chosen_tasks_metrics_and_studies_without_own_tasks() -> None:
    one = controlled_study()
    table = strips.controls_table(one, tasks=["add"], control="random", metric="log_likelihood")
    assert table[["network", "task"]].to_numpy().tolist() == [["sort", "add"], ["add", "add"], [BOLD, "add"]]
    np.testing.assert_allclose(table["drop"], [0, 0.8, 0])
    figure = figures.lesion_controls(one, tasks=["add"], control="random", metric="log_likelihood")
    assert figure.layout.xaxis.title.text == "drop (nats)" and figure.layout.yaxis.ticktext[0] == "sort: add"
    other = controlled_study(networks=("t", "effect", "z"), discovery=dict.fromkeys(("t", "effect", "z"), "disjoint"))
    assert len(strips.controls_table(other, control="random")) == 9


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"tasks=\['sorts'\]; this study has 'sort', 'add'"):
        figures.lesion_controls(controlled_study(), tasks=["sorts"])
    with pytest.raises(TypeError, match="draws a LesionStudy; got DataFrame"):
        figures.lesion_controls(pd.DataFrame())
    with pytest.raises(ValueError, match="control must be one of this study's, 'random' or 'activity'; got 'x'"):
        figures.lesion_controls(controlled_study(), control="x")
