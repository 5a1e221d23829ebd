"""Work side by side gives what work in turn gives."""

from __future__ import annotations

import threading

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tests.oracle.sources import planted
from tl_fbn.analysis import parallel


def name_of_thread(item: int) -> tuple[int, str]:
    return item, threading.current_thread().name


def test_small_work_and_single_pieces_stay_in_this_thread() -> None:
    here = threading.current_thread().name
    assert parallel.each(name_of_thread, range(3), size=10) == [(0, here), (1, here), (2, here)]
    assert parallel.each(name_of_thread, [7], size=10**9) == [(7, here)]
    assert parallel.each(name_of_thread, [], size=10**9) == []


def test_large_work_keeps_its_order_and_leaves_threads_as_they_were() -> None:
    with threadpool_limits(2, user_api="blas"):
        found = parallel.each(name_of_thread, range(20), size=10**9)
        assert [item for item, _ in found] == list(range(20))
        assert threading.current_thread().name not in {name for _, name in found}
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}


def test_joblib_decides_where_it_is_asked() -> None:
    here = threading.current_thread().name
    with joblib.parallel_config(n_jobs=1):
        assert {name for _, name in parallel.each(name_of_thread, range(4), size=10**9)} == {here}


@pytest.mark.parametrize("noise", ["ar1", "ar1_pooled", "newey_west", "ols"])
def test_a_fit_does_not_depend_on_threads(noise, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(160, width)).cumsum(0) for width in (30, 20, 40)]
    recording = fbn.Recording.from_arrays([layers], events=[blocks(["a", "b"] * 4, 20)])
    with threadpool_limits(1):
        alone = fbn.fit_glm(recording, noise=noise).contrast("a - b", level="token")
    monkeypatch.setattr(parallel, "_MIN_NUMBERS_FOR_THREADS", 1)
    with threadpool_limits(4), joblib.parallel_config(n_jobs=3):
        beside = fbn.fit_glm(recording, noise=noise).contrast("a - b", level="token")
    np.testing.assert_array_equal(alone.t.values, beside.t.values)
    np.testing.assert_array_equal(alone.effect.values, beside.effect.values)


def test_an_atlas_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    recording, _, _ = planted(6, noise=1.0)
    with threadpool_limits(1):
        alone = fbn.find_networks(recording, 6, seed=0)
    monkeypatch.setattr(parallel, "_MIN_NUMBERS_FOR_THREADS", 1)
    with threadpool_limits(2), joblib.parallel_config(n_jobs=3):
        beside = fbn.find_networks(recording, 6, seed=0)
    assert alone.stability.min() > 0.9
    np.testing.assert_allclose(alone.maps, beside.maps, atol=1e-3)
    assert all((a.members != b.members).sum() <= 1 for a, b in zip(alone.values(), beside.values(), strict=True))


def powers(item: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(3, 0.1 * item), np.array([item**2], dtype=float)


@pytest.mark.parametrize("options", [None, {"n_jobs": 1}, {"backend": "threading", "n_jobs": 3}])
def test_sums_are_added_up_in_order_whoever_makes_them(options: dict | None) -> None:
    expected = sum(0.1 * item for item in range(50))  # in another order it rounds to another number
    with joblib.parallel_config(**(options or {"backend": "loky", "n_jobs": None})):
        first, second = parallel.summed(powers, range(50), size=10**9 if options else 1)
    assert first.tolist() == [expected] * 3
    assert second.tolist() == [sum(item**2 for item in range(50))]
