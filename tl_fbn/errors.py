"""Errors that a user can mend: wrong arguments, files that are damaged, packages that are not installed.

Every message says what was given, what is allowed and what to do, in a sentence or two. All are of one family, so that
``except fbn.InputError`` catches every one of them; each is also the built-in error that Python programmers expect::

    InputError             a ValueError: a value that is not allowed
    InputTypeError         also a TypeError: an argument of a type that is not allowed
    InputIndexError        also an IndexError: a run, layer or unit that does not exist
    InputKeyError          also a KeyError: a name that does not exist
    MissingPackageError    also an ImportError: an optional package that is not installed

Text of the user's (names, prompts, paths) is in messages and in the ``repr`` of results; :func:`visible` keeps what is
in it from steering a terminal.

The command line prints such an error as one line and exits with status 2. Any other error is a bug of this package
and keeps its traceback. Files that are missing or cannot be read raise Python's own OSError (FileNotFoundError ...).
"""

from __future__ import annotations

import re
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

    def __str__(self) -> str:
        return visible(super().__str__())


class InputTypeError(InputError, TypeError):
    """An argument of a type that is not allowed."""


class InputIndexError(InputError, IndexError):
    """The number of a run, layer or unit that does not exist."""


class InputKeyError(InputError, KeyError):
    """A name that does not exist: of a network, a column, a site ..."""

    def __str__(self) -> str:
        return visible(ValueError.__str__(self))  # a KeyError's own str() is the repr of its message


class MissingPackageError(InputError, ImportError):
    """An optional package that is not installed; the message names the extra that installs it."""


# control characters but tab and line feed, marks that turn the direction of text, other ends of lines, halves of pairs
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Text as a terminal may be given it: what would steer the terminal is written out, as Python would write it.

    >>> visible("\x1b[31mred")
    '\\x1b[31mred'

    Args:
        text: Text of any origin.

    Returns:
        The text with ``\x1b`` for an escape, and likewise for other control characters (a tab and a line feed stay),
        marks that turn the direction of text, and lone surrogates, which cannot be printed.
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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


def refuse_alike(names: Iterable[str], what: str) -> None:
    """Raise an error where two names differ in upper and lower case only.

    They read alike in tables, and files that are named by them are one file on the disks of macOS and Windows.

    >>> refuse_alike(["sort", "reverse"], "the conditions")

    Args:
        names: The names, each once.
        what: What bears the names, as the beginning of the message, such as ``"the conditions"``.

    Raises:
        InputError: Two names are alike; the message has both.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InputError(
                f"{what} {other!r} and {name!r} differ in upper and lower case only, so that they read alike and share "
                "a file on some disks; write them alike, or name one of them otherwise"
            )


def either(choices: Iterable[Any]) -> str:
    """The choices as part of a sentence: ``'a', 'b' or 'c'``."""
    words = [repr(choice) for choice in choices]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
