"""Relabellings: shared out over workers they stay the same, and nuisance is taken off as a projection."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm import permutation_schemes as relabelling
from tl_fbn.analysis.glm.permutation_schemes import Relabellings


def fit_of(n_units: int, *, n_rows: int = 480, seed: int = 0) -> fbn.glm.GLMFit:
    rng = np.random.default_rng(seed)
    arrays = [[rng.normal(size=(n_rows, n_units)).astype(np.float32)] for _ in range(2)]
    order = rng.permutation(["a", "b", "c"] * (n_rows // 30)).tolist()
    return fbn.fit_glm(fbn.Recording.from_arrays(arrays, events=[blocks(order, 10)] * 2))


@pytest.mark.parametrize("null", ["labels", "shift"])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_draw_the_same_relabellings(null: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabelling, "UNITS", 64)
    fit = fit_of(300)
    with threadpool_limits(1):  # as loky's workers have it: with another number of threads products round otherwise
        alone = fbn.max_t(fit, "a - b", n_permutations=700, seed=3, null=null)
        with joblib.parallel_config(
            backend=backend, n_jobs=2, **({"inner_max_num_threads": 1} if backend == "loky" else {})
        ):
            together = fbn.max_t(fit, "a - b", n_permutations=700, seed=3, null=null)
    np.testing.assert_array_equal(together.largest, alone.largest)
    np.testing.assert_array_equal(together.statistic, alone.statistic)


def test_units_are_cut_where_products_are_cut_and_only_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabelling, "UNITS", 64)
    data = np.zeros((4, 300), dtype=np.float32)
    assert [one.shape[1] for one in relabelling._shares(data)] == [300]
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert [one.shape[1] for one in relabelling._shares(data)] == [192, 108]
    with joblib.parallel_config(backend="threading", n_jobs=50):
        assert [one.shape[1] for one in relabelling._shares(data)] == [64, 64, 64, 64, 44]


def test_relabelled_regressors_are_orthogonal_to_nuisance_and_of_norm_one() -> None:
    fit = fit_of(5)
    weights = {"a": 1.0, "b": -1.0}
    drawn = Relabellings.of_blocks(fit.runs, weights, "a - b", "labels")
    (part, designs), *rest = drawn.drawn(100, np.random.default_rng(0))
    assert part == slice(0, 100) and not rest
    np.testing.assert_allclose(np.linalg.norm(designs, axis=1), 1, rtol=1e-5)
    n = len(fit.runs[0].block_means)
    for run, columns in zip(fit.runs, np.split(designs, [n], axis=1), strict=True):
        others = [i for i, name in enumerate(run.columns) if name not in weights and not run.within[i]]
        assert len(others) >= 2  # the third condition, and drift
        nuisance = run.block_design[:, others]
        np.testing.assert_allclose(columns @ (nuisance / np.linalg.norm(nuisance, axis=0)), 0, atol=1e-5)
