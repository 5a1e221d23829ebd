"""Pictures of decompositions: how many networks, and which of them are stable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import HOSTILE
from tests.helpers.units import TOY
from tl_fbn.analysis.ica.model_order import ComponentChoice
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _theme as paint
from tl_fbn.units import Atlas, Network

pytest.importorskip("plotly")


def choice() -> ComponentChoice:
    table = pd.DataFrame(
        {
            "n_components": [2, 4, 8],
            "mean_iq": [0.9, 0.95, 0.5],
            "share_stable": [1.0, 1.0, 0.3],
            "noise_iq": 0.4,
            "explained": [0.3, 0.5, 0.6],
        }
    )
    return ComponentChoice(table, np.array([0.4, 0.3, 0.1, 0.05, 0.01]), np.full((2, 5), 0.02))


def test_component_choice_shows_both_arguments() -> None:
    figure = figures.component_choice(choice())
    assert figure.layout.title.text == "4 networks proposed; 4 directions exceed chance"
    data, chance, iq, noise, share = figure.data
    np.testing.assert_allclose(data.y, [40, 30, 10, 5, 1])
    np.testing.assert_allclose(chance.y, 2)
    assert list(iq.x) == [2, 4, 8] and list(iq.y) == [0.9, 0.95, 0.5]
    assert list(noise.y) == [0.4] * 3 and list(share.y) == [1.0, 1.0, 0.3]
    assert {shape.x0 for shape in figure.layout.shapes} == {4.5, 4}


def test_stability_marks_what_is_no_better_than_noise() -> None:
    networks = {"a": Network.from_indices(TOY, [0]), HOSTILE: Network.from_indices(TOY, [1])}
    atlas = Atlas(TOY, networks, None, np.array([0.9, 0.3]), {"iq_of_noise_95": [0.4]}, np.array([0.01, 0.5]))
    figure = figures.stability(atlas)
    assert figure.layout.title.text == "Stability of 2 networks; 1 (orange) no more stable than noise"
    assert list(figure.data[0].y) == [0.9, 0.3]
    assert list(figure.data[0].marker.color) == [paint.OKABE_ITO[0], paint.OKABE_ITO[1]]
    with pytest.raises(ValueError, match="n_restarts of 2 or more"):
        figures.stability(Atlas(TOY, networks))
