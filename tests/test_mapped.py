"""Memory maps that travel as an address."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import tl_fbn as fbn
from tests.conftest import blocks
from tl_fbn.acquisition.mapped import Mapped


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
    from tl_fbn.acquisition.halves import HalfArray

    words = np.arange(60, dtype=np.uint16).reshape(12, 5)
    words.tofile(tmp_path / "words")
    half = HalfArray(Mapped(tmp_path / "words", np.dtype("<u2"), "r", 0, (12, 5)), "float16")
    sent = pickle.dumps(half)
    assert b"words" in sent
    np.testing.assert_array_equal(pickle.loads(sent)[:], half[:])


def test_a_worker_that_does_not_see_the_file_says_so(layer) -> None:
    sent = pickle.dumps(layer).replace(b"activations", b"nowhere_now")
    if sent == pickle.dumps(layer):
        sent = sent.replace(b"safetensors", b"safeten_ors")
    with pytest.raises(FileNotFoundError, match="every machine of the cluster sees"):
        pickle.loads(sent)
