"""What goes into the page of the viewer: maps, networks, courses and text, packed into a few megabytes. No browser here.

Numbers are packed as whole numbers of 8 or 16 bits, ``value = offset + scale * q``, written in base64. The error is at most
half a scale: of a map 0.002 % of its largest magnitude in 16 bits and 0.4 % in 8, of a course half as much of its range. Sets
of units are written as gaps between neighbouring indices, one byte for each gap below 255.

The budget is spent in this order, and what had to be left out is said in ``notes``, which the page prints:

1. tokens, and the course of every network over all rows (the mean of its members, those with a negative sign counted
   negatively, as :func:`tl_fbn.networks.time_courses` has it); rows at the end are left out where these alone would fill half the page;
2. courses of single units in 8 bits: those asked for, then the strongest of every network and every map in turn;
3. maps: in 16 bits if they fit, else in 8, else in 8 and of the units with the largest magnitudes only.

Cost: one pass over the activations for the networks and one partial read for the units; some rows of activations in memory
at a time. Overlaps stand beside what layer-matched random sets of the same sizes are expected to have.
"""

from __future__ import annotations

import base64
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError, InputIndexError, InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._overlap_matrix import dice_of_all
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

ROWS_SHARE, WIDE_SHARE, UNITS_SHARE = (
    0.5,
    0.15,
    0.35,
)  # of the budget: all that rows need, 16-bit courses, courses of units
BASE64 = 4 / 3
_CHUNK = 1024  # rows in memory at a time
_TOP = {8: 127, 16: 32767}
Maps = list[tuple[str, UnitMap]]


def viewer_data(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    maps: UnitMap | Mapping[str, UnitMap] | None = None,
    units: Network | Iterable[Any] | None = None,
    run: int | Sequence[int] | None = None,
    max_units: int = 200,
    megabytes: float = 8.0,
) -> dict[str, Any]:
    """Everything the viewer shows, as JSON-serialisable values; :func:`tl_fbn.view` says what the arguments are."""
    space = recording.space
    sets = {} if networks is None else theme.named_networks(networks, "view")
    extra = (
        {} if maps is None else {maps.kind: maps} if isinstance(maps, UnitMap) else theme.named(maps, UnitMap, "view")
    )
    if not sets and not extra:
        raise InputError("view got neither networks nor maps, so there is nothing to show; give either")
    for thing in (*sets.values(), *extra.values()):
        space.require_same(thing.space, "view")
    if megabytes < 0.5:
        raise InputError(f"megabytes={megabytes} leaves no room for a page; give at least 0.5")
    asked = _asked(space, units, max_units)
    budget = int(megabytes * 1e6)

    runs, numbers = _runs(recording, run)
    total = sum(one.n_rows for one in runs)
    n_rows = _rows_that_fit(runs, int(ROWS_SHARE * budget / BASE64 / (len(sets) + 8)))
    while sum(one.n_rows for one in runs[:-1]) >= n_rows:
        runs.pop()  # no row of it is left
    full = {name: network for name, network in sets.items() if len(network)}
    courses = np.zeros((n_rows, 0))
    if full:
        read = time_courses(Recording(recording.spaces, (tuple(runs),), recording.about), full)
        courses = np.concatenate([one.layer(0) for one in read])[:n_rows]
    bits = 16 if 2 * BASE64 * courses.size <= WIDE_SHARE * budget else 8
    course_of = {name: _course(column, bits) for name, column in zip(full, courses.T, strict=True)}

    shown, own = _maps(networks, sets, extra)
    room = min(max_units, max(len(asked), int(UNITS_SHARE * budget / (BASE64 * n_rows + 150))))
    single = _interleaved(asked, _rankings(sets, shown, own, room), room)
    read_units = _read(runs, single)[:n_rows]
    data: dict[str, Any] = {
        "space": {"widths": list(space.widths), "words": space.describe()},
        "networks": [
            {
                "name": name,
                "units": len(network),
                "members": [gaps(np.flatnonzero(network.members & (network.signs == sign))) for sign in (0, 1, -1)],
                "map": own.get(name),
                "course": course_of.get(name),
            }
            for name, network in sets.items()
        ],
        **overlaps(sets),
        "units": [
            {"index": unit, "course": _course(column, 8)} for unit, column in zip(single, read_units.T, strict=True)
        ],
        "text": _text(runs, numbers, n_rows),
    }
    data["maps"] = _packed_maps(shown, budget - len(json.dumps(data)) - 80_000)  # the page's own scripts and words
    return {**data, "notes": _notes(data, bits, len(asked), total)}


# Packing


def packed(values: Float[np.ndarray, " any"], bits: int, *, centred: bool = False) -> dict[str, Any]:
    """Numbers as 8- or 16-bit integers with scale and offset; the smallest integer stands for NaN.

    Infinities become the largest finite magnitude.

    Args:
        values: The numbers.
        bits: 8 or 16.
        centred: Put the offset in the middle of the range, else at 0.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    offset = float(finite.max() + finite.min()) / 2 if centred and finite.size else 0.0
    largest = float(np.abs(finite - offset).max()) if finite.size else 0.0
    top = _TOP[bits]
    scale = largest / top or 1.0
    whole = np.rint(np.clip((values.astype(np.float64) - offset) / scale, -top, top))
    whole = np.where(np.isnan(whole), -top - 1, whole).astype(f"<i{bits // 8}")
    return {"bits": bits, "scale": scale, "offset": offset, "data": _base64(whole)}


def unpacked(pack: Mapping[str, Any]) -> Float[np.ndarray, " any"]:
    """What :func:`packed` packed, as near as its bits allow."""
    whole = np.frombuffer(base64.b64decode(pack["data"]), f"<i{pack['bits'] // 8}")
    values = pack["offset"] + pack["scale"] * whole.astype(np.float64)
    return np.where(whole == -_TOP[pack["bits"]] - 1, np.nan, values)


def gaps(indices: Int[np.ndarray, " some"]) -> str:
    """Ascending indices as the steps between them, 255 meaning "and further"."""
    steps = np.diff(indices, prepend=0)
    stream = np.full(int((steps // 255 + 1).sum()), 255, dtype=np.uint8)
    stream[np.cumsum(steps // 255 + 1) - 1] = steps % 255
    return _base64(stream)


def indices_of(text: str) -> Int[np.ndarray, " some"]:
    """What :func:`gaps` wrote."""
    stream = np.frombuffer(base64.b64decode(text), np.uint8).astype(np.int64)
    return np.cumsum(stream)[stream < 255]


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _plain(array: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Whole numbers from 0 on, in as few bytes as they need."""
    size = 8 if array.max(initial=0) < 2**8 else 16 if array.max(initial=0) < 2**16 else 32
    return {"bits": size, "data": _base64(array.astype(f"<u{size // 8}"))}


# Rows


def _runs(recording: Recording, run: int | np.integer | Sequence[int] | None) -> tuple[list[Run], list[int]]:
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
    whole = int(starts[starts <= most].max())
    return whole if whole > most // 2 else most


def _text(runs: Sequence[Run], numbers: Sequence[int], n_rows: int) -> dict[str, Any]:
    """Tokens, places, contexts, blocks and runs of the rows, one run behind the other."""
    starts = np.cumsum([0, *(one.n_rows for one in runs)])
    columns = {
        name: np.concatenate([one.rows[name].to_numpy() for one in runs])[:n_rows]
        for name in ("token", "position", "prompt", "flags", "surprisal")
        if all(name in one.rows for one in runs)
    }
    contexts = np.flatnonzero(np.concatenate([one.segment_starts for one in runs])[:n_rows])
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
        "token": _listed(columns.get("token")),
        "flags": _listed(columns.get("flags")),
        "position": _plain(position.astype(np.int64)) if position is not None and position.min() >= 0 else None,
        "surprisal": None if surprisal is None or not known else packed(surprisal.astype(np.float64), 8, centred=True),
        "contexts": [int(row) for row in contexts],
        "prompts": [str(columns["prompt"][row]) for row in contexts] if "prompt" in columns else None,
        "blocks": [[first, min(stop, n_rows), conditions.index(name)] for first, stop, name in blocks],
        "conditions": conditions,
        "runs": [[int(start), number] for start, number in zip(starts, numbers, strict=False) if start < n_rows],
    }


def _listed(words: np.ndarray | None) -> dict[str, Any] | None:
    """Words as a list of the distinct ones and each row's place in it."""
    if words is None:
        return None
    spelled = ["" if word is None or word != word else str(word) for word in words.tolist()]
    distinct = {word: place for place, word in enumerate(dict.fromkeys(spelled))}
    return {"words": list(distinct), **_plain(np.array([distinct[word] for word in spelled], dtype=np.int64))}


# Courses


def _course(values: Float[np.ndarray, " row"], bits: int) -> dict[str, Any]:
    """A course with what its colours need: its median, and how far from it 99 % of the rows are."""
    middle = float(np.median(values))
    far = float(np.percentile(np.abs(values - middle), 99)) or float(np.abs(values - middle).max()) or 1.0
    return {**packed(values, bits, centred=True), "middle": middle, "far": far}


def _pair(layer: Any, unit: Any) -> tuple[int, int]:
    return operator.index(layer), operator.index(unit)


def _asked(space: UnitSpace, units: Network | Iterable[Any] | None, most: int) -> list[int]:
    """Flat indices of the units asked for."""
    if units is None:
        return []
    if isinstance(units, Network):
        space.require_same(units.space, "keep the courses of")
        network = units
    else:  # a pair out of an array or of JSON is no tuple
        try:
            pairs: list[Any] = [one if np.ndim(one) == 0 else _pair(*one) for one in units]
            network = Network.from_indices(space, pairs)
        except IndexError:
            raise
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"units={units!r} must be (layer, unit) pairs, flat indices or a network, e.g. units=[(3, 17), (4, 2)]"
            ) from error
    if len(network) > most:
        raise InputError(f"units= names {len(network)} units, but max_units={most}; raise max_units, or name fewer")
    return [int(unit) for unit in network.indices]


def _rankings(sets: Mapping[str, Network], shown: Maps, own: Mapping[str, int], most: int) -> list[list[int]]:
    """For every network and every map its units, the strongest first; members without a map are spread over the layers."""
    orders = []
    for name, network in sets.items():
        members = network.indices
        if name in own:
            members = members[_strongest(shown[own[name]][1].values[members], most)]
        elif len(members) > most:
            members = members[np.linspace(0, len(members) - 1, most).round().astype(int)]
        orders.append(members.tolist())
    return orders + [_strongest(one.values, most).tolist() for _, one in shown]


def _strongest(values: Float[np.ndarray, " some"], most: int) -> Int[np.ndarray, " few"]:
    """Places of the largest magnitudes, the largest first, NaN left out."""
    size = np.where(np.isnan(values), -1.0, np.abs(values))
    first = np.sort(np.argpartition(-size, most)[:most]) if len(size) > most else np.arange(len(size))
    first = first[np.argsort(-size[first], kind="stable")]
    return first[size[first] >= 0]


def _interleaved(asked: Sequence[int], orders: Sequence[Sequence[int]], most: int) -> list[int]:
    """The units asked for, then one of each order in turn."""
    kept = dict.fromkeys(asked)
    for rank in range(most):
        for order in orders:
            if rank < len(order) and len(kept) < most:
                kept.setdefault(order[rank])
    return sorted(kept)


def _read(runs: Sequence[Run], units: Sequence[int]) -> Float32[np.ndarray, "row few"]:
    """Activations of a few units, some rows at a time, for a 16-bit recording is decoded where it is read."""
    parts = [
        run.read(units=units, rows=slice(first, first + _CHUNK)).astype(np.float32, copy=False)
        for run in runs
        for first in range(0, run.n_rows, _CHUNK)
    ]
    return np.concatenate(parts)


# Maps and networks


def _maps(
    networks: Network | Mapping[str, Network] | None, sets: Mapping[str, Network], extra: Mapping[str, UnitMap]
) -> tuple[Maps, dict[str, int]]:
    """Every map of the page, and which of them is each network's own: the atlas', or the one given under its name."""
    shown: Maps = []
    if isinstance(networks, Atlas) and networks.maps is not None:
        values = np.asarray(networks.maps, dtype=np.float64)
        shown = [(name, UnitMap(networks.space, one, "loading")) for name, one in zip(sets, values, strict=True)]
    own = {name: place for place, (name, _) in enumerate(shown)}
    for name, one in extra.items():
        if name in sets:
            own.setdefault(name, len(shown))
        shown.append((name, one))
    return shown, own


def _packed_maps(shown: Maps, room: int) -> list[dict[str, Any]]:
    """The maps, in as many bits and of as many units as fit into ``room`` characters."""
    if not shown:
        return []
    each = room / BASE64 / len(shown)
    n_units = shown[0][1].space.n_units
    bits = 16 if 2 * n_units <= each else 8
    whole = n_units <= each
    most = n_units if whole else max(min(1000, n_units), int((each - n_units / 255) / 2))
    packs = []
    for name, one in shown:
        kept = np.arange(n_units) if whole else np.sort(_strongest(one.values, most))
        size = np.abs(one.values)
        about = {
            "name": name,
            "kind": one.kind,
            "limit": theme.colour_limit([one.values]),
            "largest": float(size[np.isfinite(size)].max(initial=0.0)),
            "kept": None if whole else gaps(kept),
            "cut": 0.0 if whole or not kept.size else float(size[kept].min()),
            "n": len(kept),
        }
        packs.append({**about, **packed(one.values[kept], bits)})
    return packs


def overlaps(sets: Mapping[str, Network]) -> dict[str, list[list[float | None]]]:
    """Dice of every two networks, and what layer-matched random sets are expected to have; None where both are empty."""
    _, dice, chance = dice_of_all(sets)
    return {
        what: [[None if np.isnan(x) else round(float(x), 4) for x in line] for line in table]
        for what, table in (("dice", dice), ("chance", chance))
    }


def _notes(data: Mapping[str, Any], bits: int, n_asked: int, total: int) -> list[str]:
    """What was rounded and what was left out, in sentences."""
    n_units = sum(data["space"]["widths"])
    n_rows = data["text"]["rows"]
    notes = []
    if data["maps"]:
        first = data["maps"][0]
        share = 50 / _TOP[first["bits"]]
        notes.append(
            f"Maps are stored in {first['bits']} bits: values are rounded by at most {share:.2g} % of a map's largest magnitude."
        )
        if first["kept"] is not None:
            notes.append(
                f"To keep the page small, each map holds its {first['n']:,} units of largest magnitude of {n_units:,}; the "
                "others are drawn as 0 and say so. Fewer maps, or a larger megabytes=, keep more."
            )
    if any(network["course"] for network in data["networks"]):
        notes.append(
            "The course of a network is the mean activation of its members, those with a negative sign counted negatively, "
            f"in {bits} bits (rounded by at most {25 / _TOP[bits]:.2g} % of its range)."
        )
    kept = len(data["units"])
    if kept:
        those = f"the {n_asked} asked for and the strongest" if n_asked else "the strongest"
        notes.append(
            f"Courses of {kept:,} of {n_units:,} units are kept in 8 bits (rounded by at most 0.2 % of their range): {those} of "
            "every network and map. units=[(layer, unit)] keeps others."
        )
    if n_rows < total:
        notes.append(
            f"Of {total:,} rows the first {n_rows:,} are kept; run= chooses runs, a larger megabytes= keeps more rows."
        )
    return notes
