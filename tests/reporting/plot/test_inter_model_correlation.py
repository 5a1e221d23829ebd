"""Inter-model correlation: dots and intervals are the table's, single models beside them, chance behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import inter_model_correlation as made
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def test_marks_are_those_of_the_tables() -> None:
    found = made()
    figure: Any = figures.inter_model_correlation(found)
    chance, middle, single, mean = figure.data
    table = found.to_dataframe()
    np.testing.assert_allclose(mean.x, table["r"])
    np.testing.assert_allclose(mean.x - mean.error_x.arrayminus, table["low"])
    np.testing.assert_allclose(mean.x + mean.error_x.array, table["high"])
    np.testing.assert_allclose(single.x, found.by_model()["r"])
    np.testing.assert_allclose(
        np.asarray(chance.base, dtype=float) + chance.x, np.quantile(found.null[:, -1], 0.95, axis=0)
    )
    np.testing.assert_allclose(middle.x, np.median(found.null[:, -1], axis=0))
    assert f"{len(found.shared)} of 2 networks are shared by 3 models over 12 texts" in figure.layout.title.text
    assert [colour != "white" for colour in mean.marker.color] == ((table["p"] <= 0.05) & (table["r"] > 0)).tolist()
    assert BOLD not in str(figure.to_json())


def test_without_a_null_there_is_no_chance() -> None:
    figure: Any = figures.inter_model_correlation(replace(made(), null=np.zeros((0, 4, 2))))
    assert len(figure.data) == 2


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="found must be an InterModelCorrelation; got 3"):
        figures.inter_model_correlation(3)
