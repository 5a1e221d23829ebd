"""Singular vectors of a recording: those of numpy, however layers, rows and means lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracle.sources import planted
from tl_fbn.acquisition.recording import memory_maps, stored_tensors
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica import reduction
from tl_fbn.analysis.ica.reduction import kept_rows, reduce_recording
from tl_fbn.units.preparation import Preparation


def dense(recording: Recording, *, spatial: bool) -> np.ndarray:
    """Every run less its column means, and every row less its mean."""
    x = np.concatenate([run.read().astype(float) - run.read().astype(float).mean(0) for run in recording])
    return x - x.mean(1, keepdims=True) if spatial else x


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize(("rows", "offset"), [(30, 0.0), (120, 0.0), (120, 1e4)])
def test_triples_equal_numpys(spatial: bool, rows: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows take the Gram matrix, many the sketch; large means are taken off first."""
    monkeypatch.setattr(reduction, "_BLOCK_BYTES", 4 * 4 * rows * 70)  # several blocks a layer
    recording, _, _ = planted(6, rows=rows, noise=0.3, n_runs=3)
    if offset:
        runs = [[array + offset for array in map(run.layer, run.layers)] for run in recording]
        recording = Recording.from_arrays(runs, events=[run.events for run in recording])
    found = reduce_recording(
        recording, 6, layers=list(recording[0].layers), spatial=spatial, preparation=Preparation(), seed=0
    )
    x = dense(recording, spatial=spatial)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(found.singular[:6], singular[:6], rtol=1e-3)
    np.testing.assert_allclose(np.abs((found.right[:6] * right[:6]).sum(1)), 1, atol=2e-3)
    np.testing.assert_allclose(np.abs((found.left[:, :6] * left[:, :6]).sum(0)), 1, atol=2e-3)
    assert found.total == pytest.approx(np.square(x).sum(), rel=1e-3)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(len(found.singular)), atol=1e-4)
    np.testing.assert_array_equal(found.run_of, np.repeat([0, 1, 2], rows))


def test_rotated_units_keep_their_variance_and_lose_each_other() -> None:
    recording, _, _ = planted(3, noise=0.1)
    options = {"layers": list(recording[0].layers), "spatial": True, "preparation": Preparation(), "seed": 0}
    whole = reduce_recording(recording, 3, **options)
    alone = reduce_recording(recording, 3, shuffle=1, **options)
    assert alone.total == pytest.approx(whole.total, rel=0.05)
    assert alone.singular[0] < 0.5 * whole.singular[0]


def test_shuffles_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    recording, _, _ = planted(3, noise=0.1)
    options = {"layers": list(recording[0].layers), "spatial": True, "preparation": Preparation(), "seed": 0}
    whole = reduce_recording(recording, 3, shuffle=1, **options)
    monkeypatch.setattr(reduction, "_BLOCK_BYTES", 4 * 480 * 70)  # several blocks a layer
    by_blocks = reduce_recording(recording, 3, shuffle=1, **options)
    np.testing.assert_allclose(by_blocks.singular, whole.singular, rtol=1e-4)
    np.testing.assert_allclose(np.abs((by_blocks.right[:3] * whole.right[:3]).sum(1)), 1, atol=1e-3)


def test_rows_left_out_are_the_first_of_each_context() -> None:
    recording, _, _ = planted(2, rows=40, n_runs=1)
    assert kept_rows(recording, 0)[0].all()
    assert np.flatnonzero(~kept_rows(recording, 2)[0]).tolist() == [0, 1]


def test_many_runs_on_disk_are_decomposed_with_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs are more than may be held open, each is open while it is read; the numbers are those of memory."""
    in_memory, _, _ = planted(3, rows=20, n_runs=12)
    in_memory.save(tmp_path / "r")
    recording = Recording.open(tmp_path / "r")
    options = {"layers": list(recording[0].layers), "spatial": True, "preparation": Preparation(), "seed": 0}
    expected = reduce_recording(in_memory, 3, **options)
    most = 0
    mapped = stored_tensors.mapped

    def counted(*place: Any) -> np.memmap:
        nonlocal most
        found = mapped(*place)
        most = max(most, len(memory_maps._MAP_OF_FILE))
        return found

    monkeypatch.setattr(stored_tensors, "mapped", counted)
    for held, at_most in ((64, 12), (4, 2)):
        recording[0].layers._recent._of_file.clear()  # what the type checks of the tests have read
        monkeypatch.setattr(reduction, "_RUNS_HELD_OPEN", held)
        most = 0
        found = reduce_recording(recording, 3, **options)
        np.testing.assert_array_equal(found.singular, expected.singular)
        np.testing.assert_array_equal(found.right, expected.right)
        assert 0 < most <= at_most
