"""Overlap and concordance: known coefficients, chance against brute force and simulation, planted agreement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

SPACE = UnitSpace("mlp.neurons", (20, 0, 30))


def network(*indices: int, name: str = "n") -> Network:
    return Network.from_indices(SPACE, indices, name=name)


def test_coefficients():
    both = fbn.overlap(network(0, 1, 2, 3, name="a"), network(2, 3, 4, 5, 6, 7, name="b"), seed=0)
    assert (both.dice, both.jaccard, both.coefficient) == (0.4, 0.25, 0.5)
    assert both.expected_shared == pytest.approx(4 * 6 / 20)
    assert both.p == pytest.approx(stats.hypergeom.sf(1, 20, 4, 6))
    line = both.to_dataframe().iloc[0]
    assert (line["a"], line["size_b"], line["shared"]) == ("a", 6, 2)
    assert "Dice 0.400, by chance 0.240" in repr(both)
    assert "<table" in both._repr_html_()


def test_chance_is_layer_matched_and_exact():
    rng = np.random.default_rng(0)
    a = Network(SPACE, np.arange(50) % 4 == 0, name="a")
    b = Network(SPACE, np.r_[np.arange(20) < 12, np.arange(30) < 3], name="b")
    found = fbn.overlap(a, b, seed=0, n_null=20_000)
    shared = []
    for _ in range(20_000):
        mask = np.zeros(50, dtype=bool)
        for layer, n in ((0, 12), (2, 3)):
            span = SPACE.layer_slice(layer)
            mask[rng.choice(np.arange(span.start, span.stop), n, replace=False)] = True
        shared.append((mask & a.members).sum())
    assert found.expected_shared == pytest.approx(np.mean(shared), abs=0.05)
    assert found.p == pytest.approx(np.mean(np.array(shared) >= found.shared), abs=0.015)
    assert found.null.mean() == pytest.approx(found.expected, abs=0.01)


def test_p_is_calibrated_under_the_null():
    rng = np.random.default_rng(1)
    space = UnitSpace("mlp.neurons", (400, 400))
    p = []
    for _ in range(400):
        a, b = (Network.from_indices(space, rng.choice(800, 80, replace=False)) for _ in range(2))
        p.append(fbn.overlap(a, b, seed=0, n_null=1).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_empty_and_foreign_networks():
    empty = fbn.overlap(network(), network(), seed=0)
    assert np.isnan(empty.dice)
    assert empty.p == 1
    with pytest.raises(ValueError, match="compare"):
        fbn.overlap(network(1), Network.from_indices(UnitSpace("mlp.neurons", (5,)), [1]), seed=0)


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
    table = fbn.concordance(maps, seed=0, n_null=300).set_index(["a", "b"])
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
        )["p_correlation"][0]
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
    line = fbn.concordance({"a": a, "b": b}, seed=0, n_null=200).iloc[0]
    assert line["correlation"] > 0.5
    assert line["p_correlation"] > 0.05


def test_an_overlap_comes_back_from_its_file(tmp_path):
    space = fbn.UnitSpace("mlp.neurons", (10, 10))
    a, b = (fbn.Network.from_indices(space, range(start, start + 4), name=str(start)) for start in (0, 2))
    found = fbn.overlap(a, b, seed=0)
    found.save(tmp_path / "overlap.safetensors")
    again = fbn.Overlap.load(tmp_path / "overlap.safetensors")
    assert repr(again) == repr(found) and again.to_dataframe().equals(found.to_dataframe())
    np.testing.assert_array_equal(again.null, found.null)
