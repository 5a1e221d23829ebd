"""A null check's picture: runs are dots of their row, filled where they reach the number in the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import null_check
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_dots_are_runs_and_the_line_is_the_model() -> None:
    check = replace(null_check(), numbers=(BOLD, "other"))
    figure: Any = figures.null_check(check)
    untrained, order = figure.data[2:4]  # of the second number
    np.testing.assert_array_equal(untrained.x, check.values[0, :, 1])
    assert untrained.marker.color[0] != "white"  # 1.0 is above .8
    assert order.marker.color[1] == "white"
    assert [one.x0 for one in figure.layout.shapes] == list(check.model)
    titles = [one.text for one in figure.layout.annotations]
    assert "does not stand" in titles[1] and "does not stand" not in titles[0]
    assert BOLD not in str(figure.to_json())


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="null_check draws a NullCheck; got int"):
        figures.null_check(3)
