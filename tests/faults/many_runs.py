"""A recording of very many runs, written and opened: ``python -m tests.faults.many_runs 20000``."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording import store


def many_runs(folder: Path, n: int) -> None:
    """Write runs of 8 rows and two layers of 6 units, of which the very first number is that of the run.

    Nothing is waited for to be on the disk, which would take most of the time and is not what is looked at here.
    """
    with mock.patch.object(os, "fsync", lambda _: None):
        _written(folder, n)


def _written(folder: Path, n: int) -> None:
    first = fbn.Recording.from_arrays(
        [[np.ones((8, 6)), np.ones((8, 6))]], events=[blocks(["a", "b"], 4)], path=folder.with_name("first")
    )
    store.write_about(folder, {**first.about, "n_runs": n})
    events, rows = first[0].events, first[0].rows
    rng = np.random.default_rng(0)
    for number in range(n):
        laid_out = store.lay_out(folder, number, 8, {"layer.00": 6, "layer.01": 6})
        values = rng.standard_normal((2, 8, 6), dtype=np.float32)
        values[0, 0, 0] = number
        for layer in range(2):
            laid_out.write(store.tensor_name(layer), 0, values[layer])
        store.commit(laid_out, store.run_folder(folder, number), {"key": first.key, "run": number}, events, rows)


def main(n: int) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        started = time.monotonic()
        many_runs(place / "many", n)
        written = time.monotonic()
        recording = fbn.Recording.open(place / "many")
        opened = time.monotonic()
        handles = len(list(Path("/proc/self/fd").iterdir()))
        total = recording.mean()
        print(
            f"{n:,} runs: written in {written - started:.1f} s, opened in {opened - written:.1f} s, read in "
            f"{time.monotonic() - opened:.1f} s; {handles} handles open; mean of the first unit {total[0]:.3f}"
        )
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main(int(sys.argv[1]))
