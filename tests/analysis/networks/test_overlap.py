"""Overlap: known coefficients, and chance against brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tl_fbn.units import Network, UnitSpace

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


def test_an_overlap_comes_back_from_its_file(tmp_path):
    space = fbn.UnitSpace("mlp.neurons", (10, 10))
    a, b = (fbn.Network.from_indices(space, range(start, start + 4), name=str(start)) for start in (0, 2))
    found = fbn.overlap(a, b, seed=0)
    found.save(tmp_path / "overlap.safetensors")
    again = fbn.networks.Overlap.load(tmp_path / "overlap.safetensors")
    assert repr(again) == repr(found) and again.to_dataframe().equals(found.to_dataframe())
    np.testing.assert_array_equal(again.null, found.null)
