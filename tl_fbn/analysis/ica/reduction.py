"""A recording in a few dimensions: its leading singular vectors, found without ever holding the matrix.

Rows of all runs stacked give X (row, unit), each unit centred within each run and, for spatial analyses, each row
centred over units. Of X = U S V, with V (component, unit), only the leading L triples are found:

- few rows (up to 6 L): the eigenvectors of the Gram matrix X X', which is exact and cheap, are U;
- else a random sketch (Halko, Martinsson and Tropp 2011): Q, the orthonormal basis of X X' R for random R (row, L),
  refined ``n_iter`` times, spans nearly what U spans.

In both cases the small matrix Q' X (L, unit) then has the singular values and maps of X within that span. Every pass
reads each layer once, layers side by side.

Centring is done on the thin side of every product: with H the matrix that takes the mean of every run off the rows,
(H X)' R = X' (H R), so a sketch that is centred within runs needs no centred X. Activations are therefore read in
float32 as they lie on disk. Only where means are more than 30 times the spread, so that a float32 product would lose
the spread beside the mean, are means taken off first.

Preparation (:mod:`tl_fbn.units.preparation`): ``drop_first`` leaves out the first rows of every context (first tokens
carry massive activations); ``standardize`` divides each unit by its spread over all rows (:mod:`.spreads`); ``clip``
cuts values off at so many of those spreads.

Units: those of the activations, or spreads where they are standardised. Cost: ``4 (n_iter + 1) + 2`` flops a row, unit
and component. Memory: V, and one block of units. It does not rotate: singular vectors are uncorrelated, not
independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.memory_maps import place_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.stored_tensors import StoredTensor, opened, place_of_layer
from tl_fbn.analysis.ica.spreads import at_least_precision, centres_and_spread
from tl_fbn.analysis.parallel import each, summed
from tl_fbn.analysis.unit_blocks import hand_back
from tl_fbn.errors import InputError
from tl_fbn.units.preparation import Preparation

_BLOCK_BYTES = 64 << 20  # float32 activations of one block of units, all rows
_MAX_MEAN_IN_SPREADS = 30.0  # means beyond so many spreads are taken off before a product
_RUNS_HELD_OPEN = 64  # of more runs no file is held open: a process may have 256 or 1,024
_EXTRA_COMPONENTS = 10  # found beside those asked for: a wider sketch is more exact (Halko et al. advise 5 to 10)


@dataclass(frozen=True, eq=False)
class Reduced:
    """The leading singular triples of a recording.

    Args:
        left: (row, component) courses, orthonormal over the rows kept.
        singular: (component,) singular values in descending order.
        right: (component, unit) maps, orthonormal, in float32; centred over units where the analysis is spatial.
        run_of: (row,) number of the run that each row is of.
        total: Sum of squares of the centred matrix; ``singular**2 / total`` are shares of variance.
        shares: (component, component) where singular values are not of the data: the share of the data's variance that
            a map with coordinates c of norm 1 holds is ``c @ shares @ c``. None where they are.
    """

    left: Float[np.ndarray, "row component"]
    singular: Float[np.ndarray, " component"]
    right: Float[np.ndarray, "component unit"]
    run_of: Int[np.ndarray, " row"]
    total: float
    shares: Float[np.ndarray, "component component"] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows that were kept, of all runs together."""
        return len(self.left)


def kept_rows(recording: Recording, drop_first: int) -> list[Bool[np.ndarray, " _"]]:
    """For every run, True at the rows that are decomposed: all but the first ``drop_first`` of every context.

    Where every context is a single row, as in a recording that was pooled, there are no first rows to leave out: all
    are kept.

    Args:
        recording: Activations of one site.
        drop_first: Number of rows to leave out at the start of every context.

    Raises:
        InputError: No row of some run is left.
    """
    places = []
    for run in recording:
        place = np.arange(run.n_rows)
        # distance from the start of the context: the row's number less that of the latest start before it
        places.append(place - np.maximum.accumulate(np.where(run.segment_starts, place, 0)))
    if not any(place.any() for place in places):
        return [np.ones(len(place), dtype=bool) for place in places]
    kept = [place >= drop_first for place in places]
    for number, (place, mask) in enumerate(zip(places, kept, strict=True)):
        if not mask.any():
            raise InputError(
                f"drop_first={drop_first} leaves no row of run {number}, whose longest context has "
                f"{int(place.max()) + 1}; give a smaller number"
            )
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
    n_extra: int = _EXTRA_COMPONENTS,
    runs: Sequence[int] | None = None,
    shuffle: int | None = None,
) -> Reduced:
    """The leading singular triples of a recording: those asked for, and some more where there are any.

    Args:
        recording: Activations of one site.
        n_components: Number of components that are needed.
        layers: Numbers of the layers that are decomposed, in the order in which the maps hold them.
        spatial: Whether every row is centred over units too.
        preparation: What is done to the activations first.
        seed: Seed of the random sketch; the same seed gives the same components.
        n_iter: Number of refinements of the sketch; each reads the recording once more.
        n_extra: Number of components that are kept beside those needed, as far as there are any.
        runs: Numbers of the runs that are decomposed; None for all of them.
        shuffle: Seed of a shuffle: every unit's course is rotated in time by an amount of its own within each run, so
            that units keep their spread and autocorrelation and lose each other. None leaves courses as they are.

    Raises:
        InputError: There are fewer rows or varying units than components, or values that are not finite.
    """
    numbers = list(range(len(recording)) if runs is None else runs)
    kept = kept_rows(recording, preparation.drop_first)
    run_of = np.repeat(numbers, [int(kept[number].sum()) for number in numbers])
    n_rows = len(run_of)
    n_units = sum(recording.space.widths[layer] for layer in layers)
    # centring takes one dimension a run from the rows, and one from the units of a spatial analysis
    possible = min(n_rows - len(numbers), n_units - int(spatial))
    if possible < n_components:
        raise InputError(
            f"{n_components} networks need more than {n_components} rows and units; "
            f"there are {n_rows} rows of {len(numbers)} runs and {n_units} units. "
            "Record more, or ask for fewer networks"
        )
    size = min(n_components + n_extra, possible)  # L, columns of the sketch
    masks = [kept[number] for number in numbers]
    chosen = [recording[number] for number in numbers]
    parts = [
        RecordedLayer(
            [place_of_layer(run.layers, layer) for run in chosen],
            layer,
            masks,
            _of_runs(preparation.of_units(recording.space.layer_slice(layer)), numbers),
            shuffle,
        )
        for layer in layers
    ]
    means = _RunMeans(run_of)
    work = n_rows * n_units
    # Below, X is as it lies in the layers; H takes run means off, and m = H X 1 / n_units is the mean of every row of
    # H X over units. A spatial analysis decomposes H X - m 1'.
    if n_rows <= 6 * size:
        gram, sums = summed(_gram, parts, size=work)
        m = means.subtract_from(sums[:, None])[:, 0] / n_units
        # H X X' H: run means off the columns, then off the rows
        gram = means.subtract_from(means.subtract_from(_require_finite(gram)).T).T
        if spatial:
            gram = gram - n_units * np.outer(m, m)  # (H X - m 1') (H X - m 1')', as H X 1 = n_units m
        _, vectors = np.linalg.eigh(gram)
        q = vectors[:, ::-1][:, :size]  # eigenvalues ascend: the last columns lead
    else:
        q = means.subtract_from(np.random.default_rng(seed).standard_normal((n_rows, size)))  # H R
        m = np.zeros(n_rows)
        for _ in range(n_iter + 1):
            q = np.linalg.qr(q)[0]  # without it all columns would turn to the first singular vector
            z, sums, column_sums = summed(partial(_power, q.astype(np.float32)), parts, size=work)
            m = means.subtract_from(sums[:, None])[:, 0] / n_units
            if spatial:
                z -= np.outer(m, column_sums)  # (H X - m 1') X' q: m times the sums over units of X' q
            q = means.subtract_from(_require_finite(z))
        q = np.linalg.qr(q)[0]
    # B = Q' X, (component, unit), layer by layer
    projected = each(partial(_project, q.astype(np.float32), run_of), parts, size=work, products=True)
    blocks, squares = zip(*projected, strict=True)
    total = float(sum(squares))
    if spatial:  # rows centred over units: Q' m off every column of B, and n_units |m|^2 off the sum of squares
        blocks = [block - (q.T @ m)[:, None].astype(np.float32) for block in blocks]
        total -= n_units * float(m @ m)
    right = np.concatenate(blocks, axis=1)
    # the singular value decomposition of the wide B by way of the small B B' = W S^2 W'
    covariance = sum((block @ block.T).astype(np.float64) for block in blocks)
    values, vectors = np.linalg.eigh(np.asarray(covariance))
    values = values[::-1]
    vectors = vectors[:, ::-1]
    # products are float32: what is below their precision is rounding, and no direction of the data
    solid = values > 1e-7 * values[0] if values[0] > 0 else np.zeros(size, dtype=bool)
    if solid.sum() < n_components:
        raise InputError(
            f"the activations vary in {int(solid.sum())} directions only, {n_components} networks need as many; "
            "most units are constant or copies of others. Ask for fewer networks"
        )
    values = values[solid]
    vectors = vectors[:, solid]
    singular = np.sqrt(values)
    right = (vectors / singular).T.astype(np.float32) @ right  # V = S^-1 W' B
    return Reduced(q @ vectors, singular, right, run_of, total)  # U = Q W


@dataclass(frozen=True, eq=False)
class RecordedLayer:
    """One layer of a recording, as blocks of units over all rows kept; it holds nothing else, for workers get it.

    Of runs on disk it holds the places, which are mapped for the time of a read: a recording may have more runs than a
    process may hold files open.
    """

    arrays: Sequence[np.ndarray | HalfArray | StoredTensor]
    layer: int
    kept: Sequence[Bool[np.ndarray, " _"]]
    preparation: Preparation
    shuffle: int | None = None

    def blocks(self, *, raw: bool = False) -> Iterator[list[np.ndarray]]:
        """Prepared float32 blocks of units: one array with all rows, or one for each run.

        Where nothing is asked for and means are small, arrays are as they lie on disk, one for each run.

        Args:
            raw: Whether arrays are as they lie on disk in any case.
        """
        n_rows = sum(int(kept.sum()) for kept in self.kept)
        n_units = self.arrays[0].shape[1]
        step = max(64, _BLOCK_BYTES // (4 * max(n_rows, 1)))
        # few runs are mapped once, and their blocks are views; of many each is mapped for its own part of a block
        few = len(self.arrays) <= _RUNS_HELD_OPEN
        arrays: Sequence[Any] = [opened(array) for array in self.arrays] if few else self.arrays
        shifts = self._shifts(n_units)
        for first in range(0, n_units, step):
            units = slice(first, min(first + step, n_units))
            values = [
                _rows(opened(array), kept, units, copied=not few) for array, kept in zip(arrays, self.kept, strict=True)
            ]
            if shifts is not None:
                values = [_rotated(part, by[units]) for part, by in zip(values, shifts, strict=True)]
            yield values if raw else self._prepared(values, units)
        for array in arrays if few else ():
            hand_back(array)

    def _shifts(self, n_units: int) -> list[Int[np.ndarray, " unit"]] | None:
        """For each run by how many rows the course of every unit is rotated; None where nothing is shuffled."""
        if self.shuffle is None:
            return None
        # drawn for the layer as a whole, so that neither passes nor the size of blocks change them
        rng = np.random.default_rng([self.shuffle, self.layer, 0])
        return [rng.integers(max(int(kept.sum()), 1), size=n_units) for kept in self.kept]

    def _prepared(self, values: list[np.ndarray], units: slice) -> list[np.ndarray]:
        preparation = self.preparation
        if preparation.plain and not any(_far_from_zero(part) for part in values):
            return values  # uncentred: the thin side of every product is centred instead
        # Centred within runs, but the spread is one over all rows: a quiet run stays quiet. Medians were measured
        # before, which neither a rotation in time nor the other runs of an analysis change; means cost little.
        spread = None
        if preparation.standardize == "robust":
            if preparation.run_centres is None:
                centres, spread = centres_and_spread(values, robust=True)
            else:
                assert preparation.spread is not None
                centres, spread = preparation.run_centres[:, units], preparation.spread[units]
        else:
            centres = [part.mean(axis=0, dtype=np.float64).astype(np.float32) for part in values]
        centred = np.empty((sum(map(len, values)), values[0].shape[1]), np.float32)
        first = 0
        for part, centre in zip(values, centres, strict=True):
            np.subtract(part, centre, out=centred[first : first + len(part)])
            first += len(part)
        if preparation.plain:
            return [centred]
        if spread is None:
            spread = at_least_precision(centred.std(axis=0, ddof=1, dtype=np.float64))
        if preparation.clip is not None:
            np.clip(centred, -preparation.clip * spread, preparation.clip * spread, out=centred)
        if preparation.standardize:
            centred /= spread
        return [centred]


def _of_runs(preparation: Preparation, numbers: Sequence[int]) -> Preparation:
    """The preparation of some runs: its centres of these runs."""
    centres = preparation.run_centres
    return preparation if centres is None else replace(preparation, run_centres=centres[list(numbers)])


@dataclass(frozen=True, eq=False)
class _RunMeans:
    """Takes the mean of every run off the columns of a thin matrix: the product with H."""

    run_of: Int[np.ndarray, " row"]

    def subtract_from(self, thin: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
        """A float64 copy of the matrix, every column centred within runs."""
        out = np.array(thin, dtype=np.float64)
        for run in np.unique(self.run_of):
            out[self.run_of == run] -= out[self.run_of == run].mean(0)
        return out


def _rows(array: np.ndarray | HalfArray, kept: Bool[np.ndarray, " row"], units: slice, *, copied: bool) -> np.ndarray:
    values = np.asarray(array[:, units], dtype=np.float32)
    if copied and place_of(values):
        values = np.array(values)  # a view of a map would hold its file open
    return values if kept.all() else values[kept]  # a mask always copies, which whole runs need not


def _rotated(values: Float[np.ndarray, "row unit"], shift: Int[np.ndarray, " unit"]) -> Float[np.ndarray, "row unit"]:
    """Every column rotated in time by an amount of its own."""
    n = len(values)
    # row t of unit u becomes row (t + shift of u) modulo n
    return np.take_along_axis(values, (np.arange(n)[:, None] + shift) % max(n, 1), 0)


def _far_from_zero(values: Float[np.ndarray, "row unit"]) -> bool:
    """Whether any unit's mean is so many times its spread that float32 products would lose the spread."""
    first_rows = values[:64].astype(np.float64)  # enough for an order of magnitude
    squared_mean = np.square(first_rows.mean(0))
    variance = np.square(first_rows).mean(0) - squared_mean
    # 1e-60: a unit that is always 0 is not far from it
    return bool((squared_mean > _MAX_MEAN_IN_SPREADS**2 * variance + 1e-60).any())


def _gram(part: RecordedLayer) -> tuple[np.ndarray, np.ndarray]:
    """X X' (row, row) and the sums of rows X 1, of the units of a layer."""
    gram = 0.0
    sums = 0.0
    for parts in part.blocks():
        wide = np.concatenate(parts, dtype=np.float64)  # affordable where rows are few; nothing is lost in the squares
        gram = gram + wide @ wide.T
        sums = sums + wide.sum(1)
    return np.asarray(gram), np.asarray(sums)


def _with_row_slices(parts: list[np.ndarray]) -> Iterator[tuple[slice, Float[np.ndarray, "some unit"]]]:
    """Each array of a block, after the slice of the rows that it holds."""
    first = 0
    for x in parts:
        yield slice(first, first + len(x)), x
        first += len(x)


def _power(q: Float[np.ndarray, "row component"], part: RecordedLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X X' q, the sums of rows X 1, and the sums over units 1' X' q, of the units of a layer."""
    z = np.zeros(q.shape)
    sums = np.zeros(len(q))
    columns = np.zeros(q.shape[1])
    for parts in part.blocks():
        # y = [X' q, 1]: the column of ones makes X y give the sums of rows too, in the same product
        y = np.ones((parts[0].shape[1], q.shape[1] + 1), dtype=np.float32)
        y[:, :-1] = sum(x.T @ q[rows] for rows, x in _with_row_slices(parts))  # over all runs before the way back
        for rows, x in _with_row_slices(parts):
            product = x @ y
            z[rows] += product[:, :-1]
            sums[rows] += product[:, -1]
        columns += y[:, :-1].sum(0, dtype=np.float64)
    return z, sums, columns


def _project(
    q: Float[np.ndarray, "row component"], run_of: Int[np.ndarray, " row"], part: RecordedLayer
) -> tuple[Float[np.ndarray, "component unit"], float]:
    """q' X, and the sum of squares of X less the mean of every run, of the units of a layer."""
    found = []
    squares = 0.0
    for parts in part.blocks():
        found.append(sum(q[rows].T @ x for rows, x in _with_row_slices(parts)))  # q is centred within runs: so is q' X
        for rows, x in _with_row_slices(parts):
            squares += float(np.einsum("tn,tn->n", x, x).sum(dtype=np.float64))
            # sum (x - mean)^2 = sum x^2 - (sum x)^2 / n, run by run; an array may hold several runs, one after another
            ends = [0, *(np.flatnonzero(np.diff(run_of[rows])) + 1).tolist(), len(x)]
            for first, stop in pairwise(ends):
                squares -= float(np.square(x[first:stop].sum(0), dtype=np.float64).sum()) / max(stop - first, 1)
    return np.concatenate(found, axis=1), squares


def _require_finite(array: np.ndarray) -> np.ndarray:
    """The array itself; an error if any of its values is not finite."""
    if not np.isfinite(array).all():
        raise InputError(
            "the activations hold values that are not finite, or too large for float32; leave those rows out"
        )
    return array
