"""Errors that a user can mend: wrong arguments, files that are damaged, packages that are not installed.

Every message says what was given, what is allowed and what to do, in a sentence or two. All are of one family, so that
``except fbn.InputError`` catches every one of them; each is also the built-in error that Python programmers expect::

    InputError             a ValueError: a value that is not allowed
    InputTypeError         also a TypeError: an argument of a type that is not allowed
    InputIndexError        also an IndexError: a run, layer or unit that does not exist
    InputKeyError          also a KeyError: a name that does not exist
    MissingPackageError    also an ImportError: an optional package that is not installed

The command line prints such an error as one line and exits with status 2. Any other error is a bug of this package
and keeps its traceback. Files that are missing or cannot be read raise Python's own OSError (FileNotFoundError ...).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args  # noqa: F401  (Literal: for the examples)


class InputError(ValueError):
    """A value that is not allowed; the message says what is.

    All errors that this package raises on purpose are of this class.

    >>> try:
    ...     contrast.threshold(top=2.5)
    ... except fbn.InputError as error:
    ...     print(error)
    top(2.5) is no fraction between 0 and 1; give 0.05 for 5 %, or an integer for a number of units
    """


class InputTypeError(InputError, TypeError):
    """An argument of a type that is not allowed."""


class InputIndexError(InputError, IndexError):
    """The number of a run, layer or unit that does not exist."""


class InputKeyError(InputError, KeyError):
    """A name that does not exist: of a network, a column, a site ..."""

    __str__ = ValueError.__str__  # a KeyError's own str() is the repr of its message


class MissingPackageError(InputError, ImportError):
    """An optional package that is not installed; the message names the extra that installs it."""


def one_of(value: Any, allowed: Any, name: str) -> None:
    """Raise an error unless a value is one of those allowed; the message lists them.

    >>> one_of("block", Literal["block", "token", "run"], "level")

    Args:
        value: The value that was given.
        allowed: A ``Literal`` type, or any collection of the allowed values.
        name: Name of the argument, for the message.

    Raises:
        InputError: The value is not one of those allowed.
    """
    choices = list(get_args(allowed) or allowed)  # get_args is empty for anything but a type such as Literal
    if value not in choices:
        raise InputError(f"{name} must be {either(choices)}; got {value!r}")


def either(choices: Iterable[Any]) -> str:
    """The choices as part of a sentence: ``'a', 'b' or 'c'``."""
    words = [repr(choice) for choice in choices]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
