"""Centre and spread of every unit of a recording, measured once: what a decomposition and its atlas share.

::

    preparation = measured(recording, Preparation(1, "robust", 5.0))
    preparation.run_centres, preparation.centre, preparation.spread

The decomposition takes off the centres of runs; the atlas keeps their mean, weighted by rows
(:mod:`tl_fbn.units.preparation`). Medians cost more than the products of a decomposition, which reads the recording
several times; they are therefore measured before, in one pass, layers side by side.

Cost: one pass. Memory: one block of units, and a number for each unit and run.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.stored_tensors import place_of_layer
from tl_fbn.analysis.ica.reduction import RecordedLayer, kept_rows
from tl_fbn.analysis.ica.spreads import centres_and_spread
from tl_fbn.analysis.parallel import each
from tl_fbn.units.preparation import Preparation


def pool_of(recording: Recording) -> str | None:
    """How the rows of a recording were pooled, while it was recorded or afterwards; None for single rows.

    Args:
        recording: A recording of any origin.
    """
    found = recording.about.get("pool") or (recording.about.get("fields") or {}).get("pool")
    return None if found is None else str(found)


def measured(recording: Recording, preparation: Preparation) -> Preparation:
    """A preparation with the centres and spreads of a recording; the same one where nothing is prepared.

    Args:
        recording: Activations of one site.
        preparation: The settings.

    Returns:
        The settings with what was measured. A warning says how many units never vary, which cannot be scaled.

    Raises:
        InputError: ``drop_first`` leaves no row of some run.
    """
    if preparation.nothing:
        return preparation
    kept = kept_rows(recording, preparation.drop_first)
    if all(one.all() for one in kept):  # pooled: there were no first rows to leave out
        preparation = replace(preparation, drop_first=0)
    if preparation.nothing:
        return preparation
    rows = np.array([one.sum() for one in kept], dtype=float)
    layers = list(recording[0].layers)
    parts = [
        RecordedLayer([place_of_layer(run.layers, layer) for run in recording], layer, kept, Preparation())
        for layer in layers
    ]
    robust = preparation.standardize == "robust"
    found = each(partial(_scales_of_layer, robust), parts, size=recording.n_rows * recording.space.n_units)
    run_centres = np.zeros((len(recording), recording.space.n_units), np.float32)
    spread = np.ones(recording.space.n_units, np.float32)
    for layer, (centres, spreads, _) in zip(layers, found, strict=True):
        units = recording.space.layer_slice(layer)
        run_centres[:, units] = centres
        spread[units] = spreads
    n_still = sum(one for _, _, one in found)
    # where nothing varies at all the decomposition says so
    if 0 < n_still < recording.space.n_units and not preparation.plain:
        warnings.warn(
            f"{n_still:,} of {recording.space.n_units:,} units never vary in the rows that are read: they have no "
            "spread to be scaled by, stay 0, and are in no network",
            stacklevel=4,  # of the caller of find_networks, above @checked
        )
    centre = (rows @ run_centres / rows.sum()).astype(np.float32)
    return replace(
        preparation,
        centre=centre,
        spread=None if preparation.plain else spread,
        pool=pool_of(recording),
        run_centres=run_centres,
    )


def require_whole_contexts(recording: Recording, drop_first: int) -> None:
    """Warn where contexts are left out altogether, because they have no more rows than are dropped.

    A prompt that the end of its block cut short may have any number of rows, and is not counted.

    Args:
        recording: Activations of one site.
        drop_first: Number of rows that are left out at the start of every context.
    """
    lost = total = 0
    shortest = None
    for run in recording:
        starts = np.flatnonzero(run.segment_starts)
        stops = np.append(starts[1:], run.n_rows)
        cut = np.zeros(len(starts), dtype=bool)
        if "flags" in run.rows:  # the last row of a prompt that was cut says so
            cut = run.rows["flags"].astype(str).str.contains("cut").to_numpy()[stops - 1]
        lengths = (stops - starts)[~cut]
        if not len(lengths) or (stops - starts).max() == 1:  # pooled: nothing is left out
            continue
        lost += int((lengths <= drop_first).sum())
        total += len(lengths)
        shortest = min(int(lengths.min()), int(lengths.max()) if shortest is None else shortest)
    if lost:
        warnings.warn(
            f"drop_first={drop_first} leaves out {lost} of {total} prompts altogether, the shortest of which has "
            f"{shortest} rows; networks are found on the others. Give a smaller drop_first= to keep some of each",
            stacklevel=3,
        )


def _scales_of_layer(robust: bool, part: RecordedLayer) -> tuple[np.ndarray, np.ndarray, int]:
    """(run, unit) centres and (unit,) spreads of one layer, and the number of its units that never vary."""
    centres, spreads, n_still = [], [], 0
    for values in part.blocks(raw=True):
        of_runs, spread = centres_and_spread(values, robust=robust)
        # 1 is what such a unit is given, and hardly ever a spread
        maybe = np.flatnonzero(spread == 1)
        n_still += int(sum(all(np.ptp(run[:, unit]) == 0 for run in values) for unit in maybe))
        centres.append(of_runs)
        spreads.append(spread)
    return np.concatenate(centres, axis=1), np.concatenate(spreads), n_still
