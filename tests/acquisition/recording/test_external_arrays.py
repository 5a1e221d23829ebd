"""Activations from elsewhere: what does not fit is named by run and layer, what fits passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers.external_arrays import N_ROWS, all_events, all_rows, arrays, record
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.recording import Recording


def replaced(run: int, layer: int, array: np.ndarray) -> list[list[np.ndarray]]:
    changed: list[list[np.ndarray]] = arrays()
    changed[run][layer] = array
    return changed


def with_value(value: float) -> list[list[np.ndarray]]:
    array = np.ones((8, 3))
    array[5, 2] = value
    return replaced(1, 2, array)


def event(**columns: Any) -> list[pd.DataFrame]:
    line = pd.DataFrame({"onset": [0], "duration": [4], "trial_type": ["a"]})
    return [all_events()[0], line.assign(**columns)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": []}, r"got no activations; give a list \(run\) of lists \(layer\)"),
        ({"activations": [[], []]}, r"got no activations"),
        ({"events": all_events()[:1]}, r"2 runs of activations, but 1 tables of events; give one a run"),
        ({"rows": all_rows()[:1]}, r"2 runs of activations, but 1 tables of rows; give one a run"),
        (
            {"activations": replaced(0, 0, np.ones(12))},
            r"run 0 has layers of shape \[\(12,\).*every layer is \(row, unit\)",
        ),
        (
            {"activations": replaced(1, 2, np.ones((8, 5)))},
            r"run 1 has layers of shape .*\(8, 5\)\], run 0 .*\(12, 3\)\]",
        ),
        ({"activations": [arrays()[0], arrays()[1][:2]]}, r"run 1 has layers of shape .*the same units in every run"),
        (
            {"activations": replaced(1, 2, np.ones((9, 3)))},
            r"run 1 has layers of \[8, 8, 9\] rows; all layers share the rows",
        ),
        (
            {"activations": [arrays()[0], [layer[:0] for layer in arrays()[1]]]},
            r"run 1 .*\[0, 0, 0\] rows; .*at least one",
        ),
        ({"activations": [[np.ones((n, 0))] for n in N_ROWS]}, r"widths \(0,\) describe no units"),
        ({"activations": with_value(np.nan)}, r"run 1, layer 2 has activations that are NaN, infinite or too large"),
        ({"activations": with_value(-np.inf)}, r"run 1, layer 2 has activations that are NaN, infinite or too large"),
        (
            {"activations": with_value(1e39)},
            r"run 1, layer 2 .* too large for float32; remove those rows or units first",
        ),
        (
            {"events": [all_events()[0], pd.DataFrame({"onset": [0]})]},
            r"run 1 lack duration, trial_type; columns: onset",
        ),
        ({"events": event(duration=9)}, r"events of run 1 reach row 9, the run has 8; onset and duration count rows"),
        ({"events": event(onset=-1)}, r"events of run 1 begin at row -1; onset counts rows from 0"),
        ({"events": event(onset="soon")}, r"events of run 1 need whole numbers of rows"),
        ({"events": event(onset=0.5)}, r"events of run 1 need whole numbers of rows .* count rows, not seconds"),
        ({"events": event(onset=np.nan)}, r"events of run 1 need whole numbers of rows"),
        ({"events": event(duration=0)}, r"events of run 1 need .* \(a duration of at least 1\)"),
        ({"events": event(trial_type=None)}, r"events of run 1 need .* a trial_type in every line"),
        (
            {"rows": [all_rows()[0], all_rows()[0]]},
            r"the row table of run 1 has 12 lines, the run 8 rows; give one line a row",
        ),
    ],
)
def test_arrays_and_tables_that_do_not_fit(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        record(**options, path=tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


def test_the_largest_float32_and_whole_float_onsets_pass() -> None:
    largest = float(np.finfo(np.float32).max)
    recording = record(activations=with_value(-largest), events=event(onset=4.0, duration=4.0))
    assert recording[1].layer(2)[5, 2] == -largest
    assert recording[1].blocks() == [("a", slice(4, 8))]
    assert recording[1].events["onset"].dtype == np.int64


def test_integers_and_other_floats_are_stored_as_float32() -> None:
    for dtype in (np.int8, np.int64, np.float16, np.float64, np.bool_):
        recording = Recording.from_arrays([[np.array([[0, 1], [1, 1]], dtype=dtype)]], events=[blocks(["a"], 2)])
        np.testing.assert_array_equal(recording[0].read(), np.array([[0, 1], [1, 1]], np.float32))


def test_a_run_without_events(tmp_path: Path) -> None:
    nothing = pd.DataFrame({"onset": [], "duration": [], "trial_type": []})
    for path in (None, tmp_path / "rec"):
        recording = record(events=[nothing, nothing], path=path)
        assert recording.conditions == []
        assert recording[0].blocks() == []
