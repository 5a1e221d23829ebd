"""Do networks come back in single samples? The count of Liu et al. (2025), with the chance that it lacks.

::

    fbn.recurrence(recording, atlas, threshold=0.2, seed=0).to_dataframe()

A sample is a prompt, a block or a run. Maps are computed in it, and each map is cut to as many units as a network has,
those of largest magnitude. The network comes back in the sample if the units of some map and its own have an
intersection over union (IoU) above ``threshold``:

    IoU = units in both / units in either

Maps of a sample come from

- ``method="dual"`` (default): dual regression (:mod:`.dual_regression`), one map for each network, which alone is
  compared with it; for samples of any length above the number of networks;
- ``method="ica"``: an independent component analysis of every sample by itself, as Liu et al. do. All of its maps are
  compared with every network, so that several may count in one sample.

Chance is the same count for templates (the networks, with their maps) whose units are shuffled within layers, the same
shuffle for all, put through the same pipeline. It matters: dual regression is circular, and finds something of any
template in noise. The p of a network is ``(1 + shuffles with at least its count) / (1 + shuffles)``, and is not
corrected for the number of networks.

Cost: with ``"dual"`` a dual regression of the recording for every shuffle; with ``"ica"`` one decomposition for every
sample, and shuffles are cheap.
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
from tl_fbn.analysis.ica.find_networks import NetworkOptions, find_networks
from tl_fbn.analysis.ica.reduction import kept_rows
from tl_fbn.analysis.networks.dual_regression import Samples, dual_regression, samples_of
from tl_fbn.analysis.networks.prepared import laid_on
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError, InputTypeError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, html_table
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA
from tl_fbn.units.result import Result

RecurrenceMethod = Literal["dual", "ica"]


# One restart: stability is of no interest in a sample, only the maps are. Its activations are prepared as those of the
# atlas were, and not once more by the few rows that there are.
_OF_A_SAMPLE: NetworkOptions = {
    "n_restarts": 1,
    "standardize": False,
    "drop_first": 0,
    "clip": None,
    "progress": False,
}


@dataclass(frozen=True, eq=False)
class Recurrence(Result, step="comparison", picture="recurrence"):
    """How often the networks of an atlas come back in single samples.

    >>> texts = {name: fbn.prompts(name, seed=1) for name in tasks}  # not those that the atlas was found on
    >>> other = fbn.block_design(texts, n_runs=2, n_cycles=2, seed=1)
    >>> later = fbn.Scanner(model).scan(other, "recordings/later", progress=False)
    >>> found = fbn.recurrence(later, atlas, samples="block", n_null=19, seed=0, progress=False)
    >>> found.to_dataframe().head(2)
      network  count  samples  n_samples  expected     p
    0     N00      8        8         12       0.0  0.05
    1     N01      7        7         12       0.0  0.05

    Args:
        names: Names of the networks, in order.
        counts: (network,) number of maps, over all samples, that share more than the threshold with the network.
        samples: (network,) number of samples with at least one such map.
        n_samples: Number of samples that were long enough to be looked at.
        null: (shuffle, network) the same counts for networks whose units were shuffled within layers.
        threshold: Intersection over union, between 0 and 1, above which a network has come back.
        method: How maps of a sample were made: ``"dual"`` (dual regression) or ``"ica"`` (of every sample by itself).
        skipped: Number of samples that were left out because they have too few rows.
        provenance: Where the numbers came from: recording, atlas, kind of sample, and seed.
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
        """(network,) share of shuffles with a count at least as high, the observed one among them."""
        return (1.0 + (self.null >= self.counts).sum(0)) / (1.0 + len(self.null))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network: network, count, samples, n_samples, expected (mean count of shuffles), p."""
        columns = {"network": self.names, "count": self.counts, "samples": self.samples, "n_samples": self.n_samples}
        return pd.DataFrame({**columns, "expected": self.null.mean(0), "p": self.p})

    def _methods_(self) -> list[str]:
        kind = self.provenance.get("samples", "sample")
        how = "dual regression" if self.method == "dual" else "an independent component analysis"
        return [
            f"Recurrence of {len(self.names)} networks was counted in {self.n_samples} {kind}s ({self.skipped} too "
            f"short) by {how} of each; a network "
            f"came back where intersection over union exceeded {self.threshold:g}. Chance: {len(self.null)} templates "
            f"shuffled within layers; {P_FORMULA}; seed "
            f"{self.provenance.get('seed', NOT_RECORDED)}."
        ]

    def __repr__(self) -> str:
        skipped = f", {self.skipped} too short" if self.skipped else ""
        kind = self.provenance.get("samples", "sample")
        return (
            f"Recurrence of {len(self.names)} networks in {self.n_samples} {kind}s{skipped} ({self.method}, IoU above "
            f"{self.threshold:g}): "
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


@checked
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
    """Count how often the networks of an atlas come back in single samples, beside what chance gives.

    >>> texts = {name: fbn.prompts(name, seed=1) for name in tasks}  # not those that the atlas was found on
    >>> other = fbn.block_design(texts, n_runs=2, n_cycles=2, seed=1)
    >>> later = fbn.Scanner(model).scan(other, "recordings/later", progress=False)
    >>> fbn.recurrence(later, atlas, samples="block", method="ica", n_null=39, seed=0, progress=False)
    Recurrence of 8 networks in 12 blocks (ica, IoU above 0.2): 8 come back more often than by chance (p < .05)

    Args:
        recording: Activations of one site, as they were recorded, in the space of the atlas.
        atlas: Networks to look for, with maps if the method is ``"dual"``. The preparation that the atlas keeps is
            applied to the recording. They must have been found on other texts
            than the recording's, or their coming back says nothing. Recording and atlas may be given in either order.
        seed: Seed of the shuffles of templates and of the decompositions of single samples; the same seed gives the
            same result.
        threshold: Intersection over union, between 0 and 1, above which a network has come back. 0.2 is that of Liu et
            al. (2025).
        method: How maps of a sample are made: ``"dual"`` by dual regression on the atlas, ``"ica"`` by an independent
            component analysis of the sample itself.
        samples: What a sample is: ``"prompt"``, ``"block"`` or ``"run"``. By default the shortest of these of which at
            least half have rows enough, which is two more than there are networks.
        n_components: Number of networks that ``"ica"`` finds in a sample; as many as the atlas has by default.
        n_null: Number of shuffles, at least 1. The smallest possible p is ``1 / (1 + n_null)``.
        progress: Show a bar over shuffles.

    Returns:
        Counts of every network, with those of shuffled networks and p.

    Raises:
        InputError: Spaces that differ, no sample long enough, an atlas without maps (``"dual"``), or options out of
            range.
        InputTypeError: The two are not a recording and an atlas.
    """
    recording, atlas = _recording_and_atlas(recording, atlas)
    atlas.space.require_same(recording.space, "look for an atlas in")
    one_of(method, RecurrenceMethod, "method")
    if n_null < 1:
        raise InputError(f"n_null={n_null} gives no chance level; give at least 19, better 99")
    if not 0 < threshold < 1:
        raise InputError(f"threshold={threshold} is no share of units; give a number between 0 and 1, e.g. 0.2")
    if samples is None:
        n_maps = (n_components or len(atlas)) if method == "ica" else len(atlas)
        samples = _shortest_samples(recording, n_maps, 0 if atlas.preparation is None else atlas.preparation.drop_first)
    rng = np.random.default_rng(seed)
    templates = np.array([one.members for one in atlas.values()])  # (network, unit)
    # hits are (sample, map, network): whether a map of a sample shares enough with a network
    if method == "dual":
        found = dual_regression(recording, atlas, samples=samples)
        hits = _dual_hits(found.maps, templates, threshold)
        n_samples = len(found)
        skipped = found.skipped
        null = []
        for _ in tqdm(range(n_null), desc="recurrence by chance", disable=not progress):
            # the maps are moved with the members: sample maps depend on them, so all is computed again
            order = shuffle_within_layers(atlas.space, rng)
            again = dual_regression(recording, _shuffled_atlas(atlas, order), samples=samples)
            null.append(_dual_hits(again.maps, templates[:, order], threshold).sum((0, 1)))
    else:
        sample_maps, skipped = _ica_maps(recording, atlas, samples, n_components or len(atlas), seed)
        n_samples = len(sample_maps)
        sizes = templates.sum(1)
        cut = [_cut_to_sizes(maps, sizes) for maps in sample_maps]
        hits = np.array([_iou(masks, templates) > threshold for masks in cut])
        null = []
        for _ in tqdm(range(n_null), desc="recurrence by chance", disable=not progress):
            # sample maps do not depend on the templates, and shuffling keeps sizes: the cut maps serve again
            shuffled = templates[:, shuffle_within_layers(atlas.space, rng)]
            null.append(np.array([_iou(masks, shuffled) > threshold for masks in cut]).sum((0, 1)))
    about = {**recording.provenance, "atlas": dict(atlas.provenance), "seed": seed, "samples": samples}
    return Recurrence(
        tuple(atlas),
        hits.sum((0, 1)),  # counts: maps of all samples
        hits.any(1).sum(0),  # samples with at least one such map
        n_samples,
        np.array(null, dtype=int).reshape(n_null, len(atlas)),
        float(threshold),
        method,
        skipped,
        about,
    )


def _recording_and_atlas(first: Any, second: Any) -> tuple[Recording, Atlas]:
    """The recording and the atlas, whichever came first."""
    if isinstance(first, Atlas):
        first, second = second, first
    if not isinstance(first, Recording) or not isinstance(second, Atlas):
        raise InputTypeError(
            f"recurrence looks for an atlas in a recording; got {type(first).__name__} and {type(second).__name__}"
        )
    return first, second


def _shortest_samples(recording: Recording, n_networks: int, drop_first: int) -> Samples:
    """The shortest kind of sample of which at least half have rows enough."""
    kept = kept_rows(recording, drop_first)
    kinds: tuple[Samples, ...] = ("prompt", "block", "run")
    for kind in kinds:
        if kind == "prompt" and any("prompt" not in run.rows for run in recording):
            continue
        # rows needed: one for each network, one for the mean, and one to be left
        lengths = [
            mask[rows].sum() for run, mask in zip(recording, kept, strict=True) for _, rows in samples_of(run, kind)
        ]
        if lengths and np.mean(np.array(lengths) > n_networks + 1) >= 0.5:
            return kind
    return "run"  # longer samples there are none; if they are too short as well, an error says so later


def _shuffled_atlas(atlas: Atlas, order: np.ndarray) -> Atlas:
    """An atlas whose units are in another order, maps and members alike."""
    maps = np.asarray(atlas.maps)[:, order]
    networks = {name: Network(atlas.space, one.members[order], name=name) for name, one in atlas.items()}
    return Atlas(atlas.space, networks, maps, preparation=atlas.preparation)  # the data are prepared as before


def _dual_hits(
    maps: Float[np.ndarray, "sample network unit"], templates: Bool[np.ndarray, "network unit"], threshold: float
) -> Bool[np.ndarray, "sample one network"]:
    """Whether each network's own map in each sample shares enough with it; ``one`` is the only map that may count."""
    hits = np.zeros((len(maps), 1, len(templates)), dtype=bool)
    for j, template in enumerate(templates):
        if template.any():  # a network without members comes back nowhere
            hits[:, 0, j] = _iou_with(template, _largest(maps[:, j], int(template.sum()))) > threshold
    return hits


def _largest(maps: Float[np.ndarray, "map unit"], n: int) -> Bool[np.ndarray, "map unit"]:
    """The n units of largest magnitude of every map, and what ties with the last of them."""
    sizes = np.abs(maps)
    # partition puts the n-th largest at its place without sorting the others
    return sizes >= np.partition(sizes, sizes.shape[1] - n, axis=1)[:, [sizes.shape[1] - n]]


def _iou_with(template: Bool[np.ndarray, " unit"], masks: Bool[np.ndarray, "map unit"]) -> Float[np.ndarray, " map"]:
    """Intersection over union of one network with every mask."""
    shared = (masks & template).sum(1)
    # |A or B| = |A| + |B| - |A and B|; two empty sets have 0 / 1
    return shared / np.maximum(masks.sum(1) + template.sum() - shared, 1)


def _ica_maps(
    recording: Recording, atlas: Atlas, samples: Samples, n_components: int, seed: int
) -> tuple[list[Float[np.ndarray, "map unit"]], int]:
    """Maps of an ICA of every sample by itself, and how many samples were too short for one."""
    found = []
    skipped = 0
    recording, kept = laid_on(recording, atlas.preparation)
    for run, mask in zip(recording, kept, strict=True):
        for _, rows in samples_of(run, samples):
            if mask[rows].sum() <= n_components + 1:
                skipped += 1
                continue
            sample = _sample_recording(recording, run, rows, mask[rows])
            alone = find_networks(sample, n_components, seed=seed, **_OF_A_SAMPLE)
            found.append(np.asarray(alone.maps))
    if not found:
        raise InputError(
            f"none of {skipped} samples has more than {n_components + 1} rows, which an ICA of {n_components} networks "
            'needs; take longer samples ("block", "run"), fewer networks, or method="dual"'
        )
    return found, skipped


def _sample_recording(recording: Recording, run: Run, rows: slice, kept: Bool[np.ndarray, " row"]) -> Recording:
    """Those of some rows of a run that are kept, as a recording in memory, with one run of one block."""
    layers = {layer: np.asarray(array[rows])[kept] for layer, array in run.layers.items()}
    n_rows = int(kept.sum())
    events = pd.DataFrame({"onset": [0], "duration": [n_rows], "trial_type": ["sample"]})
    tables = {"events": events, "rows": pd.DataFrame(index=range(n_rows))}
    sample = Run(run.space, layers, dict(run.about), None, tables)
    return Recording((run.space,), ((sample,),), recording.about)


def _cut_to_sizes(
    maps: Float[np.ndarray, "map unit"], sizes: Int[np.ndarray, " network"]
) -> Bool[np.ndarray, "network map unit"]:
    """Every map cut to the size of every network."""
    return np.array([_largest(maps, int(n)) if n else np.zeros(maps.shape, dtype=bool) for n in sizes])


def _iou(
    cut: Bool[np.ndarray, "network map unit"], templates: Bool[np.ndarray, "network unit"]
) -> Float[np.ndarray, "map network"]:
    """Intersection over union of every network with every map cut to its size."""
    return np.column_stack([_iou_with(template, masks) for masks, template in zip(cut, templates, strict=True)])
