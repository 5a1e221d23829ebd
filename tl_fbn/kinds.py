"""Kinds of values: what one annotation allows, in words and as a check; :mod:`tl_fbn.signatures` makes them."""

from __future__ import annotations

import collections.abc
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

_LARGEST = 2**63 - 1  # what numpy's integers hold
_LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True)
class Kind:
    """What one annotation allows; ``Annotated[Any, Kind(...)]`` states one by hand.

    Args:
        takes_itself: Whether a value is allowed, leaving its items aside.
        words: What is allowed, in words, e.g. ``"a whole number"``.
        item: What the items of a sequence, or the values of a mapping, must be; None where they are not checked.
        key: What the keys of a mapping must be; None where they are not checked.
        options: The alternatives of a union, of which one must take the value; empty for any other annotation.
        says: Writes the whole sentence that refuses a value; None where name, words and value are enough.
        listed: Whether arrays and other sequences are made lists, so that their items can be checked.
    """

    takes_itself: Callable[[Any], bool]
    words: str
    item: Kind | None = None
    key: Kind | None = None
    options: tuple[Kind, ...] = ()
    says: Callable[[Any], str] | None = None
    listed: bool = False

    def plain(self, value: Any) -> Any:
        """The value as the function is given it: an array or another sequence of checked items as a list.

        Args:
            value: The value of an argument.
        """
        options = self.options or (self,)
        if isinstance(value, (list, tuple, str)) or not any(one.listed and one.takes_itself(value) for one in options):
            return value
        if any(one.takes(value) for one in options if not one.listed):
            return value
        return value.tolist() if hasattr(value, "tolist") else list(value)

    def takes(self, value: Any) -> bool:
        """Whether a value is allowed, with its items.

        Args:
            value: The value of an argument.
        """
        if self.options:
            return any(option.takes(value) for option in self.options)
        if not self.takes_itself(value):
            return False
        if self.key is not None and not all(self.key.takes(one) for one in value):
            return False
        return self.item is None or all(self.item.takes(one) for _, one in _items(value))

    def complaint(self, name: str, value: Any) -> str:
        """The sentence that refuses a value; it names the item that is wrong where only one alternative has items.

        Args:
            name: Name of the argument.
            value: A value that is not allowed.
        """
        containers = [one for one in self.options or (self,) if one.item is not None and one.takes_itself(value)]
        if len(containers) == 1:
            container = containers[0]
            for place, item in _items(value):
                if container.key is not None and not container.key.takes(place):
                    return container.key.complaint(f"a name in {name}", place)
                if container.item is not None and not container.item.takes(item):
                    return container.item.complaint(f"{name}[{shown(place)}]", item)
        for one in self.options or (self,):
            if one.says is not None:
                return one.says(value)
        return f"{name} must be {self.words}; got {shown(value)}"


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Places and items of what may be gone through twice and is quickly gone through; of others none."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def is_sequence(value: Any, loose: bool) -> bool:
    """Whether a value can be gone through item by item, in an order of its own; or, where loose, at all."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or inspect.isclass(value) or hasattr(value, "columns"):
        return False
    if getattr(value, "ndim", 1) == 0:  # an array of no dimension has a length only by name
        return False
    views = isinstance(value, (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView))
    ordered = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    return ordered or views or (loose and isinstance(value, collections.abc.Iterable))


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1))


def as_integer(value: Any) -> int | None:
    """The integer that a value is; None for anything else, booleans and floats of whole value included.

    >>> as_integer(np.int64(3)), as_integer(3.0), as_integer(True), as_integer("3")
    (3, None, None, None)

    Args:
        value: Any object.
    """
    if type(value) is int:  # first, as nearly all are
        return value
    # np.bool_ and bool tensors have a dtype that says so
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return None
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # no integer; an array or tensor of several numbers
        return None


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number that 64 bits hold."""
    number = None if getattr(value, "ndim", 0) else as_integer(value)
    return number is not None and -_LARGEST <= number <= _LARGEST


def is_number(value: Any) -> bool:
    """Whether a value is a real number that float64 holds, and not NaN."""
    if isinstance(value, (bool, np.bool_)) or getattr(value, "ndim", 0):
        return False
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # of numpy's: f, i and u are real numbers
    if not isinstance(value, (int, float)) and (not hasattr(value, "dtype") or kind not in "fiu"):
        return False
    try:
        return not math.isnan(float(value))
    except (OverflowError, TypeError, ValueError):
        return False


def _is_text(value: Any) -> bool:
    """Whether a value is text that UTF-8 can write; a lone surrogate is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_path(value: Any) -> bool:
    """Whether a value can be the path of a file."""
    if not isinstance(value, (str, os.PathLike)):
        return False
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def shown(value: Any) -> str:
    """A value as part of a message: its ``repr``, or for a long one the beginning of it or its type.

    Args:
        value: What was given.
    """
    if isinstance(value, (str, bytes, int, float, complex, list, tuple, dict, set, type(None))):
        try:
            text = repr(value)
        except (ValueError, RecursionError):  # a number of thousands of digits, a list in itself
            text = f"a {type(value).__name__}"
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    shape = getattr(value, "shape", None)
    if shape == ():  # one number of numpy or torch
        return repr(value)
    return f"{type(value).__name__} of shape {tuple(shape)}" if isinstance(shape, tuple) else type(value).__name__


def shown_with_type(value: Any) -> str:
    """A value as :func:`shown` has it, and its type, where one is easily taken for another: True for 1, a dict for ids.

    Args:
        value: What was given.
    """
    text, kind = shown(value), type(value).__name__
    if text == kind:
        return f"an object of type {kind}"
    return text if text.startswith(f"{kind} of shape") else f"{text} (of type {kind})"


ANYTHING = Kind(lambda value: True, "anything")
NONE = Kind(lambda value: value is None, "None")
PATH = Kind(_is_path, "a path")
# text that is shown, in which what UTF-8 cannot write is spelled out
ShownText = Annotated[str, Kind(lambda value: isinstance(value, str), "text")]
SIMPLE: dict[Any, Kind] = {
    bool: Kind(_is_bool, "True or False"),
    int: Kind(is_whole, "a whole number"),
    float: Kind(is_number, "a number"),
    str: Kind(_is_text, "text"),
    os.PathLike: PATH,
}
