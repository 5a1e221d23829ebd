"""Which process works on a run: one at a time, by a lock that ends with its process.

Every run that is being written is held by a lock on ``.run-02.lock`` beside it (:mod:`filelock`: ``flock`` on Unix, its
counterpart on Windows, and a marker file where a file system has neither). So several processes on one folder divide
the runs among them. A hidden folder of a run whose lock nobody holds was left by a process that died, and is removed.

Where no lock works at all, a warning says so: two processes may record a run twice, of which the second is thrown away.
A lock may also seem to work and bind the processes of one machine only. So a hidden folder that another machine made,
or any without locks, is removed only if it was not written to for :data:`tl_fbn.leftovers.STALE_HOURS`.
"""

from __future__ import annotations

import contextlib
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from tl_fbn import files, leftovers
from tl_fbn.leftovers import STALE_HOURS


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
    files.make_folder(path)
    lock_file = path / f".{run}.lock"
    lock = FileLock(lock_file, thread_local=False)  # a run may be released by another thread than claimed it
    try:
        with files.full_disk_named(f"{path} has no room for the lock of {run}", "make room and call again"):
            lock.acquire(blocking=wait)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        if not leftovers.means_no_locks(error):
            raise
        warnings.warn(
            f"{path} is on a file system without locks: of two processes that record a run at once, the second is "
            f"thrown away, and what killed ones left is removed {STALE_HOURS:g} hours later",
            stacklevel=2,
        )
        # no process can have one
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
        # The folder may be another process's, at work right now, if there is no lock, or it does not reach the other
        # machine: then only its age can tell.
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            trusted = held.lock is not None and not leftovers.is_of_another_machine(folder.name)
            if trusted or leftovers.hours_since_written(folder) > STALE_HOURS:
                shutil.rmtree(folder, ignore_errors=True)


def sweep_unclaimed(path: Path) -> list[Path]:
    """Remove what processes that died left of any run.

    Args:
        path: Folder of the recording; nothing happens where it does not exist.

    Returns:
        The hidden folders of runs that other processes have claimed, and are writing.
    """
    runs = {folder.name[1:].partition(".")[0] for folder in path.glob(".run-*.part")} if path.is_dir() else set()
    claimed_elsewhere = []
    for run in sorted(runs):
        if held := claim(path, run):
            sweep(path, run, held)
            held.release()
        else:
            claimed_elsewhere.append(run)
    return [folder for run in claimed_elsewhere for folder in path.glob(f".{run}.*.part")]


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
