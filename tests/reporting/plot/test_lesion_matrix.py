"""Networks by tasks: points and nats, stars, controls on one scale; and gains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.results import Study, controlled_study, lesions
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _lesion_matrix as behaviour

pytest.importorskip("plotly")


def test_lesion_matrix_shows_points_stars_and_controls_on_one_scale() -> None:
    own, control = figures.lesion_matrix(Study(lesions())).data
    np.testing.assert_allclose(own.z, [[50, 1], [1, 25]])
    assert [list(line) for line in own.text] == [["50*", "1"], ["1", "25*"]]  # .05 itself is no star
    np.testing.assert_allclose(control.z, 2.0)
    assert (own.zmin, own.zmax) == (control.zmin, control.zmax) == (-50, 50)
    assert control.colorbar.title.text == "points"
    assert "95th percentile 8" in own.customdata[0][0]


def test_lesion_matrix_in_nats_is_not_scaled_and_metrics_get_their_own_panels() -> None:
    nats = lesions(metric="log_likelihood", drop=[1.5, 0.1, -0.001, 1.0])
    own = figures.lesion_matrix(Study(nats)).data[0]
    np.testing.assert_allclose(own.z, [[1.5, 0.1], [-0.001, 1.0]])
    assert [list(line) for line in own.text] == [["1.50*", "0.10"], ["0.00", "1.00*"]]  # no "-0.00"
    both = figures.lesion_matrix(Study(pd.concat([lesions(), nats])))
    assert [heat.zmax for heat in both.data] == [50, 50, 1.5, 1.5]
    assert "points and nats" in both.layout.title.text


def test_a_study_without_controls_says_so() -> None:
    figure = figures.lesion_matrix(Study(lesions(control_median=np.nan, control_p95=np.nan, p=np.nan)))
    assert "no matched random lesions" in figure.layout.annotations[1].text
    assert not any("*" in cell for line in figure.data[0].text for cell in line)
    assert "nan" not in figure.data[0].customdata[0][0]


def test_lesion_matrix_keeps_order_and_leaves_gaps() -> None:
    own = figures.lesion_matrix(Study(lesions().iloc[[3, 0]])).data[0]
    np.testing.assert_array_equal(own.z, [[25, np.nan], [np.nan, 50]])


def test_lesion_matrix_refuses_wrong_tables() -> None:
    with pytest.raises(ValueError, match="lacks control_p95, p"):
        figures.lesion_matrix(Study(lesions().drop(columns=["p", "control_p95"])))
    with pytest.raises(ValueError, match=r"network 'sort', task 'sort', metric 'exact_match' occurs again"):
        figures.lesion_matrix(Study(pd.concat([lesions(), lesions()])))
    with pytest.raises(ValueError, match="without lines"):
        figures.lesion_matrix(Study(lesions().iloc[:0]))


def test_amplification_draws_gains_in_order() -> None:
    table = pd.DataFrame(
        [(n, g, t, g + len(t), "exact_match") for n in ("a", "b") for t in ("sort", "add") for g in (2.0, -1.0, 1.0)],
        columns=["network", "gain", "task", "value", "metric"],
    )
    figure = figures.amplification(table)
    assert [list(line.x) for line in figure.data] == [[-1, 1, 2]] * 4
    assert list(figure.data[0].y) == [3, 5, 6]
    assert [line.name for line in figure.data if line.showlegend] == ["a", "b"]
    assert [note.text for note in figure.layout.annotations] == ["sort", "add"]
    with pytest.raises(ValueError, match="lacks gain"):
        figures.amplification(table.drop(columns="gain"))


def test_a_study_of_two_metrics_and_of_twenty_tasks_is_a_matrix() -> None:
    one = controlled_study()
    both = figures.lesion_matrix(one, metrics=("exact_match", "log_likelihood"))
    assert [trace.z[0][0] for trace in both.data[::2]] == [80, 0.8]
    low, high = (100 * one.to_dataframe()[end].iloc[0] for end in ("low", "high"))
    assert f"drop 80 points [{low:.3g}, {high:.3g}], 95 % over items" in both.data[0].customdata[0][0]
    assert "p = 0.00826" in both.data[0].customdata[0][0]
    table = one.to_dataframe()
    assert set(behaviour.LESION_COLUMNS) <= set(table.columns)
    assert figures.lesion_matrix(table).data[0].z[0][0] == 80
    wide = figures.lesion_matrix(controlled_study(tuple(f"task {i}" for i in range(20)), n_controls=30))
    assert {cell for line in wide.data[0].text for cell in line} == {"", "*"}
    assert wide.layout.meta["min_width"] <= 1180
