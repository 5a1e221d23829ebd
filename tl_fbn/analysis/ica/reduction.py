"""A recording in a few dimensions: its leading singular vectors, found without ever holding the matrix.

Rows of all runs stacked give X (row, unit), each unit centred within each run and, for spatial analyses, each row centred over units. Of
X = U S V only the leading L triples are found:

- few rows: the Gram matrix X X' is exact and cheap;
- else a random sketch (Halko, Martinsson and Tropp 2011): Q spans X X' R for random R, refined ``n_iter`` times, then V comes from
  Q' X. Every pass reads each layer once, layers side by side.

Centring is done on the thin side of every product (a sketch R that is centred within runs needs no centred X), so activations are
read in float32 as they lie on disk; where means are far larger than spreads they are taken off first, and products cannot lose them.

Preparation, off by default: ``drop_first`` rows of every context (first tokens carry massive activations), ``standardize`` each unit over all
rows (True: mean and sd with S0's rule that a sd below machine precision counts as 1; "robust": median and 1.4826 MAD), ``clip`` at so many of
those spreads.

Cost: ``4 (n_iter + 1) + 2`` flops a row, unit and component. Memory: V, and one block of units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.parallel import each, summed
from tl_fbn.analysis.unit_blocks import hand_back
from tl_fbn.errors import InputError

Standardize = bool | Literal["robust"]
_BLOCK_BYTES = 64 << 20
_FAR = 30.0  # means beyond so many spreads are taken off before a product
_OVERSAMPLED = 10


@dataclass(frozen=True)
class Preparation:
    """What is done to activations before they are decomposed.

    Args:
        drop_first: Rows to leave out at the start of every context.
        standardize: Divide units by their spread.
        clip: Spreads beyond which values are clipped.
    """

    drop_first: int = 0
    standardize: Standardize = False
    clip: float | None = None

    @property
    def plain(self) -> bool:
        """Nothing is done to values."""
        return not self.standardize and self.clip is None


@dataclass(frozen=True, eq=False)
class Reduced:
    """The leading singular triples of a recording.

    Args:
        left: (row, component) orthonormal over the rows kept.
        singular: (component,) in descending order.
        right: (component, unit) orthonormal maps, float32; centred over units where the analysis is spatial.
        run_of: (row,) which run each row is of.
        total: Sum of squares of the centred matrix.
    """

    left: Float[np.ndarray, "row component"]
    singular: Float[np.ndarray, " component"]
    right: Float[np.ndarray, "component unit"]
    run_of: Int[np.ndarray, " row"]
    total: float

    @property
    def n_rows(self) -> int:
        return len(self.left)


def kept_rows(recording: Recording, drop_first: int) -> list[Bool[np.ndarray, " _"]]:
    """The rows of every run that are looked at."""
    kept = []
    for run in recording:
        place = np.arange(run.n_rows)
        place = place - np.maximum.accumulate(np.where(run.segment_starts, place, 0))
        kept.append(place >= drop_first)
    return kept


def reduce_recording(
    recording: Recording,
    n_components: int,
    *,
    layers: Sequence[int],
    spatial: bool,
    preparation: Preparation,
    seed: int,
    n_iter: int = 1,
    runs: Sequence[int] | None = None,
    shuffle: int | None = None,
) -> Reduced:
    """The leading components, some more than asked for.

    Args:
        recording: Activations.
        n_components: How many are needed; ten more are kept, as far as there are any.
        layers: Layers to look at, in order.
        spatial: Centre every row over units too.
        preparation: See :class:`Preparation`.
        seed: Seed of the random sketch; the same seed gives the same components.
        n_iter: Refinements of the sketch.
        runs: Runs to look at; all by default.
        shuffle: A seed with which every unit's course is rotated by an amount of its own within each run: units keep their spread and
            autocorrelation, and lose each other.

    Raises:
        InputError: Fewer rows or varying units than components, or values that are not finite.
    """
    numbers = list(range(len(recording)) if runs is None else runs)
    kept = kept_rows(recording, preparation.drop_first)
    run_of = np.repeat(numbers, [int(kept[number].sum()) for number in numbers])
    n_rows = len(run_of)
    n_units = sum(recording.space.widths[layer] for layer in layers)
    possible = min(n_rows - len(numbers), n_units - int(spatial))
    if possible < n_components:
        raise InputError(
            f"{n_components} networks need more than {n_components} rows and units; there are {n_rows} rows of {len(numbers)} runs and {n_units} units. "
            "Record more, or ask for fewer networks"
        )
    size = min(n_components + _OVERSAMPLED, possible)
    masks = [kept[number] for number in numbers]
    chosen = [recording[number] for number in numbers]
    parts = [_Layer([run.layers[layer] for run in chosen], layer, masks, preparation, shuffle) for layer in layers]
    means = _RunMeans(run_of)
    work = n_rows * n_units
    if n_rows <= 6 * size:
        gram, sums = summed(_gram, parts, size=work)
        m = means.off(sums[:, None])[:, 0] / n_units
        gram = means.off(means.off(_finite(gram)).T).T
        if spatial:
            gram = gram - n_units * np.outer(m, m)
        values, vectors = np.linalg.eigh(gram)
        q = vectors[:, ::-1][:, :size]
    else:
        q = means.off(np.random.default_rng(seed).standard_normal((n_rows, size)))
        m = np.zeros(n_rows)
        for _ in range(n_iter + 1):
            q = np.linalg.qr(q)[0]
            z, sums, column_sums = summed(partial(_power, q.astype(np.float32)), parts, size=work)
            m = means.off(sums[:, None])[:, 0] / n_units
            if spatial:
                z -= np.outer(m, column_sums)
            q = means.off(_finite(z))
        q = np.linalg.qr(q)[0]
    projected = each(partial(_project, q.astype(np.float32), run_of), parts, size=work, products=True)
    blocks, squares = zip(*projected, strict=True)
    total = float(sum(squares))
    if spatial:  # centring rows over units: q' m off every column
        blocks = [block - (q.T @ m)[:, None].astype(np.float32) for block in blocks]
        total -= n_units * float(m @ m)
    right = np.concatenate(blocks, axis=1)
    covariance = sum((block @ block.T).astype(np.float64) for block in blocks)
    values, vectors = np.linalg.eigh(np.asarray(covariance))
    values, vectors = values[::-1], vectors[:, ::-1]
    solid = values > 1e-7 * values[0] if values[0] > 0 else np.zeros(size, dtype=bool)  # products are float32
    if solid.sum() < n_components:
        raise InputError(
            f"the activations vary in {int(solid.sum())} directions only, {n_components} networks need as many; most units are constant or "
            "copies of others. Ask for fewer networks"
        )
    values, vectors = values[solid], vectors[:, solid]
    singular = np.sqrt(values)
    right = (vectors / singular).T.astype(np.float32) @ right
    return Reduced(q @ vectors, singular, right, run_of, total)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer of a recording, as blocks of units over all rows kept; it holds nothing else, for it is sent to workers."""

    arrays: Sequence[np.ndarray | HalfArray]
    layer: int
    kept: Sequence[Bool[np.ndarray, " _"]]
    preparation: Preparation
    shuffle: int | None = None

    def blocks(self) -> Iterator[list[np.ndarray]]:
        """float32 blocks of units, prepared, all rows in one array; as they lie, an array a run, where nothing is asked for and means are small."""
        n_rows = sum(int(kept.sum()) for kept in self.kept)
        n_units = self.arrays[0].shape[1]
        step = max(64, _BLOCK_BYTES // (4 * max(n_rows, 1)))
        for first in range(0, n_units, step):
            units = slice(first, min(first + step, n_units))
            values = [_rows(array, kept, units) for array, kept in zip(self.arrays, self.kept, strict=True)]
            if self.shuffle is not None:
                rng = np.random.default_rng([self.shuffle, self.layer, first])
                values = [_rotated(part, rng) for part in values]
            yield self._prepared(values)
        for array in self.arrays:
            hand_back(array)

    def _prepared(self, values: list[np.ndarray]) -> list[np.ndarray]:
        how = self.preparation
        if how.plain and not any(_far_from_zero(part) for part in values):
            return values
        robust = how.standardize == "robust"
        middle = np.median if robust else partial(np.mean, dtype=np.float64)
        centred = np.concatenate([part - middle(part, axis=0).astype(np.float32) for part in values])
        if how.plain:
            return [centred]
        if robust:
            spread = 1.4826 * np.median(np.abs(centred), axis=0)
        else:
            spread = centred.std(axis=0, ddof=1, dtype=np.float64)
        spread = np.where(spread > np.finfo(np.float32).eps, spread, 1.0).astype(np.float32)
        if how.clip is not None:
            centred = np.clip(centred, -how.clip * spread, how.clip * spread)
        return [centred / spread if how.standardize else centred]


@dataclass(frozen=True, eq=False)
class _RunMeans:
    """Takes the mean of every run off the columns of a thin matrix."""

    run_of: Int[np.ndarray, " row"]

    def off(self, thin: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
        out = np.array(thin, dtype=np.float64)
        for run in np.unique(self.run_of):
            out[self.run_of == run] -= out[self.run_of == run].mean(0)
        return out


def _rows(array: np.ndarray | HalfArray, kept: Bool[np.ndarray, " row"], units: slice) -> np.ndarray:
    values = np.asarray(array[:, units], dtype=np.float32)
    return values if kept.all() else values[kept]


def _rotated(values: Float[np.ndarray, "row unit"], rng: np.random.Generator) -> Float[np.ndarray, "row unit"]:
    """Every column rotated by an amount of its own."""
    n = len(values)
    return np.take_along_axis(values, (np.arange(n)[:, None] + rng.integers(n, size=values.shape[1])) % n, 0)


def _far_from_zero(values: Float[np.ndarray, "row unit"]) -> bool:
    few = values[:64].astype(np.float64)
    squared = np.square(few.mean(0))
    return bool((squared > _FAR**2 * (np.square(few).mean(0) - squared) + 1e-60).any())


def _gram(part: _Layer) -> tuple[np.ndarray, np.ndarray]:
    gram = 0.0
    sums = 0.0
    for parts in part.blocks():
        wide = np.concatenate(parts, dtype=np.float64)
        gram, sums = gram + wide @ wide.T, sums + wide.sum(1)
    return np.asarray(gram), np.asarray(sums)


def _placed(parts: list[np.ndarray]) -> Iterator[tuple[slice, Float[np.ndarray, "some unit"]]]:
    """Each array beside the rows that are its."""
    first = 0
    for x in parts:
        yield slice(first, first + len(x)), x
        first += len(x)


def _power(q: Float[np.ndarray, "row component"], part: _Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X X' q, the sums of rows, and the sums of X' q."""
    z = np.zeros(q.shape)
    sums = np.zeros(len(q))
    columns = np.zeros(q.shape[1])
    for parts in part.blocks():
        y = np.ones((parts[0].shape[1], q.shape[1] + 1), dtype=np.float32)
        y[:, :-1] = sum(x.T @ q[rows] for rows, x in _placed(parts))
        for rows, x in _placed(parts):
            found = x @ y
            z[rows] += found[:, :-1]
            sums[rows] += found[:, -1]
        columns += y[:, :-1].sum(0, dtype=np.float64)
    return z, sums, columns


def _project(
    q: Float[np.ndarray, "row component"], run_of: Int[np.ndarray, " row"], part: _Layer
) -> tuple[Float[np.ndarray, "component unit"], float]:
    """q' X, and the sum of squares of X less the mean of every run."""
    found = []
    squares = 0.0
    for parts in part.blocks():
        found.append(sum(q[rows].T @ x for rows, x in _placed(parts)))
        for rows, x in _placed(parts):
            squares += float(np.einsum("tn,tn->n", x, x).sum(dtype=np.float64))
            ends = [0, *(np.flatnonzero(np.diff(run_of[rows])) + 1).tolist(), len(x)]
            for first, stop in pairwise(ends):
                squares -= float(np.square(x[first:stop].sum(0), dtype=np.float64).sum()) / max(stop - first, 1)
    return np.concatenate(found, axis=1), squares


def _finite(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise InputError(
            "the activations hold values that are not finite, or too large for float32; leave those rows out"
        )
    return array
