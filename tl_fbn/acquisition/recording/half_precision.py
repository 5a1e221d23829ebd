"""Arrays of 16-bit floats on disk, read as float32.

numpy knows no bfloat16 and is slow with float16, so a recording in either is mapped as raw 16-bit words and decoded
where it is read: ``array[rows, units]`` reads those words only and returns float32. Both decodings are exact.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

Dtype = Literal["float32", "bfloat16", "float16"]
SAFETENSORS_NAME: dict[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
ITEM_SIZE: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_EXPONENT: dict[str, int] = {"bfloat16": 0x7F80, "float16": 0x7C00}


class HalfArray:
    """A two-dimensional array of 16-bit floats that reads as float32.

    Args:
        words: (row, unit) raw 16-bit words.
        kind: ``"bfloat16"`` or ``"float16"``.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, words: np.ndarray, kind: str) -> None:
        self.words = words
        self._kind = kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.words.shape

    @property
    def nbytes(self) -> int:
        return self.words.nbytes

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: Any) -> np.ndarray:
        return decoded(np.asarray(self.words[index]), self._kind)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(np.float32 if dtype is None else dtype, copy=False)


def decoded(words: np.ndarray, kind: str) -> np.ndarray:
    """Raw 16-bit words as float32."""
    if kind == "float16":
        return words.view(np.float16).astype(np.float32)
    return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def finite_rows(stored: np.ndarray, kind: Dtype) -> Bool[np.ndarray, " row"]:
    """Which rows of stored values are finite throughout; all True is found out in one pass."""
    if kind == "float32":
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(stored.sum()):
                return np.ones(len(stored), dtype=bool)
        return np.asarray(np.isfinite(stored).all(1))
    exponent = np.uint16(_EXPONENT[kind])
    return np.asarray(((stored.view(np.uint16) & exponent) != exponent).all(1))
