"""Runs to files: what is there is left alone, what is another recording's is refused, and a failure leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.external_arrays import record
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_files import write_runs


def test_writing_again_keeps_what_is_there_and_refuses_something_else(tmp_path: Path) -> None:
    record(path=tmp_path)
    written = (tmp_path / "run-01" / store.DATA).stat().st_mtime_ns
    assert record(path=tmp_path).key == record().key
    assert (tmp_path / "run-01" / store.DATA).stat().st_mtime_ns == written
    with pytest.raises(
        ValueError, match=r"already holds another recording \(key [0-9a-f]{12}\); give another folder or"
    ):
        record(path=tmp_path, site="mlp.out")


def test_a_failed_write_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store, "write_table", full)
    with pytest.raises(OSError, match="disk full"):
        record(path=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [store.ABOUT]
    monkeypatch.undo()
    assert record(path=tmp_path).key == record().key


def test_runs_that_are_missing_are_written_and_no_lock_stays(tmp_path: Path) -> None:
    recording = record()
    write_runs(tmp_path, {**recording.about, "n_runs": 1}, recording.runs[:1])
    assert store.committed_runs(tmp_path) == [0]
    write_runs(tmp_path, recording.about, recording.runs)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [store.ABOUT, "run-01", "run-02"]
    assert Recording.open(tmp_path).key == recording.key
