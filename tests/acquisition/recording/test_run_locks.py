"""Who is at work on a run: one at a time, until it is released or its process ends; what the dead left is swept, and
nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.stores import N_ROWS, WIDTHS, events, rows, write_run
from tl_fbn.acquisition.recording import run_locks, store

CODE = """
import os, sys
from pathlib import Path
from tl_fbn.acquisition.recording import store
path = Path(sys.argv[1])
held = [store.claim(path, run) for run in (1, 2)]
assert all(held)
for run in (1, 2):
    store.lay_out(path, run, 4, {"layer.00": 2})
os._exit(9)
"""


def test_dead_scans_are_swept_and_others_left(tmp_path: Path) -> None:
    write_run(tmp_path, 0)
    assert subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], check=False, timeout=60).returncode == 9
    assert len(list(tmp_path.glob(".run-0*.part"))) == 2
    held = store.claim(tmp_path, 1)  # the lock ended with its process
    assert held is not None
    store.sweep(tmp_path, 1, held)
    assert [entry.name.split(".")[1] for entry in tmp_path.glob(".*.part")] == ["run-03"]
    assert store.committed_runs(tmp_path) == [0]


def test_a_run_that_is_being_written_cannot_be_claimed_and_so_not_swept(tmp_path: Path) -> None:
    held = store.claim(tmp_path, 0)
    assert held is not None
    writing = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    assert store.claim(tmp_path, 0) is None
    assert store.commit(writing, store.run_folder(tmp_path, 0), {}, events(), rows())
    held.release()
    assert [entry.name for entry in tmp_path.iterdir()] == ["run-01"]


def test_who_waits_gets_the_run_when_it_is_released(tmp_path: Path) -> None:
    first = run_locks.claim(tmp_path, "run-01")
    assert first is not None
    got: list[run_locks.Claim | None] = []
    thread = threading.Thread(target=lambda: got.append(run_locks.claim(tmp_path, "run-01", wait=True)))
    thread.start()
    time.sleep(0.2)
    assert not got
    first.release()
    thread.join(10)
    assert got and got[0] is not None
    assert (
        run_locks.claim(tmp_path, "run-01") is None
    )  # the one who waited really has it, though the first took the file away
    got[0].release()
    assert list(tmp_path.iterdir()) == []


def test_locks_that_the_dead_left_are_removed_and_live_ones_stay(tmp_path: Path) -> None:
    (tmp_path / ".run-01.lock").touch()
    held = run_locks.claim(tmp_path, "run-02")
    assert held is not None
    run_locks.sweep_locks(tmp_path, ["run-01", "run-02", "run-03"])
    assert [entry.name for entry in tmp_path.iterdir()] == [".run-02.lock"]
    held.release()


def test_without_locks_nothing_young_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: FileLock, **_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", none)
    with pytest.warns(UserWarning, match="on a file system without locks: of two processes that record a run at once"):
        held = run_locks.claim(tmp_path, "run-01")
    assert held is not None and held.lock is None
    young, old = (store.lay_out(tmp_path, 0, N_ROWS, WIDTHS) for _ in range(2))
    past = time.time() - 3600 * (run_locks.STALE_HOURS + 1)
    os.utime(old.folder / store.DATA, (past, past))
    os.utime(old.folder, (past, past))
    run_locks.sweep(tmp_path, "run-01", held)
    assert young.folder.exists() and not old.folder.exists()
    held.release()
    young.discard()
    old.file.close()
