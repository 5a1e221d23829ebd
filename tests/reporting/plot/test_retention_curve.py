"""Retention: the curve is the table's, sorted, beside its random sets and the untouched model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import BOLD
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def table() -> pd.DataFrame:
    lines = [
        (n, 10 * n, 0.1 * n, task, "exact_match", 0.9, 0.2 * n, 0.1, 0.0, 0.3)
        for n in (4, 1, 2)
        for task in ("sort", BOLD)
    ]
    columns = ["networks", "units", "share", "task", "metric", "baseline", "value"]
    return pd.DataFrame(lines, columns=[*columns, "control_median", "control_p05", "control_p95"])


def test_curves_stand_beside_random_sets() -> None:
    figure = figures.retention_curve(table(), mode="retain")
    own = [trace for trace in figure.data if trace.name == "networks"]
    assert [list(trace.x) for trace in own] == [[1, 2, 4]] * 2
    np.testing.assert_allclose(own[0].y, [20, 40, 80])
    band = figure.data[0]
    np.testing.assert_allclose(band.y, [30] * 3 + [0] * 3)
    untouched = next(trace for trace in figure.data if trace.name == "untouched model")
    assert list(untouched.y) == [90, 90]
    assert "alone are kept" in figure.layout.title.text and BOLD not in str(figure.to_json())


def test_the_mode_is_stated_only_where_it_is_known() -> None:
    assert "kept or silenced" in figures.retention_curve(table()).layout.title.text
    assert "are silenced" in figures.retention_curve(table().assign(mode="inhibit")).layout.title.text
    with pytest.raises(ValueError, match="mode must be 'retain' or 'inhibit'; got 'x'"):
        figures.retention_curve(table().assign(mode="x"))


def test_a_curve_without_random_sets_says_so() -> None:
    bare = table().assign(control_median=np.nan, control_p05=np.nan, control_p95=np.nan)
    figure = figures.retention_curve(bare)
    assert figure.layout.title.text.endswith("no random sets were run")
    assert not any(trace.fill == "toself" for trace in figure.data) and "nan" not in figure.data[0].customdata[0]
    with pytest.raises(ValueError, match="lacks share"):
        figures.retention_curve(table().drop(columns="share"))
