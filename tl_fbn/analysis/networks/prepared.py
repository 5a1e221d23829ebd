"""A recording as an atlas needs it: its activations prepared like those that the atlas was found in.

::

    laid = prepared(recording, atlas.preparation)       # another recording, of the same rows, events and tables
    laid[0].layer(2)                                    # clipped and scaled, by the atlas' own centres and spreads

Nothing is computed before it is read, and nothing is stored. Every row keeps its place; those that the atlas leaves out
stand at the centre of every unit. Where samples are regressed they are really left out
(:func:`tl_fbn.analysis.ica.reduction.kept_rows`).

Why the atlas' centres and spreads, and not those of this recording: :mod:`tl_fbn.units.preparation`. Two mistakes are
caught: activations that somebody has scaled already, and rows of another kind, pooled prompts where the atlas had
single tokens or the other way round.

Units: spreads of the recording that the atlas was found on, or those of the activations where nothing was scaled. Cost:
four operations a number, whenever it is read.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.ica.reduction import kept_rows
from tl_fbn.analysis.ica.unit_scales import pool_of
from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.preparation import Preparation

_ROWS_COMPARED = 64  # of the first run; enough for an order of magnitude
_GAUSSIAN = 1.2533  # mean absolute deviation of a Gaussian, to its standard deviation
_MAX_RATIO = 10.0  # spreads of the middle unit that differ by more are of activations that were scaled


def preparation_of(networks: Mapping[str, Network | UnitMap] | Network) -> Preparation | None:
    """The preparation of an atlas; None of other networks, which do not say how activations were prepared.

    Args:
        networks: An atlas, one network, or names to networks or maps.
    """
    return networks.preparation if isinstance(networks, Atlas) else None


def prepared(recording: Recording, preparation: Preparation | None, *, compared: bool = False) -> Recording:
    """A recording whose activations are prepared where they are read; the same one where nothing is to be done.

    Args:
        recording: Activations of one site, of the atlas' units.
        preparation: How activations were prepared that the atlas was found in; None leaves them as they are.
        compared: Whether the recording was compared with the preparation before, and need not be once more.

    Raises:
        InputError: The activations are of another order of magnitude than the atlas', or too few rows are left.
    """
    if preparation is None:
        return recording
    kept = kept_rows(recording, preparation.drop_first)
    if not compared:
        _compare_rows(recording, preparation)
    if not compared and preparation.spread is not None:
        _require_like_spread(recording, preparation, kept[0])
    space = recording.space
    parts = {layer: preparation.of_units(space.layer_slice(layer)) for layer in recording[0].layers}
    runs = tuple(
        Run(space, _PreparedLayers(run.layers, parts, ~mask), run.about, None, {"events": run.events, "rows": run.rows})
        for run, mask in zip(recording, kept, strict=True)
    )
    # what is read is another content, whose key tells how it was prepared
    digest = hashlib.sha256(f"{recording.key} {preparation.about()}".encode())
    for array in preparation.arrays().values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return Recording((space,), (runs,), {**recording.about, "key": digest.hexdigest()})


def laid_on(
    recording: Recording, preparation: Preparation | None, *, compared: bool = False
) -> tuple[Recording, list[Bool[np.ndarray, " _"]]]:
    """A recording prepared, and for every run which of its rows take part where samples are decomposed or regressed.

    Args:
        recording: Activations of one site, of the atlas' units.
        preparation: How activations were prepared that the atlas was found in; None leaves them as they are.
        compared: Whether the recording was compared with the preparation before, and need not be once more.
    """
    drop_first = 0 if preparation is None else preparation.drop_first
    return prepared(recording, preparation, compared=compared), kept_rows(recording, drop_first)


def _compare_rows(recording: Recording, preparation: Preparation) -> None:
    """Warn where rows are pooled prompts and those of the atlas were not, or pooled otherwise."""
    here = pool_of(recording)
    if here != preparation.pool:
        rows = {None: "single tokens", "mean": "means of prompts", "last": "last tokens of prompts"}
        warnings.warn(
            f"the atlas was found on {rows.get(preparation.pool, preparation.pool)}, and the rows of this recording "
            f"are {rows.get(here, here)}: their spreads differ. Find networks on rows of the same kind",
            stacklevel=4,
        )


def _require_like_spread(recording: Recording, preparation: Preparation, kept: Bool[np.ndarray, " row"]) -> None:
    """Raise an error where most units vary by another order of magnitude than in the atlas' recording."""
    rows = np.flatnonzero(kept)[:_ROWS_COMPARED]
    assert preparation.spread is not None
    ratios = []
    for layer, array in recording[0].layers.items():
        values = np.asarray(array[rows[0] : rows[-1] + 1], dtype=np.float64)[rows - rows[0]]
        here = _GAUSSIAN * np.abs(values - values.mean(0)).mean(0)
        there = preparation.spread[recording.space.layer_slice(layer)]
        ratios.append((here / there)[here > 0])
    found = np.concatenate(ratios)
    ratio = float(np.median(found)) if found.size else 1.0
    if len(rows) > 2 and not 1 / _MAX_RATIO <= ratio <= _MAX_RATIO:
        raise InputError(
            f"units of this recording vary {ratio:.2g} times as much as those that the atlas was found on, as if they "
            "had been scaled already, and the atlas would scale them once more; give activations as they were "
            "recorded, or an atlas without a preparation: dataclasses.replace(atlas, preparation=None)"
        )


class _PreparedLayers(Mapping[int, Any]):
    """Layers of a run, each prepared where it is read; a file is mapped when its layer is asked for."""

    def __init__(
        self, layers: Mapping[int, Any], parts: Mapping[int, Preparation], left_out: Bool[np.ndarray, " row"]
    ) -> None:
        self._layers = layers
        self._parts = parts
        self._left_out = left_out

    def __getitem__(self, layer: int) -> PreparedArray:
        return PreparedArray(self._layers[layer], self._parts[layer], self._left_out)

    def __contains__(self, layer: object) -> bool:
        return layer in self._layers

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class PreparedArray(HalfArray):
    """A layer of a run that reads as prepared float32, as one in 16 bits reads as decoded.

    Args:
        array: (row, unit) activations as they were recorded.
        preparation: The preparation of the units of the layer.
        left_out: (row,) True where a row is left out and stands at the centre.
    """

    def __init__(self, array: Any, preparation: Preparation, left_out: Bool[np.ndarray, " row"]) -> None:
        # words: what lies in the file, whose pages are handed back
        super().__init__(array.words if isinstance(array, HalfArray) else array, "float32")
        self._array = array
        self._preparation = preparation
        self._left_out = left_out

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, units = index if isinstance(index, tuple) else (index, slice(None))
        values = self._preparation.applied(np.asarray(self._array[index], dtype=np.float32), units)
        left_out = np.asarray(self._left_out[rows])
        if not left_out.any():
            return values
        if left_out.ndim == 1 and values.ndim == 2:
            left_out = left_out[:, None]  # beside every unit
        return np.where(left_out, self._preparation.at_the_centre(units), values).astype(np.float32)
