"""Room on the disk: counted before a scan begins, and explained where it runs out on the way.

A scan knows beforehand how many bytes of activations it will write (rows x units x bytes a number), so a disk that is
too small is an error before the model runs. Free bytes are those that the operating system grants this user on the
file system of the folder, or of its nearest parent that exists, as the folder may be yet to be made.

Another program may fill the disk meanwhile, and a quota or a limit on the size of a file shows only when it is hit. The
error that the system then raises is raised again with the run that was being written and what to do: runs that were
committed before are kept, and the next scan continues after them.

What it does not do: count the row tables and descriptions, which are small beside the activations, or reserve room
(:func:`tl_fbn.acquisition.recording.store.lay_out` does, one run at a time).
"""

from __future__ import annotations

import errno
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from tl_fbn import files

_HOW_TO_RESUME = "runs that were committed are kept: make room and call scan again to go on from there"


def free_bytes(path: Path) -> int:
    """Bytes that are free on the file system of a folder.

    Args:
        path: The folder, which need not exist yet.
    """
    return shutil.disk_usage(_nearest_existing_folder(path)).free


def require_room(path: Path, needed: int) -> None:
    """Raise an error unless so many bytes are free at a folder.

    Args:
        path: The folder, which need not exist yet.
        needed: Number of bytes that will be written.

    Raises:
        OSError: Fewer bytes are free; the message gives both numbers in GB (1e9 bytes).
    """
    free = free_bytes(path)
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the scan needs {needed / 1e9:,.2f} GB at {path}, {free / 1e9:,.2f} GB are free; make room or give "
            "another folder",
        )


def disk_errors_named(path: Path, *numbers: int) -> AbstractContextManager[None]:
    """Inside the body, an error of a full disk says which runs found no room, and how to go on.

    Args:
        path: Folder of the recording.
        *numbers: Numbers of the runs that the body writes, from 0.

    Raises:
        OSError: The body ran out of room. Other errors of the body pass unchanged.
    """
    written = f"run {numbers[0]} was" if len(numbers) == 1 else f"runs {', '.join(map(str, numbers))} were"
    return files.full_disk_named(f"{path} ran out of room while {written} written", _HOW_TO_RESUME)


def _nearest_existing_folder(path: Path) -> Path:
    """The folder itself or the first of its parents that exists; the root always does."""
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
