"""Double dissociations: lines cross as the numbers do, the matrix has the smaller effect, chance is that of random
pairs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.results import controlled_study
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _dissociation as dissociations

pytest.importorskip("plotly")


def test_the_table_adds_the_smaller_effect_and_that_of_random_pairs() -> None:
    one = controlled_study()
    table = dissociations.dissociation_table(one)
    assert table["smaller"].tolist() == pytest.approx([0.8, 0.0, 0.0]) and table["double"].tolist() == [
        True,
        False,
        False,
    ]
    drops = one.control_drops()
    effects = drops[0, :, 0] - drops[0, :, 1], drops[1, :, 1] - drops[1, :, 0]
    assert table["control_smaller"][0] == pytest.approx(np.median(np.minimum(*effects)))
    assert "control_smaller" not in dissociations.dissociation_table(one.dissociations())


def test_few_pairs_are_lines_that_cross() -> None:
    figure = figures.dissociation(controlled_study(), pairs=[("add", "sort")])
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines+markers"}
    assert list(lines["sort"].y) == [80, 0] and list(lines["add"].y) == [0, 80]
    assert figure.layout.annotations[0].text.startswith("sort and add: double dissociation<br>")
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    p05 = 100 * np.quantile(controlled_study().control_drops()[0][:, :2], 0.05, axis=0)
    assert len(bands) == 2 and list(bands[0].y[2:]) == pytest.approx(p05[::-1])
    assert "p < .01" not in figure.layout.title.text


def test_many_pairs_are_a_matrix_beside_random_pairs() -> None:
    names = ("a", "b", "c", BOLD)
    one = controlled_study(names)
    own, chance = figures.dissociation(one).data
    z = np.array(own.z)
    np.testing.assert_allclose(z, [[80, np.nan, np.nan], [80, 80, np.nan], [0, 0, 0]])
    assert [list(line) for line in own.text][1] == ["80*", "80*", ""]
    assert chance.zmax == own.zmax and np.nanmax(np.abs(chance.z)) < 10
    assert list(figures.dissociation(one).layout.yaxis.ticktext) == ["b", "c", "&lt;b&gt;bold&lt;/b&gt;"]
    (bare,) = figures.dissociation(one.dissociations()).data
    np.testing.assert_allclose(bare.z, z)


def test_too_few_controls_are_named() -> None:
    text = figures.dissociation(controlled_study(n_controls=30)).layout.title.text
    assert "p &lt; .01 needs 100 controls, here are 30" in text


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"must be pairs of two of sort, add"):
        figures.dissociation(controlled_study(), pairs=[("sort", "sorts")])
    with pytest.raises(ValueError, match="two networks that are named like tasks; networks: x, y, z"):
        figures.dissociation(controlled_study(networks=("x", "y", "z"), discovery=dict.fromkeys("xyz", "disjoint")))
    with pytest.raises(ValueError, match="lacks first, second"):
        figures.dissociation(pd.DataFrame({"a": [1]}))
    with pytest.raises(TypeError, match="got int"):
        figures.dissociation(3)
