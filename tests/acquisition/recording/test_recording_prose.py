"""What a recording says of itself: where the variance lies, in its repr, its report and nowhere without a scan's sums."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

import tl_fbn as fbn
from tl_fbn.acquisition.recording import recording_prose

SAID = "90 % of the variance lies in first tokens (5.0 % of rows)"


def noted(recording: fbn.Recording, first: float) -> fbn.Recording:
    """The recording as if a scan had noted its sums."""
    sums = {"rows": 80, "total": 100.0, "first_rows": 4, "first": first, "units": []}
    runs = [replace(run, about={**run.about, "variance": {"mlp.neurons": sums}}) for run in recording]
    return fbn.Recording(recording.spaces, (tuple(runs),), recording.about)


def test_first_tokens_are_said_where_they_hold_more_than_half(noise_recording: fbn.Recording) -> None:
    recording = noted(noise_recording, 90.0)
    assert repr(recording) == f"{noise_recording!r}; {SAID}"
    assert SAID in recording._repr_html_()
    (section,) = recording._report_sections_()
    assert f" {SAID}: what is computed over all rows is mostly about them." in section["text"]
    quiet = noted(noise_recording, 40.0)
    assert repr(quiet) == repr(noise_recording) and "first tokens" not in quiet._report_sections_()[0]["text"]


def test_sites_are_named_where_there_are_several(noise_recording: fbn.Recording) -> None:
    recording = noted(noise_recording, 90.0)
    other = replace(recording.space, site="mlp.out")
    both = fbn.Recording((recording.space, other), (recording.runs, recording.runs), recording.about)
    assert recording_prose.first_tokens_of(both) == [f"at mlp.neurons {SAID}"]


def test_runs_are_a_table(noise_recording: fbn.Recording) -> None:
    expected = pd.DataFrame({"run": [0, 1], "rows": 80, "blocks": 8, "conditions": "a, b"})
    pd.testing.assert_frame_equal(recording_prose.table_of_runs(noise_recording), expected)


def test_settings_are_those_of_design_and_key(noise_recording: fbn.Recording) -> None:
    about = {"design": {"order": "alternate"}, "fields": {"site": "mlp.neurons", "weights": "w"}, "pool": "mean"}
    recording = fbn.Recording(noise_recording.spaces, noise_recording.runs_of, {**noise_recording.about, **about})
    assert recording_prose.settings_of(recording) == {"order": "alternate", "site": "mlp.neurons", "pool": "mean"}
    assert recording_prose.recorded_in_words(recording).startswith(
        "Activations of external at mlp.neurons (12 units in 2 layers) were recorded at every prompt (mean of its tokens)"
    )
