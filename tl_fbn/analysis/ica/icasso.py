"""ICASSO: which networks come back when the analysis is done again, on resampled data, from another start.

Each restart resamples stretches of rows with replacement (whole runs where there are at least four), takes a fresh part
of the units (half of them at most), and begins at a random rotation. The networks of all restarts are clustered by the
\\|correlation\\| of their maps into as many clusters as networks; the index of a cluster (Himberg et al. 2004),

    Iq = mean |r| within the cluster - mean |r| with networks outside it,

is near 1 for a network that always comes back. It has no natural zero: restarts alone give .4 to .9 on pure noise. So
the same is done with maps (or courses) of Gaussian noise, with the data's own singular values, and every Iq has a p:
the share of noise networks whose index is as large, (1 + number as large) / (1 + number of noise networks).

Restarts stop after 30 iterations, in noise as in data: a rotation that has a clear maximum to go to has reached it by
then. Noise is restarted half as often, which makes its clusters smaller and their indices, if anything, larger.

A bootstrap needs no second look at the data: with X = U S V (V: component, unit), rows weighed by their counts D give
X'D X = V' (S U'D U S) V, a small matrix in V's coordinates. Maps are therefore held in these coordinates: vectors of
numbers of components, whose inner products are those of the maps over units (and so correlations, of unit maps that
are centred over units, as those of spatial analyses are).

Units: Iq and p have none. Cost: a rotation of some thousand samples a restart. It says nothing about other prompts
or models: all restarts see the same recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from tqdm.auto import tqdm

from tl_fbn.analysis.ica.fastica import ContrastFunction, kurtosis_start, random_start, rotate, whitening_of
from tl_fbn.analysis.ica.reduction import Reduced
from tl_fbn.analysis.parallel import each

SAMPLES = 4096  # units of a restart, at most
ITERATIONS = 30  # iterations of FastICA in a restart, at most
_MIN_RUNS = 4  # fewer runs are cut into stretches for resampling
_MIN_STRETCHES = 8  # that few runs are cut into, all runs together


@dataclass(frozen=True)
class RotationSettings:
    """How many components are rotated, and how FastICA rotates them.

    Args:
        n_components: Number of networks.
        spatial: Whether maps are independent over units; if False, courses are independent over rows.
        fun: Contrast function of FastICA: ``"logcosh"``, ``"exp"`` or ``"cube"``.
        tol: FastICA stops when no direction changes by more than this, as ``1 - |cosine|``; restarts use ten times as
            much.
        max_iter: Number of iterations after which FastICA stops; restarts stop after 30 at most.
    """

    n_components: int
    spatial: bool
    fun: ContrastFunction = "logcosh"
    tol: float = 1e-4
    max_iter: int = 200


def restart_maps(
    reduced: Reduced,
    settings: RotationSettings,
    n_restarts: int,
    *,
    seed: int,
    noise: bool = False,
    bar: tqdm | None = None,
) -> Float[np.ndarray, "restart network component"]:
    """Maps of every restart as unit vectors in the coordinates of ``reduced.right``.

    Args:
        reduced: Leading singular triples of the recording.
        settings: Number of components and options of FastICA.
        n_restarts: Number of resampled analyses.
        seed: Seed of the resampling, of the random starts and of the noise; the same seed gives the same maps.
        noise: Whether maps (spatial) or courses (temporal) are replaced by Gaussian noise.
        bar: Progress bar that is moved on by one with every restart.
    """
    rng = np.random.default_rng([seed, int(noise)])
    left = reduced.left
    right = reduced.right
    # Noise replaces what has to be independent and keeps the rest, singular values included: only the rotation has
    # then nothing to find. It is orthonormal, like what it replaces.
    if noise and settings.spatial:
        right = rng.standard_normal(right.shape, dtype=np.float32)
        right = whitening_of(right).astype(np.float32) @ right / np.float32(np.sqrt(right.shape[1]))
    elif noise:
        left = np.linalg.qr(rng.standard_normal(left.shape))[0]
    stretches = _stretches(reduced.run_of)
    one_restart = partial(_restart, left, reduced.singular, right, stretches, settings)
    seeds = rng.integers(2**63, size=n_restarts).tolist()  # drawn here, so that threads do not decide who gets which
    samples = _n_samples(right.shape[1], settings) if settings.spatial else len(left)
    # 20: an allowance for the iterations of a restart, each of which looks at all samples of all components
    return np.array(each(one_restart, seeds, size=20 * samples * settings.n_components * n_restarts, bar=bar))


def noise_restarts(n_restarts: int) -> int:
    """Restarts of a noise data set: half as many as of the data, at least two."""
    return max(2, -(-n_restarts // 2))


def _n_samples(n_units: int, settings: RotationSettings) -> int:
    """Number of units of a restart.

    At most half of them: noise would come back too, if all restarts saw the same sample. But at least four for each
    component, or there is too little to rotate.
    """
    return min(n_units, SAMPLES, max(n_units // 2, 4 * settings.n_components))


def _stretches(run_of: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """For every row the number of the stretch that it is resampled with.

    Neighbouring rows are alike, so that single rows would be no independent draws: stretches are runs, or pieces of
    runs where runs are few.
    """
    runs = np.unique(run_of)
    if len(runs) >= _MIN_RUNS:
        return np.searchsorted(runs, run_of)
    pieces = -(-_MIN_STRETCHES // len(runs))  # of each run
    stretch_of = np.empty(len(run_of), dtype=int)
    offset = 0
    for run in runs:
        rows = np.flatnonzero(run_of == run)
        stretch_of[rows] = offset + np.arange(len(rows)) * pieces // len(rows)
        offset += pieces
    return stretch_of


def _restart(
    left: np.ndarray,
    singular: np.ndarray,
    right: np.ndarray,
    stretches: np.ndarray,
    settings: RotationSettings,
    seed: int,
) -> Float[np.ndarray, "network component"]:
    """Maps of one resampled analysis, as unit vectors in the coordinates of ``right``."""
    rng = np.random.default_rng(seed)
    # bootstrap: as many stretches as there are, drawn with replacement; a row counts as often as its stretch
    n = int(stretches.max()) + 1
    counts = np.bincount(rng.integers(n, size=n), minlength=n)[stretches]
    scaled = left * singular
    # rows weighed by their counts D give S U'D U S, the row-resampled X'X in the coordinates of V
    inner = (scaled * counts[:, None]).T @ scaled
    values, vectors = np.linalg.eigh(inner)
    # the leading principal directions of the resampled data, (component, network)
    values = values[::-1][: settings.n_components]
    vectors = vectors[:, ::-1][:, : settings.n_components]
    start = random_start(settings.n_components, rng)
    options: dict[str, Any] = {
        "fun": settings.fun,
        "tol": 10 * settings.tol,
        "max_iter": min(settings.max_iter, ITERATIONS),
    }
    if settings.spatial:
        n_samples = _n_samples(right.shape[1], settings)
        units = np.sort(rng.choice(right.shape[1], n_samples, replace=False))  # sorted: memory is read in order
        data = vectors.T.astype(np.float32) @ right[:, units]
        # maps are orthonormal over all units, not over some of them
        whitening = whitening_of(data)
        white = whitening.astype(np.float32) @ data
        rotation, _ = rotate(white, kurtosis_start(white, start), **options)
        maps = rotation @ whitening @ vectors.T  # the same combinations, of all units
    else:
        values = np.maximum(values, 1e-12 * values[0])
        rows = np.repeat(np.arange(len(left)), counts)
        # courses of the resampled rows in the principal directions, scaled to variance 1
        white = ((vectors / np.sqrt(values)).T @ scaled[rows].T * np.sqrt(len(rows))).astype(np.float32)
        rotation, _ = rotate(white, kurtosis_start(white, start), **options)
        maps = rotation @ (vectors * np.sqrt(values)).T  # loadings of every source: the scaling undone, not inverted
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


def clusters(maps: Float[np.ndarray, "restart network component"]) -> tuple[Int[np.ndarray, " all"], np.ndarray]:
    """The cluster of every network of every restart, and \\|r\\| between all of them.

    Args:
        maps: (restart, network, component) unit vectors, as :func:`restart_maps` returns them.

    Returns:
        (all,) numbers of clusters from 0, networks of the first restart first, and (all, all) \\|r\\|.
    """
    flat = maps.reshape(-1, maps.shape[-1])
    # inner products of unit vectors, which may exceed 1 by rounding; the sign of a map is chance
    similar = np.minimum(np.abs(flat @ flat.T), 1.0)
    # checks=False: the diagonal may differ from 0 by rounding
    tree = linkage(squareform(1.0 - similar, checks=False), method="average")
    return fcluster(tree, maps.shape[1], criterion="maxclust") - 1, similar


def iq_of(labels: Int[np.ndarray, " all"], similar: Float[np.ndarray, "all all"]) -> Float[np.ndarray, " network"]:
    """Index of every cluster; 0 for one of a single network, which nothing else resembles.

    Args:
        labels: (all,) number of the cluster of every network of every restart, from 0.
        similar: (all, all) \\|r\\| between all of these networks.
    """
    found = []
    for cluster in range(labels.max() + 1):
        inside = labels == cluster
        n = int(inside.sum())
        # mean |r| of n (n - 1) ordered pairs: the diagonal, n times 1, is taken off the sum
        within = (similar[np.ix_(inside, inside)].sum() - n) / (n * (n - 1)) if n > 1 else 0.0
        outside = similar[np.ix_(inside, ~inside)].mean() if (~inside).any() else 0.0
        found.append(within - outside if n > 1 else 0.0)
    return np.array(found)


def centrotypes(
    labels: Int[np.ndarray, " all"],
    similar: Float[np.ndarray, "all all"],
    maps: Float[np.ndarray, "restart network component"],
) -> Float[np.ndarray, "network component"]:
    """Of every cluster the network that is most like the others in it.

    Args:
        labels: (all,) number of the cluster of every network of every restart, from 0.
        similar: (all, all) \\|r\\| between all of these networks.
        maps: (restart, network, component) unit vectors, as :func:`restart_maps` returns them.
    """
    flat = maps.reshape(-1, maps.shape[-1])
    chosen = []
    for cluster in range(labels.max() + 1):
        members = np.flatnonzero(labels == cluster)
        chosen.append(members[similar[np.ix_(members, members)].sum(1).argmax()])
    return flat[chosen]


def indices(
    reduced: Reduced,
    settings: RotationSettings,
    maps: Float[np.ndarray, "restart network component"],
    clustered: tuple[Int[np.ndarray, " all"], Float[np.ndarray, "all all"]],
    final: Float[np.ndarray, "network component"],
    *,
    n_null: int,
    seed: int,
    bar: tqdm | None = None,
) -> tuple[Float[np.ndarray, " network"], Float[np.ndarray, " network"], Float[np.ndarray, " null"]]:
    """Iq of the final networks, their p, and the indices that noise gives.

    Args:
        reduced: Leading singular triples of the recording.
        settings: Number of components and options of FastICA.
        maps: (restart, network, component) maps of all restarts, as :func:`restart_maps` returns them.
        clustered: What :func:`clusters` returns for these maps.
        final: (network, component) unit vectors of the networks that are reported.
        n_null: Number of noise data sets that are analysed.
        seed: Seed of the noise and of its restarts; the same seed gives the same p.
        bar: Progress bar that is moved on by one with every restart of noise.
    """
    labels, _ = clustered
    iq = iq_of(*clustered)
    flat = maps.reshape(-1, maps.shape[-1])
    similar = np.abs(final @ flat.T)
    mean = np.array([similar[:, labels == cluster].mean(1) for cluster in range(labels.max() + 1)]).T
    # Hungarian pairing of final networks and clusters with the largest total mean |r|
    of_final, of_cluster = linear_sum_assignment(-mean)
    found = np.zeros(len(final))  # a final network without a cluster keeps 0
    found[of_final] = iq[of_cluster]
    null = []
    for i in range(n_null):
        noise = restart_maps(reduced, settings, noise_restarts(len(maps)), seed=seed + 1 + i, noise=True, bar=bar)
        null.append(iq_of(*clusters(noise)))
    # every network is compared with the noise of all networks together
    pooled = np.sort(np.concatenate(null)) if null else np.zeros(0)
    as_large = len(pooled) - np.searchsorted(pooled, found, "left")
    return found, (1.0 + as_large) / (1.0 + len(pooled)), pooled
