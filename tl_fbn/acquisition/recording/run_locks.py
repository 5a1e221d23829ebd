"""Which process works on a run: one at a time, by a lock that ends with its process.

Every run that is being written is held by a lock on ``.run-02.lock`` beside it (:mod:`filelock`: ``flock`` on Unix, its
counterpart on Windows, and a marker file where a file system has neither). So several processes on one folder divide
the runs among them. A hidden folder of a run whose lock nobody holds was left by a process that died, and is removed.

Where no lock works at all, two processes may record a run twice, of which the second is thrown away; then a hidden
folder is removed only if it was not written to for :data:`STALE_HOURS`.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

STALE_HOURS = 12.0  # hours without a write after which a folder counts as left, where there are no locks to tell


@dataclass(frozen=True)
class Claim:
    """A run held against other processes until it is released, or the process ends.

    Args:
        path: Path of the lock file.
        lock: The lock on that file, held; None where the file system has no locks.
    """

    path: Path
    lock: FileLock | None

    def release(self) -> None:
        """Let other processes have the run, and remove the lock file."""
        if self.lock is None:
            return
        # Removed while it is held: a process that waits then gets a lock on a file without a name, which filelock sees,
        # and asks again. Removed afterwards, the file could be one that another process holds by now.
        if not isinstance(self.lock, SoftFileLock):  # a marker file is removed by its release
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        self.lock.release()


def claim(path: Path, run: str, *, wait: bool = False) -> Claim | None:
    """Claim a run for this process.

    Args:
        path: Folder of the recording; made if it is not there.
        run: Name of the run's folder, such as ``"run-02"``.
        wait: True waits until the process that has the run releases it or ends; False gives up at once.

    Returns:
        The claim, to be released when the run is done; None where another process has the run and ``wait`` is False.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock_file = path / f".{run}.lock"
    lock = FileLock(lock_file, thread_local=False)  # a run may be released by another thread than claimed it
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        return None
    except OSError:  # a file system without locks: no process can have one
        return Claim(lock_file, None)
    return Claim(lock_file, lock)


def sweep(path: Path, run: str, held: Claim) -> None:
    """Remove what processes that died left of a run.

    Args:
        path: Folder of the recording.
        run: Name of the run's folder, such as ``"run-02"``.
        held: This process's claim on the run. While it is held nobody else writes, so that what is there is left over.
    """
    for folder in path.glob(f".{run}.*.part"):
        # without a lock the folder may be another process's, at work right now: only its age can tell
        if held.lock is not None or _hours_since_written(folder) > STALE_HOURS:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_locks(path: Path, runs: list[str]) -> None:
    """Remove lock files of committed runs, which a process left when it was killed.

    Args:
        path: Folder of the recording.
        runs: Names of the folders of the committed runs.
    """
    for run in runs:
        # a claim that succeeds shows that nobody holds the lock, and its release removes the file
        if (path / f".{run}.lock").exists() and (held := claim(path, run)):
            held.release()


def _hours_since_written(folder: Path) -> float:
    """Hours since a folder or a file in it was last written to."""
    times = [entry.stat().st_mtime for entry in (folder, *folder.iterdir())]
    return (time.time() - max(times)) / 3600
