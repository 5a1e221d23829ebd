"""Memory maps that travel as an address: a recording on its way to another process is a path, not its bytes.

numpy pickles a memory map by copying what it shows, so that every task sent to a cluster
(``joblib.parallel_config(backend="dask")``) would carry its layer. A :class:`Mapped` is sent as file, offset and shape
instead, and mapped again where it arrives: the workers read the file themselves, which takes a folder that all of them
see. Views of whole rows are sent as an address too. What is no unbroken stretch of the file (some columns, results of
arithmetic) is copied, as numpy does.

A map holds a file open as long as it lives, and a process may hold 1,024 or 256 files open where nobody raised the
limit. So all arrays of a file are views of one map of it, in whatever process, and a recording costs one open file a
run, however many layers and tasks look at it.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np

from tl_fbn.errors import InputError

# Device, inode, time of change and size of a file to its map. Weak: it goes, and its file closes, with the last view.
_MAP_OF_FILE: WeakValueDictionary[tuple[int, int, int, int], np.memmap] = WeakValueDictionary()
_LOCK_OF_MAPS = threading.Lock()


class Mapped(np.memmap):
    """A read-only memory map of a (row, unit) array in a file."""

    # What pickle asks for: the function that makes the array again, and its arguments.
    def __reduce__(self) -> Any:
        place = place_of(self)
        # only an unbroken stretch of the file is told by its first byte and its shape
        if place is None or not self.flags.c_contiguous or not self.size:
            return np.asarray(self).__reduce__()
        return reopened, (*place, self.dtype.str, self.shape)


def mapped(
    path: str | Path, offset: int, dtype: Any, shape: tuple[int, ...], about: os.stat_result | None = None
) -> np.memmap:
    """A read-only array in a file; all arrays of one file share one map.

    Args:
        path: Path of the file.
        offset: Byte of the file at which the array begins, from 0.
        dtype: Type of the numbers, as numpy takes it; their order in the file is C order.
        shape: Shape of the array.
        about: What the system says of the file, where the caller asked just now; None asks.

    Returns:
        A view of the file's map; nothing is read yet.

    Raises:
        InputError: The file ends before the array does.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    about = Path(path).stat() if about is None else about
    if offset < 0 or offset + n_bytes > about.st_size:
        raise InputError(f"{path} has {about.st_size:,} bytes, an array in it ends at {offset + n_bytes:,}")
    # one key for a file, by whichever links it is reached; a file that was replaced or changed has another
    key = (about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size)
    with _LOCK_OF_MAPS:  # two threads would otherwise open the file twice
        whole = _MAP_OF_FILE.get(key)
        if whole is None:
            whole = _MAP_OF_FILE[key] = Mapped(Path(path), np.uint8, "r")
    return cast(np.memmap, whole[offset : offset + n_bytes].view(dtype).reshape(shape))


def reopened(path: str, offset: int, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """The array that a :class:`Mapped` was, made again where its pickle arrived.

    Args:
        path: Path of the file, the same on every machine.
        offset: Byte of the file at which the array begins, from 0.
        dtype: Type of the numbers, as ``dtype.str`` spells it.
        shape: Shape of the array.

    Raises:
        FileNotFoundError: This process does not see the file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"this worker sees no file at {path}; record into a folder that every machine of the cluster sees"
        )
    return mapped(path, offset, np.dtype(dtype), shape)


def place_of(array: np.ndarray) -> tuple[str, int] | None:
    """The file of an array and the byte at which it begins there; None for an array that is in no file.

    Args:
        array: A memory map, a view of one, or any other array.
    """
    root = _root_array(array)
    if not isinstance(root, np.memmap) or root.filename is None:
        return None
    # addresses in memory tell how far into the map the view begins; the map itself begins at root.offset of the file
    within = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), int(root.offset + within)


def hand_back(array: np.ndarray) -> None:
    """Let go of the pages of a mapped array, so that memory does not grow with what was read.

    The pages stay in the system's cache, and are read again where they are used again. Nothing happens to an array that
    is in no file, nor on systems without ``madvise``.

    Args:
        array: The array that is done with.
    """
    root = _root_array(array)
    pages = root.base
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and array.size:
        first = array.__array_interface__["data"][0] - np.frombuffer(pages, np.uint8).__array_interface__["data"][0]
        start = first - first % mmap.PAGESIZE  # the system wants the beginning of a page
        pages.madvise(mmap.MADV_DONTNEED, start, first + array.nbytes - start)


def _root_array(array: np.ndarray) -> np.ndarray:
    """The array that a view, or a view of a view, is of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
