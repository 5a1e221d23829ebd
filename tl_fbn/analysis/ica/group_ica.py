"""CanICA's group model: the subspace that runs share, before any rotation.

Every run is reduced by itself to K maps that span its subspace; they are orthonormal, and so of one weight however loud
the run is. The maps of all R runs are stacked to M (R K, unit), and the eigenvectors of M M' are the canonical variates
of the runs: a direction that all R runs share has eigenvalue R, one that a run has for itself has eigenvalue 1.

What does not exceed chance is noise and is cut off. Chance is the largest eigenvalue of the same maps with the units
of every layer shuffled, anew in every run, over five shuffles: as many directions, of the same values, that share
nothing.

Units: eigenvalues are numbers of runs, from 0 to R. Cost: one reduction a run, and six times 2 (R K)^2 flops a unit.
It needs two runs at least. It does not rotate: that is :mod:`.fastica`, on the maps returned here.

Reference: Varoquaux et al. (2010). They cut by a bootstrap of a noise model; shuffling is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.reduction import Reduced, reduce_recording
from tl_fbn.errors import InputError
from tl_fbn.units.preparation import Preparation

_N_SHUFFLES = 5


def common_subspace(
    recording: Recording, n_components: int, *, layers: Sequence[int], preparation: Preparation, seed: int
) -> Reduced:
    """The canonical variates of runs that exceed chance, at most ten more than asked for.

    Args:
        recording: Activations of one site, of two runs at least.
        n_components: Number of maps of each run, K, and of networks that are looked for.
        layers: Numbers of the layers that are decomposed.
        preparation: What is done to the activations first.
        seed: Seed of the random sketches and of the shuffles; the same seed gives the same subspace.

    Returns:
        Singular triples of the stacked maps: ``right`` are the shared maps, ``singular**2`` their eigenvalues, and a
        row of ``left`` belongs to one map of one run. The shares of the data's variance, in which loud runs count for
        more, are beside them.

    Raises:
        InputError: There is one run, or nothing that runs share.
    """
    if len(recording) < 2:
        raise InputError(
            'method="canica" looks for what runs share and needs at least two; '
            f'this recording has {len(recording)}. Record more runs, or take "spatial"'
        )
    runs = [
        reduce_recording(
            recording, n_components, layers=layers, spatial=True, preparation=preparation, seed=seed, runs=[number]
        )
        for number in range(len(recording))
    ]
    parts = [run.right[:n_components] for run in runs]  # orthonormal: singular values, how loud a run is, are left out
    values, vectors = np.linalg.eigh(_gram(parts))
    values = values[::-1]
    vectors = vectors[:, ::-1]
    widths = [recording.space.widths[layer] for layer in layers]
    chance = _largest_eigenvalue_by_chance(parts, widths, np.random.default_rng([seed, 2]))
    n_shared = min(int((values > chance).sum()), n_components + 10)
    if n_shared < 2:  # independence is between networks: one alone cannot be rotated
        raise InputError(
            f"runs share {n_shared} directions that exceed chance; the runs of this recording have nothing in common. "
            'Record longer runs, or take method="spatial"'
        )
    values = values[:n_shared]
    vectors = vectors[:, :n_shared]
    # M = U S V, with M M' = U S^2 U': V = S^-1 U' M, summed over runs so that M is never stacked
    right = sum(
        (vectors[i * n_components : (i + 1) * n_components] / np.sqrt(values)).T.astype(np.float32) @ part
        for i, part in enumerate(parts)
    )
    right = np.asarray(right)
    run_of = np.repeat(np.arange(len(parts)), n_components)
    # of run r, reduced to U S R, a map v holds |S R v'|^2: with v = c V, the sum of squares of S (R V') c'
    loads = [run.singular[:, None] * (run.right @ right.T).astype(np.float64) for run in runs]
    shares = sum(load.T @ load for load in loads) / sum(run.total for run in runs)
    # rows of M have norm 1, so their number is the sum of squares of M
    return Reduced(vectors, np.sqrt(values), right, run_of, float(len(run_of)), np.asarray(shares))


def _gram(parts: Sequence[Float[np.ndarray, "component unit"]]) -> Float[np.ndarray, "all all"]:
    """M M' of the stacked maps M, block by block: (maps of all runs, maps of all runs)."""
    return np.block([[(a @ b.T).astype(np.float64) for b in parts] for a in parts])


def _largest_eigenvalue_by_chance(
    parts: Sequence[Float[np.ndarray, "component unit"]], widths: Sequence[int], rng: np.random.Generator
) -> float:
    """The largest eigenvalue of runs whose units have been shuffled within layers."""
    edges = np.cumsum([0, *widths])
    largest = 0.0
    for _ in range(_N_SHUFFLES):
        shuffled = [parts[0]]  # the first run may keep its order: the others lose it against this one
        for part in parts[1:]:
            # one order for all maps of a run, which stay orthonormal; within layers, whose maps differ in size
            order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(edges)])
            shuffled.append(part[:, order])
        largest = max(largest, float(np.linalg.eigvalsh(_gram(shuffled))[-1]))
    return largest
