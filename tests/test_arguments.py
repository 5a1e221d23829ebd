"""Numbers as users give them: what is one passes exactly, everything that Python would quietly turn into one does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tl_fbn.acquisition.design.prompt_forms import checked_ids
from tl_fbn.arguments import (
    layer_numbers,
    number_array,
    numbers_of_column,
    refuse_doubled_columns,
    share,
    whole_number,
)
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import as_integer

NO_INTEGERS = [
    True,
    np.True_,
    torch.tensor(True),
    np.array(True),
    3.0,
    np.float32(3),
    torch.tensor(3.0),
    "3",
    b"3",
    None,
]
NO_INTEGERS += [Decimal(3), 3j, [3], np.array([3, 4]), torch.tensor([3, 4]), float("nan")]


@pytest.mark.parametrize("given", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3)])
def test_an_integer_is_one_of_python_numpy_or_torch(given: Any) -> None:
    assert as_integer(given) == whole_number(given, "n", least=3, most=3) == 3
    assert type(as_integer(given)) is int


@pytest.mark.parametrize("given", NO_INTEGERS, ids=repr)
def test_nothing_else_is_an_integer(given: Any) -> None:
    assert as_integer(given) is None
    with pytest.raises(InputTypeError, match=r"n=.* is no whole number; give an integer of at least 1$"):
        whole_number(given, "n", least=1)
    with pytest.raises(InputError, match=r"the prompt has .* at place 1, where a token id \(a whole number\) stands"):
        checked_ids([5, given], "the prompt")


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"least": 4}, "of at least 4"), ({"most": 2}, "up to 2"), ({"least": 4, "most": 9}, "from 4 to 9")],
)
def test_numbers_out_of_range_are_told_the_range(limits: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=rf"^n=3 is out of range; give an integer {words}$"):
        whole_number(3, "n", **limits)


@pytest.mark.parametrize("given", [(5, 7), [5, 7], np.array([5, 7]), torch.tensor([5, 7])])
def test_token_ids_come_from_any_list_of_integers(given: Any) -> None:
    assert checked_ids(given, "it") == (5, 7)


@pytest.mark.parametrize("given", ["57", b"57", {5: 7}, 5, None])
def test_what_is_no_list_holds_no_token_ids(given: Any) -> None:
    with pytest.raises(InputError, match=r"item 3 is .*a prompt is a string, a list of token ids or a chat"):
        checked_ids(given, "item 3")


def test_a_mask_and_negative_ids_are_no_token_ids() -> None:
    for mask in (np.array([True, False]), torch.tensor([True, False]), [True, False]):
        with pytest.raises(InputError, match=r"has True .*at place 0"):
            checked_ids(mask, "it")
    with pytest.raises(InputError, match="has -100 at place 1; token ids are whole numbers from 0"):
        checked_ids([1, -100], "it")


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([1.5, 2], np.float16), np.float16),
        (torch.tensor([1.5, 2], dtype=torch.bfloat16), np.float32),
        (torch.tensor([1.5, 2]).to(torch.float8_e4m3fn), np.float32),
        (torch.tensor([1.5, 2], dtype=torch.float16), np.float32),
        (torch.tensor([1.5, 2], dtype=torch.float64, requires_grad=True), np.float64),
        (np.ma.array([1.5, 2]), np.float64),
        ([1.5, 2], np.float64),
        (pd.Series([1.5, 2]), np.float64),
    ],
)
def test_arrays_of_numbers_keep_their_numbers(given: Any, dtype: Any) -> None:
    found = number_array(given, "x")
    assert type(found) is np.ndarray and found.dtype == dtype
    assert found.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    "given",
    [
        [1j],
        torch.tensor([1j]),
        ["1"],
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([1], "timedelta64[s]"),
        [None],
        [Decimal(1)],
        np.zeros(1, [("a", "f4")]),
        np.zeros(1, "V4"),
        pd.DataFrame({"a": [1], "b": ["x"]}),
        [[1], [1, 2]],
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_array_of_real_numbers_is_named(given: Any) -> None:
    with pytest.raises(InputError, match=r"^run 0, layer 1 (has the type|cannot be read as an array of numbers)"):
        number_array(given, "run 0, layer 1")


def test_masked_values_are_refused_or_become_what_is_asked() -> None:
    masked = np.ma.array([1, 2, 3], mask=[False, True, False])
    with pytest.raises(InputError, match="x has 1 masked values, which an array of numbers cannot hold"):
        number_array(masked, "x")
    np.testing.assert_array_equal(number_array(masked, "x", masked=np.nan), [1, np.nan, 3])


def test_doubled_columns_are_named() -> None:
    refuse_doubled_columns(["a", "b", 1], "it")
    with pytest.raises(InputError, match="the table: two columns have the name 'a'; rename or drop one"):
        refuse_doubled_columns(["a", "b", "a"], "the table")


def test_layers_are_given_once_as_integers() -> None:
    for given in ([0, 2], (0, 2), {0, 2}, range(0, 4, 2), np.array([0, 2]), torch.tensor([0, 2])):
        assert layer_numbers(given, "layers") == (0, 2)
    assert layer_numbers([], "layers") == ()
    for given in ([True], [1.0], ["1"], np.array([True, False])):
        with pytest.raises(InputTypeError, match=r"layers holds .*, no number of a layer; .*np\.flatnonzero\(mask\)"):
            layer_numbers(given, "layers")
    for given in (1, "01", None, {0: 1}):
        with pytest.raises(InputTypeError, match=r"layers=.* is no list of layers"):
            layer_numbers(given, "layers")
    with pytest.raises(InputError, match="layers names layer 1 twice"):
        layer_numbers([1, 0, 1], "layers")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        ([1, 2.5, None], [1, 2.5, np.nan]),
        (["1", " 2.5", "x"], [1, 2.5, np.nan]),
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        ([True, False], [np.nan, np.nan]),
        ([True, 2], [np.nan, 2]),
        ([1 + 1j, 2], [np.nan, np.nan]),
        (pd.to_datetime(["2020-01-01"]), [np.nan]),
        (pd.to_datetime(["2020-01-01"]).tz_localize("UTC"), [np.nan]),
        (pd.to_timedelta([1], unit="s"), [np.nan]),
        ([pd.Timestamp("2020-01-01"), np.timedelta64(1, "s"), 3], [np.nan, np.nan, 3]),
    ],
)
def test_columns_hold_the_numbers_that_they_say(cells: Any, numbers: list[float]) -> None:
    np.testing.assert_array_equal(numbers_of_column(pd.Series(cells)), numbers)


def test_shares():
    assert share(0.05, "top") == 0.05
    for wrong in (0, 1, 1.5, -0.1, float("nan"), "x", None):
        with pytest.raises(InputError, match=r"top must be a share between 0 and 1, e\.g\. 0\.05 for 5 %"):
            share(wrong, "top")
