"""Bytes on disk: how a recording is stored, and how it gets there.

::

    recordings/sort/
      recording.json              key, what it was computed from, unit spaces, digests of prompts, versions, norms of
                                  outgoing weights of MLP neurons (float32 in base64); its own checksum
      run-01/
        activations.safetensors   one tensor a layer, "layer.00": (row, unit), C order; float32, bfloat16 or float16,
                                  float64 where numbers were computed (of several sites: "mlp.out/layer.00")
        events.tsv                onset  duration  trial_type          (rows)
        rows.tsv                  row  prompt  block  position  token_id  token  trial_type  surprisal  flags
        run.json                  key, rows, checksums (XXH3, 128 bits) of the three files and of the first one's
                                  header, seconds, host; its own checksum
      .run-02.MACHINE-RANDOM.part/  a run being written, or left by a scan that died: readers ignore it
      .run-02.lock                held by the process that writes the run; gone when the run is committed

*Laid out, then filled.* The data file of a run first gets its header and all its room on the disk, and is then filled
by positioned writes while the model runs. So memory stays at a few batches, and a full disk is an error before the run
begins, where writing to a memory map would kill the process in the middle. A file whose room is reserved first is
filled at 6 GB/s, one that grows as it is written at .3 to 4 GB/s (ext4).

*Committed by one rename.* The files are flushed and hashed, ``run.json`` is written, and the folder gets its final
name. So a run exists whole or not at all; of two writers the second finds the name taken and discards its own folder.

*Checked when it is opened.* Both JSON files against their checksums, the sizes of all files, and the header of the data
file against its checksum, the units that ``recording.json`` lists and the rows of ``run.json``. So nothing is allocated
or mapped that the file does not hold. Tables are checked when they are read, activations by :func:`verify_run`.

*Shared by claims* (:mod:`.run_locks`). Several processes on one folder divide the runs among them, and what a process
that died left of a run is removed by the next one that claims it. *Resumed by skipping*: runs that exist are not
recorded again.

Checksums are there to find damage, not forgery: XXH3 runs at the speed of memory, where SHA-256 took a tenth of a scan.
A layer is one unbroken stretch of the file. Nothing is compressed: activations would shrink by 8 % at best.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from tl_fbn import files, leftovers
from tl_fbn.acquisition.recording import descriptions, run_locks
from tl_fbn.acquisition.recording.committed_run import CHECKSUM, checksum_of_header
from tl_fbn.acquisition.recording.committed_run import open_run as open_run
from tl_fbn.acquisition.recording.committed_run import read_run_table as read_run_table
from tl_fbn.acquisition.recording.committed_run import verify_run as verify_run
from tl_fbn.acquisition.recording.descriptions import ABOUT as ABOUT
from tl_fbn.acquisition.recording.descriptions import ABOUT_RUN, DATA, EVENTS, HEADER, ROWS, RUN_FILES
from tl_fbn.acquisition.recording.descriptions import FORMAT_VERSION as FORMAT_VERSION
from tl_fbn.acquisition.recording.half_precision import ITEM_SIZE, SAFETENSORS_NAME, StoredDtype
from tl_fbn.acquisition.recording.run_locks import Claim
from tl_fbn.acquisition.recording.run_tables import read_table as read_table
from tl_fbn.acquisition.recording.run_tables import write_table
from tl_fbn.errors import InputError

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
    dtype: StoredDtype

    def write(self, tensor: str, row: int, values: np.ndarray) -> None:
        """Write consecutive rows of one tensor; any thread may, in any order.

        Args:
            tensor: Name of the tensor.
            row: Number of the first row that is written, from 0.
            values: (row, unit) numbers as they are stored: float32, float64, or raw 16-bit words.

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


def lay_out(path: Path, run: int, n_rows: int, widths: Mapping[str, int], dtype: StoredDtype = "float32") -> LaidOutRun:
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
    # a name of its own: two processes without locks may lay out the same run
    folder = path / leftovers.hidden_name(run_folder(path, run).name)
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
    digests = {name: files.checksum_of_file(run.folder / name) for name in RUN_FILES}
    sizes = {name: (run.folder / name).stat().st_size for name in digests}
    facts = {
        "n_rows": len(rows),
        CHECKSUM: digests,
        HEADER: checksum_of_header(run.folder / DATA),
        "bytes": sizes,
        "host": platform.node(),
    }
    # Everything is on the disk before the name is: after a power cut a run with its final name is a whole one.
    for name in digests:
        _sync_file(run.folder / name)
    files.write_atomically(run.folder / ABOUT_RUN, descriptions.description_bytes({**about, **facts}))
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
    files.sync_folder(final.parent)  # which holds the new name
    return True


def write_about(path: Path, about: Mapping[str, Any], *, new: bool = False) -> bool:
    """Write ``recording.json`` to a folder; where it must be new, False if there is one already, which stays."""
    write = files.create_atomically if new else files.write_atomically
    return write(path / ABOUT, descriptions.description_bytes(about)) is not False


def read_about(path: Path) -> dict[str, Any]:
    """The description of the recording in a folder, ``recording.json``.

    Raises:
        FileNotFoundError: The folder holds no recording, or does not exist.
        InputError: The file is damaged, or its format is newer than this version of the package.
    """
    if not (path / ABOUT).is_file():
        what = "is no recording (it has no recording.json)" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the folder that scanner.scan(design, folder) wrote")
    return descriptions.checked_recording(descriptions.read_description(path / ABOUT), path / ABOUT)


def committed_runs(path: Path) -> list[int]:
    """Numbers of the runs that were committed, from 0, in order."""
    numbers = []
    for name in os.listdir(path) if path.is_dir() else ():
        suffix = name.removeprefix("run-")
        if suffix != name and suffix.isascii() and suffix.isdecimal():
            number = int(suffix) - 1
            if run_folder(path, number).name == name and is_committed(path, number):  # run-00, run-1: not ours
                numbers.append(number)
    return sorted(number for number in numbers if number >= 0)


def is_committed(path: Path, run: int) -> bool:
    """Whether a run was committed; its number counts from 0."""
    return os.path.isfile(run_folder(path, run) / ABOUT_RUN)


def claim(path: Path, run: int, *, wait: bool = False) -> Claim | None:
    """Claim a run for this process; None where another works on it and ``wait`` is not asked for."""
    return run_locks.claim(path, run_folder(path, run).name, wait=wait)


def sweep(path: Path, run: int, held: Claim) -> None:
    """Remove what processes that died left of a run, on which this process holds the claim."""
    run_locks.sweep(path, run_folder(path, run).name, held)


def sweep_locks(path: Path) -> None:
    """Remove lock files of committed runs, which a process left when it was killed."""
    run_locks.sweep_locks(path, [run_folder(path, run).name for run in committed_runs(path)])


def sweep_leftovers(path: Path) -> int:
    """Remove all that processes that died left of runs; nothing happens where there is no folder.

    Returns:
        Number of bytes that processes at work have laid out for runs: room that they need no more.
    """
    leftovers.sweep(path)
    total = 0
    for folder in run_locks.sweep_unclaimed(path):
        with contextlib.suppress(FileNotFoundError):  # committed in between
            total += sum(entry.stat().st_size for entry in folder.iterdir())
    return total


def _sync_file(path: Path) -> None:
    """Wait until a file is on the disk and not only in the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
