"""Who is at work on a run: one process at a time, by a lock that ends with its process.

Every run that is being written is held by a lock on ``.run-02.lock`` beside it (:mod:`filelock`: ``flock`` on Unix, its like on Windows, and a marker file
where a file system has neither). So several processes on one folder divide the runs among them, and what a hidden folder of a run holds while nobody has
its lock was left by a process that died: it is swept. Where no lock works at all, two processes may do a run twice, of which the second is thrown away; then
only what has not been written to for :data:`STALE_HOURS` is swept.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

STALE_HOURS = 12.0


@dataclass(frozen=True)
class Claim:
    """A run held against other processes until it is released, or the process ends.

    Args:
        path: The lock file.
        lock: The lock; None where the file system has none.
    """

    path: Path
    lock: FileLock | None

    def release(self) -> None:
        """Let others have the run. The lock file goes while it is held: who waits for it finds it gone, and looks again."""
        if self.lock is None:
            return
        if not isinstance(self.lock, SoftFileLock):  # whose release removes its marker itself
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        self.lock.release()


def claim(path: Path, run: str, *, wait: bool = False) -> Claim | None:
    """Claim a run for this process.

    Args:
        path: Folder of the recording; made if needed.
        run: Name of the run's folder, e.g. ``"run-02"``.
        wait: Wait for whoever has it, instead of giving up.

    Returns:
        The claim; None where another process has it.
    """
    path.mkdir(parents=True, exist_ok=True)
    at = path / f".{run}.lock"
    lock = FileLock(at, thread_local=False)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        return None
    except OSError:  # a file system without locks: then nobody has any
        return Claim(at, None)
    return Claim(at, lock)


def sweep(path: Path, run: str, held: Claim) -> None:
    """Remove what dead scans of a run left behind; the run must be held, so that none of it can be alive.

    Args:
        path: Folder of the recording.
        run: Name of the run's folder.
        held: The claim on it.
    """
    for folder in path.glob(f".{run}.*.part"):
        if held.lock is not None or _hours_since_written(folder) > STALE_HOURS:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_locks(path: Path, runs: list[str]) -> None:
    """Remove the locks of committed runs that a process left when it was killed."""
    for run in runs:
        if (path / f".{run}.lock").exists() and (held := claim(path, run)):
            held.release()


def _hours_since_written(folder: Path) -> float:
    times = [entry.stat().st_mtime for entry in (folder, *folder.iterdir())]
    return (time.time() - max(times)) / 3600
