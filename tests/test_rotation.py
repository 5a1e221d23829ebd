"""The rotation is scikit-learn's, its faster contrast function the same number."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.decomposition import fastica

from tl_fbn.analysis.rotation import random_start, rotate, whitening_of


@pytest.mark.parametrize("fun", ["logcosh", "exp", "cube"])
def test_equals_scikit_learn_on_the_same_whitened_data(fun: str) -> None:
    rng = np.random.default_rng(0)
    data = random_start(4, rng) @ rng.laplace(size=(4, 2000))
    data -= data.mean(1, keepdims=True)
    white = whitening_of(data) @ data
    np.testing.assert_allclose(white @ white.T / 2000, np.eye(4), atol=1e-10)
    start = random_start(4, rng)
    ours, converged = rotate(white, start, fun=fun, tol=1e-10, max_iter=500)  # type: ignore[arg-type]
    _, theirs, _ = fastica(white.T, whiten=False, fun=fun, w_init=start, tol=1e-10, max_iter=500)
    assert converged
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_does_not_converge_is_said_and_nothing_warns() -> None:
    white = np.random.default_rng(0).normal(size=(5, 300))
    _, converged = rotate(white, random_start(5, np.random.default_rng(1)), max_iter=2, tol=1e-12)
    assert not converged


def test_a_rotation_is_one_also_where_sources_are_gaussian() -> None:
    """Updates of the kurtosis contrast vanish there, and scikit-learn's decorrelation overflows."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        white = rng.normal(size=(12, 1200)).astype(np.float32)
        for fun in ("cube", "logcosh"):
            rotation, _ = rotate(white, random_start(12, np.random.default_rng(seed)), fun=fun, max_iter=10)  # type: ignore[arg-type]
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-9)


def test_threads_side_by_side_neither_warn_nor_leave_filters_behind() -> None:
    before, white = list(warnings.filters), np.random.default_rng(0).normal(size=(6, 500))
    with ThreadPoolExecutor(4) as executor:
        found = list(
            executor.map(
                lambda seed: rotate(white, random_start(6, np.random.default_rng(seed)), max_iter=3), range(60)
            )
        )
    assert not any(converged for _, converged in found)
    assert list(warnings.filters) == before
