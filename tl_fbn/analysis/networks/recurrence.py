"""Do networks come back in single samples? S0's count, with the chance it lacks.

    recurrence(recording, atlas, threshold=0.2, seed=0).to_dataframe()

A network recurs in a sample if some map of the sample, cut to as many units as the network has, shares with it more than ``threshold`` of
the units of either (intersection over union). Sample maps come from

- ``method="dual"`` (default): dual regression, one map a network, for samples of any length above the number of networks;
- ``method="ica"``: an ICA of every sample by itself (S0), whose maps may all count.

Chance: the same with templates whose units are shuffled within layers, all templates together, through the same pipeline. It matters: dual regression is
circular, and finds something of any template in noise. ``p`` is the share of shuffles with as high a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.ica.find_networks import find_networks
from tl_fbn.analysis.networks.dual_regression import Samples, dual_regression, samples_of
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError, InputTypeError, one_of
from tl_fbn.units import Atlas, Network, html_table
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA
from tl_fbn.units.result import Result

RecurrenceMethod = Literal["dual", "ica"]


@dataclass(frozen=True, eq=False)
class Recurrence(Result, step="comparison", picture="recurrence"):
    """How often networks come back.

    Args:
        names: Networks.
        counts: (network,) maps of samples that exceed the threshold.
        samples: (network,) samples with at least one.
        n_samples: Samples looked at.
        null: (shuffle, network) counts of shuffled templates.
        threshold: Intersection over union that counts.
        method: ``"dual"`` or ``"ica"``.
        skipped: Samples too short.
        provenance: Recording and atlas.
    """

    names: tuple[str, ...]
    counts: Int[np.ndarray, " network"]
    samples: Int[np.ndarray, " network"]
    n_samples: int
    null: Int[np.ndarray, "shuffle network"]
    threshold: float
    method: RecurrenceMethod
    skipped: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("method", "threshold", "n_samples", "skipped")
    _measured_ = ("n_samples", "skipped")

    @property
    def p(self) -> Float[np.ndarray, " network"]:
        """Share of shuffles with as high a count, the observed one among them."""
        return (1.0 + (self.null >= self.counts).sum(0)) / (1.0 + len(self.null))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network: network, count, samples, n_samples, expected (mean of shuffles), p."""
        columns = {"network": self.names, "count": self.counts, "samples": self.samples, "n_samples": self.n_samples}
        return pd.DataFrame({**columns, "expected": self.null.mean(0), "p": self.p})

    def _methods_(self) -> list[str]:
        kind = self.provenance.get("samples", "sample")
        how = "dual regression" if self.method == "dual" else "an independent component analysis"
        return [
            f"Recurrence of {len(self.names)} networks was counted in {self.n_samples} {kind}s ({self.skipped} too short) by {how} of each; a network "
            f"came back where intersection over union exceeded {self.threshold:g}. Chance: {len(self.null)} templates shuffled within layers; {P_FORMULA}; seed "
            f"{self.provenance.get('seed', NOT_RECORDED)}."
        ]

    def __repr__(self) -> str:
        skipped = f", {self.skipped} too short" if self.skipped else ""
        kind = self.provenance.get("samples", "sample")
        return (
            f"Recurrence of {len(self.names)} networks in {self.n_samples} {kind}s{skipped} ({self.method}, IoU above {self.threshold:g}): "
            f"{int((self.p < 0.05).sum())} come back more often than by chance (p < .05)"
        )

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        columns = (table[name] for name in ("network", "count", "samples", "expected", "p"))
        rows = [
            (name, count, f"{some} of {self.n_samples}", f"{chance:.2f}", f"{p:.3g}")
            for name, count, some, chance, p in zip(*columns, strict=True)
        ]
        return html_table(repr(self), ("network", "count", "samples", "by chance", "p"), rows)


def recurrence(
    recording: Recording | Atlas,
    atlas: Atlas | Recording,
    *,
    seed: int,
    threshold: float = 0.2,
    method: RecurrenceMethod = "dual",
    samples: Samples | None = None,
    n_components: int | None = None,
    n_null: int = 99,
    progress: bool = True,
) -> Recurrence:
    """Count how often the networks of an atlas come back in single samples.

    ::

        back = fbn.recurrence(other_recording, atlas, seed=0)
        back.to_dataframe()

    Args:
        recording: Activations in the space of the atlas.
        atlas: Networks, with maps; found on other texts than these, or their coming back says nothing. The two are told apart by
            what they are, so that either may come first.
        seed: Seed of the shuffles of templates and of the ICAs of single samples.
        threshold: Intersection over union that counts, S0's 0.2 by default.
        method: ``"dual"`` or ``"ica"``.
        samples: ``"prompt"``, ``"block"`` or ``"run"``; by default the finest of which half are long enough.
        n_components: With ``"ica"``: networks a sample; as many as the atlas has by default.
        n_null: Shuffles.
        progress: Show a bar.

    Raises:
        InputError: Spaces that differ, no sample long enough, or options out of range.
    """
    recording, atlas = _told_apart(recording, atlas)
    atlas.space.require_same(recording.space, "look for an atlas in")
    one_of(method, RecurrenceMethod, "method")
    if n_null < 1:
        raise InputError(f"n_null={n_null} gives no chance level; give at least 19, better 99")
    if not 0 < threshold < 1:
        raise InputError(f"threshold={threshold} is no share of units; give a number between 0 and 1, e.g. 0.2")
    if samples is None:
        samples = _finest(recording, (n_components or len(atlas)) if method == "ica" else len(atlas))
    rng = np.random.default_rng(seed)
    templates = np.array([one.members for one in atlas.values()])
    if method == "dual":
        found = dual_regression(recording, atlas, samples=samples)
        hits = _dual_hits(found.maps, templates, threshold)
        n_samples = len(found)
        skipped = found.skipped
        null = []
        for _ in tqdm(range(n_null), desc="recurrence by chance", disable=not progress):
            order = shuffle_within_layers(atlas.space, rng)
            moved = _shuffled(atlas, order)
            again = dual_regression(recording, moved, samples=samples)
            null.append(_dual_hits(again.maps, templates[:, order], threshold).sum((0, 1)))
    else:
        masks, skipped = _single(recording, atlas, samples, n_components or len(atlas), seed)
        n_samples = len(masks)
        sizes = templates.sum(1)
        cut = [_cut(sample, sizes) for sample in masks]
        hits = np.array([_iou(one, templates) > threshold for one in cut])
        null = []
        for _ in tqdm(range(n_null), desc="recurrence by chance", disable=not progress):
            moved_templates = templates[:, shuffle_within_layers(atlas.space, rng)]
            null.append(np.array([_iou(one, moved_templates) > threshold for one in cut]).sum((0, 1)))
    about = {**recording.provenance, "atlas": dict(atlas.provenance), "seed": seed, "samples": samples}
    return Recurrence(
        tuple(atlas),
        hits.sum((0, 1)),
        hits.any(1).sum(0),
        n_samples,
        np.array(null, dtype=int).reshape(n_null, len(atlas)),
        float(threshold),
        method,
        skipped,
        about,
    )


def _told_apart(first: Any, second: Any) -> tuple[Recording, Atlas]:
    """The recording and the atlas, whichever came first."""
    if isinstance(first, Atlas):
        first, second = second, first
    if not isinstance(first, Recording) or not isinstance(second, Atlas):
        raise InputTypeError(
            f"recurrence looks for an atlas in a recording; got {type(first).__name__} and {type(second).__name__}"
        )
    return first, second


def _finest(recording: Recording, n_networks: int) -> Samples:
    """The shortest kind of sample of which half have rows enough."""
    kinds: tuple[Samples, ...] = ("prompt", "block", "run")
    for kind in kinds:
        if kind == "prompt" and any("prompt" not in run.rows for run in recording):
            continue
        lengths = [rows.stop - rows.start for run in recording for _, rows in samples_of(run, kind)]
        if lengths and np.mean(np.array(lengths) > n_networks + 1) >= 0.5:
            return kind
    return "run"


def _shuffled(atlas: Atlas, order: np.ndarray) -> Atlas:
    maps = np.asarray(atlas.maps)[:, order]
    networks = {name: Network(atlas.space, one.members[order], name=name) for name, one in atlas.items()}
    return Atlas(atlas.space, networks, maps)


def _dual_hits(
    maps: Float[np.ndarray, "sample network unit"], templates: Bool[np.ndarray, "network unit"], threshold: float
) -> Bool[np.ndarray, "sample one network"]:
    """Whether each network's own map in each sample shares enough with it."""
    hits = np.zeros((len(maps), 1, len(templates)), dtype=bool)
    for j, template in enumerate(templates):
        if template.any():
            hits[:, 0, j] = _shared(_largest(maps[:, j], int(template.sum())), template) > threshold
    return hits


def _largest(maps: Float[np.ndarray, "map unit"], n: int) -> Bool[np.ndarray, "map unit"]:
    """The n units of largest magnitude of every map, and what ties with the last of them."""
    sizes = np.abs(maps)
    return sizes >= np.partition(sizes, sizes.shape[1] - n, axis=1)[:, [sizes.shape[1] - n]]


def _shared(masks: Bool[np.ndarray, "map unit"], template: Bool[np.ndarray, " unit"]) -> Float[np.ndarray, " map"]:
    """Intersection over union with a template."""
    shared = (masks & template).sum(1)
    return shared / np.maximum(masks.sum(1) + template.sum() - shared, 1)


def _single(
    recording: Recording, atlas: Atlas, samples: Samples, n_components: int, seed: int
) -> tuple[list[Float[np.ndarray, "map unit"]], int]:
    """Maps of an ICA of every sample by itself."""
    found = []
    skipped = 0
    for run in recording:
        for _, rows in samples_of(run, samples):
            if rows.stop - rows.start <= n_components + 1:
                skipped += 1
                continue
            alone = find_networks(_part(recording, run, rows), n_components, n_restarts=1, seed=seed, progress=False)
            found.append(np.asarray(alone.maps))
    if not found:
        raise InputError(
            f"none of {skipped} samples has more than {n_components + 1} rows, which an ICA of {n_components} networks needs; take longer samples "
            '("block", "run"), fewer networks, or method="dual"'
        )
    return found, skipped


def _part(recording: Recording, run: Run, rows: slice) -> Recording:
    layers = {layer: np.asarray(array[rows]) for layer, array in run.layers.items()}
    events = pd.DataFrame({"onset": [0], "duration": [rows.stop - rows.start], "trial_type": ["sample"]})
    part = Run(
        run.space,
        layers,
        dict(run.about),
        None,
        {"events": events, "rows": pd.DataFrame(index=range(rows.stop - rows.start))},
    )
    return Recording((run.space,), ((part,),), recording.about)


def _cut(
    maps: Float[np.ndarray, "map unit"], sizes: Int[np.ndarray, " network"]
) -> Bool[np.ndarray, "network map unit"]:
    """Every map cut to the size of every network."""
    return np.array([_largest(maps, int(n)) if n else np.zeros(maps.shape, dtype=bool) for n in sizes])


def _iou(
    cut: Bool[np.ndarray, "network map unit"], templates: Bool[np.ndarray, "network unit"]
) -> Float[np.ndarray, "map network"]:
    return np.column_stack([_shared(masks, template) for masks, template in zip(cut, templates, strict=True)])
