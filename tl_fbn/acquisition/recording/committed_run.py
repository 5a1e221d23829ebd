"""A committed run, read: its description, its tensors and tables, each held against what was committed.

What is small is checked whenever it is read: ``run.json`` against its checksum, the sizes of the three files, the
header of the data file against its checksum and against the units and rows that the descriptions say, and tables
against their checksums when they are used. What is large, the activations, is read in full only by :func:`verify_run`.

A header has to describe the file to its last byte, one tensor behind another. So no tensor is mapped where the file
ends before it, and none can be read from the place of another. Only regular files are read, no device and no pipe.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xxhash

from tl_fbn import files
from tl_fbn.acquisition.recording import descriptions
from tl_fbn.acquisition.recording.descriptions import ABOUT_RUN, DATA, HEADER, ROWS, RUN_FILES, SHA256, XXH3
from tl_fbn.acquisition.recording.half_precision import ITEM_SIZE, SAFETENSORS_NAME
from tl_fbn.acquisition.recording.run_tables import parsed_table
from tl_fbn.acquisition.recording.stored_tensors import StoredTensor, StoredTensors
from tl_fbn.errors import InputError

CHECKSUM = XXH3  # of new runs; sha256 is read in older ones
_CHECKSUMS: dict[str, Any] = {XXH3: xxhash.xxh3_128, SHA256: hashlib.sha256}
_MAX_HEADER_BYTES = 100_000_000  # as in safetensors itself


def open_run(folder: Path, widths: Mapping[str, int] | None = None) -> tuple[dict[str, Any], StoredTensors]:
    """A committed run: its description, and each tensor (row, unit), read-only and mapped when it is asked for.

    Args:
        folder: Folder of the run.
        widths: Name of every tensor to the number of units that it must have; None takes what the file says.

    Raises:
        InputError: A file is missing, has another size than it was committed with, has a damaged header, or does not
            hold the units and rows that the descriptions say.
    """
    about = descriptions.checked_run(descriptions.read_description(folder / ABOUT_RUN), folder / ABOUT_RUN)
    for name in RUN_FILES:
        size = about["bytes"][name]
        found = _size(folder / name)
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise InputError(f"{folder / name} {state}, it was committed with {size:,}; delete {folder} and scan again")
    try:
        tensors = _tensors(folder / DATA, about)
        if widths is not None:
            _require_widths(tensors, widths)
    # whatever JSON a damaged or forged header may be
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = str(error) if isinstance(error, InputError) else repr(error)
        raise InputError(f"{folder / DATA} has a damaged header ({what}); delete {folder} and scan again") from error
    return about, tensors


def _require_widths(tensors: StoredTensors, widths: Mapping[str, int]) -> None:
    """Raise an error unless the tensors are those that a recording says it has; the message names the first."""
    found = {name: place.shape[1] for name, place in tensors.places.items()}
    for name in (*widths, *found):
        if found.get(name) != widths.get(name):
            held, said = (f"{one[name]} units" if name in one else "nothing" for one in (found, widths))
            raise InputError(f"it holds {held} of {name}, recording.json says {said}")


def _tensors(path: Path, about: Mapping[str, Any]) -> StoredTensors:
    """The tensors of a data file, by its header, which has to cover the whole file, a tensor behind another."""
    file = path.stat()
    header = _header_bytes(path)
    if HEADER in about and _CHECKSUMS[CHECKSUM](header).hexdigest() != about[HEADER]:
        raise InputError("its checksum changed")
    kinds = {short: name for name, short in SAFETENSORS_NAME.items()}
    end = start = len(header)
    places: dict[str, StoredTensor] = {}
    absolute = os.path.abspath(path)  # tensors are opened later, when the process may be in another folder
    entries = [(name, entry) for name, entry in json.loads(header[8:]).items() if name != "__metadata__"]
    for name, entry in sorted(entries, key=lambda one: one[1]["data_offsets"][0]):
        n_rows, width = entry["shape"]
        kind = kinds[entry["dtype"]]
        if n_rows != about["n_rows"] or type(width) is not int or width < 1:
            raise InputError(f"{name} has the shape {entry['shape']}, the run {about['n_rows']} rows")
        if entry["data_offsets"] != [end - start, end - start + ITEM_SIZE[kind] * n_rows * width]:
            raise InputError(f"{name} of {entry['shape']} {kind} cannot lie at {entry['data_offsets']}")
        places[name] = StoredTensor(absolute, end, kind, (n_rows, width), file.st_size, file.st_mtime_ns)
        end += ITEM_SIZE[kind] * n_rows * width
    if not places or end != file.st_size:
        raise InputError(f"its tensors end at byte {end:,} of {file.st_size:,}")
    return StoredTensors(places)


def checksum_of_header(path: Path) -> str:
    """The checksum of a data file's header, with its length in front.

    Args:
        path: The data file.
    """
    return _CHECKSUMS[CHECKSUM](_header_bytes(path)).hexdigest()


def _header_bytes(path: Path) -> bytes:
    """The header of a data file with its length in front: all bytes before the numbers."""
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        # a damaged length may be of any size: never more is read than the file has
        if len(start) < 8 or length > min(_MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size - 8):
            raise InputError(f"it says that it has {length:,} bytes")
        return start + file.read(length)


def _size(path: Path) -> int | None:
    """Number of bytes of a file; None where there is no file, or what is there is none (a device, a pipe)."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def read_run_table(folder: Path, name: str, about: Mapping[str, Any]) -> pd.DataFrame:
    """A table of a committed run, if it is what was committed.

    Args:
        folder: Folder of the run.
        name: Name of the table's file, ``events.tsv`` or ``rows.tsv``.
        about: Description of the run, as :func:`open_run` gave it.

    Raises:
        InputError: The file is missing or has changed.
    """
    found = _size(folder / name)
    data = b"" if found is None else (folder / name).read_bytes()
    algorithm = descriptions.algorithm_of(about)
    if found is None or _CHECKSUMS[algorithm](data).hexdigest() != about[algorithm][name]:
        raise _changed(folder, name)
    try:
        return parsed_table(data.decode())
    except (ValueError, KeyError, IndexError, RecursionError) as error:
        raise InputError(f"{folder / name} is no table ({error!r}); delete {folder} and scan again") from error


def verify_run(folder: Path, widths: Mapping[str, int] | None = None, opened: Mapping[str, Any] | None = None) -> None:
    """Read the files of a committed run and compare their checksums with those of its ``run.json``.

    Args:
        folder: Folder of the run.
        widths: Name of every tensor to the number of units that it must have; None takes what the file says.
        opened: What ``run.json`` said when the run was opened, to be compared; None compares nothing.

    Raises:
        InputError: A file is missing or has changed; the message names the first.
    """
    about, tensors = open_run(folder, widths)
    if opened is not None and about != opened:
        raise InputError(f"{folder} holds another run than when it was opened; open the recording again")
    algorithm = descriptions.algorithm_of(about)
    for name in RUN_FILES:
        if files.checksum_of_file(folder / name, _CHECKSUMS[algorithm]) != about[algorithm][name]:
            raise _changed(folder, name)
    n_lines = len(read_run_table(folder, ROWS, about))
    if n_lines != tensors.n_rows:
        raise InputError(
            f"{folder / ROWS} has {n_lines:,} lines, the run {tensors.n_rows:,} rows; delete {folder} and scan again"
        )


def _changed(folder: Path, name: str) -> InputError:
    return InputError(
        f"{folder / name} is not what was committed (its checksum changed); delete {folder} and scan again"
    )
