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
or ``batch_tokens`` is at least 1.

Annotations are read once, at the first call: 10 to 20 microseconds a call on top of what the function does.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from tl_fbn.errors import InputError, InputTypeError, either
from tl_fbn.kinds import ANYTHING, NONE, SIMPLE, Kind, is_number, is_sequence

Checked = TypeVar("Checked", bound=Callable[..., Any])
# name of an argument to the least number that it takes: names mean the same wherever they stand
_LEAST = {
    **dict.fromkeys(("seed", "n", "n_null", "n_controls", "n_groups", "n_permutations"), 0),
    **dict.fromkeys(("drop_first", "min_effect", "tol"), 0),
    **dict.fromkeys(("batch_size", "batch_tokens", "n_bootstrap", "max_iter"), 1),
}


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
        return typing.cast(Checked, function)
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
    if least is not None and is_number(value) and value < least:
        raise InputError(f"{name}={value} is out of range; give {least} or more")
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
            kind = _union((kind, NONE))
        if kind is not None:
            found[parameter.name] = kind
    return found


def _positional_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments that may be given by place, in order."""
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind in by_place]


def _resolved(annotation: Any, of: Any) -> Any:
    """The annotation that a text stands for; Any for one that names what only type checkers import."""
    annotation = getattr(annotation, "__forward_arg__", annotation)  # as entries of a TypedDict hold it
    if not isinstance(annotation, str):
        return Any if annotation is inspect.Parameter.empty else annotation
    # a decorator of another package (a type checker's) has other names around it than the function within
    names = getattr(inspect.unwrap(of), "__globals__", None) or vars(inspect.getmodule(of))
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
        return NONE
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    if origin is Literal:
        choices = get_args(annotation)

        def is_choice(value: Any) -> bool:  # True is no 1
            kinds = [type(one) for one in choices if isinstance(one, bool) == isinstance(value, bool)]
            return isinstance(value, tuple(kinds)) and value in choices

        return Kind(is_choice, either(choices))
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
    if not inspect.isclass(kind) or kind is object or _is_array_annotation(kind):
        return None
    if kind is collections.abc.Callable:
        return Kind(callable, "a function")
    if issubclass(kind, collections.abc.Mapping) and kind.__module__ in ("builtins", "collections.abc"):
        key, item = (_kind(one, inside=True) or ANYTHING for one in arguments or (Any, Any))
        words = f"a mapping of {_plural(key)} to {_plural(item)}" if arguments else "a mapping"
        return Kind(lambda value: isinstance(value, Mapping), words, item, key)
    if kind in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        loose = kind is collections.abc.Iterable
        size = len(arguments) if kind is tuple and arguments and arguments[-1] is not Ellipsis else None
        kinds = [_kind(one, inside=True) or ANYTHING for one in arguments if one is not Ellipsis]
        item = ANYTHING if ANYTHING in kinds or not kinds else typing.cast(Kind, _union(kinds))
        words = "a list" if item is ANYTHING else f"a list of {'' if size is None else f'{size} '}{_plural(item)}"

        def takes_itself(value: Any) -> bool:
            return is_sequence(value, loose) and (size is None or len(value) == size)

        return Kind(takes_itself, words, item, listed=item is not ANYTHING)
    abstract = kind.__module__ in ("typing", "typing_extensions", "collections.abc")
    if abstract or (getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False)):
        return None
    return Kind(lambda value: isinstance(value, kind), _with_article(kind.__name__))


def _is_array_annotation(annotation: Any) -> bool:
    """Whether an annotation is one of jaxtyping's, which say an array's axes."""
    return getattr(annotation, "__module__", "").startswith("jaxtyping")


def _union(kinds: Iterable[Kind]) -> Kind | None:
    """What several kinds allow together; None for none of them."""
    options = [option for kind in kinds for option in kind.options or (kind,)]
    if not options:
        return None
    words = list(dict.fromkeys(option.words for option in options))
    joined = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return options[0] if len(options) == 1 else Kind(lambda value: True, joined, options=tuple(options))


def _plural(kind: Kind) -> str:
    """The words of a kind after "a list of": ``whole numbers``, ``lists of text``."""
    found = []
    for words in (one.words for one in kind.options or (kind,)):
        noun = re.match("an? (.*?)( of .*)?$", words)
        found.append(f"{noun[1]}s{noun[2] or ''}" if noun else words)
    return "values" if kind is ANYTHING else " or ".join(dict.fromkeys(found))


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' and not name.startswith('Uni') else 'a'} {name}"
