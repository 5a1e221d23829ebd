"""How often a token-level t test is wrong when nothing is there: ``python -m tests.benchmarks.calibration``.

AR(1) noise without any effect, 600 rows in one context, an alternating design of two conditions in blocks of 50 or 100
rows, the default design matrix with and without drift columns. Printed is the share of units with p < .05 for "a - b",
which should be .05, for

- ``ar1``    the default: each unit at its own rho, freed of the design's bias;
- ``plain``  the same with the residuals' own autocorrelation as rho, as most packages have it;
- ``newey_west``  OLS with a covariance that allows four to five rows of autocorrelation;
- ``ols``    independent rows.

With 20,000 units a share of .05 has a standard error of .0015. The tests draw smaller samples with the same functions.
"""

from __future__ import annotations

from typing import Literal, get_args
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


def table(n_units: int = 20_000) -> pd.DataFrame:
    """Every cell of the comparison."""
    lines = []
    for block in (50, 100):
        for rho in (0.0, 0.3, 0.5, 0.8):
            recording = null_recording(rho, block=block, n_units=n_units, seed=round(1000 * rho) + block)
            for drift in (False, True):
                shares = {noise: false_positives(recording, noise, drift=drift) for noise in get_args(Noise)}
                lines.append({"block": block, "drift": drift, "rho": rho, **shares})
    return pd.DataFrame(lines)


def main() -> None:
    print(table().sort_values(["block", "drift", "rho"]).to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
