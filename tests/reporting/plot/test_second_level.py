"""A forest plot: dots are the models, the diamond is the mean, the bar is where one more model is expected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import of_models
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_marks_are_those_of_the_tables() -> None:
    found = of_models()
    figure: Any = figures.second_level(found)
    dots, mean, bar = figure.data
    line = found.summary().iloc[0]
    np.testing.assert_allclose(dots.x, found.effects[:, 0])
    np.testing.assert_allclose(dots.error_x.array, 1.96 * 0.1)
    assert (mean.x[0], mean.x[0] + mean.error_x.array[0]) == pytest.approx((line["mean"], line["high"]))
    assert (bar.base[0], bar.base[0] + bar.x[0]) == pytest.approx((line["predicted_low"], line["predicted_high"]))


def test_networks_without_a_task_are_all_drawn_and_names_are_text() -> None:
    found = replace(of_models(), networks=(BOLD, BOLD), tasks=("a", "b"))
    figure: Any = figures.second_level(found)
    assert len(figure.data) == 6 and BOLD not in str(figure.to_json())


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="second_level draws a SecondLevel; got int"):
        figures.second_level(3)
