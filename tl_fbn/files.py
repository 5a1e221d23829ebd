"""One file for one result: named arrays and a description in JSON, in a safetensors file.

Every result saves itself with :func:`write_result` and loads itself with :func:`read_result`. Arrays are ordinary
tensors of the file; the description is one JSON string under the key ``tl_fbn`` of its metadata::

    {"noun": "UnitMap", "format": 2, "about": {...}, "checksum": "0f2b..."}

Any safetensors reader opens the file, and nothing in it is executed. The last entry is a checksum (XXH3, 128 bits) of
everything else: noun, format, description, and of every array its name, type, shape and numbers. It is compared at
every load, so that a damaged disk or a broken transfer is an error and no other number. Files of format 1, which
earlier versions wrote, have none; they load with a warning. A file of a newer format version is refused.

A new file appears whole or not at all: it is written under a hidden name in the same folder, brought to the disk, and
then renamed, which is one step for the file system. What a killed process left of an earlier save is removed by the
next save into the folder (:mod:`tl_fbn.leftovers`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import xxhash
from safetensors import SafetensorError, safe_open

from tl_fbn import leftovers
from tl_fbn.errors import InputError, InputTypeError

FORMAT_VERSION = 2  # raised when older versions of the package could misread the file; 1 had no checksum
CHECKSUM = "checksum"
_HASH_PIECE_BYTES = 1 << 20  # a file is hashed in pieces of 1 MiB, so that it need not fit into memory
# no space left on the device, a file beyond the largest size allowed, a quota used up
_ERRORS_OF_A_FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
# what asking for a folder's names to be brought to the disk raises where a system has no such thing
_NO_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EOPNOTSUPP)
# what asking for a second name of a file raises where a file system has no hard links
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it, and no power cut takes it back.

    Args:
        path: The file; missing parent folders are made, an existing file is replaced.
        data: The whole content.

    Raises:
        OSError: The disk is full (the message names the file and says what to do), or the file cannot be written; what
            was there before is unchanged.
    """
    _write(path, data, os.replace)


def create_atomically(path: Path, data: bytes) -> bool:
    """Write a file that must be new, so that of several writers one succeeds, and no reader sees half of it.

    Args:
        path: The file; missing parent folders are made.
        data: The whole content.

    Returns:
        True, or False if there is such a file already, which is left as it is.

    Raises:
        OSError: The disk is full, or the file cannot be written.
    """
    try:
        # a second name for the hidden file: unlike a rename, it never replaces a file that is there
        _write(path, data, os.link)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_without_links(path, data)
    return True


def _write(path: Path, data: bytes, give_name: Callable[[Path, Path], Any]) -> None:
    """Write a hidden file beside a path, bring it to the disk, and give it its name."""
    require_name(path)
    what = f"{path} could not be saved, as the disk is full or a quota is used up"
    with full_disk_named(what, "what was there before is unchanged: make room and save again"):
        make_folder(path.parent)
        leftovers.sweep(path.parent)
        with leftovers.hidden_beside(path) as hidden:
            with open(hidden, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # before it has its name: a crash must not leave an empty file at the path
            give_name(hidden, path)
            sync_folder(path.parent)


def _create_without_links(path: Path, data: bytes) -> bool:
    """:func:`create_atomically` on a file system without hard links: who makes the file first writes it."""
    try:
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take them back; nothing happens if it is there.

    Args:
        path: The folder.

    Raises:
        OSError: A folder cannot be made; the message names it.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)  # which holds the new name


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; nothing happens on systems that cannot be asked for it.

    Args:
        path: The folder.
    """
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def full_disk_named(what: str, remedy: str) -> Iterator[None]:
    """Inside the body, an error of a full disk says what found no room, and what to do.

    Args:
        what: What went wrong, with the file or folder: the first half of the message.
        remedy: What is kept and what to do: the second half of the message.

    Raises:
        OSError: The body ran out of room. Other errors of the body pass unchanged.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors has no number of its errors, and says it in words: "... (os error 28)"
        said = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
        number = int(said[1]) if said else getattr(error, "errno", None)
        if number not in _ERRORS_OF_A_FULL_DISK:
            raise
        raise OSError(number, f"{what}; {remedy}") from error


def checksum_of_file(path: Path, algorithm: Callable[[], Any] = xxhash.xxh3_128) -> str:
    """The checksum of a file, which is read in pieces.

    Args:
        path: The file.
        algorithm: Makes an empty digest, as the functions of hashlib and xxhash do.
    """
    digest = algorithm()
    with open(path, "rb") as file:
        while piece := file.read(_HASH_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def write_result(
    path: str | os.PathLike, noun: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Save arrays and their description as one file.

    Args:
        path: The file; missing parent folders are made, an existing file is replaced.
        noun: Name of the class that is saved, e.g. ``"UnitMap"``; :func:`read_result` compares it.
        arrays: Arrays by name, of any shape and of a numeric or boolean type.
        about: Description that JSON can hold; numbers and arrays of numpy become plain numbers and lists.

    Raises:
        OSError: The disk is full; what was at the path before is unchanged.
    """
    path = Path(path)
    stored = {name: _as_stored(np.asarray(array)) for name, array in arrays.items()}
    described = {"noun": noun, "format": FORMAT_VERSION, "about": about}
    # as the reader will see it: keys are text, numbers of numpy plain
    described = json.loads(json.dumps(described, default=_plain))
    described[CHECKSUM] = _checksum(described, stored)
    header = {"tl_fbn": json.dumps(described, sort_keys=True)}
    write_atomically(Path(path), safetensors.numpy.save(stored, metadata=header))


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
    described = _description(path)
    held = described["noun"]
    if held != noun:  # before any array is read: another class would misread them
        raise InputError(f"{path} holds a {held}, not a {noun}; load it with {held}.load(path)")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    # a damaged type may be one that numpy does not have
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged or no result file ({error}); load a file saved by tl_fbn") from error
    stored = described.pop(CHECKSUM, None)
    if stored is not None:
        if stored != _checksum(described, arrays):
            raise InputError(
                f"{path} is damaged: it is not what was saved (its checksum changed); load another copy of it, or make "
                "it again"
            )
    elif described["format"] == 1:
        warnings.warn(
            f"{path} was saved by an earlier version, without a checksum, so that damage to it cannot be seen; save it "
            "again to give it one",
            stacklevel=3,
        )
    else:
        raise InputError(f"{path} is damaged (it has no checksum); load another copy of it, or make it again")
    return arrays, described["about"]


def noun_of(path: str | os.PathLike) -> str:
    """Name of the class that a file holds, read from the header alone.

    Args:
        path: A file that :func:`write_result` saved.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: The file is damaged, was not saved by tl_fbn or has a newer format.
    """
    return _description(Path(path))["noun"]


def _description(path: Path) -> dict[str, Any]:
    """What a file says of itself: noun, format, about and checksum; arrays are not read."""
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
        version = header["format"]
        if not isinstance(header["noun"], str) or not isinstance(header["about"], dict) or type(version) is not int:
            raise InputTypeError("neither a name nor a description")
        if version < 1:
            raise InputError(f"there is no format {version}")
    # whatever JSON a damaged or forged header may hold: not JSON, no such key, null, 1e999, nested without end
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged (its description: {error!r}); load another copy of it") from error
    # older layouts are converted by the class (Result._older_); of newer formats nothing is known
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    return header


def _checksum(described: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of a description without its checksum, and of every array: name, type, shape and numbers."""
    digest = xxhash.xxh3_128(json.dumps(described, sort_keys=True).encode())
    for name in sorted(arrays):
        array = _as_stored(arrays[name])
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _as_stored(array: np.ndarray) -> np.ndarray:
    """An array as the file holds it: C order, the low byte of a number first."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


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
