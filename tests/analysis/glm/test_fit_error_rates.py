"""Planted truth and error rates of fits: what is there is found with its sign, what is not there as often as p says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.fits import recording_of
from tests.helpers.noise import ar1_noise, false_positives, null_recording
from tests.helpers.recordings import blocks


@pytest.mark.parametrize("level", ["token", "block"])
def test_planted_units_are_found_with_their_signs(level: str) -> None:
    n_units, planted = 400, 40
    activations, events = [], []
    for number in range(4):
        y = ar1_noise(0.5, 240, n_units, seed=50 + number) + 10
        task = np.tile(np.repeat([1.0, 0.0], 20), 6)[:, None]
        y[:, :planted] += task * np.where(np.arange(planted) % 2, -1.5, 1.5)
        activations.append(y)
        events.append(blocks(["task", "rest"] * 6, 20))
    contrast = fbn.fit_glm(recording_of(activations, events)).contrast("task - rest", level=level)  # type: ignore[arg-type]
    network = contrast.threshold(fdr=0.05)
    assert network.members[:planted].mean() > 0.95
    assert network.members[planted:].sum() <= 0.15 * planted
    np.testing.assert_array_equal(
        network.signs[:planted][network.members[:planted]],
        np.where(np.arange(planted) % 2, -1, 1)[network.members[:planted]],
    )
    assert np.abs(contrast.effect.values[:planted]).mean() == pytest.approx(1.5, abs=0.1)
    bonferroni = contrast.threshold(fwe=0.05)
    assert len(bonferroni - network) == 0
    assert bonferroni.members[planted:].sum() <= 1


def band(n: int) -> float:
    """Four standard errors of a share of .05."""
    return 4 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize("block", [50, 100])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_token_level_is_calibrated_on_ar1_noise(rho: float, block: int) -> None:
    recording = null_recording(rho, block=block, n_units=2000, seed=block)
    for drift in (True, False):
        share = false_positives(recording, "ar1", drift=drift)
        assert 0.047 - band(2000) < share < 0.055 + band(2000)
    if rho > 0:
        assert false_positives(recording, "ols", drift=False) > 0.10


@pytest.mark.slow
@pytest.mark.parametrize("block", [50, 100])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.8])
def test_token_level_is_calibrated_to_the_third_digit(rho: float, block: int) -> None:
    recording = null_recording(rho, block=block, n_units=20_000, seed=round(1000 * rho) + block)
    for drift in (True, False):
        assert 0.045 < false_positives(recording, "ar1", drift=drift) < 0.057
        independent = false_positives(recording, "ols", drift=drift)
        assert independent == pytest.approx({0.0: 0.05, 0.3: 0.15, 0.5: 0.26, 0.8: 0.50}[rho], abs=0.03)
        assert rho == 0 or independent > 0.10


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_block_level_is_calibrated(rho: float) -> None:
    """Contexts of six rows in blocks of eighteen, in shuffled order: noise starts afresh in every context."""
    rng = np.random.default_rng(5)
    activations, events, rows = [], [], []
    for _ in range(3):
        pieces = [ar1_noise(rho, 6, 2000, seed=int(rng.integers(2**31))) for _ in range(60)]
        activations.append(np.concatenate(pieces))
        events.append(blocks(list(rng.permutation(["a", "b"] * 10)), 18))
        rows.append(pd.DataFrame({"prompt": np.repeat(np.arange(60), 6), "position": list(range(6)) * 60}))
    fit = fbn.fit_glm(recording_of(activations, events, rows))
    for level in ("block", "token"):
        assert np.mean(fit.contrast("a - b", level=level).p.values < 0.05) == pytest.approx(
            0.05, abs=0.004 + band(2000)
        )


def test_block_level_holds_where_noise_is_not_ar1() -> None:
    """Every block has a level of its own: rows within it are then no replicates, which only the block level knows."""
    rng = np.random.default_rng(6)
    activations = [
        rng.normal(size=(200, 2000)) + np.repeat(rng.normal(size=(20, 2000)), 10, axis=0) * 0.7 for _ in range(3)
    ]
    recording = recording_of(activations, [blocks(list(rng.permutation(["a", "b"] * 10)), 10) for _ in range(3)])
    fit = fbn.fit_glm(recording, drift="none")
    assert np.mean(fit.contrast("a - b").p.values < 0.05) == pytest.approx(0.05, abs=0.002 + band(2000))
    assert np.mean(fit.contrast("a - b", level="token").p.values < 0.05) > 0.08
