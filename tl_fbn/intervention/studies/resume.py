"""Results that are kept as they come, so that an interrupted study goes on where it was.

A folder with ``study.json`` (what is studied, as fields of content: a different study is refused with the fields that differ) and one safetensors file a
part, rewritten whole (beside its place, then renamed) every few seconds while it grows and once it is complete. A kill loses the seconds since the last write.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_fbn import files
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.errors import InputError

SAVE_EVERY = 5.0  # seconds


class Unfinished:
    """A folder of growing parts.

    Args:
        path: The folder; made if there is none.
        fields: What is studied, JSON-serialisable.

    Raises:
        InputError: The folder holds something else.
    """

    def __init__(self, path: str | os.PathLike, fields: Mapping[str, Any]) -> None:
        self._folder = Path(path)
        about = self._folder / "study.json"
        plain = json.loads(json.dumps(fields))
        if self._folder.is_file():
            raise InputError(f"{self._folder} is a file; give a folder, which is made if there is none")
        if about.exists():
            keys.refuse_other(self._folder, json.loads(about.read_text()), plain)
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise InputError(f"{self._folder} holds something that is no lesion study; give another folder")
        else:
            written = {"key": keys.digest(plain), "fields": plain}
            files.write_atomically(about, json.dumps(written, indent=1, sort_keys=True).encode())

    def grow(
        self, name: str, n: int, results_from: Callable[[int], Iterable[tuple[np.ndarray, Mapping[str, Any]]]]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Results 0 to n - 1 of a part, of which those that are kept are not made again.

        Args:
            name: Of the part.
            n: How many results it has.
            results_from: Makes the results from a number on, in order: each an array, as large as the others, and notes.

        Returns:
            (result, ...) arrays, and the notes of all results together.
        """
        path = self._folder / f"{name}.safetensors"
        rows: list[np.ndarray] = []
        notes: dict[str, Any] = {}
        if path.exists():
            arrays, notes = files.read_result(path, "LesionPart")
            rows = list(arrays["results"])
        saved = len(rows)
        written = time.monotonic()
        try:
            for row, noted in results_from(len(rows)) if len(rows) < n else ():
                rows.append(row)
                notes |= noted
                if time.monotonic() - written > SAVE_EVERY:
                    self._write(path, rows, notes)
                    saved = len(rows)
                    written = time.monotonic()
        finally:  # also when the user has had enough
            if len(rows) > saved:
                self._write(path, rows, notes)
        return np.array(rows), notes

    @staticmethod
    def _write(path: Path, rows: list[np.ndarray], notes: Mapping[str, Any]) -> None:
        files.write_result(path, "LesionPart", {"results": np.array(rows)}, notes)
