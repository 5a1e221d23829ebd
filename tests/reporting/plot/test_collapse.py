"""Collapse neurons: dots, intervals and crosses are the table's, and filled dots are those that are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.results import collapse
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_marks_are_those_of_the_table() -> None:
    found = collapse()
    table = found.to_dataframe()
    figure: Any = figures.collapse(found)
    chance, apart, dots = figure.data
    np.testing.assert_allclose(dots.x, table["cost"])
    np.testing.assert_allclose(dots.x - dots.error_x.arrayminus, table["low"])
    np.testing.assert_allclose(dots.x + dots.error_x.array, table["high"])
    assert [one != "white" for one in dots.marker.color] == table["found"].tolist()
    np.testing.assert_allclose(apart.x, table["apart"][table["size"] > 1])
    assert set(chance.base) == {np.quantile(found.random, 0.05)}
    assert figure.layout.yaxis.ticktext[0] == "0.0 + 0.1 + 2.2" and "4 units break" in figure.layout.title.text
    assert figure.layout.shapes[0].x0 == found.threshold


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="collapse draws a Collapse; got int"):
        figures.collapse(3)
