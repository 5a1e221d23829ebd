"""What goes into the page of the viewer: maps, networks, courses and text, cut to a few megabytes.

A course is the activation of one unit, or the mean activation of a network's members (those with a negative sign
counted negatively, as in :func:`tl_fbn.networks.time_courses`), at every row. Numbers are rounded to 8 or 16 bits
(:mod:`tl_fbn.reporting.viewer.packing`). The megabytes that the page may weigh are spent in this order, and what had to
be left out is said in ``notes``, which the page prints:

1. tokens, and the course of every network over all rows; rows at the end are left out where tokens and courses alone
   would fill half the page;
2. courses of single units in 8 bits: those that the caller named, then the strongest of every network and every map in
   turn;
3. maps: in 16 bits if they fit, else in 8 bits, else in 8 bits and of the units with the largest magnitudes only.

Cost: one pass over the activations for the networks and one partial read for the units; some rows of activations are in
memory at a time. The overlap of two networks (Dice) is given beside what layer-matched random sets of the same sizes
are expected to have. Nothing is drawn here: that is left to the scripts of the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError, InputIndexError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._overlap_matrix import dice_of_all
from tl_fbn.reporting.promoted_words import words_of_table
from tl_fbn.reporting.viewer.kept_units import NamedMaps, interleaved, ranked_units, requested_units, strongest
from tl_fbn.reporting.viewer.packing import (
    CHARACTERS_PER_BYTE,
    LARGEST_INTEGER,
    gaps,
    packed,
    packed_counts,
    packed_words,
)
from tl_fbn.units import Atlas, Network, UnitMap

# shares of the megabytes that the page may weigh
ROWS_SHARE = 0.5  # all that rows need: text and courses of networks
WIDE_SHARE = 0.15  # courses of networks in 16 bits; if they need more, they are stored in 8
UNITS_SHARE = 0.35  # courses of single units
_TEXT_BYTES_OF_A_ROW = 8  # about: places of token and flags, position and surprisal
_JSON_AROUND_A_COURSE = 150  # characters, about
_CHARACTERS_OF_THE_EMPTY_PAGE = 80_000  # the page's own scripts and words
_ROWS_PER_READ = 1024  # rows of activations in memory at a time


def viewer_data(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    maps: UnitMap | Mapping[str, UnitMap] | None = None,
    units: Network | Iterable[Any] | None = None,
    promoted: Any = None,
    run: int | Sequence[int] | None = None,
    max_units: int = 200,
    megabytes: float = 8.0,
) -> dict[str, Any]:
    """Everything the viewer shows, as JSON-serialisable values.

    Args:
        recording: Activations of one site.
        networks: An atlas, one network, or names to networks of the recording's units; None shows maps alone.
        maps: One map, or names to maps, of the recording's units; None shows only those that an atlas brings.
        units: Units whose course is kept in any case, as (layer, unit) pairs, flat indices or a network.
        promoted: Words that units promote, as :func:`tl_fbn.networks.promoted_tokens` returns them; None shows none.
        run: Number of the run that is shown, counted from 0, or several; None shows all of them.
        max_units: Largest number of single units whose course is kept.
        megabytes: Largest size of the page in 10^6 bytes.

    Returns:
        ``space``, ``networks``, ``dice`` and ``chance`` (overlaps), ``units``, ``text``, ``promoted`` (flat index to
        words), ``maps`` and ``notes``.

    Raises:
        InputError: Neither networks nor maps are given, their units are not the recording's, ``units`` names more units
            than ``max_units``, ``run`` is empty, or ``megabytes`` is below 0.5.
        InputIndexError: A run or unit that the recording does not have.
        InputTypeError: Networks, maps or units are of another type than those above.
    """
    space = recording.space
    sets = {} if networks is None else theme.named_networks(networks, "view")
    further_maps = (
        {} if maps is None else {maps.kind: maps} if isinstance(maps, UnitMap) else theme.named(maps, UnitMap, "view")
    )
    if not sets and not further_maps:
        raise InputError("view got neither networks nor maps, so there is nothing to show; give either")
    for thing in (*sets.values(), *further_maps.values()):
        space.require_same(thing.space, "view")
    if megabytes < 0.5:
        raise InputError(f"megabytes={megabytes} leaves no room for a page; give at least 0.5")
    requested = requested_units(space, units, max_units)
    budget = int(megabytes * 1e6)  # characters

    # 1. rows: text, and one byte a row for every network
    runs, numbers = _chosen_runs(recording, run)
    n_rows_chosen = sum(one.n_rows for one in runs)
    bytes_of_a_row = len(sets) + _TEXT_BYTES_OF_A_ROW
    n_rows = _rows_that_fit(runs, int(ROWS_SHARE * budget / CHARACTERS_PER_BYTE / bytes_of_a_row))
    while sum(one.n_rows for one in runs[:-1]) >= n_rows:
        runs.pop()  # no row of it is left
    not_empty = {name: network for name, network in sets.items() if len(network)}
    courses = np.zeros((n_rows, 0))  # (row, network)
    if not_empty:
        # an atlas prepares activations as its own were; other networks say nothing of it
        read_from = networks if isinstance(networks, Atlas) else sets
        courses_of_runs = time_courses(Recording(recording.spaces, (tuple(runs),), recording.about), read_from)
        columns = [list(sets).index(name) for name in not_empty]
        courses = np.concatenate([one.layer(0)[:, columns] for one in courses_of_runs])[:n_rows]
    bits = 16 if 2 * CHARACTERS_PER_BYTE * courses.size <= WIDE_SHARE * budget else 8
    course_of = {name: _packed_course(column, bits) for name, column in zip(not_empty, courses.T, strict=True)}

    # 2. courses of single units, one byte a row each: as many as fit, but always those that were asked for
    all_maps, own_map = _maps_and_whose(networks, sets, further_maps)
    characters_of_a_course = CHARACTERS_PER_BYTE * n_rows + _JSON_AROUND_A_COURSE
    n_courses = min(max_units, max(len(requested), int(UNITS_SHARE * budget / characters_of_a_course)))
    rankings = ranked_units(sets, all_maps, own_map, n_courses)
    kept_units = interleaved(requested, rankings, n_courses)
    activations = _activations_of(runs, kept_units)[:n_rows]
    data: dict[str, Any] = {
        "space": {"widths": list(space.widths), "words": space.describe()},
        "networks": [
            {
                "name": name,
                "units": len(network),
                "members": [gaps(np.flatnonzero(network.members & (network.signs == sign))) for sign in (0, 1, -1)],
                "map": own_map.get(name),
                "course": course_of.get(name),
            }
            for name, network in sets.items()
        ],
        **overlaps(sets),
        "units": [
            {"index": unit, "course": _packed_course(column, 8)}
            for unit, column in zip(kept_units, activations.T, strict=True)
        ],
        "text": _text_of_rows(runs, numbers, n_rows),
        "promoted": {} if promoted is None else _words_of_units(promoted, recording),
    }
    # 3. maps, in the room that is left
    room = budget - len(json.dumps(data)) - _CHARACTERS_OF_THE_EMPTY_PAGE
    data["maps"] = _packed_maps(all_maps, room)
    notes = _notes(data, bits, len(requested), n_rows_chosen)
    if not_empty and isinstance(networks, Atlas) and networks.preparation is not None:
        notes.append(
            "Activations behind the courses of networks are prepared as those that the atlas was found in were (a row "
            "that is left out is drawn at the mean of its prompt); courses of single units are as they were recorded."
        )
    return {**data, "notes": notes}


def _words_of_units(promoted: Any, recording: Recording) -> dict[str, str]:
    """Flat index of a unit, as text, to the words that it promotes."""
    words = words_of_table(promoted)
    space = recording.space
    for layer, unit in words:
        if not (0 <= layer < space.n_layers and 0 <= unit < space.widths[layer]):
            raise InputIndexError(
                f"promoted= has layer {layer}, unit {unit}, which is none of {space.describe()}; give the words of "
                "units of this recording"
            )
    return {str(space.index(*place)): said for place, said in words.items()}


# Rows


def _chosen_runs(recording: Recording, run: int | np.integer | Sequence[int] | None) -> tuple[list[Run], list[int]]:
    """The runs to show, and their numbers."""
    numbers = (
        list(range(len(recording))) if run is None else [int(run)] if isinstance(run, (int, np.integer)) else list(run)
    )
    for number in numbers:
        if not 0 <= number < len(recording):
            raise InputIndexError(
                f"run {number} of a recording of {len(recording)} runs; give 0 to {len(recording) - 1}"
            )
    if not numbers:
        raise InputError("run=[] leaves nothing to show; give run numbers, or None for all")
    return [recording[number] for number in numbers], numbers


def _rows_that_fit(runs: Sequence[Run], most: int) -> int:
    """All rows, or those of the whole contexts among the first ``most``."""
    total = sum(one.n_rows for one in runs)
    if total <= most:
        return total
    starts = np.flatnonzero(np.concatenate([one.segment_starts for one in runs]))
    whole = int(starts[starts <= most].max())  # the contexts before this start are complete
    return whole if whole > most // 2 else most  # a context longer than half of what fits is cut rather than left out


def _text_of_rows(runs: Sequence[Run], numbers: Sequence[int], n_rows: int) -> dict[str, Any]:
    """Tokens, positions, contexts, blocks and runs of the rows, one run behind the other."""
    starts = np.cumsum([0, *(one.n_rows for one in runs)])  # the first row of every run, and one more
    columns = {
        name: np.concatenate([one.rows[name].to_numpy() for one in runs])[:n_rows]
        for name in ("token", "position", "prompt", "flags", "surprisal")
        if all(name in one.rows for one in runs)
    }
    contexts = np.flatnonzero(np.concatenate([one.segment_starts for one in runs])[:n_rows])
    # strict=False: starts has one entry more than there are runs, and numbers may have those of runs left out
    blocks = [
        [int(start) + rows.start, int(start) + rows.stop, name]
        for one, start in zip(runs, starts, strict=False)
        for name, rows in one.blocks()
        if start + rows.start < n_rows
    ]
    conditions = list(dict.fromkeys(name for *_, name in blocks))
    surprisal = columns.get("surprisal")
    position = columns.get("position")
    known = surprisal is not None and bool(np.isfinite(surprisal.astype(np.float64)).any())
    return {
        "rows": n_rows,
        "token": packed_words(columns.get("token")),
        "flags": packed_words(columns.get("flags")),
        # a NaN among the positions is not >= 0 either, so that such a column is left out
        "position": packed_counts(position.astype(np.int64)) if position is not None and position.min() >= 0 else None,
        "surprisal": None if surprisal is None or not known else packed(surprisal.astype(np.float64), 8, centred=True),
        "contexts": [int(row) for row in contexts],
        "prompts": [str(columns["prompt"][row]) for row in contexts] if "prompt" in columns else None,
        "blocks": [[first, min(stop, n_rows), conditions.index(name)] for first, stop, name in blocks],
        "conditions": conditions,
        "runs": [[int(start), number] for start, number in zip(starts, numbers, strict=False) if start < n_rows],
    }


# Courses


def _packed_course(values: Float[np.ndarray, " row"], bits: int) -> dict[str, Any]:
    """A course with what its colours need: its median, and how far from it 99 % of the rows are."""
    middle = float(np.median(values))
    # a course that is flat in 99 % of its rows has its largest distance instead, and one that never moves has 1
    far = float(np.percentile(np.abs(values - middle), 99)) or float(np.abs(values - middle).max()) or 1.0
    return {**packed(values, bits, centred=True), "middle": middle, "far": far}


def _activations_of(runs: Sequence[Run], units: Sequence[int]) -> Float32[np.ndarray, "row few"]:
    """Activations of a few units, some rows at a time, for a 16-bit recording is decoded where it is read."""
    parts = [
        run.read(units=units, rows=slice(first, first + _ROWS_PER_READ)).astype(np.float32, copy=False)
        for run in runs
        for first in range(0, run.n_rows, _ROWS_PER_READ)
    ]
    return np.concatenate(parts)


# Maps and networks


def _maps_and_whose(
    networks: Network | Mapping[str, Network] | None,
    sets: Mapping[str, Network],
    further_maps: Mapping[str, UnitMap],
) -> tuple[NamedMaps, dict[str, int]]:
    """Every map of the page, and for each network the place of its own map among them.

    A network's own map is the one its atlas has for it; without an atlas, the further map that has the network's name.
    """
    all_maps: NamedMaps = []
    if isinstance(networks, Atlas) and networks.maps is not None:
        values = np.asarray(networks.maps, dtype=np.float64)  # (network, unit)
        all_maps = [(name, UnitMap(networks.space, one, "loading")) for name, one in zip(sets, values, strict=True)]
    own_map = {name: place for place, (name, _) in enumerate(all_maps)}
    for name, one in further_maps.items():
        if name in sets:
            own_map.setdefault(name, len(all_maps))  # setdefault: the map of the atlas comes first
        all_maps.append((name, one))
    return all_maps, own_map


def _packed_maps(all_maps: NamedMaps, room: int) -> list[dict[str, Any]]:
    """The maps, in as many bits and of as many units as fit into ``room`` characters."""
    if not all_maps:
        return []
    bytes_of_a_map = room / CHARACTERS_PER_BYTE / len(all_maps)
    n_units = all_maps[0][1].space.n_units
    bits = 16 if 2 * n_units <= bytes_of_a_map else 8
    whole = n_units <= bytes_of_a_map
    # a unit that is kept costs a byte for its value and one for its gap; gaps beyond 255 cost n_units / 255 at most
    most = n_units if whole else max(min(1000, n_units), int((bytes_of_a_map - n_units / 255) / 2))
    packs = []
    for name, one in all_maps:
        kept = np.arange(n_units) if whole else np.sort(strongest(one.values, most))
        size = np.abs(one.values)
        about = {
            "name": name,
            "kind": one.kind,
            "limit": theme.colour_limit([one.values]),
            "largest": float(size[np.isfinite(size)].max(initial=0.0)),
            "kept": None if whole else gaps(kept),
            "cut": 0.0 if whole or not kept.size else float(size[kept].min()),  # no threshold below it can be shown
            "n": len(kept),
        }
        packs.append({**about, **packed(one.values[kept], bits)})
    return packs


def overlaps(sets: Mapping[str, Network]) -> dict[str, list[list[float | None]]]:
    """Overlap of every two networks, as tables with a line and a column for each network.

    Args:
        sets: Names to networks of one unit space.

    Returns:
        ``dice``, the Dice coefficients (0 to 1), and ``chance``, those that random sets with as many units in every
        layer are expected to have; None where both networks are empty.
    """
    _, dice, chance = dice_of_all(sets)
    return {
        what: [[None if np.isnan(x) else round(float(x), 4) for x in line] for line in table]
        for what, table in (("dice", dice), ("chance", chance))
    }


def _notes(data: Mapping[str, Any], bits: int, n_requested: int, n_rows_chosen: int) -> list[str]:
    """What was rounded and what was left out, in sentences."""
    n_units = sum(data["space"]["widths"])
    n_rows = data["text"]["rows"]
    notes = []
    if data["maps"]:
        first = data["maps"][0]
        share = 50 / LARGEST_INTEGER[first["bits"]]  # half a scale, in per cent of the largest magnitude
        notes.append(
            f"Maps are stored in {first['bits']} bits: values are rounded by at most {share:.2g} % of a map's largest "
            "magnitude."
        )
        if first["kept"] is not None:
            notes.append(
                f"To keep the page small, each map holds its {first['n']:,} units of largest magnitude of {n_units:,}; "
                "the others are drawn as 0 and say so. Fewer maps, or a larger megabytes=, keep more."
            )
    if any(network["course"] for network in data["networks"]):
        # half a scale in per cent of the range, which is twice the largest distance from the offset
        notes.append(
            "The course of a network is the mean activation of its members, those with a negative sign counted "
            f"negatively, in {bits} bits (rounded by at most {25 / LARGEST_INTEGER[bits]:.2g} % of its range)."
        )
    kept = len(data["units"])
    if kept:
        those = f"the {n_requested} asked for and the strongest" if n_requested else "the strongest"
        notes.append(
            f"Courses of {kept:,} of {n_units:,} units are kept in 8 bits (rounded by at most 0.2 % of their range): "
            f"{those} of every network and map. units=[(layer, unit)] keeps others."
        )
    if n_rows < n_rows_chosen:
        notes.append(
            f"Of {n_rows_chosen:,} rows the first {n_rows:,} are kept; run= chooses runs, a larger megabytes= keeps "
            "more rows."
        )
    return notes
