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


def test_units_without_a_value_are_left_out() -> None:
    """By hand: Pearson's correlation over the units that have a value in both; infinity as the largest number."""
    space = UnitSpace("mlp.neurons", (100, 100))
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    b += a
    known = np.ones(200, dtype=bool)
    known[:70] = False
    holes = np.where(known, b, np.nan)
    line = fbn.concordance({"a": UnitMap(space, a, "t"), "b": UnitMap(space, holes, "score")}, seed=0, n_null=20).table
    assert line["correlation"][0] == pytest.approx(np.corrcoef(a[known], b[known])[0, 1])
    endless = np.where(a > 2, np.inf, a)
    line = fbn.concordance({"a": UnitMap(space, endless, "t"), "b": UnitMap(space, b, "t")}, seed=0, n_null=20).table
    largest = np.abs(a[a <= 2]).max()
    assert line["correlation"][0] == pytest.approx(np.corrcoef(np.where(a > 2, largest, a), b)[0, 1])
    nothing = np.where(known, np.nan, b)
    with pytest.raises(ValueError, match="no unit has a value both in 'a' and in 'b'"):
        fbn.concordance({"a": UnitMap(space, holes, "t"), "b": UnitMap(space, nothing, "t")}, seed=0, top=0.01)


def test_layers_alone_are_no_agreement():
    """Two maps that share nothing but which layer is large."""
    space = UnitSpace("mlp.neurons", (200, 200))
    rng = np.random.default_rng(3)
    offset = np.r_[np.zeros(200), np.full(200, 3.0)]
    a, b = (UnitMap(space, offset + rng.normal(size=400), "effect") for _ in range(2))
    line = fbn.concordance({"a": a, "b": b}, seed=0, n_null=200).table.iloc[0]
    assert line["correlation"] > 0.5
    assert line["p_correlation"] > 0.05
