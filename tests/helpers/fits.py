"""Recordings whose rows are known, for tests of fits."""

from __future__ import annotations

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.noise import ar1_noise
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.run import Run


def prompts_of(n_rows: int, length: int, seed: int = 0) -> pd.DataFrame:
    """A row table of prompts of about this many rows."""
    lengths = np.random.default_rng(seed).integers(length - 3, length + 4, size=n_rows)
    prompt = np.repeat(np.arange(n_rows), lengths)[:n_rows]
    position = np.concatenate([np.arange(n) for n in lengths])[:n_rows]
    return pd.DataFrame({"prompt": prompt, "position": position})


def noise_of(run: Run) -> np.ndarray:
    return run.read().astype(np.float64)


def recording_of(
    activations: list[np.ndarray], events: list[pd.DataFrame], rows: list[pd.DataFrame] | None = None
) -> fbn.Recording:
    return fbn.Recording.from_arrays([[y] for y in activations], events=events, rows=rows)


def three_runs(*, n_units: int = 4, rho: float = 0.4, prompts: bool = True) -> fbn.Recording:
    """Runs of 96 to 160 rows, with a drift, an effect in unit 0, and a mean that no two runs share."""
    activations, events, rows = [], [], []
    for number, pairs in enumerate((6, 8, 10)):
        n_rows = 16 * pairs
        y = ar1_noise(rho, n_rows, n_units, seed=number) + 3 * number
        y[:, 0] += np.tile(np.repeat([0.8, 0.0], 8), pairs)
        activations.append(y + np.linspace(0, 1, n_rows)[:, None])
        events.append(blocks(["a", "b"] * pairs, 8))
        rows.append(prompts_of(n_rows, 6, number))
    return recording_of(activations, events, rows if prompts else None)
