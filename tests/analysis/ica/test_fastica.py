"""The rotation is scikit-learn's, its faster contrast function the same number."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.decomposition import fastica

from tl_fbn.analysis.ica.fastica import random_start, rotate, rotate_past_saddles, split_mixed_pairs, whitening_of


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


def test_converging_in_the_last_iteration_is_converging() -> None:
    """scikit-learn says nothing else than a warning: the number of iterations is the largest in both cases."""
    rng = np.random.default_rng(0)
    data = random_start(4, rng) @ rng.laplace(size=(4, 2000))
    white = whitening_of(data - data.mean(1, keepdims=True)) @ (data - data.mean(1, keepdims=True))
    start = random_start(4, rng)
    *_, n_iter = fastica(white.T, whiten=False, w_init=start, tol=1e-6, max_iter=500, return_n_iter=True)
    assert rotate(white, start, tol=1e-6, max_iter=n_iter)[1]
    assert not rotate(white, start, tol=1e-6, max_iter=n_iter - 1)[1]


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


def sparse(n_sources: int, n_samples: int, seed: int) -> np.ndarray:
    """White sources, some hundredth of each far from zero."""
    rng = np.random.default_rng(seed)
    sources = 0.3 * rng.standard_normal((n_sources, n_samples))
    for one in sources:
        one[rng.choice(n_samples, n_samples // 50, replace=False)] += 3 * rng.standard_normal(n_samples // 50)
    sources -= sources.mean(1, keepdims=True)
    return (whitening_of(sources) @ sources).astype(np.float32)


def mixing(n: int, pairs: list[tuple[int, int]], angle: float = np.pi / 4) -> np.ndarray:
    """A rotation that turns some pairs of sources into each other."""
    rotation = np.eye(n)
    for a, b in pairs:
        rotation[[a, a, b, b], [a, b, a, b]] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    return rotation


def test_sources_that_are_each_others_sum_and_difference_are_taken_apart() -> None:
    white = sparse(12, 4096, 0)
    found = split_mixed_pairs(white, mixing(12, [(0, 5), (7, 2)]))
    assert found is not None
    np.testing.assert_allclose(np.abs(found).max(1), 1, atol=1e-12)
    np.testing.assert_allclose(found @ found.T, np.eye(12), atol=1e-12)
    near = split_mixed_pairs(white, mixing(12, [(0, 5)], angle=0.7))  # FastICA stops near the saddle, not on it
    assert near is not None and np.abs(near).max(1).min() > 0.99


def test_sources_that_are_apart_and_noise_are_left_alone() -> None:
    assert split_mixed_pairs(sparse(12, 4096, 0), np.eye(12)) is None
    assert split_mixed_pairs(sparse(12, 4096, 1), mixing(12, [(3, 4)], angle=0.2)) is None  # on its way, no saddle
    turned = [
        split_mixed_pairs(np.random.default_rng(seed).standard_normal((24, 2048)).astype(np.float32), np.eye(24))
        is not None
        for seed in range(100)
    ]
    assert np.mean(turned) < 0.05


def test_a_rotation_that_ends_between_two_sources_goes_on() -> None:
    white, between = sparse(12, 4096, 0), mixing(12, [(0, 5)])
    stays, _ = rotate(white, between, max_iter=2)
    assert np.abs(stays).max(1).min() < 0.9
    goes_on, _ = rotate_past_saddles(white, between, max_iter=2)
    assert np.abs(goes_on).max(1).min() > 0.99
    for seed in range(60):  # one of these starts ends between two sources otherwise
        rotation, converged = rotate_past_saddles(sparse(24, 4096, seed), random_start(24, np.random.default_rng(seed)))
        assert converged and np.abs(rotation).max(1).min() > 0.99, seed
