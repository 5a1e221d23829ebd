"""Bytes on disk: the only file that knows how a recording is stored.

::

    recordings/sort/
      recording.json              key, what it was computed from, unit spaces, digests of prompts, versions
      run-01/
        activations.safetensors   one tensor a layer, "layer.00": (row, unit), C order; float32, bfloat16 or float16
                                  (of several sites: "mlp.out/layer.00")
        events.tsv                onset  duration  trial_type          (rows)
        rows.tsv                  row  prompt  block  position  token_id  token  trial_type  surprisal  flags
        run.json                  key, rows, checksums (XXH3, 128 bits) of the three files, seconds, host
      .run-02.5f2c91aa.part/      a run being written, or left by a scan that died: readers ignore it
      .run-02.lock                held by the process that writes the run; gone when the run is committed

*Laid out, then filled.* The data file of a run first gets its header and all its room on the disk, and is then filled
by positioned writes while the model runs. So memory stays at a few batches, and a full disk is an error before the run
begins, where writing to a memory map would kill the process in the middle. A file whose room is reserved first is
filled at 6 GB/s, one that grows as it is written at .3 to 4 GB/s (ext4).

*Committed by one rename.* The files are flushed and hashed, ``run.json`` is written, and the folder gets its final
name. So a run exists whole or not at all; of two writers the second finds the name taken and discards its own folder.

*Shared by claims* (:mod:`.run_locks`). Several processes on one folder divide the runs among them, and what a process
that died left of a run is removed by the next one that claims it. *Resumed by skipping*: runs that exist are not
recorded again.

Checksums are there to find damage, not forgery: XXH3 runs at the speed of memory, where SHA-256 took a tenth of a scan.
A layer is one unbroken stretch of the file. Nothing is compressed: activations would shrink by 8 % at best.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import xxhash

from tl_fbn import files
from tl_fbn.acquisition.recording import run_locks
from tl_fbn.acquisition.recording.half_precision import ITEM_SIZE, SAFETENSORS_NAME, Dtype, HalfArray
from tl_fbn.acquisition.recording.memory_maps import mapped
from tl_fbn.acquisition.recording.run_locks import Claim
from tl_fbn.errors import InputError

FORMAT_VERSION = 2  # 1 had float32 and one site only, and is read too
CHECKSUM = "xxh3_128"  # of new runs; sha256 is read in older ones
_CHECKSUMS: dict[str, Any] = {CHECKSUM: xxhash.xxh3_128, "sha256": hashlib.sha256}
_HASH_PIECE_BYTES = 1 << 20  # a file is hashed in pieces of 1 MiB, so that it need not fit into memory
DATA = "activations.safetensors"
EVENTS = "events.tsv"
ROWS = "rows.tsv"
ABOUT_RUN = "run.json"
ABOUT = "recording.json"
_HEADER_ALIGNMENT = 64  # bytes: the data begin at a multiple of it, as numbers in a map have to be aligned


def run_folder(path: Path, run: int) -> Path:
    """Folder of a run; runs are numbered from 0, their folders from ``run-01``."""
    return path / f"run-{run + 1:02d}"


def tensor_name(layer: int, site: str = "") -> str:
    """Name of a layer's tensor; ``site`` is given where a recording has several."""
    return f"{site}/layer.{layer:02d}" if site else f"layer.{layer:02d}"


@dataclass(frozen=True)
class LaidOutRun:
    """A run being written: a hidden folder with the data file at full size.

    Args:
        folder: The hidden folder; a commit gives it its final name.
        file: The data file, open for writing.
        tensors: Name of a tensor to the byte of the file at which it begins and its number of units.
        dtype: How values are stored.
    """

    folder: Path
    file: IO[bytes]
    tensors: Mapping[str, tuple[int, int]]
    dtype: Dtype

    def write(self, tensor: str, row: int, values: np.ndarray) -> None:
        """Write consecutive rows of one tensor; any thread may, in any order.

        Args:
            tensor: Name of the tensor.
            row: Number of the first row that is written, from 0.
            values: (row, unit) numbers as they are stored: float32, or raw 16-bit words.

        Raises:
            InputError: The values have another width or another number of bytes each than the tensor.
        """
        offset, width = self.tensors[tensor]
        if values.ndim != 2 or values.shape[1] != width or values.dtype.itemsize != ITEM_SIZE[self.dtype]:
            raise InputError(
                f"{tensor} takes (row, {width}) of {self.dtype}; "
                f"got {values.shape} of {values.dtype.itemsize} bytes each"
            )
        place = offset + row * width * values.dtype.itemsize
        left = np.ascontiguousarray(values).data.cast("B")
        while left:  # the system may write less than it is given
            written = os.pwrite(self.file.fileno(), left, place)
            left = left[written:]
            place += written

    def discard(self) -> None:
        """Close the file and remove the hidden folder; nothing happens where that was done already."""
        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def lay_out(path: Path, run: int, n_rows: int, widths: Mapping[str, int], dtype: Dtype = "float32") -> LaidOutRun:
    """Create a run's data file at full size, ready to be filled, and then committed or discarded.

    Args:
        path: Folder of the recording.
        run: Number of the run, from 0.
        n_rows: Number of rows of the run.
        widths: Name of a tensor to its number of units; tensors lie in the file in this order.
        dtype: How values are stored.

    Raises:
        OSError: The disk has no room for the file; nothing is left behind.
    """
    # random letters: two processes without locks may lay out the same run
    folder = path / f".{run_folder(path, run).name}.{uuid.uuid4().hex[:8]}.part"
    folder.mkdir(parents=True)
    header: dict[str, Any] = {}
    offset = 0
    for name, width in widths.items():
        end = offset + ITEM_SIZE[dtype] * n_rows * width
        header[name] = {"dtype": SAFETENSORS_NAME[dtype], "shape": [n_rows, width], "data_offsets": [offset, end]}
        offset = end
    # safetensors: 8 bytes with the length of the header, the header in JSON (padded with spaces), the numbers
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-(8 + len(encoded)) % _HEADER_ALIGNMENT)
    start = 8 + len(encoded)
    file = open(folder / DATA, "w+b")  # noqa: SIM115 - open until the run is committed or discarded
    try:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.flush()
        _reserve_room(file, start + offset)
    except BaseException:
        file.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    places = {name: (start + header[name]["data_offsets"][0], width) for name, width in widths.items()}
    return LaidOutRun(folder, file, places, dtype)


def _reserve_room(file: IO[bytes], size: int) -> None:
    """Give a file its size, and its room on the disk where the system can: filling it is then several times faster."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # not on this system
        file.truncate(size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP):  # not on this file system
            raise
        file.truncate(size)


def commit(run: LaidOutRun, final: Path, about: Mapping[str, Any], events: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Make a filled run visible, whole or not at all.

    Args:
        run: The run, with all rows of all tensors written.
        final: Folder that the run gets, which must not be there.
        about: Entries of ``run.json`` that the writer knows: the recording's ``key`` and others.
        events: The blocks of the run.
        rows: The row table of the run.

    Returns:
        True, or False if another writer committed the same run first; this one is discarded then.

    Raises:
        FileExistsError: Something that is no committed run is in the way.
    """
    run.file.flush()
    write_table(run.folder / EVENTS, events)
    write_table(run.folder / ROWS, rows.rename_axis("row").reset_index())
    digests = {name: _checksum(run.folder / name) for name in (DATA, EVENTS, ROWS)}
    sizes = {name: (run.folder / name).stat().st_size for name in digests}
    facts = {"format": FORMAT_VERSION, "n_rows": len(rows), CHECKSUM: digests, "bytes": sizes, "host": platform.node()}
    files.write_atomically(run.folder / ABOUT_RUN, _json_bytes({**about, **facts}))
    # Everything is on the disk before the name is: after a power cut a run with its final name is a whole one.
    for name in digests:
        _fsync(run.folder / name)
    _fsync(run.folder)
    try:
        os.rename(run.folder, final)
    except OSError as error:
        if not final.exists():  # another trouble than a name that is taken
            raise
        if not (final / ABOUT_RUN).is_file():
            raise FileExistsError(
                f"{final} is in the way and holds no committed run; delete it and scan again"
            ) from error
        run.discard()
        return False
    run.file.close()
    _fsync(final.parent)  # which holds the new name
    return True


def write_about(path: Path, about: Mapping[str, Any], *, new: bool = False) -> bool:
    """Write ``recording.json`` to a folder; where it must be new, False if there is one already, which stays."""
    write = files.create_atomically if new else files.write_atomically
    return write(path / ABOUT, _json_bytes({"format": FORMAT_VERSION, **about})) is not False


def read_about(path: Path) -> dict[str, Any]:
    """The description of the recording in a folder, ``recording.json``.

    Raises:
        FileNotFoundError: The folder holds no recording, or does not exist.
        InputError: The file is damaged, or its format is newer than this version of the package.
    """
    if not (path / ABOUT).is_file():
        what = "is no recording (it has no recording.json)" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the folder that scanner.scan(design, folder) wrote")
    return _read_description(path / ABOUT)


def committed_runs(path: Path) -> list[int]:
    """Numbers of the runs that were committed, from 0, in order."""
    numbers = []
    for folder in path.glob("run-*"):
        suffix = folder.name.removeprefix("run-")
        if suffix.isdigit() and (folder / ABOUT_RUN).is_file():
            numbers.append(int(suffix) - 1)
    return sorted(numbers)


def claim(path: Path, run: int, *, wait: bool = False) -> Claim | None:
    """Claim a run for this process; None where another works on it and ``wait`` is not asked for."""
    return run_locks.claim(path, run_folder(path, run).name, wait=wait)


def sweep(path: Path, run: int, held: Claim) -> None:
    """Remove what processes that died left of a run, on which this process holds the claim."""
    run_locks.sweep(path, run_folder(path, run).name, held)


def sweep_locks(path: Path) -> None:
    """Remove lock files of committed runs, which a process left when it was killed."""
    run_locks.sweep_locks(path, [run_folder(path, run).name for run in committed_runs(path)])


Layer = np.memmap | HalfArray


def open_run(folder: Path) -> tuple[dict[str, Any], dict[str, Layer]]:
    """A committed run: its description, and each tensor (row, unit) as a read-only memory map.

    Raises:
        InputError: A file is missing, has another size than it was committed with, or has a damaged header.
    """
    about = _read_description(folder / ABOUT_RUN)
    for name, size in about["bytes"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise InputError(f"{folder / name} {state}, it was committed with {size:,}; delete {folder} and scan again")
    tensors: dict[str, Layer] = {}
    try:
        with open(folder / DATA, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            # a damaged length may be of any size: never more is read than the file has
            header = json.loads(file.read(min(length, about["bytes"][DATA])))
        for name, entry in header.items():
            tensors[name] = _open_layer(folder / DATA, entry, 8 + length)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / DATA} has a damaged header ({error!r}); delete {folder} and scan again") from error
    return about, tensors


def _open_layer(path: Path, entry: Mapping[str, Any], start: int) -> Layer:
    """A tensor of a data file, by its entry in the header; ``start`` is the byte at which the numbers begin."""
    rows, width = entry["shape"]
    offset = start + entry["data_offsets"][0]
    kind = {short: name for name, short in SAFETENSORS_NAME.items()}[entry["dtype"]]
    if kind == "float32":
        return mapped(path, offset, np.float32, (rows, width))
    return HalfArray(mapped(path, offset, np.uint16, (rows, width)), kind)


def verify_run(folder: Path) -> None:
    """Read the files of a committed run and compare their checksums with those of its ``run.json``.

    Raises:
        InputError: A file is missing or has changed; the message names the first.
    """
    about, _ = open_run(folder)
    algorithm = CHECKSUM if CHECKSUM in about else "sha256"  # of recordings before format 2
    for name, digest in about[algorithm].items():
        if _checksum(folder / name, algorithm) != digest:
            raise InputError(
                f"{folder / name} is not what was committed (its checksum changed); delete {folder} and scan again"
            )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as BIDS does: tab-separated, ``n/a`` for what is missing.

    Texts in the columns token, trial_type and flags are escaped as in JSON, so that a cell is one line; in other
    columns every cell is a JSON value (strings in quotes). So all values come back as they were.
    """
    columns = [_cells_of_column(str(name), pd.Series(table[name])) for name in table.columns]
    lines = ["\t".join(_escaped_text(str(name)) for name in table.columns), *map("\t".join, zip(*columns))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # splitlines() would also split at other characters
    columns = [json.loads(f'"{name}"') for name in lines[0].split("\t")]
    cells = list(zip(*(line.split("\t") for line in lines[1:]), strict=True)) or [()] * len(columns)
    return pd.DataFrame({name: _values_of_cells(name, column) for name, column in zip(columns, cells, strict=True)})


_TEXT_COLUMNS = {"token", "trial_type", "flags"}  # their cells are always texts, written without quotes


def _values_of_cells(name: str, cells: Sequence[str]) -> list[Any]:
    """The values of a column, from its cells."""
    quote = '"' if name in _TEXT_COLUMNS else ""
    # one document a column: json is fast and keeps integers, floats, booleans and strings apart
    return json.loads(f"[{','.join('NaN' if cell == 'n/a' else f'{quote}{cell}{quote}' for cell in cells)}]")


def _cells_of_column(name: str, column: pd.Series) -> list[str]:
    """The cells of a column, each one line of text."""
    missing = column.isna().tolist()
    values = column.tolist()
    if name in _TEXT_COLUMNS:
        # a vocabulary is smaller than a run: each text is escaped once
        escaped = {text: _escaped_text(text) for text in set(map(str, values))}
        cells = [escaped[str(value)] for value in values]
    elif pd.api.types.is_numeric_dtype(column):
        # one document for all numbers, as it is quicker; 0 stands in for what is missing and becomes n/a below
        plain = [0 if gone else value for gone, value in zip(missing, values, strict=True)]
        cells = json.dumps(plain, separators=(",", ":"))[1:-1].split(",") if plain else []
    else:
        cells = [json.dumps(value if isinstance(value, (bool, int, float)) else str(value)) for value in values]
    return ["n/a" if gone else cell for gone, cell in zip(missing, cells, strict=True)]


def _escaped_text(text: str) -> str:
    """Text as inside a JSON string; printable characters stay as they are, and no text looks like a missing value."""
    return r"n\/a" if text == "n/a" else json.dumps(text, ensure_ascii=not text.isprintable())[1:-1]


def _read_description(path: Path) -> dict[str, Any]:
    """A JSON file of a recording or run, or an error if it is damaged or of a newer format."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise InputError(f"{path} is damaged ({error}); delete its folder and scan again") from error
    if about.get("format", 0) > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {about['format']}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    return about


def _json_bytes(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _checksum(path: Path, algorithm: str = CHECKSUM) -> str:
    digest = _CHECKSUMS[algorithm]()
    with open(path, "rb") as file:
        while piece := file.read(_HASH_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not only in the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
