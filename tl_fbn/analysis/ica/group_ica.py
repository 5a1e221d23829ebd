"""CanICA's group model: the subspace that runs share, before any rotation.

Every run is reduced by itself; the maps that span its subspace, orthonormal and so of one weight however loud the run, are stacked over runs. The
leading directions of the stack are its canonical variates: a direction all R runs share has eigenvalue R, one that a run has for
itself 1. What does not exceed the eigenvalues of the same maps with units shuffled (anew in every run and layer) is the noise subspace and
is cut off.

Reference: Varoquaux et al. (2010). Their cut is a bootstrap of a noise model; shuffling is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.reduction import Preparation, Reduced, reduce_recording
from tl_fbn.errors import InputError

_SHUFFLES = 5


def common_subspace(
    recording: Recording, n_components: int, *, layers: Sequence[int], preparation: Preparation, seed: int
) -> Reduced:
    """The canonical variates of runs that exceed chance, at most ten more than asked for.

    Raises:
        InputError: One run, or nothing that runs share.
    """
    if len(recording) < 2:
        raise InputError(
            f'method="canica" looks for what runs share and needs at least two; this recording has {len(recording)}. Record more runs, or take '
            '"spatial"'
        )
    runs = [
        reduce_recording(
            recording, n_components, layers=layers, spatial=True, preparation=preparation, seed=seed, runs=[number]
        )
        for number in range(len(recording))
    ]
    parts = [run.right[:n_components] for run in runs]
    values, vectors = np.linalg.eigh(_gram(parts))
    values, vectors = values[::-1], vectors[:, ::-1]
    edge = _edge(parts, [recording.space.widths[layer] for layer in layers], np.random.default_rng([seed, 2]))
    n_shared = min(int((values > edge).sum()), n_components + 10)
    if n_shared < 2:
        raise InputError(
            f"runs share {n_shared} directions that exceed chance; the runs of this recording have nothing in common. Record longer runs, or take "
            'method="spatial"'
        )
    values, vectors = values[:n_shared], vectors[:, :n_shared]
    right = sum(
        (vectors[i * n_components : (i + 1) * n_components] / np.sqrt(values)).T.astype(np.float32) @ part
        for i, part in enumerate(parts)
    )
    run_of = np.repeat(np.arange(len(parts)), n_components)
    return Reduced(vectors, np.sqrt(values), np.asarray(right), run_of, float(len(run_of)))


def _gram(parts: Sequence[Float[np.ndarray, "component unit"]]) -> Float[np.ndarray, "all all"]:
    return np.block([[(a @ b.T).astype(np.float64) for b in parts] for a in parts])


def _edge(
    parts: Sequence[Float[np.ndarray, "component unit"]], widths: Sequence[int], rng: np.random.Generator
) -> float:
    """The largest eigenvalue of runs whose units have been shuffled within layers."""
    edges = np.cumsum([0, *widths])
    largest = 0.0
    for _ in range(_SHUFFLES):
        shuffled = [parts[0]]
        for part in parts[1:]:
            order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(edges)])
            shuffled.append(part[:, order])
        largest = max(largest, float(np.linalg.eigvalsh(_gram(shuffled))[-1]))
    return largest
