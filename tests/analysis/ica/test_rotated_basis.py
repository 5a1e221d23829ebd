"""A rotated copy keeps distances and subspaces, and loses sparseness."""

from __future__ import annotations

import numpy as np
from scipy.stats import kurtosis

import tl_fbn as fbn
from tests.oracle.sources import matched, planted
from tl_fbn.analysis.ica.rotated_basis import layer_rotation


def test_distances_stay_and_sparse_maps_go() -> None:
    recording, maps, _ = planted(4, n_runs=2)
    turned = fbn.ica.rotated_basis(recording, seed=0)
    for run, other in zip(recording, turned, strict=True):
        x, y = run.read().astype(float), other.read().astype(float)
        np.testing.assert_allclose(x @ x.T, y @ y.T, rtol=1e-4, atol=1e-2)
        assert other.events.equals(run.events)
    assert turned.key != recording.key
    turn = np.zeros((1200, 1200))
    for layer in recording[0].layers:
        span = recording.space.layer_slice(layer)
        turn[span, span] = layer_rotation(recording, layer, seed=0)
    found = fbn.find_networks(turned, 4, method="temporal", n_restarts=1, seed=0)
    assert matched(maps @ turn, found.maps).min() > 0.9  # courses are independent in any basis
    assert np.abs(kurtosis(maps @ turn, axis=1)).max() < 1 < 20 < kurtosis(maps, axis=1).min()
