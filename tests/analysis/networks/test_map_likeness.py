"""Likeness of maps against values worked out by hand, and networks taken as they are given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tl_fbn.analysis.networks.map_likeness import likeness_of_maps

FRESH = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0]])
LEARNT = np.array([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0]])


def test_correlation_is_pearsons():
    found = likeness_of_maps(FRESH, LEARNT, "correlation", 0.25, [None, None], centre=False)
    assert found == pytest.approx(np.array([[stats.pearsonr(FRESH[0], one).statistic for one in LEARNT]]))


def test_dice_takes_a_network_as_it_is():
    """Three members against the run's three largest; a map against its quarter, two units."""
    found = likeness_of_maps(FRESH, LEARNT, "dice", 0.25, [LEARNT[0] > 0, None], centre=False)
    assert found.tolist() == [[1.0, 0.0]]
    half = np.array([True, False, False, True, False, True, False, False])
    assert likeness_of_maps(FRESH, LEARNT[:1], "dice", 0.25, [half], centre=False)[0, 0] == pytest.approx(2 / 6)


def test_activation_is_the_mean_z_of_the_members():
    found = likeness_of_maps(FRESH, LEARNT, "activation", 0.25, [LEARNT[0] > 0, None], centre=False)
    z = (FRESH[0] - FRESH[0].mean()) / FRESH[0].std()
    assert found == pytest.approx(np.array([[z[:3].mean(), z[6:].mean()]]))


@pytest.mark.parametrize("method", ["dice", "activation"])
def test_a_network_without_members_is_like_nothing(method):
    assert likeness_of_maps(FRESH, LEARNT[:1], method, 0.25, [np.zeros(8, bool)], centre=False).tolist() == [[0.0]]
