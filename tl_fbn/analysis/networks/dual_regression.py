"""Dual regression: an atlas in a single sample, too short to be decomposed by itself.

First every row is regressed on the maps, which gives the networks' courses in the sample; then every unit is regressed on those courses, which
gives the sample's own maps (Beckmann et al. 2009). Rows are few and units many, so the first step is well posed where an ICA of the
sample is not; the second needs more rows than networks.

It is circular: in noise too, a returned map resembles the template it came from, about sqrt(rows / (rows + units)). Compare with
shuffled templates, as :mod:`.recurrence` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording, Run
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import Atlas, UnitMap, UnitSpace, html_table
from tl_fbn.units.result import Result

Samples = Literal["run", "block", "prompt"]


@dataclass(frozen=True, eq=False)
class SampleMaps(Result, step="comparison"):
    """The networks of an atlas as they are in single samples.

    Args:
        space: The units.
        names: Networks.
        table: One line a sample: run, sample, rows, trial_type.
        maps: (sample, network, unit) slopes of units on standardized courses, in units of the activations.
        skipped: Samples left out because they were too short.
        provenance: Recording and atlas.
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
        """One sample's maps as an atlas; as many members a network as z above 3 gives."""
        maps = self.maps[sample]
        z = (maps - maps.mean(1, keepdims=True)) / np.where(maps.std(1) > 0, maps.std(1), 1.0)[:, None]
        about = {**self.provenance, "sample": int(sample)}
        networks = {}
        for name, one in zip(self.names, z, strict=True):
            n = max(1, int((np.abs(one) >= 3).sum()))
            networks[name] = UnitMap(self.space, one, "z", about).top(n, two_sided=True, name=name)
        return Atlas(self.space, networks, z.astype(np.float32), provenance=about)

    def __len__(self) -> int:
        return len(self.maps)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a sample."""
        return self.table

    def _methods_(self) -> list[str]:
        return [
            f"Maps of {len(self.names)} networks in {len(self)} single {self.provenance.get('samples', 'sample')}s came from dual regression "
            f"({self.skipped} too short)."
        ]

    def __repr__(self) -> str:
        left_out = f", {self.skipped} too short" if self.skipped else ""
        return f"SampleMaps of {len(self.names)} networks in {len(self)} samples{left_out}: {self.space.describe()}"

    def _repr_html_(self) -> str:
        return html_table(
            repr(self), tuple(self.table), [tuple(row) for row in self.table.head(10).itertuples(index=False)]
        )


def dual_regression(recording: Recording, atlas: Atlas, *, samples: Samples = "run") -> SampleMaps:
    """The maps of an atlas in every sample of a recording.

    ::

        maps = fbn.networks.dual_regression(other_recording, atlas, samples="prompt")

    Args:
        recording: Activations.
        atlas: With maps.
        samples: ``"run"``, ``"block"`` or ``"prompt"``. Those with no more rows than networks and one are left out, and counted.

    Raises:
        InputError: An atlas without maps or of another space, or no sample that is long enough.
    """
    one_of(samples, Samples, "samples")
    courses = time_courses(recording, atlas, how="regression")
    lines = []
    maps = []
    skipped = 0
    for number, (run, course) in enumerate(zip(recording, courses, strict=True)):
        found = samples_of(run, samples)
        long = [(label, rows) for label, rows in found if rows.stop - rows.start > len(atlas) + 1]
        skipped += len(found) - len(long)
        own = np.zeros((len(long), len(atlas), recording.space.n_units), dtype=np.float32)
        inverses = [_inverse(np.asarray(course.layer(0))[rows]) for _, rows in long]
        for layer, array in run.layers.items():
            for i, ((_, rows), inverse) in enumerate(zip(long, inverses, strict=True)):
                own[i, :, run.space.layer_slice(layer)] = inverse @ np.asarray(array[rows], dtype=np.float64)
        maps.append(own)
        kinds = run.rows.get("trial_type")
        for label, rows in long:
            kind = "" if kinds is None or samples == "run" else str(kinds.iloc[rows.start])
            lines.append((number, label, rows.stop - rows.start, kind))
    if not lines:
        raise InputError(
            f"none of {skipped} samples has more than {len(atlas) + 1} rows, which {len(atlas)} networks need; take longer samples "
            '("block", "run") or fewer networks'
        )
    table = pd.DataFrame(lines, columns=["run", "sample", "rows", "trial_type"])
    about = {**recording.provenance, "atlas": dict(atlas.provenance), "samples": samples}
    return SampleMaps(recording.space, tuple(atlas), table, np.concatenate(maps), skipped, about)


def samples_of(run: Run, samples: Samples) -> list[tuple[str, slice]]:
    """Names and rows of the samples of a run."""
    if samples == "run":
        return [("run", slice(0, run.n_rows))]
    if samples == "block":
        return [(f"{kind} {i}", rows) for i, (kind, rows) in enumerate(run.blocks())]
    if "prompt" not in run.rows:
        raise InputError('samples="prompt" needs the column prompt of the row table; take "block" or "run"')
    starts = np.flatnonzero(run.segment_starts)
    names = run.rows["prompt"].iloc[starts]
    stops = [*starts[1:], run.n_rows]
    return [(str(name), slice(int(a), int(b))) for name, a, b in zip(names, starts, stops, strict=True)]


def _inverse(courses: Float[np.ndarray, "row network"]) -> Float[np.ndarray, "network row"]:
    """Takes activations to slopes on courses of mean 0 and sd 1."""
    centred = courses - courses.mean(0)
    spread = centred.std(0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    return np.linalg.pinv(scaled)
