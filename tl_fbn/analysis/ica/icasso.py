"""ICASSO: which networks come back when the analysis is done again, on resampled data, from another start.

Each restart resamples stretches of rows (whole runs where there are at least four) with replacement, takes a fresh part of the units (half at most), and begins at a
random rotation. The networks of all restarts are clustered by \\|correlation\\| of their maps into as many clusters as networks; the index of
a cluster (Himberg et al. 2004),

    Iq = mean |r| within the cluster - mean |r| with networks outside it,

is near 1 for a network that always comes back. It has no natural zero: restarts alone give .4 to .9 on pure noise. So the
same is done with maps (or courses) of Gaussian noise of the data's own spectrum, and every Iq has a p: the share of noise networks whose
index is as large. Restarts stop after 30 iterations, in noise as in data: what has a place to go to is there by then.
Noise is restarted half as often, which makes its clusters smaller and their indices, if anything, larger.

A bootstrap needs no second look at the data: with X = U S V, rows weighed by D give X'D X = V' (S U'D U S) V, a small matrix in V's
coordinates. Cost: a rotation of some thousand samples a restart.
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

from tl_fbn.analysis.ica.fastica import ContrastFunction, begun, random_start, rotate, whitening_of
from tl_fbn.analysis.ica.reduction import Reduced
from tl_fbn.analysis.parallel import each

SAMPLES = 4096
ITERATIONS = 30
_MIN_RUNS = 4
_STRETCHES = 8


@dataclass(frozen=True)
class Rotating:
    """How restarts are made.

    Args:
        n_components: Networks.
        spatial: Independence over units; else over rows.
        fun: FastICA's contrast function.
        tol: FastICA stops when no direction changes by more than this; restarts use ten times as much.
        max_iter: Iterations after which FastICA stops; restarts stop after 30 at most.
    """

    n_components: int
    spatial: bool
    fun: ContrastFunction = "logcosh"
    tol: float = 1e-4
    max_iter: int = 200


def restart_maps(
    reduced: Reduced, how: Rotating, n_restarts: int, *, seed: int, noise: bool = False, bar: tqdm | None = None
) -> Float[np.ndarray, "restart network component"]:
    """Maps of every restart as unit vectors in the coordinates of ``reduced.right``.

    Args:
        reduced: The data.
        how: What a restart is.
        n_restarts: How many.
        seed: Seed of the resampling and of the random starts.
        noise: Take Gaussian maps (spatial) or courses (temporal) instead of the data's.
        bar: Moves on with every restart.
    """
    rng = np.random.default_rng([seed, int(noise)])
    left = reduced.left
    right = reduced.right
    if noise and how.spatial:
        right = rng.standard_normal(right.shape, dtype=np.float32)
        right = whitening_of(right).astype(np.float32) @ right / np.float32(np.sqrt(right.shape[1]))
    elif noise:
        left = np.linalg.qr(rng.standard_normal(left.shape))[0]
    stretches = _stretches(reduced.run_of)
    one = partial(_restart, left, reduced.singular, right, stretches, how)
    seeds = rng.integers(2**63, size=n_restarts).tolist()
    samples = _n_samples(right.shape[1], how) if how.spatial else len(left)
    return np.array(each(one, seeds, size=20 * samples * how.n_components * n_restarts, bar=bar))


def noise_restarts(n_restarts: int) -> int:
    """Restarts of a noise data set: half as many as of the data, at least two."""
    return max(2, -(-n_restarts // 2))


def _n_samples(n_units: int, how: Rotating) -> int:
    """Units of a restart: at most half of them, or noise would come back too, on the same sample; but enough to turn."""
    return min(n_units, SAMPLES, max(n_units // 2, 4 * how.n_components))


def _stretches(run_of: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """What is resampled together: runs, or stretches of them where runs are few."""
    runs = np.unique(run_of)
    if len(runs) >= _MIN_RUNS:
        return np.searchsorted(runs, run_of)
    pieces = -(-_STRETCHES // len(runs))
    owner = np.empty(len(run_of), dtype=int)
    offset = 0
    for run in runs:
        rows = np.flatnonzero(run_of == run)
        owner[rows] = offset + np.arange(len(rows)) * pieces // len(rows)
        offset += pieces
    return owner


def _restart(
    left: np.ndarray, singular: np.ndarray, right: np.ndarray, stretches: np.ndarray, how: Rotating, seed: int
) -> Float[np.ndarray, "network component"]:
    rng = np.random.default_rng(seed)
    n = int(stretches.max()) + 1
    counts = np.bincount(rng.integers(n, size=n), minlength=n)[stretches]
    scaled = left * singular
    # bootstrap: rows weighed by their counts D give S U'D U S, the row-resampled X'X in the coordinates of V
    inner = (scaled * counts[:, None]).T @ scaled
    values, vectors = np.linalg.eigh(inner)
    values, vectors = values[::-1][: how.n_components], vectors[:, ::-1][:, : how.n_components]
    start = random_start(how.n_components, rng)
    options: dict[str, Any] = {"fun": how.fun, "tol": 10 * how.tol, "max_iter": min(how.max_iter, ITERATIONS)}
    if how.spatial:
        few = right[:, np.sort(rng.choice(right.shape[1], _n_samples(right.shape[1], how), replace=False))]
        data = vectors.T.astype(np.float32) @ few
        whitening = whitening_of(data)
        white = whitening.astype(np.float32) @ data
        rotation, _ = rotate(white, begun(white, start), **options)
        maps = rotation @ whitening @ vectors.T
    else:
        values = np.maximum(values, 1e-12 * values[0])
        rows = np.repeat(np.arange(len(left)), counts)
        data = ((vectors / np.sqrt(values)).T @ scaled[rows].T * np.sqrt(len(rows))).astype(np.float32)
        rotation, _ = rotate(data, begun(data, start), **options)
        maps = rotation @ (vectors * np.sqrt(values)).T
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


def clusters(maps: Float[np.ndarray, "restart network component"]) -> tuple[Int[np.ndarray, " all"], np.ndarray]:
    """The cluster of every network of every restart, and \\|r\\| between all of them."""
    flat = maps.reshape(-1, maps.shape[-1])
    similar = np.minimum(np.abs(flat @ flat.T), 1.0)
    tree = linkage(squareform(1.0 - similar, checks=False), method="average")
    return fcluster(tree, maps.shape[1], criterion="maxclust") - 1, similar


def iq_of(labels: Int[np.ndarray, " all"], similar: Float[np.ndarray, "all all"]) -> Float[np.ndarray, " network"]:
    """Index of every cluster; 0 for one of a single network, which nothing else resembles."""
    found = []
    for cluster in range(labels.max() + 1):
        inside = labels == cluster
        n = int(inside.sum())
        within = (similar[np.ix_(inside, inside)].sum() - n) / (n * (n - 1)) if n > 1 else 0.0
        outside = similar[np.ix_(inside, ~inside)].mean() if (~inside).any() else 0.0
        found.append(within - outside if n > 1 else 0.0)
    return np.array(found)


def centrotypes(
    labels: Int[np.ndarray, " all"],
    similar: Float[np.ndarray, "all all"],
    maps: Float[np.ndarray, "restart network component"],
) -> Float[np.ndarray, "network component"]:
    """Of every cluster the network most like the others in it."""
    flat = maps.reshape(-1, maps.shape[-1])
    chosen = []
    for cluster in range(labels.max() + 1):
        members = np.flatnonzero(labels == cluster)
        chosen.append(members[similar[np.ix_(members, members)].sum(1).argmax()])
    return flat[chosen]


def indices(
    reduced: Reduced,
    how: Rotating,
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
        reduced: The data.
        how: What a restart is.
        maps: Maps of all restarts, as :func:`restart_maps` returns them.
        clustered: Their :func:`clusters`.
        final: Unit vectors of the networks that are reported.
        n_null: How many noise data sets are analysed.
        seed: Seed of the noise.
        bar: Moves on with every restart of noise.
    """
    labels, _ = clustered
    iq = iq_of(*clustered)
    flat = maps.reshape(-1, maps.shape[-1])
    alike = np.abs(final @ flat.T)
    mean = np.array([alike[:, labels == cluster].mean(1) for cluster in range(labels.max() + 1)]).T
    # Hungarian pairing of final networks and clusters with the largest total mean |r|
    mine, theirs = linear_sum_assignment(-mean)
    found = np.zeros(len(final))
    found[mine] = iq[theirs]
    null = [
        iq_of(*clusters(restart_maps(reduced, how, noise_restarts(len(maps)), seed=seed + 1 + i, noise=True, bar=bar)))
        for i in range(n_null)
    ]
    pooled = np.sort(np.concatenate(null)) if null else np.zeros(0)
    above = len(pooled) - np.searchsorted(pooled, found, "left")
    return found, (1.0 + above) / (1.0 + len(pooled)), pooled
