"""One file for one result: named arrays and a description in JSON, in a safetensors file.

Every result saves itself with :func:`write_result` and loads itself with :func:`read_result`. Arrays are ordinary
tensors of the file; the description is one JSON string under the key ``tl_fbn`` of its metadata::

    {"noun": "UnitMap", "format": 1, "about": {...}}

Any safetensors reader opens the file, and nothing in it is executed. A new file appears whole or not at all: it is
written under a temporary name in the same folder and then renamed, which is one step for the file system. A file of a
newer format version is refused.
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

FORMAT_VERSION = 1  # raised when older versions of the package could misread the file


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: The file; missing parent folders are made, an existing file is replaced.
        data: The whole content.
    """
    require_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # on disk before it is renamed: a crash must not leave an empty file at the path
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_result(
    path: str | os.PathLike, noun: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Save arrays and their description as one file.

    Args:
        path: The file; missing parent folders are made, an existing file is replaced.
        noun: Name of the class that is saved, e.g. ``"UnitMap"``; :func:`read_result` compares it.
        arrays: Arrays by name, of any shape and of a numeric or boolean type.
        about: Description that JSON can hold; numbers and arrays of numpy become plain numbers and lists.
    """
    path = Path(path)
    require_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"noun": noun, "format": FORMAT_VERSION, "about": about}
    header = {"tl_fbn": json.dumps(described, sort_keys=True, default=_plain)}
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, temporary, metadata=header)
        temporary.chmod(0o644)  # safetensors keeps files to their owner; results are for a group's shared folder
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_result(path: str | os.PathLike, noun: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Load what :func:`write_result` saved.

    Args:
        path: The file.
        noun: Name of the class that the file must hold.

    Returns:
        The arrays by name, and the description.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: The file is damaged, was not saved by tl_fbn, holds another class or has a newer format.
    """
    path = Path(path)
    held, about = _noun_and_description(path)
    if held != noun:  # before any array is read: another class would misread them
        raise InputError(f"{path} holds a {held}, not a {noun}; load it with {held}.load(path)")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no result file ({error}); load a file saved by tl_fbn") from error
    return arrays, about


def noun_of(path: str | os.PathLike) -> str:
    """Name of the class that a file holds, read from the header alone.

    Args:
        path: A file that :func:`write_result` saved.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: The file is damaged, was not saved by tl_fbn or has a newer format.
    """
    return _noun_and_description(Path(path))[0]


def _noun_and_description(path: Path) -> tuple[str, dict[str, Any]]:
    """Name of the class that a file holds, and its description; arrays are not read."""
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
    # whatever JSON a damaged or forged header may hold: not JSON, no such key, null, 1e999, nested without end
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged (its description: {error!r}); load another copy of it") from error
    # older formats are converted by the class (Result._older_); of newer ones nothing is known
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    return held, about


def _plain(value: Any) -> Any:
    """A value that JSON has no form for, as one that it has: numbers and arrays of numpy."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise InputTypeError(
        f"a description holds {value!r}, which JSON has no form for; give numbers, strings, lists or dicts"
    )


def require_name(path: Path) -> None:
    """Raise an error unless a path can be that of a file to write: ``""``, ``"."`` and ``"/"`` name folders.

    Args:
        path: The path.

    Raises:
        InputError: The path has no name.
    """
    if not path.name:
        raise InputError(f"{str(path)!r} is a folder; give the name of a file to write")
