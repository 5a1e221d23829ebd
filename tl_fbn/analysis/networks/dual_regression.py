"""Dual regression: the maps of an atlas in a single sample that is too short to be decomposed by itself.

A sample is a run, a block or a prompt. Two regressions follow each other (Beckmann et al. 2009), for activations Y
(row, unit) of the sample and maps M (network, unit) of the atlas:

1. every row of Y on all maps together, which gives the time course of each network in the sample, C (row, network):
   ``C = Y pinv(M)``, with every map less its mean over units;
2. every unit of Y on all courses together, which gives the sample's own maps (network, unit): ``pinv(C) Y``, with
   courses of mean 0 and standard deviation 1 over the rows of the sample.

Rows are few and units many, so the first step is well posed where an independent component analysis of the sample is
not. The second step needs more rows than networks. The sample's maps are in units of the activations: by how much a
unit changes with one standard deviation of a course.

Activations are prepared as those of the atlas were (:mod:`.prepared`), and rows that it leaves out take no part.

The method is circular: in noise too, a map that it returns resembles the map it came from, with a correlation of about
``sqrt(rows / (rows + units))``. Compare with shuffled maps, as :mod:`.recurrence` does.

Cost: the time courses once, then one product (network, row) x (row, unit) for each sample. Memory: all sample maps in
float32, ``4 * samples * networks * units`` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.prepared import laid_on
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, InputIndexError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, UnitMap, UnitSpace, html_table
from tl_fbn.units.result import Result

Samples = Literal["run", "block", "prompt"]


@dataclass(frozen=True, eq=False)
class SampleMaps(Result, step="comparison"):
    """The maps of an atlas' networks in single samples: runs, blocks or prompts.

    >>> found = fbn.networks.dual_regression(recording, atlas, samples="block")
    >>> found.maps.shape
    (24, 8, 1152)
    >>> found.to_dataframe().head(2)
       run     sample  rows trial_type
    0    0     sort 0    59       sort
    1    0  reverse 1    59    reverse

    Args:
        space: Space of the units: site, and width of every layer.
        names: Names of the networks, in the order of the second axis of ``maps``.
        table: One line a sample: run, sample (its name within the run), rows (how many took part), trial_type
            (condition of its first row; empty where samples are runs or the recording has no table of rows).
        maps: (sample, network, unit) slopes of units on courses of standard deviation 1, in units of the activations
            (spreads, where the atlas has scaled them).
        skipped: Number of samples that were left out because they have too few rows.
        provenance: Where the maps came from: recording, provenance of the atlas, and kind of sample.
    """

    space: UnitSpace
    names: tuple[str, ...]
    table: pd.DataFrame
    maps: Float[np.ndarray, "sample network unit"]
    skipped: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("skipped",)
    _measured_ = ("skipped",)

    def __getitem__(self, sample: int) -> Atlas:
        """One sample's maps as an atlas, z-scored over units.

        Members of a network are its units with \\|z\\| of 3 or more. A network without such a unit gets the one of
        largest \\|z\\|.

        Args:
            sample: Number of the sample, from 0.

        Raises:
            InputIndexError: There is no such sample.
        """
        if not -len(self.maps) <= whole_number(sample, "sample") < len(self.maps):
            raise InputIndexError(f"sample {sample} is not among these maps; samples: 0 to {len(self.maps) - 1}")
        maps = self.maps[sample]
        # a map that is constant over units stays 0
        z = (maps - maps.mean(1, keepdims=True)) / np.where(maps.std(1) > 0, maps.std(1), 1.0)[:, None]
        about = {**self.provenance, "sample": int(sample)}
        networks = {}
        for name, one in zip(self.names, z, strict=True):
            n = max(1, int((np.abs(one) >= 3).sum()))  # a network without a unit would have no time course
            networks[name] = UnitMap(self.space, one, "z", about).top(n, two_sided=True, name=name)
        return Atlas(self.space, networks, z.astype(np.float32), provenance=about)

    def __len__(self) -> int:
        return len(self.maps)

    def to_dataframe(self) -> pd.DataFrame:
        """The table of samples, one line a sample: run, sample, rows, trial_type."""
        return self.table

    def _methods_(self) -> list[str]:
        return [
            f"Maps of {len(self.names)} networks in {len(self)} single {self.provenance.get('samples', 'sample')}s "
            f"came from dual regression ({self.skipped} too short)."
        ]

    def __repr__(self) -> str:
        left_out = f", {self.skipped} too short" if self.skipped else ""
        return f"SampleMaps of {len(self.names)} networks in {len(self)} samples{left_out}: {self.space.describe()}"

    def _repr_html_(self) -> str:
        return html_table(
            repr(self), tuple(self.table), [tuple(row) for row in self.table.head(10).itertuples(index=False)]
        )


@checked
def dual_regression(recording: Recording, atlas: Atlas, *, samples: Samples = "run") -> SampleMaps:
    """The maps of an atlas in every sample of a recording.

    The networks of an atlas, in texts that it was not found on:

    >>> texts = {name: fbn.prompts(name, seed=1) for name in tasks}
    >>> other = fbn.block_design(texts, n_runs=2, n_cycles=2, seed=1)
    >>> later = fbn.Scanner(model).scan(other, "recordings/later", progress=False)
    >>> found = fbn.networks.dual_regression(later, atlas, samples="prompt")
    >>> found
    SampleMaps of 8 networks in 48 samples, 7 too short: tl_fbn-demo mlp.neurons (3 x 384)
    >>> list(found[0])[:2]  # the maps of the first prompt as an atlas
    ['N00', 'N01']

    Args:
        recording: Activations of one site, as they were recorded.
        atlas: Networks of the recording's space, with maps. The preparation that it keeps is applied.
        samples: What a sample is: ``"run"``, ``"block"`` (consecutive rows of one condition) or ``"prompt"`` (as far as
            its block showed it). A sample needs at least two rows more than there are networks; shorter ones are left
            out and counted.

    Returns:
        The maps of every sample that is long enough, in the order of rows.

    Raises:
        InputError: An atlas without maps or of another space, no sample that is long enough, or prompts asked of a
            recording whose table of rows has none.
    """
    one_of(samples, Samples, "samples")
    courses = time_courses(recording, atlas, how="regression")
    laid, kept = laid_on(recording, atlas.preparation, compared=True)  # by the courses
    lines = []
    maps = []
    skipped = 0
    for number, (run, course, mask) in enumerate(zip(laid, courses, kept, strict=True)):
        found = samples_of(run, samples)
        # centring takes one degree of freedom, the courses one each, and one must be left
        long = [(label, rows) for label, rows in found if mask[rows].sum() > len(atlas) + 1]
        skipped += len(found) - len(long)
        maps_of_run = np.zeros((len(long), len(atlas), recording.space.n_units), dtype=np.float32)
        inverses = [_inverse_of_courses(np.asarray(course.layer(0))[rows][mask[rows]]) for _, rows in long]
        # layers outside, samples inside: each layer of a recording on disk is opened once
        for layer, array in run.layers.items():
            for i, ((_, rows), inverse) in enumerate(zip(long, inverses, strict=True)):
                # second regression, pinv(C) Y: slopes of all units of the layer in one product
                y = np.asarray(array[rows], dtype=np.float64)
                # rows that the atlas leaves out take no part; a mask of all rows would copy them
                y = y if mask[rows].all() else y[mask[rows]]
                maps_of_run[i, :, run.space.layer_slice(layer)] = inverse @ y
        maps.append(maps_of_run)
        kinds = run.rows.get("trial_type")
        for label, rows in long:
            kind = "" if kinds is None or samples == "run" else str(kinds.iloc[rows.start])
            lines.append((number, label, int(mask[rows].sum()), kind))
    if not lines:
        raise InputError(
            f"none of {skipped} samples has more than {len(atlas) + 1} rows, which {len(atlas)} networks need; take "
            'longer samples ("block", "run") or fewer networks'
        )
    table = pd.DataFrame(lines, columns=["run", "sample", "rows", "trial_type"])
    about = {**recording.provenance, "atlas": dict(atlas.provenance), "samples": samples}
    return SampleMaps(recording.space, tuple(atlas), table, np.concatenate(maps), skipped, about)


def samples_of(run: Run, samples: Samples) -> list[tuple[str, slice]]:
    """Names and rows of the samples of a run.

    Args:
        run: A run of any recording.
        samples: What a sample is: ``"run"`` (all rows), ``"block"`` (one line of the events) or ``"prompt"`` (rows that
            share one context).

    Returns:
        For every sample, in the order of rows, its name (``run``, condition and number of the block, or what the table
        of rows calls the prompt) and the slice of its rows.

    Raises:
        InputError: Prompts are asked for, and the table of rows has no column ``prompt``.
    """
    if samples == "run":
        return [("run", slice(0, run.n_rows))]
    if samples == "block":
        return [(f"{kind} {i}", rows) for i, (kind, rows) in enumerate(run.blocks())]
    if "prompt" not in run.rows:
        raise InputError('samples="prompt" needs the column prompt of the row table; take "block" or "run"')
    starts = np.flatnonzero(run.segment_starts)
    names = run.rows["prompt"].iloc[starts]
    stops = [*starts[1:], run.n_rows]  # a prompt ends where the next one starts
    return [(str(name), slice(int(a), int(b))) for name, a, b in zip(names, starts, stops, strict=True)]


def _inverse_of_courses(courses: Float[np.ndarray, "row network"]) -> Float[np.ndarray, "network row"]:
    """The matrix whose product with activations is their slopes on the courses, scaled to mean 0 and deviation 1."""
    # Y need not be centred: the rows of this matrix add up to 0, so that a unit's mean drops out
    centred = courses - courses.mean(0)
    spread = centred.std(0)
    scaled = centred / np.where(spread > 0, spread, 1.0)  # a constant course stays 0, and so do its slopes
    return np.linalg.pinv(scaled)
