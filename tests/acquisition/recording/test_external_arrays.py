"""Activations from elsewhere: what does not fit is named by run and layer, what fits passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.helpers.external_arrays import N_ROWS, all_events, all_rows, arrays, record
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError


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
@pytest.mark.usefixtures("unchecked")  # the type checker of tests looks at one array of each list, drawn by chance
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


def t_of_difference(recording: Recording) -> np.ndarray:
    """Student's t between the rows of the two conditions, by scipy, from what a recording holds."""
    first = (recording[0].rows.index % 100) < 50
    values = recording[0].read().astype(np.float64)
    return np.asarray(stats.ttest_ind(values[first], values[~first]).statistic)


@pytest.mark.parametrize("mean", [1e7, 1e8, -1e7, 1e5])
def test_a_unit_whose_variation_float32_would_blur_is_refused(mean: float) -> None:
    """At a mean of 1e7 a t of -.93 became -1.13, at 1e8 it was NaN."""
    values = np.random.default_rng(0).normal(size=(200, 300))
    shifted = values.copy()
    shifted[:, 270] += mean
    events = [blocks(["a", "b", "a", "b"], 50)]
    wanted = t_of_difference(Recording.from_arrays([[values]], events=events))
    with pytest.raises(InputError, match=r"run 0, layer 0, unit 270 has a standard deviation of .* subtract each"):
        Recording.from_arrays([[shifted]], events=events)
    centred = Recording.from_arrays([[shifted - shifted.mean(0)]], events=events)  # what the message says to do
    np.testing.assert_allclose(t_of_difference(centred), wanted, atol=1e-5)


def test_what_float32_keeps_passes_and_moves_no_t() -> None:
    values = np.random.default_rng(0).normal(size=(200, 300))
    events = [blocks(["a", "b", "a", "b"], 50)]
    wanted = t_of_difference(Recording.from_arrays([[values]], events=events))
    near = Recording.from_arrays([[values + 1.2e4]], events=events)  # just below the limit
    np.testing.assert_allclose(t_of_difference(near), wanted, atol=2e-3)
    exact = (values + 1e8).astype(np.float32)  # was float32 once: nothing is lost
    for same in (exact, exact.astype(np.float64)):
        assert Recording.from_arrays([[same]], events=events)[0].read().tolist() == exact.tolist()
    constant = np.full((200, 2), 0.1) + np.array([0, 1e-17])
    constant[3, 1] = np.nextafter(0.1, 1)  # rounding of float64, and no variation
    assert not np.ptp(Recording.from_arrays([[constant]], events=events)[0].read(), axis=0).any()
    with pytest.raises(InputError, match="unit 0 has a standard deviation of"):
        Recording.from_arrays([[values * 1e-50]], events=events)  # all would be 0
    with pytest.raises(InputError, match="unit 0 has a standard deviation"):
        Recording.from_arrays([[2**40 + np.arange(200)[:, None]]], events=events)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_recording_in_memory_has_its_numbers_for_itself(in_order: bool) -> None:
    given = arrays()
    given = given if in_order else [[np.asfortranarray(layer) for layer in run] for run in given]
    events, rows = all_events(), all_rows()
    recording = record(activations=given, events=events, rows=rows)
    key = recording.key
    given[0][0][:] = 0
    events[0].loc[:, "trial_type"] = "x"
    rows[0].loc[:, "prompt"] = 7
    untouched = record()
    np.testing.assert_array_equal(recording[0].read(), untouched[0].read())
    pd.testing.assert_frame_equal(recording[0].events, untouched[0].events)
    pd.testing.assert_frame_equal(recording[0].rows, untouched[0].rows)
    assert recording.key == key == untouched.key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_are_read_with_gradients_and_in_every_precision(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.5, 1], [2, 4]], dtype=dtype, requires_grad=True)
    recording = Recording.from_arrays([[tensor]], events=[blocks(["a"], 2)])
    assert recording[0].read().tolist() == [[0.5, 1], [2, 4]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ma.array(np.ones((8, 3)), mask=np.eye(8, 3)), r"has 3 masked values"),
        (np.ones((8, 3)) * 1j, r"has the type complex128"),
        (np.ones((8, 3)).astype(str), r"has the type <U"),
        (np.ones((8, 3)).astype("datetime64[s]"), r"has the type datetime64"),
        (np.ones((8, 3)).astype(object), r"has the type object"),
        ([[1, 2], [3]], r"cannot be read as an array of numbers"),
        (None, r"has the type object"),
    ],
)
def test_what_holds_no_real_numbers_is_named_by_run_and_layer(array: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^run 1, layer 2 " + message):
        record(activations=replaced(1, 2, array), path=tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": {0: arrays()[0]}}, r"activations must be a list of lists; got \{0: "),
        ({"activations": 3}, r"activations must be a list of lists; got 3"),
        ({"activations": [arrays()[0], 3]}, r"activations\[1\] must be a list; got 3"),
        ({"events": all_events()[0]}, r"events must be a list of DataFrames; got DataFrame of shape"),
        ({"rows": all_rows()[0]}, r"rows must be a list of DataFrames or None; got DataFrame of shape"),
        ({"events": [all_events()[0], [0, 4, "a"]]}, r"events\[1\] must be a DataFrame; got \["),
        ({"rows": [all_rows()[0], [1] * 8]}, r"rows\[1\] must be a DataFrame; got \["),
        ({"events": event(onset=1e30)}, r"events of run 1 reach row 1000000000000000019884624838656, the run has 8"),
        (
            {"events": [all_events()[0], all_events()[1].rename(columns={"duration": "onset"}).assign(duration=4)]},
            r"the events of run 1: two columns have the name 'onset'",
        ),
        (
            {"rows": [all_rows()[0], all_rows()[1].rename(columns={"topic": "prompt"})]},
            r"the row table of run 1: two columns have the name 'prompt'",
        ),
    ],
)
def test_lists_and_tables_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        record(**options)
