"""The errors a user can mend: one family, each also of Python's own kind, and sentences that say what is allowed."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest

from tl_fbn import errors

KINDS = {
    errors.InputError: ValueError,
    errors.InputTypeError: TypeError,
    errors.InputIndexError: IndexError,
    errors.InputKeyError: KeyError,
    errors.MissingPackageError: ImportError,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_an_input_error_and_pythons_own(kind: type[errors.InputError]) -> None:
    assert issubclass(kind, (errors.InputError, ValueError)) and issubclass(kind, KINDS[kind])
    for caught in (ValueError, KINDS[kind], errors.InputError):
        with pytest.raises(caught):
            raise kind("no network 'b'; networks: a")


@pytest.mark.parametrize("kind", KINDS)
def test_messages_stay_as_they_were_written_also_from_another_process(kind: type[errors.InputError]) -> None:
    message = "no network 'b'; networks: a"  # str() of Python's own KeyError would be its repr
    assert str(kind(message)) == message
    again = pickle.loads(pickle.dumps(kind(message)))
    assert type(again) is kind and str(again) == message


def test_choices_in_a_sentence() -> None:
    assert errors.either(["a"]) == "'a'"
    assert errors.either(["a", 2]) == "'a' or 2"
    assert errors.either(iter("abc")) == "'a', 'b' or 'c'"


@pytest.mark.parametrize("allowed", [Literal["block", "run"], ("block", "run"), {"block": 1, "run": 2}])
def test_a_value_is_one_of_those_allowed(allowed: object) -> None:
    errors.one_of("run", allowed, "level")
    with pytest.raises(errors.InputError) as refused:
        errors.one_of("rows", allowed, "level")
    assert str(refused.value) == "level must be 'block' or 'run'; got 'rows'"


def test_names_that_differ_in_case_only_are_refused() -> None:
    errors.refuse_alike(["sort", "sorted", "Maße", "Masse"], "the tasks")
    with pytest.raises(errors.InputError, match="the tasks 'Sort' and 'sort' differ in upper and lower case only"):
        errors.refuse_alike(["add", "Sort", "sort"], "the tasks")
