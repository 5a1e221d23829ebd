"""What a user can mend: the one family of errors that this package raises on purpose.

Every message says what was given, what is allowed and what to do, in a sentence or two. The shell prints such an error as one line and exits with
status 2; anything else that falls out of the code is a bug and keeps its traceback.

    fbn.InputError                  a ValueError: catch this one, and all of them are caught
    InputTypeError                  also a TypeError: an argument of a kind that is not taken
    InputIndexError                 also an IndexError: a run, layer or unit that is not there
    InputKeyError                   also a KeyError: a name that is not there
    MissingPackageError             also an ImportError: an optional package that is not installed

Files that are missing or cannot be read raise Python's own OSError (FileNotFoundError ...), as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args  # noqa: F401  (Literal: for the examples)


class InputError(ValueError):
    """Input that a user can mend; the message says how.

    >>> try:
    ...     one_of("rows", Literal["block", "token", "run"], "level")
    ... except InputError as error:
    ...     print(error)
    level must be 'block', 'token' or 'run'; got 'rows'
    """


class InputTypeError(InputError, TypeError):
    """An argument of a kind that is not taken."""


class InputIndexError(InputError, IndexError):
    """A number of a run, layer or unit that is not there."""


class InputKeyError(InputError, KeyError):
    """A name that is not there."""

    __str__ = ValueError.__str__  # a KeyError's own str() is the repr of its message


class MissingPackageError(InputError, ImportError):
    """An optional package that is not installed; the message names the extra that brings it."""


def one_of(value: Any, allowed: Any, name: str) -> None:
    """Refuse a value that is none of those allowed, in one sentence.

    >>> one_of("block", Literal["block", "token", "run"], "level")

    Args:
        value: What was given.
        allowed: A ``Literal``, or any collection of the values that are taken.
        name: Name of the argument, as the user wrote it.

    Raises:
        InputError: The value is not among them.
    """
    choices = list(get_args(allowed) or allowed)
    if value not in choices:
        raise InputError(f"{name} must be {either(choices)}; got {value!r}")


def either(choices: Iterable[Any]) -> str:
    """Choices in a sentence: ``'a', 'b' or 'c'``."""
    words = [repr(choice) for choice in choices]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
