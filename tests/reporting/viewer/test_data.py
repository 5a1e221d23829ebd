"""The viewer's data: known answers for courses, text and overlaps; what fits is kept."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tests.helpers.viewers import ROWS, SPACE, planted, signed
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.reporting.plot._overlap_matrix import dice_table
from tl_fbn.reporting.viewer.data import overlaps, viewer_data
from tl_fbn.reporting.viewer.packing import indices_of, unpacked
from tl_fbn.units import Network, UnitMap


def words(listed: dict) -> list[str]:
    import base64

    places = np.frombuffer(base64.b64decode(listed["data"]), f"<u{listed['bits'] // 8}")
    return [listed["words"][place] for place in places]


def test_a_networks_course_is_the_signed_mean_of_its_members_over_all_runs() -> None:
    network = viewer_data(planted(), signed())["networks"][0]
    time = np.arange(ROWS) / 10
    expected = (1 + 11 - 4 + time) / 3
    expected = np.concatenate([expected, 10 * expected])
    np.testing.assert_allclose(unpacked(network["course"]), expected, atol=network["course"]["scale"])
    assert network["course"]["middle"] == pytest.approx(np.median(expected))
    assert network["course"]["far"] == pytest.approx(np.percentile(np.abs(expected - np.median(expected)), 99))
    assert [indices_of(part).tolist() for part in network["members"]] == [[], [1, 11], [4]]


def test_rows_of_all_runs_stand_one_behind_the_other() -> None:
    text = viewer_data(planted(), signed())["text"]
    assert text["rows"] == 24 and text["runs"] == [[0, 0], [12, 1]] and text["conditions"] == ["a", "b"]
    assert text["blocks"] == [[0, 6, 0], [6, 12, 1], [12, 18, 0], [18, 24, 1]]
    assert text["contexts"] == list(range(0, 24, 3)) and text["prompts"] == ["0", "1", "2", "3"] * 2
    assert words(text["token"]) == [f"\u0120w{row % 4}" for row in range(12)] * 2
    assert words(text["flags"])[:4] == ["bos", "", "", "bos"]
    np.testing.assert_allclose(unpacked(text["surprisal"])[:12], np.arange(12) / 4, atol=0.01)
    one = viewer_data(planted(), signed(), run=1)
    assert one["text"]["runs"] == [[0, 1]] and one["text"]["rows"] == 12
    assert unpacked(one["networks"][0]["course"])[0] == pytest.approx(80 / 3, abs=1e-3)


def test_recordings_without_a_row_table_fall_back_to_row_numbers(noise_recording: fbn.Recording) -> None:
    text = viewer_data(noise_recording, maps=UnitMap(noise_recording.space, np.arange(12.0), "t"))["text"]
    assert text["token"] is text["flags"] is text["position"] is text["prompts"] is text["surprisal"] is None
    assert text["contexts"] == [0, 80]


def test_tokens_that_are_missing_are_empty_words() -> None:
    rows = pd.DataFrame({"token": ["a", None, float("nan"), 3], "position": [0.0, np.nan, 1.0, 2.0]}, dtype=object)
    rows["position"] = rows["position"].astype(float)
    recording = fbn.Recording.from_arrays([[np.ones((4, 3))]], events=[blocks(["x"], 4)], rows=[rows])
    data = viewer_data(recording, maps=UnitMap(recording.space, np.ones(3), "t"))
    assert words(data["text"]["token"]) == ["a", "", "", "3"] and data["text"]["position"] is None
    assert data["units"][0]["course"]["far"] == 1.0  # a course that never moves still has a scale


def test_overlaps_agree_with_the_table_of_the_report() -> None:
    rng = np.random.default_rng(0)
    sets = {
        name: Network(SPACE, rng.random(12) < share, name=name)
        for name, share in zip("abc", (0.2, 0.5, 0.8), strict=True)
    }
    sets["none"] = Network(SPACE, np.zeros(12, bool))
    sets["void"] = Network(SPACE, np.zeros(12, bool))
    found, names = overlaps(sets), list(sets)
    for line in dice_table(sets).to_dict("records"):
        i, j = names.index(line["a"]), names.index(line["b"])
        for what in ("dice", "chance"):
            value = found[what][i][j]
            assert value == found[what][j][i]
            assert (np.nan if value is None else value) == pytest.approx(line[what], abs=1e-4, nan_ok=True)


def test_reading_is_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, read = [], Run.read

    def watched(self, *, units=None, rows=None):
        asked.append((list(units), rows.stop - rows.start))
        return read(self, units=units, rows=rows)

    monkeypatch.setattr(Run, "read", watched)
    recording = fbn.Recording.from_arrays([[np.ones((2500, 4))]], events=[blocks(["x"], 2500)])
    viewer_data(recording, Network.from_indices(recording.space, [1]), units=[3], max_units=2)
    assert asked == [([1, 3], 1024)] * 3


def test_rows_that_do_not_fit_are_left_out_by_whole_contexts_and_said_so() -> None:
    runs = [[np.random.default_rng(0).normal(size=(30_000, 3))]] * 2
    rows = pd.DataFrame({"prompt": np.arange(30_000) // 7})
    recording = fbn.Recording.from_arrays(runs, events=[blocks(["x"], 30_000)] * 2, rows=[rows, rows])
    data = viewer_data(recording, Network.from_indices(recording.space, [0]), megabytes=0.5)
    n_rows = data["text"]["rows"]
    assert 10_000 < n_rows < 30_000 and n_rows % 7 == 0
    assert data["text"]["runs"] == [[0, 0]] and data["text"]["blocks"] == [[0, n_rows, 0]]
    assert len(unpacked(data["networks"][0]["course"])) == n_rows
    assert f"Of 60,000 rows the first {n_rows:,} are kept" in " ".join(data["notes"])
    assert len(json.dumps(data)) < 0.5e6


def test_a_run_may_be_a_number_of_numpy() -> None:
    run = inspect.unwrap(viewer_data)
    assert run(planted(), signed(), run=np.int64(1))["text"]["runs"] == [[0, 1]]


def test_words_are_those_of_the_table_by_unit() -> None:
    table = pd.DataFrame({"layer": [-1, 0, 1], "unit": [-1, 4, 6], "promotes": ["all", "x, y", "z"]})
    assert viewer_data(planted(), signed(), promoted=table)["promoted"] == {"4": "x, y", "11": "z"}
    assert viewer_data(planted(), signed())["promoted"] == {}
    with pytest.raises(IndexError, match="promoted= has layer 1, unit 7, which is none of"):
        viewer_data(planted(), signed(), promoted=table.replace({"unit": {6: 7}}))
    with pytest.raises(fbn.InputError, match="promoted= lacks the column promotes"):
        viewer_data(planted(), signed(), promoted=table[["layer", "unit"]])
