"""The rotated-basis control: is it the neurons, or would any basis do?

Activations X (row, unit) of each layer become X Q, with Q one random orthogonal matrix of that layer, the same for all
rows and runs. Distances between rows, the variance of the layer and every subspace stay; only the axes that make a unit
a unit are gone. A claim about *neurons* (few of them carry a network, lesions of single ones matter) should fail on the
copy; what also holds there holds for the layer's space, whatever its axes.

Units: those of the activations. Cost: one product of each layer with a (unit, unit) matrix; the copy is in memory. It
is a control of analyses of recordings: the model itself is not turned, so the copy's units cannot be silenced in it.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.massive_units import without_variance
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.ica.fastica import random_start
from tl_fbn.signatures import checked
from tl_fbn.units.outgoing_norms import without_norms


@checked
def rotated_basis(recording: Recording, *, seed: int) -> Recording:
    """A copy of a recording, in memory, whose units are random directions of their layer.

    A contrast that is concentrated in few neurons is spread over many of the random directions:

    >>> control = fbn.fit_glm(fbn.ica.rotated_basis(recording, seed=0)).contrast("sort - reverse")
    >>> for one in (contrast, control):  # share of the sum of squares in the 23 units of largest effect
    ...     squares = np.sort(np.square(one.effect.values), axis=None)
    ...     print(f"{squares[-23:].sum() / squares.sum():.2f}")
    0.71
    0.26

    Args:
        recording: Activations of one site.
        seed: Seed of the random directions, which all runs share; the same seed gives the same directions.

    Returns:
        A recording with the same runs, rows and events and a key of its own; as large as the first, in float32.

    Raises:
        InputError: The recording has several sites; take one with ``recording.site(name)``.
    """
    # one matrix a layer for all runs: units have to be the same in every run
    turns = {layer: layer_rotation(recording, layer, seed=seed) for layer in recording[0].layers}
    runs = tuple(
        Run(
            run.space,
            {layer: np.asarray(array[:], dtype=np.float32) @ turns[layer] for layer, array in run.layers.items()},
            without_variance(run.about),
            None,
            {"events": run.events, "rows": run.rows},
        )
        for run in recording
    )
    # a key of its own, so that nothing computed from the copy passes for a result of the recording
    key = hashlib.sha256(f"{recording.key} rotated {seed}".encode()).hexdigest()
    return Recording((recording.space,), (runs,), {**without_norms(recording.about), "key": key, "rotated": seed})


def layer_rotation(recording: Recording, layer: int, *, seed: int) -> Float[np.ndarray, "unit unit"]:
    """The orthogonal matrix Q of a layer, (unit, new unit) in float32."""
    width = recording.space.widths[layer]
    # seeded by the layer too: layers of the same width would otherwise share one matrix
    return random_start(width, np.random.default_rng([seed, layer])).astype(np.float32)
