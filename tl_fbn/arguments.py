"""Numbers that a user hands in: whole numbers, shares, layers, columns of tables, arrays and tensors.

Python and numpy turn much into a number without a word: ``int(3.7)`` is 3, ``True`` is 1 (so that a mask looks like
indices of units 0 and 1), ``int("3")`` is 3, an array of a masked array has lost its mask, and a complex array its
imaginary part. Everything here takes what is a number of the kind that is asked for, of Python, numpy or torch, and
refuses the rest with an :class:`~tl_fbn.errors.InputError`. torch is not imported: a tensor is known by its methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import as_integer, is_number, shown

# what pandas turns into numbers: booleans into 0 and 1, dates into nanoseconds
_NO_NUMBERS = (bool, np.bool_, complex, np.complexfloating, datetime, timedelta, np.datetime64, np.timedelta64)


def whole_number(value: Any, name: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number as one of Python's, or an error.

    >>> whole_number(np.int64(3), "n_restarts", least=1)
    3

    Args:
        value: An integer of Python or numpy, or a tensor that holds one; neither 3.0 nor True.
        name: What the number is, for the message: the name of the argument.
        least: Smallest number that is allowed; None for no limit.
        most: Largest number that is allowed; None for no limit.

    Raises:
        InputTypeError: It is no whole number.
        InputError: It is out of range.
    """
    number = as_integer(value)
    if number is None:
        raise InputTypeError(f"{name}={value!r} is no whole number; give an integer{_range_words(least, most)}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise InputError(f"{name}={number} is out of range; give an integer{_range_words(least, most)}")
    return number


def layer_numbers(given: Any, name: str) -> tuple[int, ...]:
    """Numbers of layers as a tuple of integers, or an error; whether the layers exist is for the caller to say.

    >>> layer_numbers(np.array([0, 2]), "layers")
    (0, 2)

    Args:
        given: A list, tuple, set, array or tensor of integers, each once.
        name: What the numbers are, for the message: the name of the argument.

    Raises:
        InputTypeError: It is no list, or an entry is no integer: a float, or a boolean of a mask.
        InputError: A layer comes twice, as in a mask of 0 and 1.
    """
    listed = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(listed, (str, bytes, Mapping)) or not isinstance(listed, Iterable):
        raise InputTypeError(f"{name}={shown(given)} is no list of layers; give numbers from 0, such as [0, 1]")
    found: list[int] = []
    for one in listed:
        number = as_integer(one)
        if number is None:
            raise InputTypeError(
                f"{name} holds {shown(one)}, no number of a layer; give integers from 0 (of a mask, "
                "np.flatnonzero(mask))"
            )
        if number in found:
            raise InputError(
                f"{name} names layer {number} twice; give each layer once (of a mask, np.flatnonzero(mask))"
            )
        found.append(number)
    return tuple(found)


def numbers_of_column(given: Any) -> Float[np.ndarray, " line"]:
    """A column of a table as floats: NaN for what is missing and for what is no number.

    pandas alone reads a date as nanoseconds, True as 1 and of a complex number the real part.

    Args:
        given: The column, of numbers or of texts that are numbers.
    """
    column = pd.Series(given)
    if column.dtype.kind in "bcMm":
        return np.full(len(column), np.nan)
    if column.dtype == object:  # cells of many types
        plain = [np.nan if isinstance(one, _NO_NUMBERS) else one for one in column]
        column = pd.Series(plain, dtype=object)
    return pd.Series(pd.to_numeric(column, errors="coerce")).to_numpy(np.float64, na_value=np.nan)


def share(value: Any, name: str) -> float:
    """A share of something, above 0 and below 1.

    Args:
        value: The number that was given.
        name: Name of the argument, for the message.

    Raises:
        InputError: The number is not between 0 and 1.
    """
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f"{name} must be a share between 0 and 1, e.g. 0.05 for 5 %; got {shown(value)}")
    return float(value)


def number_array(given: Any, what: str, *, masked: float | None = None) -> Shaped[np.ndarray, "..."]:
    """An array of booleans, integers or floats from what is one: an array, a tensor, or nested lists of numbers.

    Nothing is rounded here. 16-bit and 8-bit floats that numpy does not have become float32, exactly.

    >>> number_array([[1, 2.5]], "the activations").tolist()
    [[1.0, 2.5]]

    Args:
        given: An array of numpy or of a package that converts to it, a masked array, a tensor on any device, with or
            without gradients, or lists of numbers.
        what: What the numbers are, for the message.
        masked: What masked values become; None refuses them.

    Returns:
        The array; it shares memory with ``given`` where that is possible.

    Raises:
        InputError: It is none of these: complex numbers, texts, dates, objects, lists of unequal length; or values are
            masked and ``masked`` is None.
    """
    try:
        array = _from_tensor(given) if hasattr(given, "detach") else given
        mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
        array = np.asarray(array)
    # a ragged list, a tensor without numbers (sparse, quantised, of the device meta)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{what} cannot be read as an array of numbers ({reason}); give one of floats") from error
    if array.dtype.kind not in "biuf" and (array.dtype.names or not np.can_cast(array.dtype, np.float32)):
        raise InputError(
            f"{what} has the type {array.dtype} ({type(given).__name__}); give an array of floats, integers or booleans"
        )
    if array.dtype.kind not in "biuf":  # bfloat16 and 8-bit floats of ml_dtypes
        array = array.astype(np.float32)
    if mask is not None and mask.any():
        if masked is None:
            raise InputError(
                f"{what} has {int(mask.sum()):,} masked values, which an array of numbers cannot hold; fill them, or "
                "leave out their rows or units"
            )
        array = np.where(mask, masked, array)
    return array


def refuse_doubled_columns(columns: Iterable[Any], where: str) -> None:
    """Raise an error where two columns of a table have one name: only one of them would be read.

    Args:
        columns: Names of the columns.
        where: What the table is, for the message.

    Raises:
        InputError: A name comes twice.
    """
    seen = set()
    for name in columns:
        if name in seen:
            raise InputError(f"{where}: two columns have the name {name!r}; rename or drop one of them")
        seen.add(name)


def _from_tensor(tensor: Any) -> Any:
    """A tensor of torch as one that numpy can share, without gradients and on the CPU."""
    plain = tensor.detach().cpu()
    # numpy has no bfloat16 and no 8-bit floats; float32 holds them exactly
    return plain.float() if plain.is_floating_point() and plain.element_size() < 4 else plain.numpy()


def _range_words(least: int | None, most: int | None) -> str:
    """The allowed range, as the end of a sentence."""
    if least is None:
        return "" if most is None else f" up to {most}"
    return f" of at least {least}" if most is None else f" from {least} to {most}"
