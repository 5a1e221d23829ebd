"""Shapley values: dots and intervals are the table's, and every task says what its values add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import shapley_values
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_marks_are_those_of_the_table() -> None:
    values = replace(shapley_values(), networks=("N0", BOLD))
    table = values.to_dataframe()
    figure: Any = figures.shapley(values)
    for number, task in enumerate(values.tasks):
        lines = table[table["task"] == task]
        lesion, kept, own = figure.data[3 * number : 3 * number + 3]
        np.testing.assert_allclose(own.x, 100 * lines["value"])
        np.testing.assert_allclose(own.x - own.error_x.arrayminus, 100 * lines["low"])
        np.testing.assert_allclose(own.x + own.error_x.array, 100 * lines["high"])
        np.testing.assert_allclose(lesion.x, 100 * lines["lesioned_alone"])
        np.testing.assert_allclose(kept.x, 100 * lines["kept_alone"])
        assert f"{100 * values.whole[number]:+.3g} points in all" in figure.layout.annotations[number].text
        assert "from all sets" in own.customdata[0]
    assert BOLD not in str(figure.to_json()) and "2 networks" in figure.layout.title.text


def test_estimates_in_nats_say_their_interval_over_permutations() -> None:
    orders = np.array([[0, 1], [1, 0], [1, 0], [0, 1]])
    values = replace(shapley_values(), metric="log_likelihood", permutations=orders)
    figure: Any = figures.shapley(values)
    np.testing.assert_allclose(figure.data[2].x, values.values[:, 0])
    assert "over permutations" in figure.data[2].customdata[0] and figure.layout.xaxis.title.text == "value (nats)"


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="shapley draws a ShapleyValues; got int"):
        figures.shapley(3)
