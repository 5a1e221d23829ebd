"""Fingerprints: unmoved by the order of neurons and the scale of activations; relatives apart from strangers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.conftest import blocks
from tl_fbn.analysis.fingerprint import _aligned


def model_of(
    seed: int, *, latent_seed: int = 0, n_units: int = 300, n_texts: int = 12, length: int = 30
) -> fbn.Recording:
    """Units of a "model": four sources, which follow the text in the model's own way, mixed sparsely."""
    text = np.random.default_rng(latent_seed)
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(20, 4)) ** 3  # what each source makes of each token
    tokens = text.integers(20, size=n_texts * length)
    maps = rng.laplace(size=(4, n_units)) * (rng.random((4, n_units)) < 0.15) * 4
    y = kinds[tokens] @ maps + rng.normal(size=(len(tokens), n_units))
    rows = pd.DataFrame({"prompt": np.repeat(np.arange(n_texts), length), "token": [f"t{i}" for i in tokens]})
    return fbn.Recording.from_arrays([[y]], events=[blocks(["a"], len(y))], rows=[rows])


def changed(recording: fbn.Recording, change) -> fbn.Recording:
    run = recording[0]
    return fbn.Recording.from_arrays([[change(run.layer(0).astype(float))]], events=[run.events], rows=[run.rows])


def test_order_and_scale_of_units_do_not_matter() -> None:
    one = model_of(1)
    order = np.random.default_rng(0).permutation(300)
    for change in (lambda y: y[:, order], lambda y: 7.5 * y, lambda y: y[:, order] * 0.01):
        found = fbn.fingerprint(one, changed(one, change), n_components=4, seed=0, n_null=50)
        assert found.score > 0.99 and found.n_above >= 4 and found.best > 0.99


def test_relatives_and_strangers_are_told_apart() -> None:
    related, unrelated = [], []
    for seed in range(6):
        one = model_of(seed)
        noise = np.random.default_rng(seed)
        tuned = changed(one, lambda y: y + noise.normal(size=y.shape))  # noqa: B023
        pruned = changed(one, lambda y: np.where(noise.random(y.shape[1]) < 0.3, 0.0, y))  # noqa: B023
        for other in (tuned, pruned):
            related.append(fbn.fingerprint(one, other, n_components=4, seed=0, n_null=20).score)
        unrelated.append(fbn.fingerprint(one, model_of(seed + 100), n_components=4, seed=0, n_null=20).score)
    rates = fbn.calibrate(related, unrelated)
    assert rates["missed"] == rates["false_alarms"] == 0
    assert max(unrelated) < rates["threshold"] < min(related)
    assert (rates["n_related"], rates["n_unrelated"]) == (12, 6)


def test_mismatched_texts_are_the_null(tmp_path) -> None:
    one = model_of(1)
    found = fbn.fingerprint(one, changed(one, lambda y: 2 * y), n_components=4, seed=0, n_null=99)
    assert found.p == 0.01 and np.mean(found.null) < 0.2
    found.save(tmp_path / "f.safetensors")
    again = fbn.Fingerprint.load(tmp_path / "f.safetensors")
    assert repr(again) == repr(found) and again.to_dataframe().equals(found.to_dataframe())


def test_tokens_are_aligned_by_characters() -> None:
    a = np.array([[1.0], [2.0], [3.0]]), ["<s>", "hel", "lo\u0120wo"]
    b = np.array([[5.0], [6.0], [7.0]]), ["he", "llo", "\u2581wo"]
    left, right = _aligned(a, b, 0)
    assert left.ravel().tolist() == [2, 3]
    assert right.ravel().tolist() == [6, 7]  # "hel" ends inside "llo"
    with pytest.raises(ValueError, match="text 4 differs between the recordings"):
        _aligned(a, (b[0], ["he", "xx", "wo"]), 4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="have 12 and 11 texts of at least three tokens"):
        fbn.fingerprint(model_of(1), model_of(1, n_texts=11), n_components=4, seed=0)
    with pytest.raises(ValueError, match="calibrate needs scores of both kinds; got 1 of relatives and 0 of others"):
        fbn.calibrate([0.5], [])
