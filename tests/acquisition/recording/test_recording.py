"""Recordings: the same in memory and on disk, read only where asked, and made of nothing that does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.external_arrays import all_events, all_rows, arrays, record
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.recording import Recording


@pytest.fixture(params=["memory", "disk"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    return record(path=tmp_path / "rec" if request.param == "disk" else None)


# Memory and disk


def test_memory_and_disk_are_equal(tmp_path: Path) -> None:
    memory, disk = record(model="mine"), record(model="mine", path=tmp_path / "rec")
    reopened = Recording.open(str(tmp_path / "rec"))
    for other in (disk, reopened):
        assert other.key == memory.key
        assert (other.space, other.space.model) == (memory.space, "mine")
        assert other.conditions == memory.conditions == ["a", "b", "rest"]
        assert (len(other), other.n_rows) == (2, 20)
        np.testing.assert_array_equal(other.mean(), memory.mean())
        pd.testing.assert_frame_equal(other.to_dataframe(), memory.to_dataframe(), check_exact=True)
        for mine, theirs in zip(memory, other, strict=True):
            assert list(theirs.layers) == [0, 2]
            for layer in mine.layers:
                np.testing.assert_array_equal(theirs.layer(layer), mine.layer(layer))
            pd.testing.assert_frame_equal(theirs.events, mine.events)
            pd.testing.assert_frame_equal(theirs.rows, mine.rows, check_exact=True, check_index_type=False)
            np.testing.assert_array_equal(theirs.segment_starts, mine.segment_starts)
            assert theirs.blocks() == mine.blocks()
    disk.verify()
    memory.verify()


def test_values_are_what_was_given(recording: Recording) -> None:
    for run, given_run in zip(recording, arrays(), strict=True):
        np.testing.assert_array_equal(run.read(), np.concatenate(given_run, axis=1))
        np.testing.assert_array_equal(run.layer(0), given_run[0])
        assert run.layer(0).dtype == np.float32
    assert recording[0].blocks() == [("a", slice(0, 4)), ("b", slice(4, 8)), ("a", slice(8, 12))]
    assert recording[-1].n_rows == 8


def test_tables_are_what_was_given(recording: Recording) -> None:
    run = recording[1]
    pd.testing.assert_frame_equal(run.events, all_events()[1])
    pd.testing.assert_frame_equal(run.rows.reset_index(drop=True), all_rows()[1], check_exact=True)
    assert run.rows.index.name == "row"
    assert run.segment_starts.tolist() == [True, False, False] * 2 + [True, False]


def test_dataframe_has_the_run_in_front(recording: Recording) -> None:
    table = recording.to_dataframe()
    assert list(table) == ["run", "row", *all_rows()[0]]
    assert table["run"].tolist() == [0] * 12 + [1] * 8
    assert table["row"].tolist() == [*range(12), *range(8)]
    again = record(rows=[table[table["run"] == run] for run in (0, 1)])  # its own table is a row table
    pd.testing.assert_frame_equal(again.to_dataframe(), table)


def test_without_a_row_table(tmp_path: Path) -> None:
    for path in (None, tmp_path / "rec"):
        recording = record(rows=None, path=path)
        assert recording[0].rows.shape == (12, 0)
        assert recording[0].segment_starts.tolist() == [True] + [False] * 11
        assert list(recording.to_dataframe()) == ["run", "row"]


def test_mean_is_over_all_rows_in_double_precision(recording: Recording) -> None:
    together = np.concatenate([np.concatenate(run, axis=1) for run in arrays()])
    np.testing.assert_allclose(recording.mean(), together.mean(0, dtype=np.float64), rtol=1e-12)
    large = np.array([[16777216], [16777220], [16777220]], np.float32)
    big = Recording.from_arrays([[large]], events=[blocks(["a"], 3)])
    assert big.mean()[0] == large.mean(dtype=np.float64)  # what float32 stores, exactly averaged


# Keys


def test_equal_content_has_equal_keys_and_any_change_another() -> None:
    key = record().key
    assert record().key == key
    assert record(model="other name").key == key  # a label
    changed = arrays()
    changed[1][2][3, 1] += 1
    renamed = all_events()
    renamed[0].loc[0, "trial_type"] = "c"
    retold = all_rows()
    retold[1].loc[2, "token"] = "x"
    others = [record(activations=changed), record(events=renamed), record(rows=retold), record(site="mlp.out")]
    assert len({key, *(other.key for other in others)}) == 5


# Opening


def test_open_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist; give the folder that scanner\.scan"):
        Recording.open(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is no recording"):
        Recording.open(tmp_path)


def test_open_of_an_incomplete_recording(tmp_path: Path) -> None:
    record(path=tmp_path)
    shutil.rmtree(tmp_path / "run-02")
    with pytest.raises(
        ValueError, match=r"holds 1 of 2 runs; call scanner\.scan\(design, folder\) again to complete it"
    ):
        Recording.open(tmp_path)


def test_open_of_runs_of_two_recordings(tmp_path: Path) -> None:
    record(path=tmp_path / "one")
    record(path=tmp_path / "two", site="mlp.out")
    shutil.rmtree(tmp_path / "one" / "run-02")
    shutil.copytree(tmp_path / "two" / "run-02", tmp_path / "one" / "run-02")
    with pytest.raises(ValueError, match=r"run-02 belongs to another recording than .*one; delete it and scan again"):
        Recording.open(tmp_path / "one")


def test_open_of_damage_and_newer_formats(tmp_path: Path) -> None:
    record(path=tmp_path)
    data = tmp_path / "run-02" / store.DATA
    whole = data.read_bytes()
    data.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match=r"run-02.*activations\.safetensors has .* bytes, it was committed with"):
        Recording.open(tmp_path)
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 64]))
    opened = Recording.open(tmp_path)
    with pytest.raises(ValueError, match=r"run-02.*activations\.safetensors is not what was committed"):
        opened.verify()
    about = json.loads((tmp_path / store.ABOUT).read_text(encoding="utf-8"))
    (tmp_path / store.ABOUT).write_text(json.dumps({**about, "format": 7}), encoding="utf-8")
    with pytest.raises(ValueError, match="has format version 7, this tl_fbn reads up to 3; update tl_fbn"):
        Recording.open(tmp_path)


def test_verify_sees_another_recording_at_its_place(tmp_path: Path) -> None:
    opened = record(path=tmp_path / "r")
    opened.verify()
    shutil.rmtree(tmp_path / "r")
    record(path=tmp_path / "r", site="mlp.out")
    with pytest.raises(ValueError, match="than when it was opened"):
        opened.verify()


# Words


def test_in_words(tmp_path: Path, noise_recording: Recording) -> None:
    assert repr(noise_recording) == (
        "Recording in memory: 2 runs, 160 rows, external mlp.neurons (2 layers of 5, 7); conditions a, b"
    )
    assert repr(noise_recording[0]) == "Run of 80 rows, 8 blocks: external mlp.neurons (2 layers of 5, 7)"
    recording = record(path=tmp_path / "<rec>")
    assert f"Recording at {tmp_path}/<rec>: 2 runs, 20 rows" in repr(recording)
    page = recording._repr_html_()
    assert "<rec>" not in page
    assert "<td>1</td><td>8</td><td>2</td><td>rest, b</td>" in page


def test_provenance_knows_prompts_only_if_the_recording_does(tmp_path: Path) -> None:
    recording = record(path=tmp_path)
    assert recording.provenance == {"recording": recording.key, "weights": None}
    about = {**recording.about, "prompts": ["p"], "fields": {"weights": "w", "site": "mlp.neurons"}}
    known = fbn.Recording((recording.space,), (recording.runs,), about)
    assert known.provenance == {"recording": recording.key, "weights": "w", "prompts": ["p"]}
