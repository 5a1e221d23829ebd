"""A dask cluster instead of one process: the same numbers, from workers that read the recording themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.helpers.recordings import stored_noise
from tl_fbn.analysis import parallel
from tl_fbn.analysis.glm import permutation_schemes as relabelling

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Sending large graph"),  # a small model is sent within the task
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers of one thread, as the results of one thread are what they are compared with."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as workers, distributed.Client(workers) as client:
        client.run(torch.set_num_threads, 1)
        yield


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> fbn.Recording:
    return stored_noise(tmp_path_factory.mktemp("cluster"), 32 * 40, 800, n_sources=4, n_runs=2)


@pytest.mark.parametrize("what", ["GLM", "networks", "permutations"])
def test_an_analysis_is_the_same(what: str, cluster, recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_MIN_NUMBERS_FOR_THREADS", 1)
    monkeypatch.setattr(relabelling, "UNITS", 256)

    def found() -> np.ndarray:
        if what == "GLM":
            return fbn.fit_glm(recording).contrast("a - b", level="token").t.values
        if what == "permutations":
            return fbn.max_t(recording, "a - b", n_permutations=600, seed=0).largest
        maps = fbn.find_networks(recording, 4, n_restarts=4, seed=0).maps
        assert maps is not None
        return maps

    with threadpool_limits(1):
        with joblib.parallel_config(n_jobs=1):
            alone = found()
        with joblib.parallel_config(backend="dask"):
            together = found()
    np.testing.assert_array_equal(together, alone)


def test_a_layer_travels_as_an_address(cluster, recording) -> None:
    """Its bytes would go through the scheduler, once for every task that asks for them."""
    with joblib.parallel_config(backend="dask"):
        calls = parallel.each(file_of, recording[0].layers.values(), size=10**9)
    assert set(calls) == {str(Path(recording.path, "run-01"))}


def file_of(layer: np.ndarray) -> str:
    from tl_fbn.acquisition.recording.memory_maps import place_of

    place = place_of(layer)
    return "nowhere" if place is None else str(Path(place[0]).parent)


def test_a_lesion_study_is_the_same(cluster, demo_model) -> None:
    battery = fbn.demo.battery(n=5).select(["sort", "add"])
    network = fbn.Network.from_indices(fbn.Scanner(demo_model).space, range(0, 1152, 40))

    def scores() -> np.ndarray:
        study = fbn.lesion_study(demo_model, {"x": network}, battery, n_controls=3, seed=0, progress=False)
        return study.control_scores["random"]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = scores()
        with joblib.parallel_config(backend="dask"):
            together = scores()
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(together, alone)
