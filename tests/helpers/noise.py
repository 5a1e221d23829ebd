"""Noise in which nothing is there, and how often a test finds something."""

from __future__ import annotations

from typing import Literal
from unittest import mock

import numpy as np
import pandas as pd
from scipy.signal import lfilter

import tl_fbn as fbn
from tl_fbn.analysis.glm.autocorrelation import GRID

Noise = Literal["ar1", "plain", "newey_west", "ols"]
N_ROWS = 600


def ar1_noise(rho: float, n_rows: int, n_units: int, *, seed: int) -> np.ndarray:
    """Stationary AR(1) noise of unit variance, (row, unit)."""
    innovations = np.random.default_rng(seed).normal(size=(n_rows, n_units))
    innovations[1:] *= np.sqrt(1 - rho**2)
    return np.asarray(lfilter([1.0], [1.0, -rho], innovations, axis=0))


def null_recording(rho: float, *, block: int, n_units: int, seed: int) -> fbn.Recording:
    """One run of noise in which conditions a and b alternate."""
    onsets = np.arange(0, N_ROWS, block)
    events = pd.DataFrame(
        {"onset": onsets, "duration": block, "trial_type": [("a", "b")[i % 2] for i in range(len(onsets))]}
    )
    return fbn.Recording.from_arrays([[ar1_noise(rho, N_ROWS, n_units, seed=seed)]], events=[events])


def false_positives(recording: fbn.Recording, noise: Noise, *, drift: bool) -> float:
    """Share of units in which "a - b" has p < .05."""
    columns: Literal["cosine", "none"] = "cosine" if drift else "none"
    if noise == "plain":  # a curve that is the identity corrects nothing
        with mock.patch("tl_fbn.analysis.glm.run_fit.expected_autocorrelation", lambda basis: GRID):
            fit = fbn.fit_glm(recording, drift=columns)
    else:
        fit = fbn.fit_glm(recording, noise=noise, drift=columns)
    return float(np.mean(fit.contrast("a - b", level="token").p.values < 0.05))
