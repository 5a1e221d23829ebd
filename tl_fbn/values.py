"""Values that annotations cannot check: arrays of numbers, whole numbers one by one, shares of something."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import is_number, is_whole, shown


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
    if not is_whole(value):
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
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f"{name} must be a share between 0 and 1, e.g. 0.05 for 5 %; got {shown(value)}")
    return float(value)
