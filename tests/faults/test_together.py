"""Two threads at one folder or at one model: one is refused, and no number is wrong."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model

pytestmark = pytest.mark.slow


def test_of_two_designs_in_one_new_folder_one_is_recorded_whole(tmp_path: Path) -> None:
    scanners = [fbn.Scanner(tiny_model()) for _ in range(2)]
    designs = [small_design(seed=seed) for seed in range(2)]
    clean = [
        scanner.scan(design, tmp_path / f"clean {number}", progress=False)
        for number, (scanner, design) in enumerate(zip(scanners, designs, strict=True))
    ]
    for trial in range(20):
        folder, start = tmp_path / str(trial), threading.Barrier(2)

        def scan(number: int, folder: Path = folder, start: threading.Barrier = start) -> Any:
            start.wait()
            try:
                return scanners[number].scan(designs[number], folder, progress=False)
            except ValueError as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(scan, range(2)))
        assert sum(isinstance(one, Exception) for one in results) == 1, results
        (refused,) = [one for one in results if isinstance(one, Exception)]
        assert "holds a different recording (" in str(refused)
        (winner,) = [number for number, one in enumerate(results) if not isinstance(one, Exception)]
        assert results[winner].key == clean[winner].key
        results[winner].verify()
        for ours, theirs in zip(results[winner], clean[winner], strict=True):
            np.testing.assert_array_equal(ours.read(), theirs.read())


def test_an_intervention_of_another_thread_is_in_no_recording(tmp_path: Path) -> None:
    model = tiny_model()
    scanner = fbn.Scanner(model, batch_size=2)
    design = small_design(n_runs=4)
    clean = scanner.scan(design, tmp_path / "clean", progress=False)
    network = fbn.Network.from_indices(scanner.space, range(0, 48, 2))
    refused = 0
    for trial in range(18):
        over = threading.Event()

        def disturb(over: threading.Event = over, pause: float = 0.001 * (trial + 1)) -> None:
            while not over.wait(pause):
                try:
                    with fbn.inhibit(model, network):
                        over.wait(pause / 2)
                except Exception:  # a model may serve one thread only
                    return

        other = threading.Thread(target=disturb)
        other.start()
        try:
            scanner.scan(design, tmp_path / str(trial), progress=False)
        except Exception:  # what was read is not kept, with whatever message two threads lead to
            refused += 1
        finally:
            over.set()
            other.join()
        try:
            recording = scanner.scan(design, tmp_path / str(trial), progress=False)
        except ValueError as error:
            # the folder was begun under the intervention, and says so
            assert "interventions" in str(error)
            continue
        assert recording.key == clean.key
        for ours, theirs in zip(recording, clean, strict=True):
            np.testing.assert_allclose(ours.read(), theirs.read(), rtol=1e-4, atol=1e-5)
    print(f"\n18 scans with an intervention of another thread: {refused} refused, 0 with its numbers")
