"""First tokens of a real model: what the column takes off, and error rates under labels drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers import real_calibration

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def sentences(real_model, tmp_path_factory):
    """MLP outputs over short prompts, several a block, under conditions that are chance."""
    folder = tmp_path_factory.mktemp("first") / "out"
    return real_calibration.recorded(real_model, folder, prompts=real_calibration.sentences(), rows=64, site="mlp.out")


def test_the_column_takes_off_nine_tenths_of_the_variance(sentences):
    """By least squares alone: what is left of all variance, and that first rows no longer stand out in it."""
    left = {}
    for first_token in (False, True):
        run = sentences[0]
        y = run.read().astype(np.float64)
        y -= y.mean(0)
        q, _ = np.linalg.qr(fbn.design_matrix(run, first_token=first_token).to_numpy())
        residual = np.square(y - q @ (q.T @ y))
        left[first_token] = residual.sum() / np.square(y).sum()
    first = run.segment_starts
    assert left[False] > 0.5 and left[True] < 0.1
    assert residual[first].mean() < residual[~first].mean()


@pytest.mark.slow
def test_error_rates_of_every_level(sentences):
    """Block and run level hold; at the token level AR(1) is an approximation, for these very prompts at best."""
    without, with_it = real_calibration.first_token_table(sentences, 300, every=48).to_dict("records")
    for level in ("block", "run"):
        assert 0.04 < with_it[level] < 0.06, with_it
    assert 0.04 < with_it["token"] < 0.09
    # without the column, units that are about first tokens find next to nothing; with it they are as all others
    assert without["token, quarter"] < 0.03
    assert abs(with_it["token, quarter"] - with_it["token"]) < 0.01
