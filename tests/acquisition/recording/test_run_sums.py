"""What an analysis gets of a stream: blocks and contexts from tables, the same as a recording's."""

from __future__ import annotations

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.external_arrays import all_events, all_rows, record
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.recording.run_sums import Streamed, StreamRun, blocks_of, segment_starts_of


def test_blocks_are_read_from_events_in_their_order() -> None:
    events = pd.DataFrame({"onset": [4.0, 0.0], "duration": [2.0, 3.0], "trial_type": ["b", "a"], "other": [1, 2]})
    assert blocks_of(events) == [("b", slice(4, 6)), ("a", slice(0, 3))]
    assert blocks_of(events.iloc[:0]) == []


def test_a_context_starts_where_the_prompt_changes() -> None:
    rows = pd.DataFrame({"prompt": [3, 3, 5, 3, 3]})  # the same prompt again is another context
    assert segment_starts_of(rows).tolist() == [True, False, True, True, False]
    assert segment_starts_of(pd.DataFrame(index=range(3))).tolist() == [True, False, False]
    assert segment_starts_of(rows.iloc[:0]).tolist() == []


def test_a_run_of_a_stream_knows_what_the_recorded_run_does() -> None:
    recording = record()
    for run, events, rows in zip(recording, all_events(), all_rows(), strict=True):
        known = StreamRun(recording.space, events, rows)
        assert known.n_rows == run.n_rows
        assert known.blocks() == run.blocks()
        np.testing.assert_array_equal(known.segment_starts, run.segment_starts)


def test_a_stream_is_told_from_a_recording() -> None:
    assert isinstance(fbn.Scanner(tiny_model()).stream(small_design(), progress=False), Streamed)
    assert not isinstance(record(), Streamed)
