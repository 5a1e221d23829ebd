"""Which runs this process records, and how each becomes part of the recording.

Several processes may scan into one folder. Each goes through the missing runs and claims one at a time by its lock
(:mod:`tl_fbn.acquisition.recording.run_locks`). Runs that another process is working on are passed over at first and
waited for at the end, in case their owner dies: its lock ends with it, and the run is then claimed and recorded here.
No process has to know of the others.

A claim is held from before a run's file is laid out until the run is committed or has failed. Committing hashes the
file and renames its folder, and may therefore run on a thread of its own while the next run is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan.disk_space import disk_errors_named


def claimed_runs(path: Path, missing: Sequence[int]) -> Iterator[tuple[int, store.Claim]]:
    """Yield the runs that are this process's to record: first those nobody works on, then those whose owner died.

    Args:
        path: Folder of the recording.
        missing: Numbers of the runs to record, from 0, in the order in which they are tried.

    Yields:
        Number of a run and the claim on it, which the caller releases.
    """
    claimed_elsewhere: list[int] = []
    # the second round iterates over the list that the first round fills
    for wait, numbers in ((False, missing), (True, claimed_elsewhere)):
        for number in numbers:
            claim = store.claim(path, number, wait=wait)
            if claim is None:
                claimed_elsewhere.append(number)
            elif store.is_committed(path, number):  # by another process, since ``missing`` was counted
                claim.release()
            else:
                yield number, claim


def commit_or_discard(
    laid_out: store.LaidOutRun, final: Path, about: Mapping[str, Any], events: pd.DataFrame, rows: pd.DataFrame
) -> None:
    """Commit a run whose file is filled; where that fails, remove what was written of it.

    Args:
        laid_out: The run's hidden folder, with its data file.
        final: Folder that the run has once it is committed.
        about: Description of the run, written to its ``run.json``.
        events: Table of blocks, one line a block.
        rows: Table of rows, one line a row.

    Raises:
        OSError: The disk is full, or something that is no committed run is in the way.
    """
    try:
        store.commit(laid_out, final, about, events, rows)
    except BaseException:
        laid_out.discard()
        raise


def commit_and_release(commit: Callable[[], Any], claim: store.Claim, path: Path, number: int) -> None:
    """Commit a run and let go of it, also where committing fails, so that another process may try.

    Args:
        commit: Called without arguments, commits the run.
        claim: The claim on the run.
        path: Folder of the recording.
        number: Number of the run, from 0.

    Raises:
        OSError: The disk is full; the message names the run and says how to go on.
    """
    try:
        with disk_errors_named(path, number):
            commit()
    finally:
        claim.release()


def discard_and_release(commit: partial[None] | None, claim: store.Claim) -> None:
    """Give up a run that was not committed: remove what was laid out of it, and let another process have it.

    Args:
        commit: The call of :func:`commit_or_discard` that was to commit the run; None where its file was not filled,
            which then is removed already.
        claim: The claim on the run.
    """
    try:
        if commit is not None:
            commit.args[0].discard()
    finally:
        claim.release()
