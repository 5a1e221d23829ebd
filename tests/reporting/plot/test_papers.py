"""Pictures of a paper's protocol."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn


@pytest.fixture
def study() -> SimpleNamespace:
    claims = pd.DataFrame(
        [
            ("It is <b>so</b>", "share", 0.5, 0.4, 0.6, 0.1, "chance", "holds"),
            ("It is more", "nats", -1.0, np.nan, np.nan, np.nan, "", "does not hold"),
        ],
        columns=["claim", "measure", "found", "low", "high", "control", "beside", "verdict"],
    )
    square = pd.DataFrame({"network": ["a", "b"], "a": [1.0, -0.5], "b": [0.5, 1.0]})
    lines = pd.DataFrame({"masks": ["x", "x", "y"], "share": [0.2, 0.1, 0.1], "exact": [0.5, 1.0, 0.7]})
    tables = {
        "square": SimpleNamespace(title="A square", table=square, picture="matrix"),
        "lines": SimpleNamespace(title="Lines", table=lines.assign(low=0.0, high=1.0), picture="curves"),
        "plain": SimpleNamespace(title="Numbers", table=lines, picture=None),
    }
    return SimpleNamespace(paper="s1", model="toy", claims=claims, tables=tables)


def test_every_claim_has_a_panel_with_its_control(study):
    figure = fbn.plot.paper_claims(study)
    dots = [one for one in figure.data if one.name == "found here"]
    assert [float(one.x[0]) for one in dots] == [0.5, -1.0]
    assert [float(one.x[0]) for one in figure.data if one.name == "its control"] == [0.1]
    assert dots[0].marker.color[0] != "white" and dots[1].marker.color[0] == "white"
    assert "&lt;b&gt;so" in figure.layout.annotations[0].text
    with pytest.raises(fbn.InputError, match="has none"):
        fbn.plot.paper_claims(SimpleNamespace(**{**vars(study), "claims": study.claims.head(0)}))
    with pytest.raises(TypeError, match="a PaperStudy"):
        fbn.plot.paper_claims(study.claims)


def test_tables_are_matrices_or_curves(study):
    square = fbn.plot.paper_table(study, "square")
    assert np.array_equal(square.data[0].z, [[1.0, 0.5], [-0.5, 1.0]])
    curves = fbn.plot.paper_table(study, "lines")
    x = next(one for one in curves.data if one.name == "x")
    assert list(x.x) == [0.1, 0.2] and list(x.y) == [1.0, 0.5]
    with pytest.raises(fbn.InputError, match="these have one: square, lines"):
        fbn.plot.paper_table(study, "plain")
