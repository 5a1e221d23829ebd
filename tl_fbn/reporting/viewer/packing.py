"""How the viewer's page holds arrays: numbers, sets of units and words as short base64 text, and back again.

Numbers are packed as whole numbers q of 8 or 16 bits, ``value = offset + scale * q``; their bytes are written in
base64, 4 characters for every 3 bytes. The error is at most half a scale: for a map 0.002 % of its largest magnitude in
16 bits and 0.4 % in 8 bits, for a course (whose offset is the middle of its range) half as much, in per cent of its
range. Sets of units are written as gaps between neighbouring indices, one byte for each gap below 255. Words are
written once each, with the place of every row's word among them.

The scripts of the page read all of this; :func:`unpacked` and :func:`indices_of` are the same in Python.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

CHARACTERS_PER_BYTE = 4 / 3  # of base64
LARGEST_INTEGER = {8: 127, 16: 32767}  # by bits; the integer below its negative stands for NaN


def packed(values: Float[np.ndarray, " any"], bits: int, *, centred: bool = False) -> dict[str, Any]:
    """Numbers as 8- or 16-bit integers with scale and offset; the smallest integer stands for NaN.

    Infinities become the largest finite magnitude.

    Args:
        values: The numbers to pack, in any unit; NaN and infinities may be among them.
        bits: Bits of each integer, 8 or 16.
        centred: True puts the offset in the middle of the range, for numbers far from 0 such as a course; False puts it
            at 0, so that 0 is kept exactly.

    Returns:
        ``bits``, ``scale``, ``offset``, and ``data``: the integers in base64, little-endian.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    offset = float(finite.max() + finite.min()) / 2 if centred and finite.size else 0.0
    largest = float(np.abs(finite - offset).max()) if finite.size else 0.0
    top = LARGEST_INTEGER[bits]
    scale = largest / top or 1.0  # numbers that are all equal to the offset still need a scale to divide by
    whole = np.rint(np.clip((values.astype(np.float64) - offset) / scale, -top, top))  # q = (value - offset) / scale
    whole = np.where(np.isnan(whole), -top - 1, whole).astype(f"<i{bits // 8}")
    return {"bits": bits, "scale": scale, "offset": offset, "data": _base64(whole)}


def unpacked(pack: Mapping[str, Any]) -> Float[np.ndarray, " any"]:
    """The numbers that :func:`packed` packed, as near as their bits allow."""
    whole = np.frombuffer(base64.b64decode(pack["data"]), f"<i{pack['bits'] // 8}")
    values = pack["offset"] + pack["scale"] * whole.astype(np.float64)
    return np.where(whole == -LARGEST_INTEGER[pack["bits"]] - 1, np.nan, values)


def gaps(indices: Int[np.ndarray, " some"]) -> str:
    """Ascending indices as the steps between them, one byte a step; 255 means "and further"."""
    steps = np.diff(indices, prepend=0)  # the first step is from 0
    # a step is step // 255 bytes of 255 and then one byte of what is left, which is below 255 and so ends the step
    stream = np.full(int((steps // 255 + 1).sum()), 255, dtype=np.uint8)
    stream[np.cumsum(steps // 255 + 1) - 1] = steps % 255
    return _base64(stream)


def indices_of(text: str) -> Int[np.ndarray, " some"]:
    """The ascending indices that :func:`gaps` wrote."""
    stream = np.frombuffer(base64.b64decode(text), np.uint8).astype(np.int64)
    return np.cumsum(stream)[stream < 255]  # an index is complete where its step ends


def packed_counts(counts: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Whole numbers from 0 on, exactly, in as few bytes as the largest of them needs."""
    largest = counts.max(initial=0)
    bits = 8 if largest < 2**8 else 16 if largest < 2**16 else 32
    return {"bits": bits, "data": _base64(counts.astype(f"<u{bits // 8}"))}


def packed_words(words: np.ndarray | None) -> dict[str, Any] | None:
    """Words as a list of the distinct ones and each row's place in it; None stays None, a missing word is empty."""
    if words is None:
        return None
    # only NaN differs from itself; pandas puts it where a text is missing
    spelled = ["" if word is None or word != word else str(word) for word in words.tolist()]
    place_of = {word: place for place, word in enumerate(dict.fromkeys(spelled))}
    return {"words": list(place_of), **packed_counts(np.array([place_of[word] for word in spelled], dtype=np.int64))}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
