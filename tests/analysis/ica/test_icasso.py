"""Iq by hand, and its clusters."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.ica.icasso import centrotypes, clusters, iq_of


def test_index_of_three_restarts_by_hand() -> None:
    """One network always comes back, one half, in an angle of 60 degrees."""
    c, s = 0.5, np.sqrt(0.75)
    maps = np.array([[[1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, c, s]], [[1, 0, 0], [0, 1, 0]]], dtype=float)
    labels, similar = clusters(maps)
    iq = iq_of(labels, similar)
    steady = labels[0]
    assert labels.tolist().count(steady) == 3
    assert iq[steady] == pytest.approx(1.0)
    assert iq[1 - steady] == pytest.approx((c + 1 + c) / 3)
    best = centrotypes(labels, similar, maps)
    np.testing.assert_allclose(np.abs(best[1 - steady]), [0, 1, 0])


def test_a_network_alone_in_its_cluster_has_no_index() -> None:
    maps = np.array([[[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 0, 0.01]]], dtype=float)
    labels, similar = clusters(maps / np.linalg.norm(maps, axis=2, keepdims=True))
    assert iq_of(labels, similar)[labels[1]] == 0
