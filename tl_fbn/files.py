"""One file for one result: named arrays plus a JSON description, in a safetensors file.

Every noun of the package saves itself with :func:`write_result` and loads with :func:`read_result`. The arrays are
ordinary safetensors tensors, the description is one JSON string in the header's metadata, so any safetensors reader
opens the file and nothing in it is ever executed. A file appears whole or not at all (written beside its place, then
renamed). Files of a newer format version are refused by version, never guessed at.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tl_fbn.errors import InputError, InputTypeError

FORMAT_VERSION = 1


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_result(
    path: str | os.PathLike, noun: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Save arrays and their description as one file.

    Args:
        path: Where to; parent folders are made, an existing file is replaced.
        noun: What is saved, e.g. ``"UnitMap"``; reading checks it.
        arrays: Named arrays of any shape and numeric or boolean dtype.
        about: JSON-serialisable description; numpy's numbers and arrays count as such.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"noun": noun, "format": FORMAT_VERSION, "about": about}
    header = {"tl_fbn": json.dumps(described, sort_keys=True, default=_plain)}
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, beside, metadata=header)
        beside.chmod(0o644)  # safetensors keeps files to their owner; results are for a group's shared folder
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_result(path: str | os.PathLike, noun: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Load what :func:`write_result` saved.

    Returns:
        The arrays by name, and the description.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, was not saved by tl_fbn, holds another noun or a newer format.
    """
    path = Path(path)
    held, about = _described(path)
    if held != noun:
        raise InputError(f"{path} holds a {held}, not a {noun}; load it with {held}.load(path)")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no result file ({error}); load a file saved by tl_fbn") from error
    return arrays, about


def noun_of(path: str | os.PathLike) -> str:
    """What a file saved by :func:`write_result` holds, from its header alone; errors as for :func:`read_result`."""
    return _described(Path(path))[0]


def _described(path: Path) -> tuple[str, dict[str, Any]]:
    """Noun and description of a file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give the path that .save(...) was given")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no result file ({error}); load a file saved by tl_fbn") from error
    if "tl_fbn" not in metadata:
        raise InputError(f"{path} is a safetensors file, but none that tl_fbn saved; load a file saved by tl_fbn")
    try:
        header = json.loads(metadata["tl_fbn"])
        version = int(header["format"])
        held = header["noun"]
        about = header["about"]
        if not isinstance(held, str) or not isinstance(about, dict):
            raise InputTypeError("neither a name nor a description")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged (its description: {error!r}); load another copy of it") from error
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    return held, about


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise InputTypeError(
        f"a description holds {value!r}, which JSON has no form for; give numbers, strings, lists or dicts"
    )
