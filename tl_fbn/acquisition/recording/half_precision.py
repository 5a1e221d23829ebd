"""Arrays of 16-bit floats on disk, read as float32.

numpy knows no bfloat16 and computes slowly with float16, so a recording in either is mapped as raw 16-bit words, which
are decoded where they are read: ``array[rows, units]`` reads those words only and returns float32. Both decodings are
exact, because every number of either format is also one of float32:

======== ==== ======== ======== ================
format   sign exponent fraction largest number
======== ==== ======== ======== ================
float32  1    8 bits   23 bits  about 3.4e38
bfloat16 1    8 bits   7 bits   about 3.4e38
float16  1    5 bits   10 bits  65,504
======== ==== ======== ======== ================
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

# How the values of a scan are stored.
Dtype = Literal["float32", "bfloat16", "float16"]
# How the values of any recording are stored: float64 too, of numbers that were computed, such as courses of networks.
StoredDtype = Literal["float32", "bfloat16", "float16", "float64"]
# how safetensors calls each, how many bytes a number takes, and as what numpy reads it
SAFETENSORS_NAME: dict[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "float64": "F64"}
ITEM_SIZE: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
NUMPY_TYPE: dict[str, Any] = {
    "float32": np.float32,
    "bfloat16": np.uint16,
    "float16": np.uint16,
    "float64": np.float64,
}
# The bits of the exponent within a word; all of them are 1 in NaN and infinity, and in no other number.
_EXPONENT_BITS: dict[str, int] = {"bfloat16": 0x7F80, "float16": 0x7C00}


class HalfArray:
    """A two-dimensional array of 16-bit floats that reads as float32.

    Args:
        words: (row, unit) raw 16-bit words, in memory or mapped from a file.
        kind: Format of the words, ``"bfloat16"`` or ``"float16"``.
    """

    # what a numpy array of the decoded numbers would say, so that callers need not tell the two apart
    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, words: np.ndarray, kind: str) -> None:
        self.words = words
        self._kind = kind

    @property
    def kind(self) -> str:
        """Format of the words, ``"bfloat16"`` or ``"float16"``."""
        return self._kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of units."""
        return self.words.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the words as they are stored, half of what they take when decoded."""
        return self.words.nbytes

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: Any) -> np.ndarray:
        return decoded(np.asarray(self.words[index]), self._kind)  # indexed first: no other words are read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # decoding makes a new array, so that copy=True needs nothing more
        return self[:].astype(np.float32 if dtype is None else dtype, copy=False)


def decoded(words: np.ndarray, kind: str) -> np.ndarray:
    """Raw 16-bit words as float32, exactly.

    Args:
        words: Array of 16-bit words, of any shape.
        kind: Format of the words, ``"bfloat16"`` or ``"float16"``.

    Returns:
        A new float32 array of the same shape.
    """
    if kind == "float16":
        return words.view(np.float16).astype(np.float32)
    # a bfloat16 is the upper half of a float32 whose lower half is 0
    return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def finite_rows(stored: np.ndarray, kind: StoredDtype) -> Bool[np.ndarray, " row"]:
    """Which rows have finite values only.

    Args:
        stored: (row, unit) values as they are stored: numbers, or 16-bit words.
        kind: Format of the values.

    Returns:
        (row,) True where no value of the row is NaN or infinite.
    """
    if kind in ("float32", "float64"):
        # One sum tells of all rows: it is finite only if every value is. If not, a value is not finite or the sum
        # overflowed, and rows are looked at one by one.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(stored.sum()):
                return np.ones(len(stored), dtype=bool)
        return np.asarray(np.isfinite(stored).all(1))
    # words are not decoded: the exponent says it
    exponent = np.uint16(_EXPONENT_BITS[kind])
    return np.asarray(((stored.view(np.uint16) & exponent) != exponent).all(1))
