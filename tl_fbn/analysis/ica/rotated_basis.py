"""The rotated-basis control: is it the neurons, or would any basis do?

    fbn.find_networks(fbn.ica.rotated_basis(recording, seed=0), n_components=16, seed=0)

Units of each layer are turned by one random orthogonal matrix, the same for all rows: distances, variances and every subspace stay, only the axes that make a
unit a unit are gone. A claim about *neurons* (few of them carry a network, lesions of single ones matter) should fail on the copy; what also holds
there holds for the layer's space.

Cost: one product of each layer with a (unit, unit) matrix, in memory.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording, Run
from tl_fbn.analysis.ica.fastica import random_start


def rotated_basis(recording: Recording, *, seed: int) -> Recording:
    """A copy of a recording, in memory, whose units are random directions of their layer.

    ::

        control = fbn.fit_glm(fbn.ica.rotated_basis(recording, seed=0)).contrast("sort - rest")

    Args:
        recording: Activations of one site.
        seed: Seed of the random directions, which all runs share; the same seed gives the same directions.

    Returns:
        A recording with the same runs, rows and events and a key of its own; as large as the first, in float32.

    Raises:
        InputError: A recording of several sites; take one with ``recording.site(name)``.
    """
    turns = {layer: layer_rotation(recording, layer, seed=seed) for layer in recording[0].layers}
    runs = tuple(
        Run(
            run.space,
            {layer: np.asarray(array[:], dtype=np.float32) @ turns[layer] for layer, array in run.layers.items()},
            dict(run.about),
            None,
            {"events": run.events, "rows": run.rows},
        )
        for run in recording
    )
    key = hashlib.sha256(f"{recording.key} rotated {seed}".encode()).hexdigest()
    return Recording((recording.space,), (runs,), {**recording.about, "key": key, "rotated": seed})


def layer_rotation(recording: Recording, layer: int, *, seed: int) -> Float[np.ndarray, "unit unit"]:
    """The orthogonal matrix of a layer, float32: columns are the new units."""
    width = recording.space.widths[layer]
    return random_start(width, np.random.default_rng([seed, layer])).astype(np.float32)
