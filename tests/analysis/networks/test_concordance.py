"""Concordance: maps that agree are found, layers alone are no agreement, and noise agrees as often as p says."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace


def test_concordance_finds_the_pair_that_agrees_and_keeps_its_error_rate():
    space = UnitSpace("mlp.neurons", (300, 300))
    rng = np.random.default_rng(0)
    shared = rng.normal(size=600)
    maps = {
        "glm": UnitMap(space, shared + rng.normal(size=600), "t"),
        "cgvst": UnitMap(space, np.abs(shared + rng.normal(size=600)), "attribution"),
        "noise": UnitMap(space, rng.normal(size=600), "t"),
        "ica": Atlas.from_networks(
            {
                "N01": Network(space, rng.random(600) < 0.05),
                "N02": UnitMap(space, shared, "t").top(0.05, name="N02"),
            }
        ),
    }
    table = fbn.concordance(maps, seed=0, n_null=300).table.set_index(["a", "b"])
    assert table.loc[("glm", "ica"), "network"] == "N02"
    assert table.loc[("glm", "ica"), "p_dice"] < 0.01
    assert table.loc[("glm", "ica"), "p_correlation"] < 0.01
    assert table.loc[("glm", "cgvst"), "dice"] > table.loc[("glm", "cgvst"), "expected"]
    assert table.loc[("glm", "noise"), "p_correlation"] > 0.01
    nulls = [
        fbn.concordance(
            {"a": UnitMap(space, rng.normal(size=600), "t"), "b": UnitMap(space, rng.normal(size=600), "t")},
            seed=i,
            n_null=99,
        ).table["p_correlation"][0]
        for i in range(100)
    ]
    assert 0.0 <= np.mean(np.array(nulls) <= 0.05) <= 0.11
    with pytest.raises(ValueError, match="at least two maps; got 1"):
        fbn.concordance({"a": maps["glm"]}, seed=0)


def test_layers_alone_are_no_agreement():
    """Two maps that share nothing but which layer is large."""
    space = UnitSpace("mlp.neurons", (200, 200))
    rng = np.random.default_rng(3)
    offset = np.r_[np.zeros(200), np.full(200, 3.0)]
    a, b = (UnitMap(space, offset + rng.normal(size=400), "effect") for _ in range(2))
    line = fbn.concordance({"a": a, "b": b}, seed=0, n_null=200).table.iloc[0]
    assert line["correlation"] > 0.5
    assert line["p_correlation"] > 0.05
