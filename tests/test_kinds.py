"""Kinds of values: what counts as a number, a sequence, text; and a value in a message."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tl_fbn.kinds import is_number, is_sequence, is_whole, shown, shown_with_type


@pytest.mark.parametrize("value", [0, -3, np.int8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers(value: Any) -> None:
    assert is_whole(value) and is_number(value)


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), 3.0, "3", None, 2**63, np.array([3]), torch.tensor([3]), torch.tensor(True), 1j]
)
def test_no_whole_numbers(value: Any) -> None:
    assert not is_whole(value)


@pytest.mark.parametrize("value", [True, "3", None, float("nan"), 10**400, 1j, Decimal(1), np.array([1.0]), np.nan])
def test_no_numbers(value: Any) -> None:
    assert not is_number(value)


def test_sequences_have_an_order_and_iterables_need_none() -> None:
    for value in ([], (), range(2), np.zeros(2), pd.Series([1]), {"a": 1}.keys(), torch.zeros(2)):
        assert is_sequence(value, loose=False)
    for value in ({1}, iter([1]), (one for one in [1])):
        assert is_sequence(value, loose=True) and not is_sequence(value, loose=False)
    for value in ("ab", b"ab", {"a": 1}, pd.DataFrame(), np.array(1), list, 3, None):
        assert not is_sequence(value, loose=True)


def test_a_value_in_a_message_is_short_and_never_fails() -> None:
    assert shown("a") == "'a'" and shown(None) == "None"
    assert len(shown("a" * 1000)) == 80 and shown("a" * 1000).endswith("...")
    assert shown(np.zeros((3, 4))) == "ndarray of shape (3, 4)"
    assert shown(object()) == "object"
    assert shown(10**5000) == "a int"
    inside: list[Any] = []
    inside.append(inside)
    assert shown(inside) == "[[...]]"


def test_values_with_their_types():
    assert shown_with_type(np.array(3)) == "array(3) (of type ndarray)"
    assert shown_with_type(True) == "True (of type bool)"
    assert shown_with_type(np.zeros(3)) == "ndarray of shape (3,)"
    assert shown_with_type(iter([1])) == "an object of type list_iterator"
