"""What a fit and its contrasts refuse, and what they say."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import tl_fbn as fbn
from tests.helpers.fits import noise_of, recording_of, three_runs
from tests.helpers.recordings import blocks


def test_unknown_noise_and_level(noise_recording: fbn.Recording) -> None:
    with pytest.raises(ValueError, match="noise must be 'ar1', 'ar1_pooled', 'newey_west' or 'ols'; got 'arma'"):
        inspect.unwrap(fbn.fit_glm)(noise_recording, noise="arma")  # as where types are not checked
    with pytest.raises(ValueError, match="replicates must be 'blocks' or 'prompts'; got 'tokens'"):
        inspect.unwrap(fbn.fit_glm)(noise_recording, replicates="tokens")
    fit = fbn.fit_glm(noise_recording)
    with pytest.raises(ValueError, match="level must be 'block', 'token' or 'run'; got 'prompt'"):
        inspect.unwrap(fbn.glm.GLMFit.contrast)(fit, "a - b", level="prompt")


def test_columns_of_your_own_beside_the_default_design(noise_recording: fbn.Recording) -> None:
    rng = np.random.default_rng(0)
    extra = [pd.DataFrame({"mood": rng.normal(size=run.n_rows)}) for run in noise_recording]
    fit = fbn.fit_glm(noise_recording, extra=extra)
    plain = fbn.fit_glm(noise_recording).designs
    mine = [matrix.assign(mood=more["mood"]) for matrix, more in zip(plain, extra, strict=True)]
    theirs = fbn.fit_glm(noise_recording, design=mine)
    for expression in ("mood", "a - b"):
        ours = fit.contrast(expression, level="token").t.values
        np.testing.assert_array_equal(ours, theirs.contrast(expression, level="token").t.values)
    with pytest.raises(ValueError, match=r"extra has a column 'a', and so has the design of run 0 \(a, b.*rename it"):
        fbn.fit_glm(noise_recording, extra=[pd.DataFrame({"a": more["mood"]}) for more in extra])
    with pytest.raises(ValueError, match="the design of run 0 has 3 rows, the run 80"):
        fbn.fit_glm(noise_recording, extra=[more.iloc[:3] for more in extra])
    with pytest.raises(ValueError, match="with design= put them into your own matrices"):
        fbn.fit_glm(noise_recording, design=mine, extra=extra)


def test_bad_contrasts(noise_recording: fbn.Recording) -> None:
    fit = fbn.fit_glm(noise_recording)
    with pytest.raises(
        ValueError, match=r'names "aa", which is no column of the design; columns: a, b, .*Did you mean "a"'
    ):
        fit.contrast("aa - b")
    with pytest.raises(ValueError, match="is not linear in the columns"):
        fit.contrast("a * b")
    with pytest.raises(ValueError, match=r"needs at least 3; 'a - b' is estimable in 2\. Record more runs"):
        fit.contrast("a - b", level="run")


def test_contrast_that_cannot_be_estimated(noise_recording: fbn.Recording) -> None:
    design = fbn.design_matrix(noise_recording[0], drift="none").assign(one=1.0)
    fit = fbn.fit_glm(noise_recording, design=[design] * 2)
    with pytest.raises(
        ValueError, match=r"'a' is estimable in no run \(run 0: not estimable: the columns it names are"
    ):
        fit.contrast("a", level="token")
    assert np.isfinite(fit.contrast("a - b", level="token").t.values).all()
    assert fit.runs[0].dof == 78


def test_what_varies_within_blocks_has_no_block_level() -> None:
    fit = fbn.fit_glm(three_runs())
    with pytest.raises(
        ValueError, match="'a - position' names position, which varies within blocks; use level=\"token\""
    ):
        fit.contrast("a - position")
    assert np.isfinite(fit.contrast("position", level="token").t.values).all()


def test_too_few_blocks() -> None:
    y = np.random.default_rng(9).normal(size=(40, 2))
    fit = fbn.fit_glm(recording_of([y], [blocks(["a", "b"], 20)]))
    with pytest.raises(ValueError, match="level=\"block\" has 2 blocks for 'a - b' and as many regressors"):
        fit.contrast("a - b")
    assert fit.contrast("a - b", level="token").dof == 38


def test_no_events_but_a_design_of_ones_own() -> None:
    y = np.random.default_rng(10).normal(size=(40, 2))
    recording = recording_of([y], [blocks([], 20)])
    with pytest.raises(ValueError, match="this run has no events, so no condition to model"):
        fbn.fit_glm(recording)
    design = pd.DataFrame({"x": np.linspace(-1, 1, 40), "one": 1.0})
    fit = fbn.fit_glm(recording, noise="ols", design=design)  # one run needs no list
    expected = sm.OLS(noise_of(recording[0])[:, 0], design.to_numpy()).fit().tvalues[0]
    assert fit.contrast("x", level="token").t.values[0] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match='level="block" tests over blocks, but run 0 has no events; use level="token"'):
        fit.contrast("x")


def test_designs_that_do_not_fit(noise_recording: fbn.Recording) -> None:
    design = pd.DataFrame({"x": np.ones(80)})
    with pytest.raises(ValueError, match="1 design matrices for 2 runs; give one a run"):
        fbn.fit_glm(noise_recording, design=[design])
    with pytest.raises(ValueError, match="the design of run 1 has 79 rows, the run 80; give one line a row"):
        fbn.fit_glm(noise_recording, design=[design, design[1:]])
    with pytest.raises(ValueError, match="the design of run 0 has missing or infinite values"):
        fbn.fit_glm(noise_recording, design=[design.replace(1.0, np.nan), design])
    with pytest.raises(ValueError, match="the design of run 0 names a column twice: x, x"):
        fbn.fit_glm(noise_recording, design=[pd.concat([design, design], axis=1), design])
    with pytest.raises(ValueError, match="the design of run 0 has no columns"):
        fbn.fit_glm(noise_recording, design=[design[[]], design])
    with pytest.raises(ValueError, match="run 0 has 80 rows for 80 regressors"):
        fbn.fit_glm(noise_recording, design=[pd.DataFrame(np.eye(80)).add_prefix("x")] * 2)
    with pytest.raises(ValueError, match=r"cutoff=30 rows is shorter than two full cycles of the design \(40 rows\)"):
        fbn.fit_glm(noise_recording, cutoff=30)
