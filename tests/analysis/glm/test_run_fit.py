"""The fit of one run: coefficients, why a contrast cannot be estimated, block means, what varies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tests.oracle.regression import coefficients, gls
from tl_fbn.analysis.glm.run_fit import RunFit, RunModel, fit_run


def fitted(
    design: pd.DataFrame, *, seed: int = 0, prompt_rows: int = 8, noise: str = "ar1"
) -> tuple[RunFit, fbn.Recording]:
    """Random walks of three units under a design, in blocks of 10 rows and prompts of 8."""
    n_rows = len(design)
    y = np.random.default_rng(seed).normal(size=(n_rows, 3)).cumsum(0) * 0.3 + 2
    recording = fbn.Recording.from_arrays(
        [[y]],
        events=[blocks(["a", "b"] * (n_rows // 20), 10)],
        rows=[pd.DataFrame({"prompt": np.arange(n_rows) // prompt_rows})],
    )
    run = recording[0]
    return fit_run(run, RunModel.of(run, design, noise, 0)), recording  # type: ignore[arg-type]


def test_coefficients_equal_generalised_least_squares() -> None:
    rng = np.random.default_rng(2)
    design = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("xyz")).assign(one=1.0)
    run, recording = fitted(design)
    starts = recording[0].segment_starts
    assert starts.sum() == 8  # prompts of 8 rows, the last of 4
    assert np.ptp(run.rho) > 0.01
    for unit in range(3):
        expected = coefficients(recording[0].read()[:, unit], design.to_numpy(), starts, run.rho[unit])
        np.testing.assert_allclose(run.coefficients()[:, unit], expected, rtol=1e-7)


def test_why_not() -> None:
    rng = np.random.default_rng(3)
    design = pd.DataFrame(rng.normal(size=(60, 2)), columns=["x", "y"])
    run, _ = fitted(design.assign(both=design["x"] + design["y"]))
    assert run.rank == 2
    assert run.dof == 58
    assert run.why_not({"x": 1.0, "z": -1.0}) == "no column z"
    assert run.why_not({"x": 1.0}) == "not estimable: the columns it names are mixed up with others"
    assert run.why_not({"x": 1.0, "y": -1.0}) is None


def test_block_means_and_the_columns_that_vary_within_blocks() -> None:
    place = np.arange(60)
    design = pd.DataFrame(
        {
            "a": place // 10 % 2 == 0,
            "b": place // 10 % 2 == 1,
            "position": place % 10 - 4.5,
            "drift": np.cos(np.pi * place / 60),
        }
    ).astype(float)
    run, recording = fitted(design)
    np.testing.assert_array_equal(run.within, [False, False, True, False])
    y = recording[0].read().astype(float)
    np.testing.assert_allclose(run.block_means, y.reshape(6, 10, 3).mean(1), rtol=1e-10)
    np.testing.assert_allclose(run.block_design, design.to_numpy().reshape(6, 10, 4).mean(1), atol=1e-12)


def test_a_constant_column_does_not_vary_within_blocks() -> None:
    """Its variance is rounding; for this number and these blocks more of it lies within blocks than between."""
    lengths = np.array([10, 19, 6, 5, 13, 13])
    events = pd.DataFrame({"onset": lengths.cumsum() - lengths, "duration": lengths, "trial_type": ["a", "b"] * 3})
    y = np.random.default_rng(0).normal(size=(lengths.sum(), 1))
    design = pd.DataFrame({"constant": 0.20850606199652755}, index=range(len(y)))
    recorded = fbn.Recording.from_arrays([[y]], events=[events])[0]
    run = fit_run(recorded, RunModel.of(recorded, design, "ols", 0))
    assert not run.within.any()


def test_unit_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are fitted some thousand at a time; the seams must not matter."""
    design = pd.DataFrame({"one": np.ones(60), "x": np.random.default_rng(4).normal(size=60)})
    whole, _ = fitted(design)
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.UNITS", 2)
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.ROWS", 7)  # cuts blocks and contexts
    parts, _ = fitted(design)
    for name in ("fitted", "rho", "innovation_variance", "shift", "block_means"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)
    for ours, theirs in zip(parts.effect({"x": 1.0}), whole.effect({"x": 1.0}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_fewer_rows_than_regressors() -> None:
    design = pd.DataFrame(np.random.default_rng(5).normal(size=(20, 20)), columns=[f"x{i}" for i in range(20)])
    with pytest.raises(
        ValueError, match=r"run 0 has 20 rows for 20 regressors \(x0, x1.*record more rows or use fewer"
    ):
        fitted(design)


def test_pooled_rho_is_one_a_layer_and_the_fit_is_gls_at_it() -> None:
    rng = np.random.default_rng(0)
    layers = []
    for rho, width in ((0.2, 900), (0.7, 700)):
        y = rng.normal(size=(400, width))
        for t in range(1, 400):
            y[t] += rho * y[t - 1]
        layers.append(y)
    events = blocks(["a", "b"] * 5, 40)
    recording = fbn.Recording.from_arrays([layers], events=[events])
    fit = fbn.fit_glm(recording, noise="ar1_pooled")
    for layer, truth in ((0, 0.2), (1, 0.7)):
        own = fit.rho[recording.space.layer_slice(layer)]
        assert np.ptp(own) == 0
        assert own[0] == pytest.approx(truth, abs=0.02)
    x, weights = fit.designs[0].to_numpy(float), np.zeros(fit.designs[0].shape[1])
    weights[[list(fit.designs[0]).index("a"), list(fit.designs[0]).index("b")]] = 1, -1
    found = fit.contrast("a - b", level="token")
    for unit in (0, 950):
        y = recording[0].read()[:, unit].astype(float)
        theirs = gls(y, x, weights, np.arange(400) == 0, float(fit.rho[unit]))
        assert found.t.values[unit] == pytest.approx(theirs.t, rel=1e-6)
    rate = (fbn.fit_glm(recording, noise="ar1_pooled").contrast("a - b", level="token").p.values < 0.05).mean()
    assert 0.035 < rate < 0.07
