"""Lesions over their controls: every control is drawn, dots and whiskers are the study's, p decides what is filled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _lesion_controls as strips
from tl_fbn.reporting.plot import _lesion_matrix as behaviour

pytest.importorskip("plotly")

HOSTILE = "<b>bold</b>"


def study(tasks: tuple[str, ...] = ("sort", "add", HOSTILE), n_controls: int = 120, **changed: Any) -> fbn.LesionStudy:
    """20 items a task, all right at first. A network costs its own task 80 %, but the last one nothing; controls cost up to 20 %."""
    k, rng = len(tasks), np.random.default_rng(0)
    items = np.ones((20 * k, 2))
    lesioned = np.ones((k, 20 * k, 2))
    for i in range(k - 1):
        lesioned[i, 20 * i : 20 * i + 16] = 0.0
    controls = np.round(rng.uniform(0.8, 1.0, (k, n_controls, k, 2)), 2)
    spread = np.repeat(controls.mean(1), 20, axis=1)
    made = fbn.LesionStudy(
        networks=tasks,
        tasks=tasks,
        counts=np.full(k, 20),
        baseline_items=items,
        lesioned_items=lesioned,
        control_scores={"random": controls, "activity": controls[:, :50] - 0.1},
        control_items={"random": spread, "activity": spread},
        rivals={},
        monitors=np.zeros((1 + k, k, 3)),
        metric="exact_match",
        sizes=np.full((k, 2), 5),
        discovery=dict.fromkeys(tasks, "disjoint"),
        about={"seed": 0, "n_bootstrap": 200},
    )
    return replace(made, **changed)


def test_every_control_is_drawn_and_none_hides_another() -> None:
    one = study()
    dots = figures.lesion_controls(one, control="random").data[0]
    drops = one.control_drops()
    for row in range(3):
        mine = np.abs(np.array(dots.y) - row) < 0.5
        np.testing.assert_allclose(np.array(dots.x)[mine], np.sort(100 * drops[row, :, row]))
        assert len(set(np.round(np.array(dots.y)[mine], 6))) == 120
    assert len(dots.x) == 360


def test_dots_whiskers_and_what_is_filled() -> None:
    one = study()
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
    assert HOSTILE not in str(figure.to_json())


def test_chosen_tasks_metrics_and_studies_without_own_tasks() -> None:
    one = study()
    table = strips.controls_table(one, tasks=["add"], control="random", metric="log_likelihood")
    assert table[["network", "task"]].to_numpy().tolist() == [["sort", "add"], ["add", "add"], [HOSTILE, "add"]]
    np.testing.assert_allclose(table["drop"], [0, 0.8, 0])
    figure = figures.lesion_controls(one, tasks=["add"], control="random", metric="log_likelihood")
    assert figure.layout.xaxis.title.text == "drop (nats)" and figure.layout.yaxis.ticktext[0] == "sort: add"
    other = study(networks=("t", "effect", "z"), discovery=dict.fromkeys(("t", "effect", "z"), "disjoint"))
    assert len(strips.controls_table(other, control="random")) == 9


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"tasks=\['sorts'\]; this study has 'sort', 'add'"):
        figures.lesion_controls(study(), tasks=["sorts"])
    with pytest.raises(TypeError, match="draws a LesionStudy; got DataFrame"):
        figures.lesion_controls(pd.DataFrame())
    with pytest.raises(ValueError, match="control='x' is none"):
        figures.lesion_controls(study(), control="x")


def test_a_study_of_two_metrics_and_of_twenty_tasks_is_a_matrix() -> None:
    one = study()
    both = figures.lesion_matrix(one, metrics=("exact_match", "log_likelihood"))
    assert [trace.z[0][0] for trace in both.data[::2]] == [80, 0.8]
    low, high = (100 * one.to_dataframe()[end].iloc[0] for end in ("low", "high"))
    assert f"drop 80 points [{low:.3g}, {high:.3g}], 95 % over items" in both.data[0].customdata[0][0]
    assert "p = 0.00826" in both.data[0].customdata[0][0]
    table = one.to_dataframe()
    assert set(behaviour.LESION_COLUMNS) <= set(table.columns)
    assert figures.lesion_matrix(table).data[0].z[0][0] == 80
    wide = figures.lesion_matrix(study(tuple(f"task {i}" for i in range(20)), n_controls=30))
    assert {cell for line in wide.data[0].text for cell in line} == {"", "*"}
    assert wide.layout.meta["min_width"] <= 1180
