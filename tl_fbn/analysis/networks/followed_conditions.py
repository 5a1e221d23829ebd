"""Which condition does a network follow? The correlation of its course with each condition's boxcar, block by block.

A network that was found without any task (ICA) says nothing until one sees when it is active. For each block b of a
run, y_b is the mean of the network's course (:func:`.time_courses.time_courses`) over its rows, and x_bc is 1 where the
block is of condition c, else 0. Both are centred within runs, and::

    r_c = sum_b x_bc y_b / (|x_c| |y|)         over the blocks of all runs

One number a block, not a row, because rows of one block are no independent observations. The condition of the r of
largest magnitude is the one that the network follows: more active there than elsewhere (r > 0) or less (r < 0). Of two
conditions, whose r are each other's negatives, it is the one with the positive r.

Chance is what the largest magnitude over the conditions becomes when the labels of blocks are exchanged within runs; p
is the share of relabellings that reach it, the true labels among them. It is corrected for the number of conditions and
not for the number of networks. Networks of a decomposition never saw the labels, so that they may be those of the same
recording; networks that were cut from a contrast of it may not.

Cost: reading the recording once. What it does not do: anything about drift or position, which a GLM of the courses
does (``fbn.fit_glm(fbn.networks.time_courses(recording, atlas))``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.glm.block_means import Averages
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitSpace

ALPHA = 0.05


@checked
def followed_conditions(
    recording: Recording,
    networks: Mapping[str, Network] | Network,
    *,
    seed: int,
    n_permutations: int = 999,
    drop_first: int = 1,
) -> pd.DataFrame:
    """The condition that each network follows: correlation with boxcars over blocks, beside chance.

    >>> followed = fbn.networks.followed_conditions(recording, atlas, seed=0)
    >>> followed[["network", "follows", "r", "chance", "p"]].round(2).head(3)
      network follows     r  chance    p
    0     N00     add -1.00    0.49  0.0
    1     N01    sort -0.87    0.51  0.0
    2     N02    sort  0.88    0.50  0.0

    Args:
        recording: Activations of one site, with at least two conditions.
        networks: An atlas, one network, or names to networks, of the recording's space; found without the conditions of
            this recording, or elsewhere.
        seed: Seed of the relabellings; the same seed gives the same p.
        n_permutations: Number of times the labels of blocks are exchanged within runs. The smallest possible p is
            ``1 / (1 + n_permutations)``, or what the number of distinct relabellings allows.
        drop_first: Number of rows left out at the start of every context, where a first token may be many times
            as large as all others.

    Returns:
        A line a network: network, follows (the condition of the r of largest magnitude, empty where p is not below
        .05), r, chance (95th percentile of that magnitude over relabellings), p, blocks (number of blocks), and
        ``r CONDITION`` for every condition. NaN for a network without units.

    Raises:
        InputError: Fewer than two conditions, no blocks to exchange, or networks of another space.
    """
    conditions = recording.conditions
    if len(conditions) < 2:
        raise InputError(
            f"a network follows one condition rather than others; this recording has {len(conditions)}, record two"
        )
    if n_permutations < 1 or drop_first < 0:
        raise InputError(f"n_permutations={n_permutations} must be at least 1, and drop_first={drop_first} at least 0")
    sets = {networks.name: networks} if isinstance(networks, Network) else dict(networks)
    full = {name: network for name, network in sets.items() if len(network)}
    courses = _courses_of(recording, networks, sets, list(full)) if full else []
    parts = [_blocks_of(run, number, conditions, drop_first) for number, run in enumerate(courses)]
    sizes = [len(means) for means, _ in parts]
    y = _of_norm_one([means for means, _ in parts]) if parts else np.zeros((0, 0))
    x = _of_norm_one([boxcars for _, boxcars in parts]) if parts else np.zeros((0, len(conditions)))
    if parts and not np.abs(x).any():
        raise InputError("every run has blocks of one condition only, so nothing within a run can be compared")
    observed = x.T @ y  # (condition, network)
    rng = np.random.default_rng(seed)
    drawn = range(n_permutations if full else 0)
    null = np.array([np.abs(x[_within_runs(sizes, rng)].T @ y).max(0) for _ in drawn])
    lines = []
    for name in sets:
        if name not in full:
            lines.append([name, "", np.nan, np.nan, np.nan, sum(sizes), *[np.nan] * len(conditions)])
            continue
        n = list(full).index(name)
        r = observed[:, n]
        # the largest magnitude; of two that differ by rounding only, the positive one
        best = int(np.argmax(np.abs(r) + 1e-9 * (r > 0)))
        # 1e-9 lets a relabelling that changes nothing count
        p = (1 + np.count_nonzero(null[:, n] >= abs(r[best]) * (1 - 1e-9))) / (1 + n_permutations)
        follows = conditions[best] if p < ALPHA else ""
        lines.append([name, follows, r[best], np.quantile(null[:, n], 0.95), p, sum(sizes), *r])
    columns = ["network", "follows", "r", "chance", "p", "blocks", *(f"r {name}" for name in conditions)]
    return pd.DataFrame(lines, columns=pd.Index(columns))


def _courses_of(
    recording: Recording, networks: Mapping[str, Network] | Network, sets: Mapping[str, Network], full: list[str]
) -> list[Run]:
    """For every run the courses of the networks with units; an atlas prepares activations as its own were."""
    courses = time_courses(recording, networks if isinstance(networks, Atlas) else sets)
    columns = [list(sets).index(name) for name in full]
    tables = [{"events": run.events, "rows": run.rows} for run in courses]
    space = UnitSpace("networks", (len(full),))
    parts = [np.asarray(run.layer(0))[:, columns] for run in courses]
    return [Run(space, {0: part}, {}, None, table) for part, table in zip(parts, tables, strict=True)]


def _blocks_of(
    run: Run, number: int, conditions: list[str], drop_first: int
) -> tuple[Float[np.ndarray, "block network"], Float[np.ndarray, "block condition"]]:
    """Mean course of every block of a run, and its boxcars; a block without rows is left out."""
    blocks = run.blocks()
    owner = Averages.of(run, "blocks", number).owner if len(blocks) else np.full(run.n_rows, -1)
    labels = np.full(run.n_rows, -1)
    for name, rows in blocks:
        labels[rows] = conditions.index(name)
    # place of every row in its context: rows since the last start
    places = np.arange(run.n_rows)
    starts = np.maximum.accumulate(np.where(run.segment_starts | (places == 0), places, 0))
    kept = (owner >= 0) & (places - starts >= drop_first)
    course = run.layer(0)
    shown = np.unique(owner[kept])
    means = np.array([course[kept & (owner == block)].mean(0) for block in shown]).reshape(len(shown), course.shape[1])
    of_block = [int(labels[np.argmax(owner == block)]) for block in shown]
    return means.astype(float), np.eye(len(conditions))[of_block]


def _of_norm_one(runs: list[np.ndarray]) -> Float[np.ndarray, "block column"]:
    """Columns of all runs, centred within each run and of norm 1 over all; a constant one becomes zero."""
    centred = np.concatenate([run - run.mean(0) if len(run) else run for run in runs])
    norms = np.linalg.norm(centred, axis=0)
    # what is left of a constant is rounding
    largest = max(float(np.abs(run).max(initial=0.0)) for run in runs)
    return centred / np.where(norms > 1e-12 * largest * np.sqrt(len(centred)), norms, np.inf)


def _within_runs(sizes: list[int], rng: np.random.Generator) -> np.ndarray:
    """A random order of the blocks of all runs that keeps each in its run."""
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([start + rng.permutation(size) for start, size in zip(starts, sizes, strict=True)])
