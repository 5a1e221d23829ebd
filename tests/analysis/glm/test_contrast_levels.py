"""Standardised effects, explained variance, intervals and error rates of contrasts: statsmodels, textbook formulas,
coverage.
"""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import tl_fbn as fbn
from tests.helpers import real_calibration
from tests.helpers.contrasts import ORDER, PAIR, columns_of, recorded
from tests.helpers.paths import SHARED
from tests.helpers.recordings import blocks


def test_partial_r2_is_the_share_of_variance_explained():
    recording = recorded()
    fit = fbn.fit_glm(recording, noise="ols")
    x, weights = columns_of(fit)
    y = np.array(recording[0].layer(0))[:, 0].astype(float)
    full = sm.OLS(y, x).fit().ssr
    null = np.linalg.svd(weights)[2][2:].T
    reduced = sm.OLS(y, x @ null).fit().ssr
    assert fit.contrast(PAIR, level="token").partial_r2.values[0] == pytest.approx((reduced - full) / reduced, rel=1e-8)
    one = fit.contrast("a - b", level="token")
    null = np.linalg.svd(weights[:1])[2][1:].T
    reduced = sm.OLS(y, x @ null).fit().ssr
    assert one.partial_r2.values[0] == pytest.approx((reduced - full) / reduced, rel=1e-8)


def test_standardised_effect_by_hand():
    recording = recorded(3)
    fit = fbn.fit_glm(recording, drift="none", position=False, noise="ols")
    means = np.concatenate([run.block_means for run in fit.runs])
    x = np.kron(np.eye(3), np.array([[name == one for one in "abc"] for name in ORDER], dtype=float))
    block, token = fit.contrast("a - b"), fit.contrast("a - b", level="token")
    for unit in range(6):
        sd = np.sqrt(sm.OLS(means[:, unit], x).fit().mse_resid)
        assert block.standardized.values[unit] == pytest.approx(block.estimate[unit] / sd, rel=1e-9)
    rows = np.sqrt(np.mean([run.innovation_variance for run in fit.runs], axis=0))
    np.testing.assert_allclose(token.standardized.values, token.estimate / rows, rtol=1e-9)
    run = fit.contrast("a - b", level="run")
    effects = np.array([one.effect({"a": 1.0, "b": -1.0})[0] for one in fit.runs])
    np.testing.assert_allclose(run.standardized.values, effects.mean(0) / effects.std(0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("level", ["token", "block"])
def test_intervals_hold_the_truth_at_95_percent(level, standardised):
    """White noise of sd 1, effect 0.8: block means of 10 rows have sd 1 / sqrt(10)."""
    held, n = 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=(120, 500))
        y[np.repeat([name == "a" for name in ORDER], 10)] += 0.8
        recording = fbn.Recording.from_arrays([[y]], events=[blocks(ORDER, 10)])
        contrast = fbn.fit_glm(recording, noise="ols", drift="none", position=False).contrast("a - b", level=level)
        low, high = contrast.interval(standardized=standardised)
        truth = 0.8 * (np.sqrt(10) if standardised and level == "block" else 1.0)
        held += int(((low.values <= truth) & (truth <= high.values)).sum())
        n += 500
    assert 0.935 < held / n < 0.965


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "models" / "stories260K").is_dir(), reason="the shared model is not beside the repository"
)
def test_block_level_p_holds_on_real_activations():
    """300 random labellings of a real model's blocks, trained and with random weights."""
    table = real_calibration.table(SHARED / "models" / "stories260K", 300)
    assert table["block"].between(0.04, 0.06).all(), table
    assert table["token"].between(0.04, 0.4).all()  # what the default level is there to avoid


@pytest.mark.slow
def test_fdr_and_fwe_on_mixtures_of_null_and_planted_units():
    """Of 400 units 40 differ by 1.2 block sds; share of false units among those found, and chance of any."""
    shares, any_false, power = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=(240, 400))
        y[np.repeat([name == "a" for name in ORDER * 2], 10), :40] += 0.6
        recording = fbn.Recording.from_arrays([[y[:120]], [y[120:]]], events=[blocks(ORDER, 10)] * 2)
        contrast = fbn.fit_glm(recording).contrast("a - b")
        fdr, fwe = contrast.threshold(fdr=0.1).members, contrast.threshold(fwe=0.05).members
        shares.append(fdr[40:].sum() / max(fdr.sum(), 1))
        any_false.append(fwe[40:].any())
        power.append(fdr[:40].mean())
    assert np.mean(shares) <= 0.13
    assert np.mean(any_false) <= 0.15
    assert np.mean(power) > 0.3


def test_power_rises_with_the_effect():
    found = []
    for effect in (0.0, 0.3, 0.6, 1.2):
        rng = np.random.default_rng(0)
        y = rng.normal(size=(120, 300))
        y[np.repeat([name == "a" for name in ORDER], 10)] += effect
        recording = fbn.Recording.from_arrays([[y]], events=[blocks(ORDER, 10)])
        found.append((fbn.fit_glm(recording).contrast("a - b").p.values < 0.05).mean())
    assert found == sorted(found)
    assert found[0] < 0.09
    assert found[-1] > 0.9
