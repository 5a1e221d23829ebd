"""Scans on a disk that is full, or fills: what killed ones left is room, nothing half-done stays, and what is committed is
kept.
"""

from __future__ import annotations

import shutil
import threading

import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan.run_recorder import RunRecorder


def test_what_killed_scans_left_counts_as_free(model, tmp_path, monkeypatch):
    """Room that is exactly enough once leftovers are gone; what they hold is not room for others."""
    scanner, design = fbn.Scanner(model), small_design()
    left = store.lay_out(tmp_path / "r", 1, 80, {"layer.00": 1000})
    left.file.close()
    needed = scanner.plan(design).n_bytes
    usage = shutil.disk_usage(tmp_path)

    def free(path):
        return usage._replace(free=needed - 1 if left.folder.exists() else needed)

    monkeypatch.setattr(shutil, "disk_usage", free)
    scanner.scan(design, tmp_path / "r", progress=False).verify()
    assert not left.folder.exists()


def test_a_failed_commit_leaves_nothing_of_the_next_run(model, tmp_path, monkeypatch):
    """The first run cannot be committed, as the disk is full, while the second is recorded."""
    filled = threading.Event()
    commit, record_group = store.commit, RunRecorder._record_group

    def full(*_):
        assert filled.wait(60)
        raise OSError(28, "No space left on device")

    def recorded(self, group, *rest):
        found = record_group(self, group, *rest)
        if 1 in group:
            filled.set()
        return found

    monkeypatch.setattr(store, "commit", full)
    monkeypatch.setattr(RunRecorder, "_record_group", recorded)
    scanner, design = fbn.Scanner(model), small_design(n_runs=3)
    with pytest.raises(OSError, match="ran out of room while run 0 was written; runs that were committed are kept"):
        scanner.scan(design, tmp_path / "r", progress=False)
    assert [entry.name for entry in (tmp_path / "r").iterdir()] == [store.ABOUT]
    monkeypatch.setattr(store, "commit", commit)
    scanner.scan(design, tmp_path / "r", progress=False).verify()


def test_a_deleted_description_is_written_anew_and_runs_are_kept(model, tmp_path):
    """What the message about a damaged one says to do."""
    scanner = fbn.Scanner(model)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    about, written = recording.path / store.ABOUT, (recording.path / "run-01" / store.DATA).stat().st_mtime_ns
    kept = about.read_bytes()
    about.write_bytes(kept[:-30])
    with pytest.raises(ValueError, match=f"delete {about} and scan again, which keeps the runs"):
        scanner.scan(small_design(), tmp_path / "r", progress=False)
    about.unlink()
    scanner.scan(small_design(), tmp_path / "r", progress=False).verify()
    assert about.read_bytes() == kept
    assert (recording.path / "run-01" / store.DATA).stat().st_mtime_ns == written
    about.unlink()
    with pytest.raises(ValueError, match="belongs to another recording"):
        scanner.scan(small_design(seed=1), tmp_path / "r", progress=False)
