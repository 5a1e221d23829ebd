"""Events to BIDS and back: exactly, in seconds too, and nothing that a GLM would misread gets through."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn import files
from tl_fbn.errors import InputError

EVENTS = blocks(["sort", "rest", "sort"], 7)


def write(path: Path, text: str) -> Path:
    path.write_text(text.replace("|", "\t"))
    return path


@pytest.mark.parametrize("row_seconds", [1.0, 2.0, 0.1, 1 / 3])
def test_a_recordings_events_come_back_exactly(noise_recording, tmp_path: Path, row_seconds: float) -> None:
    paths = fbn.write_events(noise_recording, tmp_path / "bids", task="noise", row_seconds=row_seconds)
    assert [path.name for path in paths] == ["task-noise_run-01_events.tsv", "task-noise_run-02_events.tsv"]
    back = [fbn.read_events(path) for path in paths]
    for table, run in zip(back, noise_recording, strict=True):
        pd.testing.assert_frame_equal(table, run.events)
    arrays = [[run.layer(layer) for layer in (0, 1)] for run in noise_recording]
    assert fbn.Recording.from_arrays(arrays, events=back).key == noise_recording.key


def test_a_designs_events_and_what_bids_asks_of_the_files(tmp_path: Path) -> None:
    prompts = {"a": [f"a {i}" for i in range(40)], "b": [f"b {i}" for i in range(40)]}
    design = fbn.block_design(prompts, n_runs=3, n_cycles=2, tokens_per_block=8, seed=0)
    paths = fbn.write_events(design, tmp_path, task="ab", row_seconds=0.5)
    assert len(paths) == 3
    head, first, *_ = paths[1].read_text().splitlines()
    assert head.split("\t") == ["onset", "duration", "trial_type"]
    assert first.split("\t") == ["0.0", "4.0", str(design.schedule[1][0])]
    sidecar = json.loads((tmp_path / "task-ab_events.json").read_text())
    assert sidecar["RowSeconds"] == 0.5
    assert sidecar["onset"]["Units"] == "s"
    assert "one row is one token position" in sidecar["onset"]["Description"]
    assert set(sidecar["trial_type"]["Levels"]) == {"a", "b"}
    pd.testing.assert_frame_equal(fbn.read_events(paths[2]), design.events(2))
    fbn.write_events(design, tmp_path, task="ab")
    assert json.loads((tmp_path / "task-ab_events.json").read_text())["onset"]["Units"] == "row"


def test_many_runs_sort_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        files, "write_atomically", lambda path, data: path.write_bytes(data)
    )  # without a hundred fsyncs
    paths = fbn.write_events([EVENTS] * 101, tmp_path, task="x")
    assert paths == sorted(tmp_path.glob("*.tsv"))
    assert paths[0].name == "task-x_run-001_events.tsv"


def test_strange_names_and_further_columns_come_back(tmp_path: Path) -> None:
    names = ["1", 'say "hi"', "tab\there", "two\nlines", "3 - 1", "é", " padded "]
    table = blocks(names, 4).assign(
        rt=[0.5, math.nan, 1, 2, 3, 4, 5], n=range(7), note=["x", None, "1", "", "y", "z", "u"]
    )
    with pytest.raises(ValueError, match=r"events of run 0 hold the text '', which BIDS reads as missing"):
        fbn.write_events([table], tmp_path, task="x")
    table["note"] = table["note"].replace("", "w")
    (path,) = fbn.write_events([table[["note", "n", "trial_type", "duration", "onset", "rt"]]], tmp_path, task="x")
    assert "n/a" in path.read_text()
    back = fbn.read_events(path)
    assert list(back) == ["onset", "duration", "trial_type", "note", "n", "rt"]
    pd.testing.assert_frame_equal(back[list(table)], table)


def test_somebody_elses_events_are_scaled_to_rows(tmp_path: Path) -> None:
    text = "trial_type|onset|duration|response_time\nfaces|0.0|6|1.2\nhouses|6.0|6|n/a\n"
    path = write(tmp_path / "sub-01_task-faces_run-1_events.tsv", text)
    assert fbn.read_events(path)["onset"].tolist() == [0, 6]
    rows = fbn.read_events(path, row_seconds=2)
    assert rows["onset"].tolist() == [0, 3]
    assert rows["onset"].dtype == np.int64
    assert rows["response_time"].tolist()[0] == 1.2 and math.isnan(rows["response_time"].tolist()[1])
    assert fbn.read_events(path, row_seconds=4)["onset"].tolist() == [0, 1.5]  # no whole rows: said by from_arrays
    (tmp_path / "sub-01_task-faces_events.json").write_text('{"RowSeconds": 3}')
    assert fbn.read_events(path)["duration"].tolist() == [2, 2]
    path.with_suffix(".json").write_text('{"RowSeconds": 6}')  # the nearer one counts
    assert fbn.read_events(path)["duration"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns none; it needs onset, duration and trial_type"),
        ("onset|duration\n0|1\n", r"has the columns onset, duration; .* lacks trial_type"),
        ("onset|onset|duration|trial_type\n", r"has two columns of the name 'onset'"),
        ("onset|duration|trial_type\n0|1\n", r"line 2 has 2 cells, the header 3"),
        ('onset|duration|trial_type\n0|4|"a\n4|4|b\n', r"line 2: a quotation mark opens a cell and is never closed"),
        ('onset|duration|trial_type\n0|4|"a\n4|4|b"\n', r"line 2: a quoted cell goes on over lines that read as rows"),
        ('onset|duration|trial_type\n0|4|"a"b\n', r"line 2: text follows the quotation mark"),
        ("onset|duration|trial_type\n\n0|4|a\nsoon|4|b\n", r"line 4, event 1 has the onset 'soon'; give a number"),
        ("onset|duration|trial_type\n0|n/a|a\n", r"event 0 has the duration nan"),
        ("onset|duration|trial_type\n-1|4|a\n", r"event 0 has the onset -1"),
        ("onset|duration|trial_type\n0|inf|a\n", r"event 0 has the duration inf"),
        ("onset|duration|trial_type\n0|4|n/a\n", r"event 0 has no trial_type"),
        ("onset|duration|trial_type\n0|4|\n", r"event 0 has no trial_type"),
        ("onset|duration|trial_type\n4|4|a\n0|4|b\n", r"event 1 starts before the event above it"),
        ("onset|duration|trial_type\n0|4|a\n3|4|b\n", r"event 1 overlaps the event above it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "task-x_events.tsv", text)
    with pytest.raises(ValueError, match=r"task-x_events\.tsv.*" + message):
        fbn.read_events(path)


@pytest.mark.parametrize(
    ("events", "options", "message"),
    [
        (EVENTS, {"task": "sort-rest"}, r"task='sort-rest' is no label of BIDS"),
        (EVENTS, {"row_seconds": 0.0}, r"row_seconds=0\.0 is no length of a row"),
        (EVENTS, {"row_seconds": math.nan}, r"row_seconds must be a number; got nan"),
        (EVENTS[::-1], {}, r"the events of run 0, event 1 starts before"),
        (EVENTS.assign(trial_type="n/a"), {}, r"event 0 has no trial_type"),
        (EVENTS.drop(columns="onset"), {}, r"run 0 lack onset"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(
    tmp_path: Path, events: pd.DataFrame, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fbn.write_events([events], tmp_path / "bids", **{"task": "x", **options})
    assert not (tmp_path / "bids").exists()


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*nothing\.tsv; give a BIDS events file"):
        fbn.read_events(tmp_path / "nothing.tsv")
    with pytest.raises(ValueError, match="there are no runs to write"):
        fbn.write_events([], tmp_path, task="x")
    (path,) = fbn.write_events([EVENTS], tmp_path, task="x")
    (tmp_path / "task-x_events.json").write_text("{")
    with pytest.raises(ValueError, match=r"task-x_events\.json is no JSON .* or give row_seconds="):
        fbn.read_events(path)
    assert fbn.read_events(path, row_seconds=1).equals(EVENTS)
    for text in ("[1]", "null", "2"):
        (tmp_path / "task-x_events.json").write_text(text)
        with pytest.raises(InputError, match=r"task-x_events\.json holds no JSON object"):
            fbn.read_events(path)
    (tmp_path / "task-x_events.json").write_text('{"RowSeconds": 2, "RowSeconds": 4}')
    with pytest.raises(InputError, match="the name 'RowSeconds' comes twice"):
        fbn.read_events(path)
    (tmp_path / "task-x_events.json").write_text('{"RowSeconds": "two"}')
    with pytest.raises(ValueError, match=r"row_seconds='two' is no length"):
        fbn.read_events(path)


@pytest.mark.parametrize("cell", ["1_0", "\u0663"])
def test_what_only_python_reads_as_a_number_is_none(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a_events.tsv"
    path.write_text(f"onset\tduration\ttrial_type\tnote\n0\t8\ta\t{cell}\n", encoding="utf-8")
    assert fbn.read_events(path)["note"].tolist() == [cell]
    path.write_text(f"onset\tduration\ttrial_type\n0\t{cell}\ta\n", encoding="utf-8")
    with pytest.raises(ValueError, match="event 0 has the duration"):
        fbn.read_events(path)


def test_more_rows_than_can_be_counted_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_events.tsv", "onset|duration|trial_type\n0|8|a\n")
    with pytest.raises(ValueError, match=r"8e[+]300 rows of 1e-300 s"):
        fbn.read_events(path, row_seconds=1e-300)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("onset\tduration\ttrial_type\n".encode("utf-16"), r" is no text in UTF-8 but in UTF-16"),
        ("onset\tduration\ttrial_type\n0\t4\té\n".encode("latin-1"), r" is no text in UTF-8: line 2 holds .* Latin-1"),
        (b"onset\n" + b"x" * 200_000, r", line 2: a cell has more than 131,072 characters"),
    ],
)
def test_a_file_that_is_no_text_table_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a_events.tsv").write_bytes(data)
    with pytest.raises(ValueError, match=r"a_events\.tsv" + message):
        fbn.read_events(tmp_path / "a_events.tsv")


@pytest.mark.parametrize("name", ["a\rb", "\ud800", "a\n4\t4\tb"])
def test_names_that_would_not_come_back_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"onset": [0], "duration": [8], "trial_type": ["a"]})
    table["note"] = pd.Series([name], dtype=object)
    with pytest.raises(ValueError):
        fbn.write_events([table], tmp_path / "new", task="x")
    assert not (tmp_path / "new").exists()


def test_columns_of_one_name_are_not_written(tmp_path: Path) -> None:
    table = pd.DataFrame([[0, 8, "a", "b"]], columns=pd.Index(["onset", "duration", "trial_type", "trial_type"]))
    with pytest.raises(InputError, match="the events of run 0: two columns have the name 'trial_type'"):
        fbn.write_events([table], tmp_path / "new", task="x")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_of_every_system_are_read(tmp_path: Path, end: str) -> None:
    text = f"\ufeffonset\tduration\ttrial_type{end}0\t8\ta\u2028b{end}"
    (tmp_path / "a_events.tsv").write_bytes(text.encode())
    assert fbn.read_events(tmp_path / "a_events.tsv")["trial_type"].tolist() == ["a\u2028b"]
