"""Damage to files in great numbers, and what comes of it: ``python -m tests.faults.damaged_files results 3000``, or
``recordings 900``, or ``descriptions 900`` (of earlier versions, which have no checksum).

A trial damages one file at random and reads everything. What it may come to is an error in words that names a file, or
the same numbers as before; what it may not is other numbers, any other error, or more than a moment.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tl_fbn as fbn
from tests.helpers.external_arrays import record
from tl_fbn.acquisition.recording import descriptions, store
from tl_fbn.acquisition.recording.recording import Recording

OLDER = Path(__file__).parents[1] / "data" / "version_0_1"
SLOW = 5.0  # seconds that no trial may take
Values = np.random.Generator


def flipped_bit(content: bytes, rng: Values) -> bytes:
    damaged = bytearray(content)
    damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def flipped_bit_of_the_header(content: bytes, rng: Values) -> bytes:
    """Of the first 2,000 bytes: of a small file the descriptions, which are the smaller part of a large one."""
    return flipped_bit(content[:2000], rng) + content[2000:]


def cut_short(content: bytes, rng: Values) -> bytes:
    return content[: rng.integers(len(content))]


def zeroed(content: bytes, rng: Values) -> bytes:
    start = int(rng.integers(len(content)))
    length = min(int(rng.integers(1, 512)), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def two_places_swapped(content: bytes, rng: Values) -> bytes:
    n = min(16, len(content) // 2)
    one, other = sorted(int(rng.integers(len(content) - n)) for _ in range(2))
    other = max(other, one + n)
    between = content[one + n : other]
    return content[:one] + content[other : other + n] + between + content[one : one + n] + content[other + n :]


def lengthened(content: bytes, rng: Values) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 64)))


DAMAGES = [flipped_bit, flipped_bit, flipped_bit_of_the_header, cut_short, zeroed, two_places_swapped, lengthened]
NASTY: list[Any] = [
    0,
    -1,
    1,
    3,
    3_000_000_000,
    2**63,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "x",
    "\0",
]
NASTY += ["../../../etc/passwd", "/dev/zero", "a" * 100_000, [], {}, [[]], [None], {"../x": 3}, [3e8], [10**12] * 3]


def damaged_entry(content: bytes, rng: Values) -> bytes:
    """Any entry of a JSON file, at any depth, replaced, removed or renamed."""
    about = json.loads(content)
    holders: list[Any] = []

    def find(value: Any) -> None:
        if isinstance(value, (dict, list)) and value:
            holders.append(value)
            for one in list(value.values() if isinstance(value, dict) else value):
                find(one)

    find(about)
    holder = holders[rng.integers(len(holders))]
    key: Any = list(holder)[rng.integers(len(holder))] if isinstance(holder, dict) else int(rng.integers(len(holder)))
    kind = rng.integers(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[["../x", "", "/dev/zero", "n_runs"][rng.integers(4)]] = holder.pop(key)
    else:
        holder[key] = NASTY[rng.integers(len(NASTY))]
    return json.dumps(about).encode()


def outcome_of(read: Callable[[], Any], expected: Any) -> str:
    """What reading comes to, in a few words; a trial must end in one of the first two."""
    started = time.monotonic()
    try:
        found = read()
    except (fbn.InputError, FileNotFoundError) as error:
        outcome = "an error in words" if "/" in str(error) else f"an error without a file: {error}"
    except Exception as error:
        outcome = f"raw {type(error).__name__}: {error}"[:300]
    else:
        outcome = "the same numbers" if found == expected else "OTHER NUMBERS"
    return outcome if time.monotonic() - started < SLOW else f"took longer than {SLOW:g} s, then {outcome}"


def of_result(path: Path) -> Any:
    """All that a result holds."""
    result = fbn.load(path)
    arrays, about = result._pack_()
    numbers = {name: (str(array.dtype), np.shape(array), np.asarray(array).tobytes()) for name, array in arrays.items()}
    return type(result).__name__, numbers, json.dumps(about, sort_keys=True, default=lambda one: one.tolist())


def of_recording(path: Path, *, described: bool = True) -> Any:
    """All numbers and tables of a recording, and its description if asked for."""
    recording = Recording.open(path)
    recording.verify()
    runs = []
    for of_site in recording.runs_of:
        for run in of_site:
            layers = {layer: (array.shape, np.asarray(array[:]).tobytes()) for layer, array in run.layers.items()}
            runs.append((layers, run.events.to_csv(), run.rows.to_csv(), dict(run.about) if described else None))
    return runs, dict(recording.about) if described else None


def results(n: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Outcomes of damage to the file of a result of every kind."""
    warnings.simplefilter("ignore")
    whole = []
    for path in sorted(OLDER.glob("*.safetensors")):
        fbn.load(path).save(folder / path.name)  # in this version's format
        whole.append((folder / path.name, (folder / path.name).read_bytes(), of_result(folder / path.name)))
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for number in range(n):
        path, content, expected = whole[number % len(whole)]
        damaged = DAMAGES[rng.integers(len(DAMAGES))](content, rng)
        (folder / "damaged.safetensors").write_bytes(damaged)
        outcomes[outcome_of(lambda: of_result(folder / "damaged.safetensors"), expected)] += 1
    return outcomes


def recordings(n: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Outcomes of damage to any file of a recording."""
    record(path=folder / "whole")
    return _of_files(folder, sorted(path for path in (folder / "whole").rglob("*") if path.is_file()), n, seed)


def older_descriptions(n: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Outcomes of changed entries in the JSON files of a recording without checksums of descriptions.

    Labels cannot be told from other labels there: numbers and tables are compared, and no description.
    """
    record(path=folder / "whole")
    paths = [folder / "whole" / store.ABOUT, *sorted((folder / "whole").glob("run-*/run.json"))]
    for path in paths:
        about = json.loads(path.read_text(encoding="utf-8"))
        del about[descriptions.CHECKSUM]
        path.write_text(json.dumps({**about, "format": 2}), encoding="utf-8")
    return _of_files(folder, paths, n, seed, entries=True)


def _of_files(folder: Path, paths: list[Path], n: int, seed: int, *, entries: bool = False) -> Counter[str]:
    warnings.simplefilter("ignore")
    expected = of_recording(folder / "whole", described=not entries)
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for number in range(n):
        path = paths[number % len(paths)]
        content = path.read_bytes()
        damage = damaged_entry if entries else DAMAGES[rng.integers(len(DAMAGES))]
        path.write_bytes(damage(content, rng))
        outcomes[outcome_of(lambda: of_recording(folder / "whole", described=not entries), expected)] += 1
        path.write_bytes(content)
    return outcomes


KINDS = {"results": results, "recordings": recordings, "descriptions": older_descriptions}


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp())
    try:
        for outcome, count in KINDS[sys.argv[1]](int(sys.argv[2]), place).most_common():
            print(f"{count:6,}  {outcome}")
    finally:
        shutil.rmtree(place)
