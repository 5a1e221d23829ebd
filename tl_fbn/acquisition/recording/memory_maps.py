"""Memory maps that travel as an address: a recording on its way to another process is a path, not its bytes.

numpy pickles a memory map by copying what it shows, so that every task sent to a cluster (``joblib.parallel_config(backend="dask")``) would carry its layer. A
:class:`Mapped` is sent as file, offset and shape, and mapped again where it arrives: the workers read the file themselves, which takes a folder that
all of them see. Views of whole rows travel likewise; what is no stretch of the file (some columns, results of arithmetic) is copied as ever.

A map holds a file open as long as it lives, and a process may hold 1,024 or 256 of them where nobody raised the limit. So all arrays of a file are views
of one map of it, in whatever process, and a recording costs one open file a run, however many layers and tasks look at it.
"""

from __future__ import annotations

import math
import mmap
import threading
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np

from tl_fbn.errors import InputError

_MAPS: WeakValueDictionary[tuple[str, int, int, int], np.memmap] = WeakValueDictionary()
_LOCK = threading.Lock()


class Mapped(np.memmap):
    """A read-only memory map of a (row, unit) array in a file."""

    def __reduce__(self) -> Any:
        place = place_of(self)
        if place is None or not self.flags.c_contiguous or not self.size:
            return np.asarray(self).__reduce__()
        return reopened, (*place, self.dtype.str, self.shape)


def mapped(path: str | Path, offset: int, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A read-only array in a file; all arrays of one file share one map.

    Args:
        path: The file.
        offset: Byte at which the array begins.
        dtype: Type of the numbers in the array.
        shape: Shape of the array.

    Raises:
        InputError: The file ends before the array does.
    """
    path, n_bytes = Path(path).resolve(), math.prod(shape) * np.dtype(dtype).itemsize
    about = path.stat()
    if offset < 0 or offset + n_bytes > about.st_size:
        raise InputError(f"{path} has {about.st_size:,} bytes, an array in it ends at {offset + n_bytes:,}")
    key = (str(path), about.st_ino, about.st_mtime_ns, about.st_size)
    with _LOCK:
        whole = _MAPS.get(key)
        if whole is None:
            whole = _MAPS[key] = Mapped(path, np.uint8, "r")
    return cast(np.memmap, whole[offset : offset + n_bytes].view(dtype).reshape(shape))


def reopened(path: str, offset: int, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """The map that :class:`Mapped` sent.

    Raises:
        FileNotFoundError: This process does not see the file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"this worker sees no file at {path}; record into a folder that every machine of the cluster sees"
        )
    return mapped(path, offset, np.dtype(dtype), shape)


def place_of(array: np.ndarray) -> tuple[str, int] | None:
    """The file of an array and the byte at which it begins there; None for an array that is in no file."""
    root = _root(array)
    if not isinstance(root, np.memmap) or root.filename is None:
        return None
    within = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), int(root.offset + within)


def hand_back(array: np.ndarray) -> None:
    """Let go of the pages of a mapped array (they stay in the system's cache); nothing happens to any other array."""
    root = _root(array)
    held = root.base
    if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and array.size:
        first = array.__array_interface__["data"][0] - np.frombuffer(held, np.uint8).__array_interface__["data"][0]
        start = first - first % mmap.PAGESIZE
        held.madvise(mmap.MADV_DONTNEED, start, first + array.nbytes - start)


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
