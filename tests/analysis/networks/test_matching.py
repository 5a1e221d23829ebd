"""Atlases matched one to one, against shuffled units."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn

SPACE = fbn.UnitSpace("mlp.neurons", (60, 40))


def atlas_of(maps: np.ndarray, names: str) -> fbn.Atlas:
    networks = {
        name: fbn.UnitMap(SPACE, one, "loading").top(10, two_sided=True) for name, one in zip(names, maps, strict=True)
    }
    return fbn.Atlas(SPACE, networks, maps)


def test_permuted_and_flipped_networks_find_their_partners() -> None:
    rng = np.random.default_rng(0)
    maps = rng.laplace(size=(3, 100))
    a = atlas_of(maps, "abc")
    b = atlas_of(np.array([-maps[2], maps[0], rng.laplace(size=100)]) + 0.1 * rng.normal(size=(3, 100)), "xyz")
    table = fbn.networks.match_networks(a, b, seed=0).table
    pairs = dict(zip(table["a"], table["b"], strict=True))
    assert pairs == {"c": "x", "a": "y", "b": "z"}
    r = dict(zip(table["a"], table["correlation"], strict=True))
    assert r["c"] < -0.95 and r["a"] > 0.95 and abs(r["b"]) < 0.5
    p = dict(zip(table["a"], table["p"], strict=True))
    assert p["a"] == p["c"] == 1 / 201 and p["b"] > 0.05
    assert table["correlation"].abs().is_monotonic_decreasing


def test_chance_holds_for_atlases_of_noise() -> None:
    rng = np.random.default_rng(1)
    best = [
        fbn.networks.match_networks(
            atlas_of(rng.laplace(size=(3, 100)), "abc"), atlas_of(rng.laplace(size=(3, 100)), "xyz"), seed=i, n_null=99
        )
        .table["p"]
        .min()
        for i in range(100)
    ]
    assert np.mean(np.array(best) <= 0.05) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 100)


def test_other_spaces_are_refused() -> None:
    other = fbn.Atlas.from_networks({"a": fbn.Network.from_indices(fbn.UnitSpace("mlp.neurons", (100,)), [1])})
    with pytest.raises(ValueError, match="cannot match units of"):
        fbn.networks.match_networks(atlas_of(np.eye(3, 100), "abc"), other, seed=0)
