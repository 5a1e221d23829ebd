"""Memory maps that travel as an address."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.memory_maps import Mapped, hand_back, mapped, place_of


@pytest.fixture
def layer(tmp_path) -> np.ndarray:
    rng = np.random.default_rng(0)
    arrays = [[rng.normal(size=(400, width)).astype(np.float32) for width in (50, 70)]]
    recording = fbn.Recording.from_arrays(arrays, events=[blocks(["a", "b"] * 4, 50)], path=tmp_path / "r")
    return recording[0].layer(1)


@pytest.mark.parametrize("rows", [slice(None), slice(7, 300), slice(399, 400)])
def test_whole_rows_travel_as_an_address(layer, rows) -> None:
    sent = pickle.dumps(layer[rows])
    assert len(sent) < 600 < layer[rows].nbytes or layer[rows].nbytes < 600
    again = pickle.loads(sent)
    np.testing.assert_array_equal(again, layer[rows])
    assert isinstance(again, Mapped) and not again.flags.writeable
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)), layer[rows])


def test_what_is_no_stretch_of_the_file_is_copied(layer) -> None:
    for part in (layer[:, 3:9], layer[::2], layer * 2, layer[:0]):
        again = pickle.loads(pickle.dumps(part))
        np.testing.assert_array_equal(again, part)
        assert again.shape == part.shape and not isinstance(again, Mapped)


def test_sixteen_bits_travel_too(tmp_path) -> None:
    from tl_fbn.acquisition.recording.half_precision import HalfArray

    words = np.arange(60, dtype=np.uint16).reshape(12, 5)
    words.tofile(tmp_path / "words")
    half = HalfArray(mapped(tmp_path / "words", 0, np.dtype("<u2"), (12, 5)), "float16")
    sent = pickle.dumps(half)
    assert b"words" in sent
    np.testing.assert_array_equal(pickle.loads(sent)[:], half[:])


def test_a_worker_that_does_not_see_the_file_says_so(layer) -> None:
    sent = pickle.dumps(layer).replace(b"activations", b"nowhere_now")
    if sent == pickle.dumps(layer):
        sent = sent.replace(b"safetensors", b"safeten_ors")
    with pytest.raises(FileNotFoundError, match="every machine of the cluster sees"):
        pickle.loads(sent)


def test_a_recording_costs_no_open_file_and_one_for_each_run_that_is_held(tmp_path) -> None:
    """Where 256 files may be open, 12 runs of 30 layers must open, travel and be read."""
    arrays = [[np.full((20, 4), layer, dtype=np.float32) for layer in range(30)] for _ in range(12)]
    fbn.Recording.from_arrays(arrays, events=[blocks(["a", "b"], 10)] * 12, path=tmp_path / "r")
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    recording = fbn.Recording.open(tmp_path / "r")
    again = [pickle.loads(pickle.dumps(recording)) for _ in range(3)]
    for one in (recording, *again):
        for run in one:
            run.layers._recent._of_file.clear()  # what the type checks of the tests have read
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    held = [run.layer(layer) for one in (recording, *again) for run in one for layer in run.layers]
    assert len(list(Path("/proc/self/fd").iterdir())) - before == 12
    assert again[2][11].layer(29)[3, 2] == 29
    del held, recording, again, one, run
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_changed_is_mapped_anew(tmp_path) -> None:
    path = tmp_path / "words"
    np.arange(4, dtype=np.float32).tofile(path)
    one = mapped(path, 4, np.float32, (2,))
    (tmp_path / "other").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    (tmp_path / "other").replace(path)
    assert mapped(path, 16, np.float32, (4,)).tolist() == [4, 5, 6, 7]
    assert one.tolist() == [1, 2]
    with pytest.raises(ValueError, match="has 32 bytes, an array in it ends at 36"):
        mapped(path, 4, np.float32, (8,))


def test_pages_handed_back_are_read_again(layer) -> None:
    expected = np.array(layer)
    assert place_of(layer[3:]) == (place_of(layer)[0], place_of(layer)[1] + 3 * 70 * 4)
    assert place_of(expected) is None
    for part in (layer, layer[13:], layer[:, 3:], layer[:0], expected):
        hand_back(part)
    np.testing.assert_array_equal(layer, expected)
