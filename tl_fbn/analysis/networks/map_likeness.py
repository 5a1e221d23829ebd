"""How alike the map of a run is to that of a task: correlation, overlap or mean activation.

``"correlation"``  Pearson's, over all units
``"dice"``         2 |A and B| / (|A| + |B|) of the task's units and as many of the run, by largest value
``"activation"``   mean over the task's units of the run's map, in standard deviations over all units

A task's units are the members of its network, if it came as one, and otherwise the ``top`` share of its map. Cost: one
product of (run, unit) by (unit, task).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from tl_fbn.units import top_mask


def likeness_of_maps(
    fresh: Float[np.ndarray, "run unit"],
    learnt: Float[np.ndarray, "task unit"],
    method: Literal["correlation", "dice", "activation"],
    top: float,
    members: Sequence[np.ndarray | None],
    *,
    centre: bool,
) -> Float[np.ndarray, "run task"]:
    """How much the map of each run is like that of each task, by one of the three methods.

    Args:
        fresh: (run, unit) the map of each run.
        learnt: (task, unit) the map of each task.
        method: ``"correlation"``, ``"dice"`` or ``"activation"``, as the module says.
        top: Share of units that makes a network of a map.
        members: For each task the (unit,) members of its network, which are taken as they are, or None where the
            ``top`` of its map is.
        centre: Whether maps are on one scale, so that the mean of the tasks' maps can be taken off for
            ``"correlation"``.

    Returns:
        (run, task) likeness; larger is more alike, and only values of one run compare.
    """
    n = max(1, int(top * fresh.shape[1]))  # units in a network that is made of a map
    if method == "dice":
        masks = [top_mask(one, n) if mask is None else mask for one, mask in zip(learnt, members, strict=True)]
        likeness = np.zeros((len(fresh), len(masks)))
        for j, mask in enumerate(masks):
            # a run gets as many units as the network has: Dice = 2 |A and B| / (|A| + |B|) grows with either size
            of_runs = np.array([top_mask(one, int(mask.sum())) for one in fresh])
            likeness[:, j] = 2 * (of_runs & mask).sum(1) / np.maximum(of_runs.sum(1) + mask.sum(), 1)
        return likeness
    if method == "activation":
        # the n largest values of a learnt map, as far as they are positive
        masks = [
            top_mask(one, min(n, max(1, int((one > 0).sum())))) if mask is None else mask
            for one, mask in zip(learnt, members, strict=True)
        ]
        weights = np.array(masks, dtype=float)
        # z over the units of each run's map; a constant map stays 0
        z = (fresh - fresh.mean(1, keepdims=True)) / np.maximum(fresh.std(1, keepdims=True), 1e-300)
        return z @ weights.T / np.maximum(weights.sum(1), 1)
    if centre:  # what all tasks share tells none of them
        common = learnt.mean(0)
        fresh = fresh - common
        learnt = learnt - common
    # Pearson's correlation: products of centred maps over the product of their norms
    a, b = (maps - maps.mean(1, keepdims=True) for maps in (fresh, learnt))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / np.where(norms > 0, norms, 1.0)
