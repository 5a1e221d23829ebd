"""Recordings of three conditions, and contrasts of them."""

from __future__ import annotations

import numpy as np

import tl_fbn as fbn
from tests.helpers.recordings import blocks

ORDER = ["a", "b", "c", "c", "a", "b", "b", "c", "a", "a", "c", "b"]
PAIR = ["a - b", "b - c"]
W = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])


def recorded(n_runs: int = 1, n_units: int = 6, seed: int = 0, rho: float = 0.4) -> fbn.Recording:
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(n_runs):
        y = rng.normal(size=(120, n_units))
        for t in range(1, 120):
            y[t] += rho * y[t - 1]
        y[np.repeat([name == "a" for name in ORDER], 10), 0] += 2
        runs.append([y])
    return fbn.Recording.from_arrays(runs, events=[blocks(ORDER, 10)] * n_runs)


def columns_of(fit: fbn.glm.GLMFit, run: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The design, and the contrasts over its columns."""
    names = list(fit.designs[run].columns)
    weights = np.zeros((2, len(names)))
    weights[:, [names.index(name) for name in "abc"]] = W
    return fit.designs[run].to_numpy(float), weights
