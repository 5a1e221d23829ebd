"""Which runs this process records, and how each becomes part of the recording.

Several processes may scan into one folder. Each goes through the missing runs and claims them by their locks
(:mod:`tl_fbn.acquisition.recording.run_locks`), one at a time, or all of a group that is read together
(:mod:`.run_groups`). Runs that another process is working on are passed over at first and waited for at the end, in
case their owner dies: its locks end with it, and the runs are then claimed and recorded here. No process has to know of
the others.

A claim is held from before a run's file is laid out until the run is committed or has failed. Committing hashes the
file and renames its folder, and may therefore run on a thread of its own while the next runs are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan.disk_space import disk_errors_named


def claimed_groups(path: Path, groups: Sequence[Sequence[int]]) -> Iterator[dict[int, store.Claim]]:
    """Yield the runs that are this process's to record: first those nobody works on, then those whose owner died.

    Args:
        path: Folder of the recording.
        groups: Numbers of the runs to record, from 0, in groups that are recorded together, in the order in which they
            are tried.

    Yields:
        Of a group, numbers of the runs that were not committed meanwhile to the claims on them, which the caller
        releases.
    """
    claimed_elsewhere: list[Sequence[int]] = []
    # the second round iterates over the list that the first round fills
    for wait, tried in ((False, groups), (True, claimed_elsewhere)):
        for group in tried:
            claims = _claims_on(path, group, wait)
            if claims is None:
                claimed_elsewhere.append(group)
            elif claims:
                yield claims


def _claims_on(path: Path, group: Sequence[int], wait: bool) -> dict[int, store.Claim] | None:
    """Claims on the runs of a group that are not committed; None, and no claim, where another process has one."""
    held: dict[int, store.Claim] = {}
    try:
        # in ascending order in every process: of two that want a group, the second finds its first run taken, and two
        # that wait do not wait for each other
        for number in sorted(group):
            claim = store.claim(path, number, wait=wait)
            if claim is None:
                release(held)
                return None
            held[number] = claim
            if store.is_committed(path, number):  # by another process, since the groups were made
                held.pop(number).release()
    except BaseException:
        release(held)
        raise
    return held


def release(claims: dict[int, store.Claim]) -> None:
    """Let other processes have the runs of some claims, which are taken out of the dictionary.

    Args:
        claims: Numbers of runs to the claims on them.
    """
    while claims:
        claims.popitem()[1].release()


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
