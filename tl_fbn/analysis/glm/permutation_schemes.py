"""Relabelled blocks: the data and regressors that a permutation test correlates, and the largest correlation of each.

The data are block means (or effects of runs), freed of nuisance and scaled to norm 1 for each unit; so is every
relabelled regressor. Their product is then the correlation r of each relabelling with each unit, of which only the
highest and the lowest over units are kept. Nothing here is larger than the block means: nuisance is taken off as
(block, column), never as a matrix of blocks by blocks, and relabellings are drawn some hundred at a time. With
``joblib.parallel_config`` the units are shared out, and every worker draws the same relabellings again.

Cost: ``2 * permutations * blocks * units`` flops in float32.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import joblib
import numpy as np
from jaxtyping import Float, Float32
from tqdm.auto import tqdm

from tl_fbn.analysis.glm.expressions import as_vector
from tl_fbn.analysis.glm.run_fit import ROUNDING, RunFit
from tl_fbn.analysis.parallel import BAR_AFTER, each, requested_workers
from tl_fbn.analysis.unit_blocks import unit_blocks
from tl_fbn.errors import InputError

Null = Literal["labels", "shift", "signs"]
NULLS_IN_WORDS: dict[Null, str] = {
    "labels": "labels of {replicates} exchanged within runs",
    "shift": "the sequence of labels of each run rotated",
    "signs": "signs of the effects of {over} changed",
}
Over = Literal["pairs", "runs"]
CHUNK = 512  # relabellings that are drawn and multiplied at a time
UNITS = 4096  # units that are multiplied at a time: a (512, 4096) product is 8 MB in float32


@dataclass(frozen=True, eq=False)
class Relabellings:
    """The data of a permutation test, and how its regressor is relabelled.

    An item is what is relabelled: a block (or a prompt), or with changed signs the effect of a run or of a pair of
    blocks.

    Args:
        data: (item, unit) freed of nuisance, each unit of norm 1 (0 where it never varies).
        regressors: For each run the (item,) values of the regressor as it was.
        nuisance: For each run (item, column) orthonormal columns that are taken off every regressor.
        movable: For each run the numbers of the items that trade values; None to change signs instead.
        shift: Whether values are rotated among the movable items (True) or shuffled (False).
        dof: Degrees of freedom of t.
        smallest_p: The smallest p that the number of distinct relabellings allows.
        why: The number of distinct relabellings, in words for an error message.
    """

    data: Float[np.ndarray, "item unit"]
    regressors: Sequence[np.ndarray]
    nuisance: Sequence[np.ndarray]
    movable: Sequence[np.ndarray] | None
    shift: bool
    dof: float
    smallest_p: float
    why: str

    @classmethod
    def of_signs(
        cls, effects: Float[np.ndarray, "item unit"], over: Over, rounding: Float[np.ndarray, " unit"]
    ) -> Relabellings:
        """Changes of sign of effects of runs or pairs of blocks: the regressor is 1 everywhere, without nuisance.

        Args:
            effects: (item, unit) effects of runs, or differences of pairs of blocks.
            over: What the items are, for messages: ``"runs"`` or ``"pairs"``.
            rounding: (unit,) size below which an effect is rounding of the numbers that it is a difference of.
        """
        n = len(effects)
        why = f"{n} {over} have {2.0**n:.4g} patterns of signs, each as extreme as its opposite"
        return cls(
            _normed(effects, rounding * math.sqrt(n)),
            [np.ones(n)],
            [np.zeros((n, 0))],
            None,
            False,
            n - 1.0,
            2.0 / 2.0**n,
            why,
        )

    @classmethod
    def of_blocks(
        cls, runs: Sequence[RunFit], weights: Mapping[str, float], expression: str, null: Null
    ) -> Relabellings:
        """Exchanges of the labels of blocks within runs, shuffled or rotated."""
        _require_comparison(weights, expression)
        data = np.empty((sum(len(run.block_means) for run in runs), runs[0].block_means.shape[1]))
        regressors = []
        nuisances = []
        movable = []
        filled = 0
        squares = np.zeros(data.shape[1])  # of the block means themselves: a share of them is rounding
        dof = -1.0  # one for the regressor, which all runs share
        log_count = 0.0  # logarithm of the number of distinct relabellings: a product over runs
        opposite = True  # whether every relabelling's opposite, with t of the other sign, is one too
        for number, run in enumerate(runs):
            regressor, moving = _labelled(run, weights, expression, number)
            nuisance = _nuisance(run, weights)
            means = run.means_between()
            for units in unit_blocks(data.shape[1]):
                means_here = means[:, units]
                # the projection Y - N (N'Y), a block of units at a time
                data[filled : filled + len(means), units] = means_here - nuisance @ (nuisance.T @ means_here)
            filled += len(means)
            squares += np.square(run.block_means).sum(0)
            regressors.append(regressor)
            nuisances.append(nuisance)
            movable.append(moving)
            dof += len(regressor) - nuisance.shape[1]
            values, counts = np.unique(regressor[moving], return_counts=True)
            if null == "shift":
                rolled = {tuple(np.roll(regressor[moving], k)) for k in range(len(moving))}
                # distinct rotations: an alternating order has two, whatever its length
                log_count += math.log(len(rolled))
                opposite &= tuple(-regressor[moving]) in rolled
            else:
                # a multinomial coefficient n! / (n_1! n_2! ...): blocks of one label are alike
                log_count += math.lgamma(len(moving) + 1) - sum(math.lgamma(n + 1) for n in counts)
                opposite &= bool(np.allclose(values, -values[::-1]) and (counts == counts[::-1]).all())
        if dof < 1:
            raise InputError(f"{expression!r} leaves no blocks to compare once drift is off; record more cycles")
        # the data are one relabelling of so many; their opposite has the same |t|
        smallest = math.exp(math.log(2.0 if opposite else 1.0) - log_count)
        why = f"{math.exp(min(log_count, 50)):.3g} distinct relabellings" + (
            ", each as extreme as its opposite" if opposite else ""
        )
        normed = _normed(data, ROUNDING * np.sqrt(squares))
        return cls(normed, regressors, nuisances, movable, null == "shift", dof, smallest, why)

    def run(
        self, n: int, rng: np.random.Generator, *, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t of the data, and for each of n relabellings the largest |t| and the largest t over units.

        Args:
            n: Number of relabellings.
            rng: Generator of the random relabellings.
            progress: Whether to show a progress bar.
        """
        observed = self._designs(None, 1, rng) @ self.data
        t = self._t(observed[0])
        t[~self.data.any(0)] = np.nan
        data32 = self.data.astype(np.float32)  # the wide product in float32; t of the data itself is in float64
        without_data = replace(self, data=self.data[:, :0])  # what a worker needs beside its units
        shares = _shares(data32)
        with tqdm(total=n, desc="permutations", delay=BAR_AFTER, disable=not progress or len(shares) > 1) as bar:
            # workers in other processes cannot move a bar
            work = partial(_extremes, without_data, n, rng, UNITS, bar=bar if len(shares) == 1 else None)
            found = each(work, shares, size=n * data32.shape[1] * len(data32), products=True)
        # extremes over shares of the units are extremes over all; t grows with r, so it is taken of the extremes alone
        highest = np.max([one[0] for one in found], axis=0)
        lowest = np.min([one[1] for one in found], axis=0)
        return t, self._t(np.maximum(highest, -lowest)), self._t(highest)

    def drawn(
        self, n: int, rng: np.random.Generator
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "permutation item"]]]:
        """Relabelled regressors, some hundred at a time: which of the n they are, and their values.

        Args:
            n: Number of relabellings in all.
            rng: Generator of the random relabellings; one in the same state yields the same relabellings.
        """
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            yield part, self._designs(part, part.stop - part.start, rng).astype(np.float32)

    def _t(self, r: np.ndarray) -> np.ndarray:
        """``t = r sqrt(dof / (1 - r**2))`` of correlations."""
        r = np.clip(r, -1, 1)
        with np.errstate(divide="ignore"):
            return r * np.sqrt(self.dof / np.maximum(1 - r**2, 1e-15))

    def _designs(self, part: slice | None, n: int, rng: np.random.Generator) -> Float[np.ndarray, "permutation item"]:
        """Relabelled regressors, freed of nuisance, each of norm 1; the true one for no part."""
        made = []
        for i, (regressor, nuisance) in enumerate(zip(self.regressors, self.nuisance, strict=True)):
            drawn = np.tile(regressor, (n, 1))  # (permutation, item)
            if part is not None and self.movable is None:
                drawn *= rng.choice([-1.0, 1.0], size=drawn.shape)
            elif part is not None:
                assert self.movable is not None
                moving = self.movable[i]
                values = np.tile(regressor[moving], (n, 1))
                if self.shift:
                    # each row rotated by a number of its own, 0 included
                    turned = (np.arange(len(moving)) + rng.integers(len(moving), size=(n, 1))) % len(moving)
                    drawn[:, moving] = np.take_along_axis(values, turned, 1)
                else:
                    drawn[:, moving] = rng.permuted(values, axis=1)
            # the projection x - (x N) N', run by run
            made.append(drawn - (drawn @ nuisance) @ nuisance.T)
        joined = np.concatenate(made, axis=1)
        norms = np.linalg.norm(joined, axis=1, keepdims=True)
        return joined / np.where(norms > 1e-9, norms, np.inf)  # a relabelling that drift explains shows nothing


def _shares(data: Float32[np.ndarray, "item unit"]) -> list[Float32[np.ndarray, "item some"]]:
    """The units in one piece, or with ``joblib.parallel_config`` in one piece for each worker.

    Pieces are multiples of ``UNITS``, where products are cut anyway, so that the numbers do not depend on the workers.
    """
    parallelism = requested_workers()
    workers = 1 if parallelism is None else joblib.effective_n_jobs(parallelism.n_jobs)
    step = max(-(-data.shape[1] // (max(workers, 1) * UNITS)), 1) * UNITS
    return [np.ascontiguousarray(data[:, first : first + step]) for first in range(0, data.shape[1], step)]


def _extremes(
    relabellings: Relabellings,
    n: int,
    rng: np.random.Generator,
    width: int,
    data: Float32[np.ndarray, "item unit"],
    *,
    bar: tqdm | None = None,
) -> tuple[Float[np.ndarray, " permutation"], Float[np.ndarray, " permutation"]]:
    """Highest and lowest correlation over some units for every relabelling.

    Args:
        relabellings: The test, whose own data are not looked at.
        n: Number of relabellings.
        rng: Generator of the relabellings; a copy is used, so that all shares of the units meet the same relabellings.
        width: Number of units that are multiplied at a time.
        data: (item, unit) the units of this share.
        bar: Progress bar, moved on by the number of relabellings done.
    """
    highest = np.full(n, -np.inf)
    lowest = np.full(n, np.inf)
    # one buffer for all products: fresh memory costs as much as a product does
    buffer = np.empty((min(n, CHUNK), width), dtype=np.float32)
    for part, designs in relabellings.drawn(n, copy.deepcopy(rng)):
        for first in range(0, data.shape[1], width):
            columns = data[:, first : first + width]
            r = np.matmul(designs, columns, out=buffer[: len(designs), : columns.shape[1]])
            np.maximum(highest[part], r.max(1), out=highest[part])
            np.minimum(lowest[part], r.min(1), out=lowest[part])
        if bar is not None:
            bar.update(len(designs))
    return highest, lowest


def _require_comparison(weights: Mapping[str, float], expression: str) -> None:
    """Refuse a contrast against 0, such as ``"sort"``: an exchange of labels leaves the mean over blocks alone."""
    if abs(sum(weights.values())) > 1e-9:
        raise InputError(
            f"{expression!r} compares conditions with nothing (its weights add up to {sum(weights.values()):g}), which "
            'no exchange of labels tests; compare conditions, or use null="signs"'
        )


def neighbour_pairs(
    runs: Sequence[RunFit], weights: Mapping[str, float], expression: str
) -> list[Float[np.ndarray, " unit"]]:
    """Differences of neighbouring blocks of opposite sides of the contrast; a block without a partner is left out.

    Args:
        runs: The fitted runs.
        weights: Weight of every condition that the contrast names.
        expression: The contrast as it was written, for messages.

    Returns:
        For each pair the (unit,) block of positive weight minus the block of negative weight, times the contrast's
        scale.
    """
    _require_comparison(weights, expression)
    found = []
    scale = sum(weight for weight in weights.values() if weight > 0)
    for number, run in enumerate(runs):
        values, compared = _labelled(run, weights, expression, number)
        means = run.means_between()
        waiting = list[int]()  # numbers of blocks without a partner yet, all of one side, oldest first
        for block in compared:
            if waiting and values[waiting[0]] * values[block] < 0:
                sign = np.sign(values[block])
                found.append(scale * sign * (means[block] - means[waiting.pop(0)]))
            else:
                waiting.append(int(block))
    return found


def _labelled(
    run: RunFit, weights: Mapping[str, float], expression: str, number: int
) -> tuple[Float[np.ndarray, " block"], np.ndarray]:
    """The contrast's weight of every block, and the numbers of the blocks it compares."""
    vector = as_vector(dict(weights), run.columns)
    assert vector is not None
    if not len(run.block_means):
        raise InputError(f"max_t relabels blocks, but run {number} has no events; give events")
    # a label is 0 or 1 over a whole block, and a block has one at most
    named = run.block_design[:, vector != 0]
    labelled = np.isclose(named, 1) | np.isclose(named, 0)
    if run.within[vector != 0].any() or not labelled.all() or (np.isclose(named, 1).sum(1) > 1).any():
        raise InputError(
            f"contrast {expression!r} names columns that are no labels of whole blocks (run {number}); max_t exchanges "
            "labels of conditions"
        )
    return run.block_design @ np.where(vector != 0, vector, 0.0), np.flatnonzero(np.isclose(named, 1).any(1))


def _nuisance(run: RunFit, weights: Mapping[str, float]) -> Float[np.ndarray, "block column"]:
    """The constant, drift and the conditions that are not compared, over blocks, as orthonormal columns."""
    others = [i for i, name in enumerate(run.columns) if name not in weights and not run.within[i]]
    nuisance = np.column_stack([np.ones(len(run.block_means)), run.block_design[:, others]])
    # left singular vectors of columns scaled to norm 1; columns that follow from others drop out
    left, singular, _ = np.linalg.svd(
        nuisance / np.maximum(np.linalg.norm(nuisance, axis=0), 1e-300), full_matrices=False
    )
    return left[:, singular > 1e-9 * singular[0]]


def _normed(
    data: Float[np.ndarray, "item unit"], rounding: Float[np.ndarray, " unit"]
) -> Float[np.ndarray, "item unit"]:
    """Make every unit's norm 1, in place; a unit whose norm is at most its own ``rounding`` becomes 0."""
    for units in unit_blocks(data.shape[1]):
        norms = np.linalg.norm(data[:, units], axis=0)
        data[:, units] /= np.where(norms > rounding[units], norms, np.inf)
    return data
