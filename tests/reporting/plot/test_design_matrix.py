"""The picture of a design: columns over their largest, and what cannot be told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

from tests.helpers.designs import confounded
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.glm.efficiency import collinearity_table, efficiency
from tl_fbn.analysis.glm.fit import fit_glm
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_design_matrix_shows_columns_over_their_largest_and_what_is_confounded() -> None:
    figure = figures.design_matrix(confounded(), contrasts=["a - b"])
    between = figure.layout.xaxis2.domain[0] - figure.layout.xaxis.domain[1]
    longest = max(map(len, figure.layout.yaxis2.ticktext))  # names stand between the panels, not over the left one
    assert between * (figure.layout.meta["min_width"] - 110) > 7 * longest
    assert (
        figure.layout.title.text
        == f"Design of 1,200 rows, 4 columns; efficiency of a - b {efficiency(confounded(), 'a - b'):.3g}"
    )
    *columns, correlations = figure.data
    matrix = np.column_stack([column.z for column in columns])
    assert matrix.shape == (600, 4)  # means of two rows
    np.testing.assert_allclose(matrix[[0, -1]], [[1, 0, -1, 1], [0, 1, 1, 1]], atol=2e-3)
    assert (columns[1].x0, columns[1].y0, columns[1].dy) == (1, 0.5, 2)
    np.testing.assert_allclose(correlations.z[0][1], -1)
    assert np.isnan(np.array(correlations.z)[3]).all()  # what never varies has no correlation
    assert [text.rsplit("(")[-1] for text in figure.layout.yaxis2.ticktext][:2] == ["implied)", "implied)"]
    assert figure.layout.yaxis2.ticktext[3] == "flat (constant)"


def test_the_design_of_a_fit_and_its_table(noise_recording: Recording) -> None:
    fit = fit_glm(noise_recording)
    figure = figures.design_matrix(fit, run=1)
    np.testing.assert_allclose(np.array(figure.data[0].z)[:, 0], fit.designs[1].iloc[:, 0])
    table = collinearity_table(confounded())
    assert table["with"].tolist()[:2] == ["b", "a"] and table["with"][3] == ""
    assert table["largest |r|"][0] == pytest.approx(1) and np.isnan(table["vif"][3])
    with pytest.raises(IndexError, match="run 9 of a fit of"):
        figures.design_matrix(fit, run=9)
    with pytest.raises(ValueError, match="0 rows and 4 columns"):
        figures.design_matrix(confounded().iloc[:0])


def test_correlations_and_factors_are_those_of_numpy_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)) * [1.0, 1e-3, 1e6]
    x[:, 2] += 2e6 * x[:, 0]
    design = pd.DataFrame(x, columns=["a", "b", "c"])
    found = np.array(figures.design_matrix(design).data[-1].z)
    np.testing.assert_allclose(found, np.corrcoef(x.T), rtol=1e-9)
    table = collinearity_table(design)
    theirs = np.column_stack([x, np.ones(50)])
    np.testing.assert_allclose(table["vif"], [variance_inflation_factor(theirs, i) for i in range(3)], rtol=1e-6)
    others = np.abs(found - np.eye(3))
    assert table["with"].tolist() == [design.columns[i] for i in others.argmax(1)]
    np.testing.assert_allclose(table["largest |r|"], others.max(1))
    np.testing.assert_allclose(table["sd"], x.std(0))


@pytest.mark.parametrize("rows", [1000, 1001, 2500])
def test_tall_designs_are_drawn_as_means_of_neighbouring_rows(rows: int) -> None:
    course = np.arange(rows, dtype=float)
    left = figures.design_matrix(pd.DataFrame({"a": course, "b": course % 2})).data[0]
    width = -(-rows // 1000)
    drawn = np.array(left.z)[:, 0]
    wanted = [course[i : i + width].mean() / (rows - 1) for i in range(0, rows, width)]
    np.testing.assert_allclose(drawn, wanted, rtol=1e-5)
    assert (left.y0, left.dy) == ((width - 1) / 2, width)
