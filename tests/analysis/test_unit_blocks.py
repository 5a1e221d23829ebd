"""Pieces of a layer: every number once, in float64, and mapped pages handed back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.analysis import unit_blocks as pieces


@pytest.mark.parametrize("lead", [0, 3, 100])
def test_pieces_cover_every_number_once(lead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", 4)
    monkeypatch.setattr(pieces, "UNITS", 3)
    array = np.arange(77, dtype=np.float32).reshape(11, 7)
    shift = np.arange(7.0)
    seen = np.zeros(array.shape)
    for rows, units, y in pieces.pieces(array, shift, lead=lead):
        assert y.dtype == np.float64
        first = max(rows.start - lead, 0)
        np.testing.assert_array_equal(y, array[first : rows.stop, units] - shift[units])
        seen[rows, units] += 1
    assert (seen == 1).all()


def resident_kilobytes(path: Path) -> int:
    """How much of a mapped file this process holds."""
    found, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and ":" not in line.split()[0]:
            here = line.endswith(str(path))
        elif here and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="says what is resident on Linux only")
@pytest.mark.parametrize("half", [False, True])
def test_mapped_pages_are_handed_back(half: bool, tmp_path: Path) -> None:
    path = tmp_path / "layer.bin"
    words = np.arange(1 << 20, dtype=np.uint16 if half else np.float32).reshape(1024, 1024)
    words.tofile(path)
    mapped = np.memmap(path, words.dtype, "r", shape=words.shape)
    array = HalfArray(mapped, "float16") if half else mapped
    assert np.isfinite(np.asarray(mapped).sum())
    assert resident_kilobytes(path) >= words.nbytes // 1024
    pieces.hand_back(array)
    assert resident_kilobytes(path) == 0
    np.testing.assert_array_equal(mapped, words)  # and they come back when they are looked at
    pieces.hand_back(np.zeros(3))  # of any other array nothing is handed back
