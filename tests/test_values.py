"""Arrays of numbers, whole numbers and shares, from what users hand in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.values import real_array, share, whole


@pytest.mark.parametrize(
    "given",
    [
        [1.5, 2.0],
        np.array([1.5, 2.0]),
        pd.Series([1.5, 2.0]),
        torch.tensor([1.5, 2.0], requires_grad=True),
        torch.tensor([1.5, 2.0], dtype=torch.bfloat16),
    ],
)
def test_arrays_of_real_numbers(given: Any) -> None:
    assert real_array(given, "values").tolist() == [1.5, 2.0]


def test_an_array_is_shared() -> None:
    array = np.array([1.0])
    assert real_array(array, "values") is array


@pytest.mark.parametrize(
    "given", [None, "x", [[1], [1, 2]], np.array(["a"]), [1j], np.array([None]), ["2025-01-01"], object()]
)
def test_no_arrays_of_real_numbers(given: Any) -> None:
    with pytest.raises(InputTypeError, match=r"^values must be an array of real numbers; got "):
        real_array(given, "values")


def test_a_mask_is_not_lost() -> None:
    with pytest.raises(InputTypeError, match="values has a mask, which would be lost"):
        real_array(np.ma.masked_array([1.0, 2.0], mask=[True, False]), "values")


def test_whole_numbers_and_shares() -> None:
    assert whole(np.int64(3), "n") == 3 and type(whole(np.int64(3), "n")) is int
    for wrong in (3.0, True, "3", None):
        with pytest.raises(InputTypeError, match="n must be a whole number"):
            whole(wrong, "n")
    assert share(0.05, "top") == 0.05
    for wrong in (0, 1, 1.5, -0.1, float("nan"), "x", None):
        with pytest.raises(InputError, match=r"top must be a share between 0 and 1, e\.g\. 0\.05 for 5 %"):
            share(wrong, "top")
