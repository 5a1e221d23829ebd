"""Newey and West's covariance equals statsmodels', over contexts too, and does not depend on how rows are cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.newey_west import default_maxlags


def recording_of(y: np.ndarray, prompt_rows: int | None = None) -> fbn.Recording:
    tables = None if prompt_rows is None else [pd.DataFrame({"prompt": np.arange(len(y)) // prompt_rows})]
    return fbn.Recording.from_arrays([[y]], events=[blocks(["a", "b"] * (len(y) // 40), 20)], rows=tables)


def noise(n_rows: int = 240, n_units: int = 6, seed: int = 0) -> np.ndarray:
    y = np.random.default_rng(seed).normal(size=(n_rows, n_units)).astype(np.float32)
    for t in range(1, n_rows):
        y[t] += 0.6 * y[t - 1]
    return y * 3 + 50


@pytest.mark.parametrize("rows_at_once", [7, 50, 5000])
@pytest.mark.parametrize("prompt_rows", [None, 30])
def test_standard_errors_equal_statsmodels(
    rows_at_once: int, prompt_rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.ROWS", rows_at_once)
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.UNITS", 4)
    y = noise()
    rng = np.random.default_rng(1)
    design = fbn.design_matrix(recording_of(y)[0]).assign(
        x=rng.normal(size=len(y)), slow=np.linspace(-1e4, 1e4, len(y))
    )
    fit = fbn.fit_glm(recording_of(y, prompt_rows), noise="newey_west", maxlags=5, design=design)
    contrast = fit.contrast("a - b", level="token")
    several = fit.contrast(["a - b", "x"], level="token")
    vector = np.array([{"a": 1.0, "b": -1.0}.get(name, 0.0) for name in design])
    both = np.array([vector, [float(name == "x") for name in design]])
    for unit in range(y.shape[1]):
        options = {"maxlags": 5, "use_correction": True}
        kind = "HAC"
        if prompt_rows is not None:  # lags end with each prompt
            options = {"maxlags": 5, "groups": np.arange(len(y)) // prompt_rows, "use_correction": False}
            kind = "hac-panel"
        result = sm.OLS(y[:, unit].astype(float), design.to_numpy()).fit(cov_type=kind, cov_kwds=options, use_t=True)
        test = result.t_test(vector)
        scale = len(y) / (len(y) - np.linalg.matrix_rank(design)) if prompt_rows is not None else 1.0
        np.testing.assert_allclose(contrast.effect.values[unit], test.effect[0], rtol=1e-6)
        np.testing.assert_allclose(contrast.t.values[unit], test.tvalue.item() / np.sqrt(scale), rtol=1e-6)
        np.testing.assert_allclose(several.f.values[unit], float(result.f_test(both).fvalue) / scale, rtol=1e-6)


def test_no_lags_is_whites_covariance() -> None:
    y = noise()
    recording = recording_of(y)
    t = fbn.fit_glm(recording, noise="newey_west", maxlags=0).contrast("a - b", level="token").t.values
    design = fbn.design_matrix(recording[0])
    for unit in range(y.shape[1]):
        result = sm.OLS(y[:, unit].astype(float), design.to_numpy()).fit(cov_type="HC1", use_t=True)
        vector = np.array([{"a": 1.0, "b": -1.0}.get(name, 0.0) for name in design])
        np.testing.assert_allclose(t[unit], result.t_test(vector).tvalue.item(), rtol=1e-6)


def test_a_saved_fit_gives_the_same_contrast(tmp_path) -> None:
    fit = fbn.fit_glm(recording_of(noise(), 30), noise="newey_west")
    fit.save(tmp_path / "fit.safetensors")
    again = fbn.glm.GLMFit.load(tmp_path / "fit.safetensors")
    np.testing.assert_array_equal(
        again.contrast("a - b", level="token").t.values, fit.contrast("a - b", level="token").t.values
    )
    assert again.noise == "newey_west"


def test_lags_are_checked_and_streams_refused() -> None:
    recording = recording_of(noise())
    assert default_maxlags(240) == 4
    with pytest.raises(ValueError, match=r"maxlags=3 with noise='ar1'; it is for \"newey_west\""):
        fbn.fit_glm(recording, maxlags=3)
    with pytest.raises(ValueError, match=r"maxlags=-1 with noise='newey_west'.*at least 0"):
        fbn.fit_glm(recording, noise="newey_west", maxlags=-1)
