"""Reliability: planted tasks beside noise, and the intraclass correlation of the textbook."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.tasks import recordings
from tl_fbn.analysis.networks.reliability import icc_2_1


def test_reliability_separates_planted_tasks_from_noise():
    table = fbn.networks.reliability(recordings(1.0)).table.set_index("task")
    assert (table["correlation_within"] > table["correlation_between"]).all()
    assert (table["discriminability"] > 0.9).all()
    assert (table["icc"] > 0.5).all()
    noise = fbn.networks.reliability(recordings(0.0, seed=3)).table
    assert 0.3 < noise["discriminability"].mean() < 0.7


def test_icc_by_the_textbook():
    """Shrout and Fleiss (1979), table 2: six targets, four judges; ICC(2,1) = .29."""
    ratings = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
    )
    assert icc_2_1(ratings) == pytest.approx(0.29, abs=0.005)
