"""Random lesions with known units and given drops, as arrays and as a lesion study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import tl_fbn as fbn
from tests.helpers.lesions import made_up_study


def drawn_units(rng: np.random.Generator, sizes: Sequence[int], n_controls: int, n_units: int) -> np.ndarray:
    """(network, control, member) units of random lesions of each size, -1 beyond the last member of smaller ones."""
    units = np.full((len(sizes), n_controls, max(sizes)), -1, dtype=np.int32)
    for number, size in enumerate(sizes):
        for control in range(n_controls):
            units[number, control, :size] = rng.choice(n_units, size, replace=False)
    return units


def indicator(units: np.ndarray, n_units: int) -> np.ndarray:
    """(network, control, unit) 1 where a lesion holds a unit."""
    held = np.zeros((*units.shape[:2], n_units))
    network, control, member = np.nonzero(units >= 0)
    held[network, control, units[network, control, member]] = 1.0
    return held


def study_of_lesions(units: np.ndarray, drops: np.ndarray, widths: Sequence[int]) -> fbn.studies.LesionStudy:
    """A study whose controls silenced these units at these drops (network, control, task), two items a task."""
    n = len(units)
    study = made_up_study(np.zeros((n, n, 2)), np.repeat(drops[..., None], 2, axis=3))
    space = fbn.UnitSpace("mlp.neurons", tuple(widths), model="made up")
    digests = {task: [f"{task}1", f"{task}2"] for task in study.tasks}
    return replace(study, space=space, control_units={"random": units}, digests=digests)


def random_lesions() -> fbn.studies.LesionStudy:
    """A small study of two source networks and tasks, whose random lesions do nothing."""
    rng = np.random.default_rng(0)
    return study_of_lesions(drawn_units(rng, (4, 6), 20, 30), rng.normal(0, 0.1, (2, 20, 2)), (20, 10))


def lesion_map_of() -> fbn.studies.LesionMap:
    """The lesion map of :func:`random_lesions`."""
    return random_lesions().lesion_map(n_permutations=19, min_lesions=2, progress=False)
