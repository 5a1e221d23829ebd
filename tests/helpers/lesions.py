"""Lesion studies whose drops are given."""

from __future__ import annotations

import numpy as np

import tl_fbn as fbn


def made_up_study(own: np.ndarray, controls: np.ndarray) -> fbn.studies.LesionStudy:
    """A study with given drops: own (network, task, item), controls (network, control, task, item); networks named like
    tasks.
    """
    n, _, k = own.shape
    baseline = np.ones((n * k, 2))
    lesioned = 1 - own.reshape(n, n * k)[..., None] * np.ones(2)
    flat = 1 - controls.reshape(n, controls.shape[1], n * k)[..., None] * np.ones(2)
    names = tuple("abcdefgh"[:n])
    return fbn.studies.LesionStudy(
        names,
        names,
        np.full(n, k),
        baseline,
        lesioned,
        {"random": np.stack([1 - controls.mean(3)] * 2, axis=-1)},
        {"random": flat.mean(1)},
        {},
        np.full((1 + n, n, 3), np.nan),
        "exact_match",
        np.ones((n, 1), dtype=int),
        dict.fromkeys(names, "disjoint"),
        {"seed": 0, "n_bootstrap": 400},
    )
