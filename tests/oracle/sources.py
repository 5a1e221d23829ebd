"""Recordings with planted networks: sparse maps, heavy-tailed courses, noise."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

import tl_fbn as fbn
from tests.helpers.recordings import blocks

WIDTHS = (400, 0, 300, 500)


def planted(
    n_networks: int = 6,
    *,
    n_runs: int = 4,
    rows: int = 120,
    noise: float = 0.5,
    seed: int = 0,
    maps: np.ndarray | None = None,
    widths: tuple[int, ...] = WIDTHS,
) -> tuple[fbn.Recording, np.ndarray, list[np.ndarray]]:
    """A recording, its maps (network, unit) and the courses of every run."""
    rng = np.random.default_rng(seed)
    n_units = sum(widths)
    if maps is None:
        maps = np.zeros((n_networks, n_units))
        for one in maps:
            on = rng.choice(n_units, n_units // 25, replace=False)
            one[on] = rng.choice([1, 1, 1, -1], len(on)) * rng.gamma(4.0, 1.0, len(on))
    runs, courses = [], []
    for _ in range(n_runs):
        course = rng.laplace(size=(rows, len(maps)))
        y = course @ maps + noise * rng.normal(size=(rows, n_units)) + 2
        runs.append(np.split(y, np.cumsum(widths)[:-1], axis=1))
        courses.append(course)
    events = blocks(["a", "b"] * (rows // 20), 10)
    return fbn.Recording.from_arrays(runs, events=[events] * n_runs), maps, courses


def matched(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """|r| of every true map with its partner in the best one-to-one matching."""
    r = np.abs(np.corrcoef(truth, found)[: len(truth), len(truth) :])
    return r[linear_sum_assignment(-r)]
