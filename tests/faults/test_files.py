"""Files under damage in great numbers: an error in words or the same numbers, never others; and recordings of very many
runs.
"""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.faults.damaged_files import older_descriptions, recordings, results
from tests.faults.many_runs import many_runs

ALLOWED = {"an error in words", "the same numbers"}


@pytest.mark.slow
def test_no_damaged_result_loads_with_other_numbers(tmp_path: Path) -> None:
    outcomes = results(3000, tmp_path)
    assert set(outcomes) <= ALLOWED and outcomes["an error in words"] > 2500, outcomes


@pytest.mark.slow
def test_no_damaged_recording_is_read_with_other_numbers(tmp_path: Path) -> None:
    outcomes = recordings(900, tmp_path)
    assert set(outcomes) <= ALLOWED and outcomes["an error in words"] > 800, outcomes


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_no_changed_entry_of_an_older_recording_reads_other_numbers_or_takes_long(tmp_path: Path) -> None:
    outcomes = older_descriptions(900, tmp_path)
    assert set(outcomes) <= ALLOWED and outcomes["an error in words"] > 500, outcomes


@pytest.mark.slow
def test_many_runs_are_written_opened_and_analysed_with_few_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        many_runs(tmp_path / "many", 2000)
        recording = fbn.Recording.open(tmp_path / "many")
        recording.verify()
        assert len(recording) == 2000 and recording.n_rows == 16_000
        assert [float(recording[i].layer(0)[0, 0]) for i in (0, 1999)] == [0.0, 1999.0]
        np.testing.assert_allclose(recording.mean()[0], np.mean(np.arange(2000)) / 8, atol=0.1)  # one row of eight
        fbn.find_networks(recording, n_components=2, n_restarts=1, seed=0, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
