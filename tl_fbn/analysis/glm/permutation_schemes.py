"""Relabelled blocks: which data and regressors a permutation test correlates, and the largest correlation of every relabelling.

Nothing here is larger than the block means: nuisance is taken off as (block, column), never as a matrix of blocks by blocks. Relabellings are a
product each of (permutation, block) with (block, unit); with ``joblib.parallel_config`` the units are shared out, and every worker draws the same
relabellings again.
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
from tl_fbn.analysis.glm.run_fit import RunFit
from tl_fbn.analysis.parallel import BAR_AFTER, asked_for, each
from tl_fbn.analysis.unit_blocks import unit_blocks
from tl_fbn.errors import InputError

Null = Literal["labels", "shift", "signs"]
NULLS_IN_WORDS: dict[Null, str] = {
    "labels": "labels of {replicates} exchanged within runs",
    "shift": "the sequence of labels of each run rotated",
    "signs": "signs of the effects of {over} changed",
}
Over = Literal["pairs", "runs"]
CHUNK = 512
UNITS = 4096


@dataclass(frozen=True, eq=False)
class Relabellings:
    """Data in small coordinates, and how their regressor is drawn anew.

    Args:
        data: (item, unit) freed of nuisance, each unit of norm 1 (0 where it never varies).
        regressors: One a run: the values of its items.
        nuisance: One a run: (item, column) orthonormal, taken off every regressor.
        movable: One a run: the items that trade values; None to change signs instead.
        shift: Rotate rather than shuffle.
        dof: Degrees of freedom of t.
        smallest_p: The smallest p that distinct relabellings allow.
        why: How many there are, in words.
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
    def of_signs(cls, effects: Float[np.ndarray, "item unit"], over: Over) -> Relabellings:
        n = len(effects)
        why = f"{n} {over} have {2.0**n:.4g} patterns of signs, each as extreme as its opposite"
        return cls(_normed(effects), [np.ones(n)], [np.zeros((n, 0))], None, False, n - 1.0, 2.0 / 2.0**n, why)

    @classmethod
    def of_blocks(
        cls, runs: Sequence[RunFit], weights: Mapping[str, float], expression: str, null: Null
    ) -> Relabellings:
        _require_comparison(weights, expression)
        data = np.empty((sum(len(run.block_means) for run in runs), runs[0].block_means.shape[1]))
        regressors = []
        nuisances = []
        movable = []
        filled = 0
        dof = -1.0
        log_count = 0.0
        opposite = True
        for number, run in enumerate(runs):
            regressor, moving = _labelled(run, weights, expression, number)
            nuisance = _nuisance(run, weights)
            means = run.means_between()
            for units in unit_blocks(data.shape[1]):
                some = means[:, units]
                data[filled : filled + len(means), units] = some - nuisance @ (nuisance.T @ some)
            filled += len(means)
            regressors.append(regressor)
            nuisances.append(nuisance)
            movable.append(moving)
            dof += len(regressor) - nuisance.shape[1]
            values, counts = np.unique(regressor[moving], return_counts=True)
            if null == "shift":
                rolled = {tuple(np.roll(regressor[moving], k)) for k in range(len(moving))}
                log_count += math.log(len(rolled))
                opposite &= tuple(-regressor[moving]) in rolled
            else:
                log_count += math.lgamma(len(moving) + 1) - sum(math.lgamma(n + 1) for n in counts)
                opposite &= bool(np.allclose(values, -values[::-1]) and (counts == counts[::-1]).all())
        if dof < 1:
            raise InputError(f"{expression!r} leaves no blocks to compare once drift is off; record more cycles")
        smallest = math.exp(math.log(2.0 if opposite else 1.0) - log_count)
        why = f"{math.exp(min(log_count, 50)):.3g} distinct relabellings" + (
            ", each as extreme as its opposite" if opposite else ""
        )
        return cls(_normed(data), regressors, nuisances, movable, null == "shift", dof, smallest, why)

    def run(
        self, n: int, rng: np.random.Generator, *, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t of the data, and of n relabellings the largest |t| and the largest t."""
        observed = self._designs(None, 1, rng) @ self.data
        t = self._t(observed[0])
        t[~self.data.any(0)] = np.nan
        narrow = self.data.astype(np.float32)
        small = replace(self, data=self.data[:, :0])  # what a worker needs beside its units
        shares = _shares(narrow)
        with tqdm(total=n, desc="permutations", delay=BAR_AFTER, disable=not progress or len(shares) > 1) as bar:
            # workers elsewhere cannot move a bar, but then they are why it is quick
            work = partial(_extremes, small, n, rng, UNITS, bar=bar if len(shares) == 1 else None)
            found = each(work, shares, size=n * narrow.shape[1] * len(narrow), products=True)
        highest = np.max([one[0] for one in found], axis=0)
        lowest = np.min([one[1] for one in found], axis=0)
        return t, self._t(np.maximum(highest, -lowest)), self._t(highest)

    def drawn(
        self, n: int, rng: np.random.Generator
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "permutation item"]]]:
        """Relabelled regressors, some hundred at a time."""
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            yield part, self._designs(part, part.stop - part.start, rng).astype(np.float32)

    def _t(self, r: np.ndarray) -> np.ndarray:
        r = np.clip(r, -1, 1)
        with np.errstate(divide="ignore"):
            return r * np.sqrt(self.dof / np.maximum(1 - r**2, 1e-15))

    def _designs(self, part: slice | None, n: int, rng: np.random.Generator) -> Float[np.ndarray, "permutation item"]:
        """Relabelled regressors, freed of nuisance, each of norm 1; the true one for no part."""
        made = []
        for i, (regressor, nuisance) in enumerate(zip(self.regressors, self.nuisance, strict=True)):
            drawn = np.tile(regressor, (n, 1))
            if part is not None and self.movable is None:
                drawn *= rng.choice([-1.0, 1.0], size=drawn.shape)
            elif part is not None:
                assert self.movable is not None
                moving = self.movable[i]
                values = np.tile(regressor[moving], (n, 1))
                if self.shift:
                    turned = (np.arange(len(moving)) + rng.integers(len(moving), size=(n, 1))) % len(moving)
                    drawn[:, moving] = np.take_along_axis(values, turned, 1)
                else:
                    drawn[:, moving] = rng.permuted(values, axis=1)
            made.append(drawn - (drawn @ nuisance) @ nuisance.T)
        joined = np.concatenate(made, axis=1)
        norms = np.linalg.norm(joined, axis=1, keepdims=True)
        return joined / np.where(norms > 1e-9, norms, np.inf)  # a relabelling that drift explains shows nothing


def _shares(data: Float32[np.ndarray, "item unit"]) -> list[Float32[np.ndarray, "item some"]]:
    """The units in one piece; for the workers of ``joblib.parallel_config`` in as many, cut where products are cut anyway."""
    asked = asked_for()
    workers = 1 if asked is None else joblib.effective_n_jobs(asked.n_jobs)
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
    """Highest and lowest correlation over some units for every relabelling; all units are given the same ones."""
    highest = np.full(n, -np.inf)
    lowest = np.full(n, np.inf)
    room = np.empty((min(n, CHUNK), width), dtype=np.float32)  # one for all: fresh memory costs as much as the product
    for part, designs in relabellings.drawn(n, copy.deepcopy(rng)):
        for first in range(0, data.shape[1], width):
            some = data[:, first : first + width]
            r = np.matmul(designs, some, out=room[: len(designs), : some.shape[1]])
            np.maximum(highest[part], r.max(1), out=highest[part])
            np.minimum(lowest[part], r.min(1), out=lowest[part])
        if bar is not None:
            bar.update(len(designs))
    return highest, lowest


def _require_comparison(weights: Mapping[str, float], expression: str) -> None:
    if abs(sum(weights.values())) > 1e-9:
        raise InputError(
            f"{expression!r} compares conditions with nothing (its weights add up to {sum(weights.values()):g}), which no "
            'exchange of labels tests; compare conditions, or use null="signs"'
        )


def neighbour_pairs(
    runs: Sequence[RunFit], weights: Mapping[str, float], expression: str
) -> list[Float[np.ndarray, " unit"]]:
    """Differences of neighbouring blocks, one of each side of the contrast; a block without a partner is left out."""
    _require_comparison(weights, expression)
    found = []
    scale = sum(weight for weight in weights.values() if weight > 0)
    for number, run in enumerate(runs):
        values, compared = _labelled(run, weights, expression, number)
        means = run.means_between()
        waiting = list[int]()
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
    """The contrast's weight of every block, and which blocks it compares."""
    vector = as_vector(dict(weights), run.columns)
    assert vector is not None
    if not len(run.block_means):
        raise InputError(f"max_t relabels blocks, but run {number} has no events; give events")
    named = run.block_design[:, vector != 0]
    labelled = np.isclose(named, 1) | np.isclose(named, 0)
    if run.within[vector != 0].any() or not labelled.all() or (np.isclose(named, 1).sum(1) > 1).any():
        raise InputError(
            f"contrast {expression!r} names columns that are no labels of whole blocks (run {number}); max_t exchanges labels "
            "of conditions"
        )
    return run.block_design @ np.where(vector != 0, vector, 0.0), np.flatnonzero(np.isclose(named, 1).any(1))


def _nuisance(run: RunFit, weights: Mapping[str, float]) -> Float[np.ndarray, "block column"]:
    """The constant, drift and the conditions that are not compared, over blocks, as orthonormal columns."""
    others = [i for i, name in enumerate(run.columns) if name not in weights and not run.within[i]]
    nuisance = np.column_stack([np.ones(len(run.block_means)), run.block_design[:, others]])
    left, singular, _ = np.linalg.svd(
        nuisance / np.maximum(np.linalg.norm(nuisance, axis=0), 1e-300), full_matrices=False
    )
    return left[:, singular > 1e-9 * singular[0]]


def _normed(data: Float[np.ndarray, "item unit"]) -> Float[np.ndarray, "item unit"]:
    """Make every unit's norm 1, in place; what varies by rounding only becomes 0."""
    rounding = 1e-13 * max(data.max(initial=0.0), -data.min(initial=0.0))
    for units in unit_blocks(data.shape[1]):
        norms = np.linalg.norm(data[:, units], axis=0)
        data[:, units] /= np.where(norms > rounding, norms, np.inf)
    return data
