"""Arguments held against annotations: what each annotation takes and refuses, and in which words."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import Float, Int
from typing_extensions import Unpack

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.signatures import checked, kinds_of


class Options(TypedDict, total=False):
    """Options by name."""

    weight: float


@checked
def function(
    whole: int = 0,
    number: float | None = None,
    text: str = "",
    flag: bool = False,
    choice: Literal["a", 1, None] = "a",
    path: str | os.PathLike = "x",
    numbers: Sequence[float] = (),
    pair: tuple[int, str] = (1, "a"),
    units: Iterable[int] | Int[np.ndarray, " some"] = (),
    named: Mapping[str, int] | None = None,
    call: Callable[..., Any] | None = None,
    table: pd.DataFrame | None = None,
    array: Float[np.ndarray, " n"] | None = None,
    anything: Any = None,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """All its arguments."""
    return {**locals(), **options}


TAKEN = {
    "whole": [3, np.int64(3), np.array(3), torch.tensor(3), -(2**63) + 1],
    "number": [None, 3, 2.5, np.float32(1), float("inf"), torch.tensor(1.5)],
    "text": ["", "漢字", np.str_("a")],
    "flag": [True, np.bool_(False), 1, 0],
    "choice": ["a", np.str_("a"), 1, None],
    "path": ["a", "b/c"],
    "numbers": [[], [1, 2.5], (1,), range(3), np.array([1.0]), pd.Series([1.0])],
    "pair": [(1, "a"), [2, "b"]],
    "units": [[1, 2], {1, 2}, np.array([1, 2]), range(3), iter([1, 2])],
    "named": [None, {}, {"a": 1}],
    "call": [None, len, lambda: None],
    "table": [None, pd.DataFrame()],
    "array": [None, np.array([1.0])],
    "anything": [None, object(), {1: 2}],
    "weight": [1, 2.5],
}
REFUSED = {
    "whole": [("4.0", 4.0), ("True", True), ("'2'", "2"), ("9223372036854775808", 2**63), ("None", None)],
    "number": [("'2'", "2"), ("nan", float("nan")), ("True", True), ("1j", 1j)],
    "text": [("1", 1), (r"'\\ud800'", "\ud800"), ("None", None), ("b'x'", b"x")],
    "flag": [("2", 2), ("'yes'", "yes"), ("None", None)],
    "choice": [("'b'", "b"), ("2", 2), ("True", True)],
    "path": [("3", 3), (r"'a\\x00b'", "a\0b"), ("None", None)],
    "numbers": [("'12'", "12"), ("{1}", {1}), ("DataFrame of shape", pd.DataFrame()), ("3", 3)],
    "pair": [(r"\(1, 'a', 2\)", (1, "a", 2)), ("'ab'", "ab")],
    "named": [(r"\[\]", []), ("'a'", "a")],
    "call": [("3", 3)],
    "table": [(r"\[\]", []), ("ndarray of shape", np.zeros(2))],
    "weight": [("'2'", "2"), ("None", None)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in TAKEN.items() for value in values])
def test_what_is_taken(name: str, value: Any) -> None:
    assert name in function(**{name: value})


@pytest.mark.parametrize(
    ("name", "words", "value"), [(name, words, value) for name, cases in REFUSED.items() for words, value in cases]
)
def test_what_is_refused_by_name_with_what_was_given(name: str, words: str, value: Any) -> None:
    with pytest.raises(InputTypeError, match=rf"^{name} must be .*; got {words}"):
        function(**{name: value})


def test_the_item_that_is_wrong_is_named() -> None:
    with pytest.raises(InputTypeError, match=r"^numbers\[1\] must be a number; got 'x'$"):
        function(numbers=[1, "x"])
    with pytest.raises(InputTypeError, match=r"^named\['b'\] must be a whole number; got 2.5$"):
        function(named={"a": 1, "b": 2.5})
    with pytest.raises(InputTypeError, match=r"^a name in named must be text; got 3$"):
        function(named={3: 1})


def test_arguments_by_place_and_values_come_through_unchanged() -> None:
    array = np.array([1.0, 2.0])
    assert function(3, 2.5, "a")["text"] == "a"
    assert function(array=array)["array"] is array
    given = [1, 2]
    assert function(numbers=given)["numbers"] is given
    assert function(units=array)["units"] is array  # what names arrays is for the function to check
    with pytest.raises(InputTypeError, match="whole must be a whole number"):
        function("3")


def test_names_have_one_range_wherever_they_stand() -> None:
    @checked
    def drawn(seed: int, batch_size: int = 1, n_null: int = 0) -> int:
        return seed

    assert drawn(0) == 0
    for wrong in ({"seed": -1}, {"seed": 0, "batch_size": 0}, {"seed": 0, "n_null": -1}):
        with pytest.raises(InputError, match=rf"{list(wrong)[-1]}={list(wrong.values())[-1]} is out of range"):
            drawn(**wrong)


def test_missing_and_unknown_arguments_are_pythons_own_errors() -> None:
    @checked
    def needs(a: int) -> int:
        return a

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        needs()  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        needs(1, b=2)  # pyright: ignore[reportCallIssue]


def test_a_dataclass_checks_what_it_is_made_of_and_stays_a_class() -> None:
    @checked
    @dataclass(frozen=True)
    class Made:
        """Of a width."""

        width: int

    assert Made(3).width == 3 and isinstance(Made(3), Made)
    with pytest.raises(InputTypeError, match="width must be a whole number; got 'x'"):
        Made("x")  # pyright: ignore[reportArgumentType]


def test_a_function_within_another_packages_decorator_keeps_its_names() -> None:
    def outer(inner: Callable[..., Any]) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"functools": functools, "inner": inner}
        code = "@functools.wraps(inner)\ndef wrapper(*a, **o):\n    return inner(*a, **o)\n"
        exec(code, namespace)  # with globals of its own, which lack the names of this module
        return namespace["wrapper"]

    @outer
    def wrapped(amount: int) -> int:
        return amount

    assert set(kinds_of(wrapped)) == {"amount"}
    with pytest.raises(InputTypeError, match="amount must be a whole number"):
        checked(wrapped)("x")


def test_default_none_may_be_given() -> None:
    @checked
    def implicit(n: int = None) -> Any:  # pyright: ignore[reportArgumentType]  # noqa: RUF013
        return n

    assert implicit(None) is None
