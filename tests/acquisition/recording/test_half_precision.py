"""16-bit floats: decoded as torch decodes them, read piece by piece, infinities found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.models import TORCH
from tl_fbn.acquisition.recording.half_precision import HalfArray, finite_rows


@pytest.mark.parametrize("kind", TORCH)
def test_every_word_decodes_as_in_torch(kind: str) -> None:
    words = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    expected = torch.from_numpy(words.view(np.int16)).view(TORCH[kind]).float().numpy()
    array = HalfArray(words, kind)
    np.testing.assert_array_equal(np.asarray(array), expected)
    np.testing.assert_array_equal(array[3:40, 5], expected[3:40, 5])
    np.testing.assert_array_equal(array[[7, 2]], expected[[7, 2]])
    assert (array.shape, array.ndim, array.dtype, len(array)) == ((256, 256), 2, np.float32, 256)
    assert np.asarray(HalfArray(words[:4], kind), dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(finite_rows(words, kind), np.isfinite(expected).all(1))  # type: ignore[arg-type]


def test_finite_rows_of_float32() -> None:
    values = np.ones((4, 3), np.float32)
    assert finite_rows(values, "float32").all()
    values[1, 2], values[3, 0] = np.nan, -np.inf
    assert finite_rows(values, "float32").tolist() == [True, False, True, False]
    large = np.full((2, 3), 3e38, np.float32)  # whose sum is no float32
    assert finite_rows(large, "float32").all()
