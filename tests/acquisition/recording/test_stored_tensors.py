"""Tensors on disk are mapped when they are asked for, and only from the file that was opened."""

from __future__ import annotations

import gc
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.external_arrays import arrays, record
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.stored_tensors import N_RECENT, StoredTensor, opened, place_of_layer
from tl_fbn.errors import InputError


@pytest.fixture
def recording(tmp_path: Path) -> fbn.Recording:
    opened = record(path=tmp_path / "r")
    opened[0].layers._recent._of_file.clear()  # what the type checks of the tests have read
    return opened


def n_open() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_is_open_as_long_as_an_array_of_it(recording: fbn.Recording) -> None:
    before = n_open()
    assert [run.n_rows for run in recording] == [12, 8] and 1 not in recording[0].layers
    assert n_open() == before
    layers = [recording[0].layer(0), recording[0].layer(2)]
    assert n_open() == before + 1
    np.testing.assert_array_equal(layers[1], arrays()[0][2])
    del layers
    # what was read last is kept for the next read
    assert recording[0].read().shape == (12, 7) and n_open() == before + 1


def test_a_recording_keeps_few_files_open_and_none_when_it_is_gone(tmp_path: Path) -> None:
    before = n_open()
    recording = fbn.Recording.from_arrays(
        [[np.full((4, 2), run), np.ones((4, 2))] for run in range(50)],
        events=[blocks(["a"], 4)] * 50,
        path=tmp_path / "r",
    )
    assert [float(run.read()[0, 0]) for run in recording] == list(range(50))
    assert n_open() == before + N_RECENT
    del recording
    assert n_open() == before


def test_a_place_is_the_layer_without_its_file_and_travels(recording: fbn.Recording) -> None:
    place = place_of_layer(recording[0].layers, 2)
    assert isinstance(place, StoredTensor) and place.shape == (12, 3)
    np.testing.assert_array_equal(opened(pickle.loads(pickle.dumps(place))), arrays()[0][2])
    in_memory = record()[0]
    assert place_of_layer(in_memory.layers, 2) is opened(in_memory.layers[2])


def test_a_run_that_was_recorded_anew_is_not_the_one_opened(recording: fbn.Recording) -> None:
    assert recording.path is not None
    data = store.run_folder(recording.path, 0) / store.DATA
    kept = data.read_bytes()
    data.write_bytes(kept[:-4] + bytes(4))
    with pytest.raises(InputError, match=r"has changed since the recording was opened; open the recording again"):
        recording[0].layer(0)
    shutil.rmtree(recording.path)
    with pytest.raises(FileNotFoundError, match="is gone since the recording was opened"):
        recording[0].layer(0)
