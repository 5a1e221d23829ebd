"""Scores against lesions: each panel is a column of the table beside its chance."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.figures import BOLD
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def validation() -> fbn.studies.Validation:
    """100 units in two layers; one score is the truth, one is noise."""
    rng, space = np.random.default_rng(0), fbn.UnitSpace("mlp.neurons", (50, 50))
    effects = rng.normal(size=100)
    scores = np.array([rng.normal(size=100), effects])
    groups = np.array([rng.choice(100, 5, replace=False) for _ in range(20)])
    return fbn.studies.Validation(
        space=space,
        task="sort",
        names=(BOLD, "truth"),
        scores=scores,
        effects=effects,
        groups=groups,
        group_effects=effects[groups].sum(1),
        tops=np.array([one >= np.sort(one)[-5] for one in scores]),
        top_effects=np.array([0.0, 2.0]),
        controls=rng.uniform(-0.1, 0.1, (2, 40)),
        provenance={
            "seed": 0,
            "n_null": 200,
            "n_recall": 5,
            "metric": "log_likelihood",
            "method": "zero",
            "n_items": 9,
        },
    )


def test_each_panel_is_a_column_beside_its_chance() -> None:
    one = validation()
    table, figure = one.to_dataframe(), figures.score_validation(one)
    dots = [trace for trace in figure.data if trace.name.startswith("the score")]
    np.testing.assert_allclose(dots[0].x, table["spearman"])
    np.testing.assert_allclose(dots[1].x, 100 * table["recall"])
    np.testing.assert_allclose(dots[2].x, [2.0, 0.0])
    chance = [trace for trace in figure.data if trace.name.startswith("chance: median")]
    np.testing.assert_allclose(chance[0].x, table["spearman_by_chance"])
    np.testing.assert_allclose(chance[2].x, table["control_median"])
    for bar, column in zip(
        (trace for trace in figure.data if trace.type == "bar"), ("spearman_by_chance_p95", "control_p95"), strict=True
    ):
        np.testing.assert_allclose(np.array(bar.base, dtype=float) + bar.x, table[column])
    assert [colour == "white" for colour in dots[0].marker.color] == [False, True]  # truth first, noise hollow
    assert list(figure.layout.yaxis.ticktext) == ["truth", "&lt;b&gt;bold&lt;/b&gt;"]
    assert BOLD not in str(figure.to_json()) and figure.layout.xaxis3.title.text == "drop (nats)"


def test_refusals() -> None:
    with pytest.raises(TypeError, match="draws a Validation of validate_scores; got dict"):
        figures.score_validation({})
