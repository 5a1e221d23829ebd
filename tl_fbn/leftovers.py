"""What a killed process leaves beside its files, told apart from what a living one is writing, and removed.

Files and runs are written under a hidden name and renamed when they are whole. A process that is killed in between
leaves the hidden file, ``.sort.safetensors.MACHINE-RANDOM.part``, which nobody reads and nobody would ever remove. Two
things tell whether its writer lives:

- A *lock* on ``.sort.safetensors.MACHINE-RANDOM.part.lock`` (:mod:`filelock`), which ends with its process.
- The *machine*, written into the name. A lock may look as if it worked and yet bind the processes of one machine only
  (Lustre with ``localflock``, some NFS). So it is believed for what was written on this machine; for all else, and
  where there are no locks, a leftover is what was not written to for :data:`STALE_HOURS`.

A machine is this one if it has the same name, or is the same running system (two containers of one host).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

STALE_HOURS = 12.0  # hours without a write after which a leftover counts as one, where no lock can tell
_STALE_LOCK_HOURS = 1 / 60  # a lock's file without what it locks: its writer begins with it, so it gets a minute
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux: new at every start of the system, shared by containers
_LONGEST_NAME = 120  # bytes of a file's name that its hidden name repeats; file systems take some 255 in all
# .NAME.MACHINE-RANDOM.part, perhaps .lock behind it; earlier versions wrote no machine
_HIDDEN = re.compile(r"\..+\.(?:(?P<machine>[0-9a-f]{12})-)?[0-9a-f]{8}\.part(?P<lock>\.lock)?", re.DOTALL)
# what asking for a lock raises where a file system has none: not implemented, no locks, not supported, not for files
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


def hidden_name(name: str) -> str:
    """A new hidden name for a file or folder that is being written.

    >>> hidden_name("run-02")  # doctest: +SKIP
    '.run-02.4be1f20c9a77-5f2c91aa.part'

    Args:
        name: The name that it will have when it is whole.
    """
    short = os.fsencode(name)[:_LONGEST_NAME].decode(errors="ignore")
    return f".{short}.{''.join(_machine())}-{uuid.uuid4().hex[:8]}.part"


def is_of_another_machine(hidden: str) -> bool:
    """Whether a hidden name was given on another machine; False for names of earlier versions, which do not say it.

    Args:
        hidden: The name, as :func:`hidden_name` made it.
    """
    found = _HIDDEN.fullmatch(hidden)
    machine = found and found["machine"]
    return bool(machine) and machine[:6] != _machine()[0] and machine[6:] != _machine()[1]


def means_no_locks(error: BaseException) -> bool:
    """Whether an error says that a file system has no locks, and not that a folder is read-only or a disk is full.

    Args:
        error: What asking for a lock raised.
    """
    # filelock before 3.21 raises the first
    return isinstance(error, NotImplementedError) or (isinstance(error, OSError) and error.errno in _NO_LOCKS)


def hours_since_written(path: Path) -> float:
    """Hours since a file was last written to; of a folder, since it or a file in it was.

    Args:
        path: The file or folder.

    Raises:
        OSError: It is gone.
    """
    entries = [path, *path.iterdir()] if path.is_dir() else [path]
    return (time.time() - max(entry.stat().st_mtime for entry in entries)) / 3600


@contextlib.contextmanager
def hidden_beside(path: Path) -> Iterator[Path]:
    """Inside the body, a hidden path beside a file, held by a lock; what is there at the end is removed.

    Args:
        path: The file that is to be written.

    Yields:
        The hidden path, at which nothing is yet. The body writes it and renames it to ``path``.
    """
    hidden = path.with_name(hidden_name(path.name))
    lock = _locked(hidden)
    try:
        yield hidden
    finally:
        hidden.unlink(missing_ok=True)
        _release(lock)


def sweep(folder: Path) -> None:
    """Remove hidden files of a folder whose writers died; folders in it are left alone.

    Args:
        folder: The folder; nothing happens where it does not exist.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [(Path(entry.path), _HIDDEN.fullmatch(entry.name)) for entry in entries if entry.name.startswith(".")]
        for hidden, parts in found:
            # gone by now, or not ours to remove: the next one
            with contextlib.suppress(OSError):
                if parts and not hidden.is_symlink() and hidden.is_file():
                    if parts["lock"]:
                        _sweep_lock(hidden)
                    else:
                        _sweep_file(hidden, says_machine=parts["machine"] is not None)


def _sweep_file(hidden: Path, *, says_machine: bool) -> None:
    """Remove a hidden file if its writer died: its lock is free, or it is too old to be at work."""
    try:
        lock = _locked(hidden) if says_machine and not is_of_another_machine(hidden.name) else None
    except Timeout:  # its writer lives, however long it has not written
        return
    try:
        if lock is not None or hours_since_written(hidden) > STALE_HOURS:
            hidden.unlink(missing_ok=True)
    finally:
        _release(lock)


def _sweep_lock(path: Path) -> None:
    """Remove a lock's file that has outlived what it locked."""
    hidden = path.with_name(path.name.removesuffix(".lock"))
    if not hidden.exists() and hours_since_written(path) > _STALE_LOCK_HOURS:
        if is_of_another_machine(hidden.name):
            if hours_since_written(path) > STALE_HOURS:
                path.unlink(missing_ok=True)
        else:
            with contextlib.suppress(Timeout):
                _release(_locked(hidden))  # a lock that nobody holds is had at once, and its release removes the file


def _locked(hidden: Path) -> FileLock | None:
    """The lock of a hidden file, held; None where there are no locks, a Timeout where another process has it."""
    lock = FileLock(f"{hidden}.lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:  # which is an OSError too
        raise
    except (OSError, NotImplementedError):
        return None
    return lock


def _release(lock: FileLock | None) -> None:
    """Remove a lock's file and let go of the lock; in this order, or the file could be another's by then."""
    if lock is not None:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@cache
def _machine() -> tuple[str, str]:
    """Two short digests that tell this machine: of its name, and of the system as it runs since its start."""
    name = platform.node()
    try:
        boot = _BOOT_ID.read_text(encoding="ascii")
    except (OSError, ValueError):
        boot = name
    first, second = (hashlib.sha256(text.encode()).hexdigest()[:6] for text in (f"name {name}", f"boot {boot}"))
    return first, second
