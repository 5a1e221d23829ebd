"""Arguments of public functions, held against their annotations before anything is done with them.

A function or class that is decorated with :func:`checked` refuses a value of a type that its signature does not allow,
by name and in one sentence: ``n_components must be a whole number; got 4.0``. What the type cannot say (a range, names
that exist, arrays that fit) the function checks itself.

============================ ==========================================================================================
annotation                   what is taken
============================ ==========================================================================================
``bool``                     True and False, also numpy's, and 0 and 1
``int``                      whole numbers, also numpy's, below 2 ** 63; no booleans, no 4.0
``float``                    real numbers, also numpy's and those of arrays and tensors of no dimension; neither NaN nor
                             a number that float64 cannot hold
``str``                      text that UTF-8 can write, which a lone surrogate is not
``str | os.PathLike``        a path; no null byte in it
``Literal``                  its choices
a class                      its instances
``Sequence``, ``tuple``      lists, tuples, ranges, arrays, columns of tables; no text, set, mapping or iterator. Where
                             the annotation says what items are, these are checked, and the function is given a list
``Iterable``                 also sets and iterators
``Mapping``                  mappings; their keys and values are checked
``Callable``                 anything that can be called
arrays, ``Any`` and others   not checked here
============================ ==========================================================================================

Names that mean the same wherever they stand have one range: a ``seed`` or ``n_null`` is not negative, a ``batch_size``
is at least 1.

Annotations are read once, at the first call: 10 to 20 microseconds a call on top of what the function does.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import operator
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from tl_fbn.errors import InputError, InputTypeError, either

Checked = TypeVar("Checked", bound=Callable[..., Any])
# name of an argument to the least number that it takes: names mean the same wherever they stand
_LEAST = {
    **dict.fromkeys(("seed", "n", "n_null", "n_controls", "n_groups", "n_permutations"), 0),
    **dict.fromkeys(("drop_first", "min_effect", "tol"), 0),
    **dict.fromkeys(("batch_size", "n_bootstrap", "max_iter"), 1),
}
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


def checked(function: Checked) -> Checked:
    """A function, or a dataclass, that holds its arguments against its annotations.

    >>> @checked
    ... def doubled(n: int) -> int:
    ...     return 2 * n
    >>> doubled(4.0)
    Traceback (most recent call last):
    tl_fbn.errors.InputTypeError: n must be a whole number; got 4.0

    Args:
        function: The function; of a class its ``__init__`` is replaced.

    Returns:
        The same class, or a function with the name, docstring and signature of the one given.
    """
    if inspect.isclass(function):
        function.__init__ = checked(function.__init__)
        return function
    names: list[str] = []
    kinds: dict[str, Kind] = {}

    @functools.wraps(function)
    def refusing(*args: Any, **options: Any) -> Any:
        if not names:  # read at the first call, when every module that annotations name is there
            kinds.update(kinds_of(function))
            names.extend(_positional_names(function))
        given = list(args)
        for place, name in enumerate(names[: len(args)]):
            given[place] = _accepted(kinds.get(name), name, args[place])
        options = {name: _accepted(kinds.get(name), name, value) for name, value in options.items()}
        return function(*given, **options)

    return typing.cast(Checked, refusing)


def _accepted(kind: Kind | None, name: str, value: Any) -> Any:
    """A value as its function is given it; an error where the kind does not allow it, or its name's range."""
    if kind is None:
        return value
    value = kind.plain(value)
    if not kind.takes(value):
        raise InputTypeError(kind.complaint(name, value))
    least = _LEAST.get(name)
    if least is not None and _is_number(value) and value < least:
        raise InputError(f"{name} must be {least} or more; got {value}")
    return value


def kinds_of(function: Callable[..., Any]) -> dict[str, Kind]:
    """What each argument of a function must be; arguments that take anything are left out.

    Args:
        function: A function with annotations. Names that only type checkers know are left out too.
    """
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        annotation = _resolved(parameter.annotation, function)
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            # Unpack[Options]: the entries of a TypedDict are arguments like others
            options = next(iter(get_args(annotation)), None)
            for name, each in getattr(options, "__annotations__", {}).items():
                kind = _kind(_resolved(each, options))
                found |= {} if kind is None else {name: kind}
            continue
        kind = _kind(annotation)
        if kind is not None and parameter.default is None and not kind.takes(None):
            kind = _union((kind, _NONE))
        if kind is not None:
            found[parameter.name] = kind
    return found


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
    return f"{type(value).__name__} of shape {tuple(shape)}" if isinstance(shape, tuple) else type(value).__name__


def real_array(value: Any, name: str) -> np.ndarray:
    """An array of real numbers, of what was given as one.

    Args:
        value: Numbers as an array, a tensor (also with gradients, or in bfloat16), lists, a column of a table.
        name: Name of the argument, for the message.

    Returns:
        The array of numpy, of booleans, whole numbers or floats; shared with what was given where that is possible.

    Raises:
        InputTypeError: The value holds text, dates, complex numbers or objects, is ragged, or has a mask.
    """
    if np.ma.isMaskedArray(value):
        raise InputTypeError(f"{name} has a mask, which would be lost; fill it, e.g. with values.filled(np.nan)")
    given = value
    if hasattr(value, "detach"):  # a tensor; its gradients are of no interest, and numpy has no bfloat16
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, OverflowError):  # lists of unequal lengths, and other devices' tensors
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} must be an array of real numbers; got {shown(given)}")
    return array


def whole(value: Any, name: str) -> int:
    """A whole number as Python's own, of what was given as one.

    Args:
        value: The number; numpy's will do, 4.0 and True will not.
        name: Name of the argument, for the message.

    Raises:
        InputTypeError: The value is no whole number.
    """
    if not _is_whole(value):
        raise InputTypeError(f"{name} must be a whole number; got {shown(value)}")
    return operator.index(value)


def share(value: Any, name: str) -> float:
    """A share of something, above 0 and below 1.

    Args:
        value: The number that was given.
        name: Name of the argument, for the message.

    Raises:
        InputError: The number is not between 0 and 1.
    """
    if not _is_number(value) or not 0 < value < 1:
        raise InputError(f"{name} must be a share between 0 and 1, e.g. 0.05 for 5 %; got {shown(value)}")
    return float(value)


def _positional_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments that may be given by place, in order."""
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind in by_place]


def _resolved(annotation: Any, of: Any) -> Any:
    """The annotation that a text stands for; Any for one that names what only type checkers import."""
    annotation = getattr(annotation, "__forward_arg__", annotation)  # as entries of a TypedDict hold it
    if not isinstance(annotation, str):
        return Any if annotation is inspect.Parameter.empty else annotation
    names = getattr(of, "__globals__", None) or vars(inspect.getmodule(of))
    try:
        return eval(annotation, dict(names))
    except (NameError, AttributeError, TypeError):
        return Any


def _kind(annotation: Any, *, inside: bool = False) -> Kind | None:
    """What an annotation allows; None for one that is not checked here. Inside a container only the items' own kinds
    are of interest, not what these hold.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return next((one for one in get_args(annotation)[1:] if isinstance(one, Kind)), None)
    if annotation in (None, types.NoneType):
        return _NONE
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if origin is Literal:
        choices = get_args(annotation)
        return Kind(
            lambda value: any(isinstance(value, type(one)) and value == one for one in choices), either(choices)
        )
    if origin in (Union, types.UnionType):
        parts = get_args(annotation)
        if os.PathLike in parts:
            parts = tuple(part for part in parts if part is not str)
        if float in parts:  # every whole number is a number
            parts = tuple(part for part in parts if part is not int)
        kinds = [_kind(part, inside=inside) for part in parts]
        known = [kind for kind in kinds if kind is not None]
        return _union(known) if len(known) == len(kinds) else None
    return _kind_of_class(origin or annotation, () if inside else get_args(annotation))


def _kind_of_class(kind: Any, arguments: tuple[Any, ...]) -> Kind | None:
    """What a class allows, or a generic class with its arguments."""
    if not inspect.isclass(kind) or kind is object or kind.__module__.startswith("jaxtyping"):
        return None
    if kind is collections.abc.Callable:
        return Kind(callable, "a function")
    if issubclass(kind, collections.abc.Mapping) and kind.__module__ in ("builtins", "collections.abc"):
        key, item = (_kind(one, inside=True) or _ANYTHING for one in arguments or (Any, Any))
        words = f"a mapping of {_plural(key)} to {_plural(item)}" if arguments else "a mapping"
        return Kind(lambda value: isinstance(value, Mapping), words, item, key)
    if kind in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        loose = kind is collections.abc.Iterable
        size = len(arguments) if kind is tuple and arguments and arguments[-1] is not Ellipsis else None
        kinds = [_kind(one, inside=True) or _ANYTHING for one in arguments if one is not Ellipsis]
        item = _ANYTHING if _ANYTHING in kinds or not kinds else typing.cast(Kind, _union(kinds))
        words = "a list" if item is _ANYTHING else f"a list of {'' if size is None else f'{size} '}{_plural(item)}"

        def takes_itself(value: Any) -> bool:
            return _is_sequence(value, loose) and (size is None or len(value) == size)

        return Kind(takes_itself, words, item, listed=item is not _ANYTHING)
    abstract = kind.__module__ in ("typing", "typing_extensions", "collections.abc")
    if abstract or (getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False)):
        return None
    return Kind(lambda value: isinstance(value, kind), _with_article(kind.__name__))


def _union(kinds: Iterable[Kind]) -> Kind | None:
    """What several kinds allow together; None for none of them."""
    options = [option for kind in kinds for option in kind.options or (kind,)]
    if not options:
        return None
    words = list(dict.fromkeys(option.words for option in options))
    joined = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return options[0] if len(options) == 1 else Kind(lambda value: True, joined, options=tuple(options))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Places and items of what may be gone through twice and is quickly gone through; of others none."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _is_sequence(value: Any, loose: bool) -> bool:
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


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number that 64 bits hold."""
    if isinstance(value, (bool, np.bool_)) or getattr(value, "ndim", 0) or not hasattr(type(value), "__index__"):
        return False
    try:
        return -_LARGEST <= operator.index(value) <= _LARGEST
    except (TypeError, ValueError):  # an array or tensor of another type
        return False


def _is_number(value: Any) -> bool:
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


def _plural(kind: Kind) -> str:
    """The words of a kind after "a list of": ``whole numbers``, ``lists of text``."""
    found = []
    for words in (one.words for one in kind.options or (kind,)):
        noun = re.match("an? (.*?)( of .*)?$", words)
        found.append(f"{noun[1]}s{noun[2] or ''}" if noun else words)
    return "values" if kind is _ANYTHING else " or ".join(dict.fromkeys(found))


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' and not name.startswith('Uni') else 'a'} {name}"


_ANYTHING = Kind(lambda value: True, "anything")
_NONE = Kind(lambda value: value is None, "None")
_PATH = Kind(_is_path, "a path")
_SIMPLE: dict[Any, Kind] = {
    bool: Kind(_is_bool, "True or False"),
    int: Kind(_is_whole, "a whole number"),
    float: Kind(_is_number, "a number"),
    str: Kind(_is_text, "text"),
    os.PathLike: _PATH,
}
