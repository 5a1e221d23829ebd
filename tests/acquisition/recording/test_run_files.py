"""Runs to files: what is there is left alone, what is another recording's is refused, and a failure leaves nothing."""

from __future__ import annotations

import errno
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.external_arrays import record
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.pooling import Pool
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_files import _kind_of, write_runs
from tl_fbn.errors import InputError


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


# What is computed from a recording, and parts of one, come back from the disk


def same_numbers(one: Recording, other: Recording) -> None:
    """Every array bit for bit and of one type, the tables, and the key."""
    assert one.key == other.key and one.spaces == other.spaces
    for mine, theirs in zip(one, other, strict=True):
        assert list(mine.layers) == list(theirs.layers)
        for layer in mine.layers:
            assert mine.layer(layer).dtype == theirs.layer(layer).dtype
            np.testing.assert_array_equal(mine.layer(layer), theirs.layer(layer))
        pd.testing.assert_frame_equal(mine.events, theirs.events, check_dtype=False)
        pd.testing.assert_frame_equal(mine.rows, theirs.rows, check_dtype=False, check_index_type=False)


@pytest.mark.parametrize("how", ["last", "mean"])
@pytest.mark.parametrize("stored", [True, False])
def test_a_pooled_recording_comes_back(how: Pool, stored: bool, tmp_path: Path) -> None:
    recording = record(path=tmp_path / "r" if stored else None)
    pooled = recording.pool(how)
    pooled.save(tmp_path / "pooled")
    back = Recording.open(tmp_path / "pooled")
    back.verify()
    same_numbers(pooled, back)
    assert back.key != recording.key
    pooled.save(tmp_path / "pooled")  # once more is nothing new
    with pytest.raises(InputError, match="already holds another recording"):
        recording.save(tmp_path / "pooled")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_recording_is_stored_in_the_bits_it_has(dtype: str, tmp_path: Path) -> None:
    scanner = fbn.Scanner(tiny_model(), dtype=dtype)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    recording.save(tmp_path / "again")
    back = Recording.open(tmp_path / "again")
    same_numbers(recording, back)
    words = [(folder / "run-01" / store.DATA).read_bytes() for folder in (tmp_path / "r", tmp_path / "again")]
    assert words[0] == words[1]
    assert back.about["fields"]["dtype"] == dtype
    # what is pooled is computed: no longer numbers of 16 bits
    pooled = recording.pool("mean")
    pooled.save(tmp_path / "pooled")
    same_numbers(pooled, Recording.open(tmp_path / "pooled"))
    assert Recording.open(tmp_path / "pooled").about["fields"]["dtype"] == "float32"


def test_one_site_of_several_is_a_recording_of_its_own(tmp_path: Path) -> None:
    scanner = fbn.Scanner(tiny_model(), site=["mlp.neurons", "mlp.out"], dtype="bfloat16")
    both = scanner.scan(small_design(), tmp_path / "r", progress=False)
    with pytest.raises(InputError, match="take one of them"):
        both.save(tmp_path / "both")
    keys = set()
    for name in both.sites:
        both.site(name).save(tmp_path / name)
        back = Recording.open(tmp_path / name)
        back.verify()
        for mine, theirs in zip(both.site(name), back, strict=True):
            np.testing.assert_array_equal(mine.read(), theirs.read())
        assert back.space == both.site(name).space and back.sites == [name]
        keys.add(back.key)
    assert len({*keys, both.key}) == 3  # neither passes for the other, nor for both
    with pytest.raises(InputError, match="already holds another recording"):
        both.site("mlp.out").save(tmp_path / "mlp.neurons")
    # in the folder of both, one is something else
    with pytest.raises(InputError, match="already holds another recording"):
        both.site("mlp.out").save(tmp_path / "r")


def test_courses_of_networks_come_back_in_all_their_digits(tmp_path: Path) -> None:
    recording = record(path=tmp_path / "r")
    networks = {
        "a": fbn.Network.from_indices(recording.space, [0, 3, 5]),
        "b": fbn.Network.from_indices(recording.space, [1]),
    }
    courses = fbn.networks.time_courses(recording, networks)
    courses.save(tmp_path / "courses")
    back = Recording.open(tmp_path / "courses")
    back.verify()
    same_numbers(courses, back)
    assert back[0].layer(0).dtype == np.float64


def test_numbers_that_no_file_takes_are_named() -> None:
    with pytest.raises(InputError, match="activations of complex64 cannot be stored; give numbers of float64 or fewer"):
        _kind_of(np.zeros((2, 3), np.complex64))


def test_a_full_disk_names_the_run_and_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out = store.lay_out

    def full(path: Path, run: int, *rest: object) -> store.LaidOutRun:
        if run:
            raise OSError(errno.ENOSPC, "No space left on device")
        return lay_out(path, run, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(store, "lay_out", full)
    with pytest.raises(OSError, match="ran out of room while run 1 was written; runs that were written are kept"):
        record(path=tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [store.ABOUT, "run-01"]
    with pytest.raises(InputError, match="holds 1 of 2 runs"):
        Recording.open(tmp_path)


# What is opened is this recording, and all of it


def test_runs_of_other_recordings_and_places_are_refused(tmp_path: Path) -> None:
    record(path=tmp_path / "r")
    record(path=tmp_path / "other", site="mlp.out")
    first, second = (tmp_path / "r" / f"run-0{i}" for i in (1, 2))
    kept = tmp_path / "kept"
    second.rename(kept)
    shutil.copytree(first, second)
    with pytest.raises(InputError, match="run-02 was recorded as run 0; delete it and scan again"):
        Recording.open(tmp_path / "r")
    shutil.rmtree(second)
    shutil.copytree(tmp_path / "other" / "run-02", second)
    with pytest.raises(InputError, match="run-02 belongs to another recording"):
        Recording.open(tmp_path / "r")
    shutil.rmtree(second)
    kept.rename(second)
    shutil.copytree(second, tmp_path / "r" / "run-03")
    with pytest.raises(InputError, match="run-03 is none of the 2 runs"):
        Recording.open(tmp_path / "r")


def test_a_recording_of_an_earlier_version_is_checked_by_hand(tmp_path: Path) -> None:
    """Without checksums of descriptions: sizes and numbers of runs that cannot be, and widths of other files."""
    record(path=tmp_path)
    for path in (tmp_path / store.ABOUT, *tmp_path.glob("run-*/run.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        del about["checksum"]
        path.write_text(json.dumps({**about, "format": 2}))
    about = json.loads((tmp_path / store.ABOUT).read_text(encoding="utf-8"))
    with pytest.warns(UserWarning, match="recorded by an earlier version"):
        assert Recording.open(tmp_path).n_rows == 20
    for change, message in (
        ({"n_runs": 300_000_000}, "holds 2 of 300000000 runs"),
        ({"n_runs": 1}, "run-02 is none of the 1 runs"),
        (
            {"spaces": [{"site": "mlp.neurons", "widths": [4, 0, 2]}]},
            "it holds 3 units of layer.02, recording.json says 2",
        ),
        ({"spaces": [{"site": "mlp.neurons", "widths": [3_000_000_000, 0, 3]}]}, "says 3000000000 units"),
        ({"spaces": [{"site": "mlp.neurons", "widths": [4, 5, 3]}]}, "it holds nothing of layer.01"),
    ):
        (tmp_path / store.ABOUT).write_text(json.dumps({**about, **change}))
        with pytest.raises(InputError, match=message), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Recording.open(tmp_path)
