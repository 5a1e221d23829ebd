"""Bytes on disk: the only file that knows how a recording is stored.

::

    recordings/sort/
      recording.json              key, its fields, space, prompts, versions
      run-01/
        activations.safetensors   one tensor a layer, "layer.00": (row, unit), float32, C order
        events.tsv                onset  duration  trial_type          (rows)
        rows.tsv                  row  prompt  block  position  token_id  token  trial_type  surprisal  flags
        run.json                  key, rows, SHA-256 of the three files, seconds, host
      .run-02.5f2c91aa.part/      being written, or a scan that died: readers ignore it, the next scan sweeps the dead

*Laid out, then filled.* A run's data file is created at full size with its header, then filled through memory maps while
the model runs: memory stays at one batch. *Committed by one rename*: files are flushed and hashed, ``run.json`` is
written, the folder renamed. A run exists whole or not at all; the second of two writers finds the folder taken and
throws its own away. A writer holds a lock on its data file, which ends with its process. *Resume* is: skip the runs that exist.

Cost: about 1 to 2 GB/s to fill and hash from the page cache. A layer reads back contiguously. No compression:
activations shrink by 8 % at best.
"""

from __future__ import annotations

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
from jaxtyping import Float

from tl_fbn import files

FORMAT_VERSION = 1
DATA, EVENTS, ROWS, ABOUT_RUN, ABOUT = "activations.safetensors", "events.tsv", "rows.tsv", "run.json", "recording.json"
_HEADER_ALIGNMENT = 64


def run_folder(path: Path, run: int) -> Path:
    return path / f"run-{run + 1:02d}"


@dataclass(frozen=True)
class LaidOutRun:
    """A run being written: a hidden folder, and a memory map of every layer in it."""

    folder: Path
    layers: Mapping[int, np.memmap]

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def lay_out(path: Path, run: int, n_rows: int, widths: Mapping[int, int]) -> LaidOutRun:
    """Create a run's data file at full size.

    Args:
        path: Folder of the recording.
        run: Run number from 0.
        n_rows: Rows.
        widths: Layer to its number of units.
    """
    folder = path / f".{run_folder(path, run).name}.{uuid.uuid4().hex[:8]}.part"
    folder.mkdir(parents=True)
    header: dict[str, Any] = {}
    offset = 0
    for layer, width in widths.items():
        end = offset + 4 * n_rows * width
        header[f"layer.{layer:02d}"] = {"dtype": "F32", "shape": [n_rows, width], "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-(8 + len(encoded)) % _HEADER_ALIGNMENT)
    with open(folder / DATA, "w+b") as file:
        _claim(file)  # the memory maps keep the lock when the file is closed
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + offset)
        starts = {layer: header[f"layer.{layer:02d}"]["data_offsets"][0] + 8 + len(encoded) for layer in widths}
        layers = {
            layer: np.memmap(file, np.float32, "r+", starts[layer], (n_rows, width)) for layer, width in widths.items()
        }
    return LaidOutRun(folder, layers)


def commit(run: LaidOutRun, final: Path, about: Mapping[str, Any], events: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Make a filled run visible.

    Returns:
        True, or False if another writer committed the same run first (ours is discarded).

    Raises:
        FileExistsError: Something that is no committed run is in the way.
    """
    for layer in run.layers.values():
        layer.flush()
    write_table(run.folder / EVENTS, events)
    write_table(run.folder / ROWS, rows.rename_axis("row").reset_index())
    digests = {name: _sha256(run.folder / name) for name in (DATA, EVENTS, ROWS)}
    sizes = {name: (run.folder / name).stat().st_size for name in digests}
    record = {
        **about,
        "format": FORMAT_VERSION,
        "n_rows": len(rows),
        "sha256": digests,
        "bytes": sizes,
        "host": platform.node(),
    }
    files.write_atomically(run.folder / ABOUT_RUN, _json(record))
    for name in digests:
        _fsync(run.folder / name)
    _fsync(run.folder)
    try:
        os.rename(run.folder, final)
    except OSError as error:
        if not final.exists():
            raise
        if not (final / ABOUT_RUN).is_file():
            raise FileExistsError(
                f"{final} is in the way and holds no committed run; delete it and scan again"
            ) from error
        run.discard()
        return False
    _fsync(final.parent)
    return True


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    files.write_atomically(path / ABOUT, _json({"format": FORMAT_VERSION, **about}))


def read_about(path: Path) -> dict[str, Any]:
    """``recording.json``, checked for a format this version can read."""
    if not (path / ABOUT).is_file():
        what = "is no recording (it has no recording.json)" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the folder that scanner.scan(design, folder) wrote")
    return _checked(path / ABOUT)


def committed_runs(path: Path) -> list[int]:
    """Numbers of the runs that were committed, from 0."""
    numbers = []
    for folder in path.glob("run-*"):
        suffix = folder.name.removeprefix("run-")
        if suffix.isdigit() and (folder / ABOUT_RUN).is_file():
            numbers.append(int(suffix) - 1)
    return sorted(numbers)


def sweep(path: Path, run: int) -> None:
    """Remove what dead scans of one run left behind; one that is still being written is left alone."""
    for folder in path.glob(f".{run_folder(path, run).name}.*.part"):
        if (folder / DATA).is_file():
            with open(folder / DATA, "r+b") as file:
                if not _claim(file):
                    continue
        shutil.rmtree(folder, ignore_errors=True)


def open_run(folder: Path) -> tuple[dict[str, Any], dict[int, Float[np.ndarray, "row unit"]]]:
    """A committed run: its description, and each layer as a read-only memory map.

    Raises:
        ValueError: A file is missing, has another size than it was committed with, or has a damaged header.
    """
    about = _checked(folder / ABOUT_RUN)
    for name, size in about["bytes"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise ValueError(f"{folder / name} {state}, it was committed with {size:,}; delete {folder} and scan again")
    layers = {}
    try:
        with open(folder / DATA, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, about["bytes"][DATA])))
        for name, entry in header.items():
            rows, width = entry["shape"]
            offset = 8 + length + entry["data_offsets"][0]
            layers[int(name.removeprefix("layer."))] = np.memmap(folder / DATA, np.float32, "r", offset, (rows, width))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / DATA} has a damaged header ({error!r}); delete {folder} and scan again") from error
    return about, layers


def verify_run(folder: Path) -> None:
    """Read a committed run again and compare its hashes; ValueError names the first file that changed."""
    about, _ = open_run(folder)
    for name, digest in about["sha256"].items():
        if _sha256(folder / name) != digest:
            raise ValueError(
                f"{folder / name} is not what was committed (its SHA-256 changed); delete {folder} and scan again"
            )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A BIDS-style TSV: tab-separated, ``n/a`` for what is missing.

    The strings of our own columns are escaped as in JSON, so that a cell is one line; in columns of other names every cell is
    a JSON value (strings in quotes), so that all come back as they were.
    """
    columns = [_cells(str(name), pd.Series(table[name])) for name in table.columns]
    lines = ["\t".join(_escaped(str(name)) for name in table.columns), *map("\t".join, zip(*columns))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    columns = [json.loads(f'"{name}"') for name in lines[0].split("\t")]
    cells = list(zip(*(line.split("\t") for line in lines[1:]), strict=True)) or [()] * len(columns)
    return pd.DataFrame({name: _column(name, column) for name, column in zip(columns, cells, strict=True)})


_TEXTS = {"token", "trial_type", "flags"}


def _column(name: str, cells: Sequence[str]) -> list[Any]:
    quote = '"' if name in _TEXTS else ""
    # one document a column: json is fast and keeps integers, floats, booleans and strings apart
    return json.loads(f"[{','.join('NaN' if cell == 'n/a' else f'{quote}{cell}{quote}' for cell in cells)}]")


def _cells(name: str, column: pd.Series) -> list[str]:
    missing, values = column.isna().tolist(), column.tolist()
    if name in _TEXTS:
        escaped = {text: _escaped(text) for text in set(map(str, values))}
        cells = [escaped[str(value)] for value in values]
    elif pd.api.types.is_numeric_dtype(column):
        plain = [0 if gone else value for gone, value in zip(missing, values, strict=True)]
        cells = json.dumps(plain, separators=(",", ":"))[1:-1].split(",") if plain else []
    else:
        cells = [json.dumps(value if isinstance(value, (bool, int, float)) else str(value)) for value in values]
    return ["n/a" if gone else cell for gone, cell in zip(missing, cells, strict=True)]


def _escaped(text: str) -> str:
    """Text as inside a JSON string; printable characters stay as they are, and no text looks like a missing value."""
    return r"n\/a" if text == "n/a" else json.dumps(text, ensure_ascii=not text.isprintable())[1:-1]


def _claim(file: IO[bytes]) -> bool:
    """Lock a file until it and every memory map of it are closed; False where someone else has locked it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True  # a system without locks: then nobody has any
    return True


def _checked(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is damaged ({error}); delete its folder and scan again") from error
    if about.get("format", 0) > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {about['format']}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    return about


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
