"""The GLM against statsmodels and nilearn: token, block and run level, several runs, and edges."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import block_diag

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.fits import noise_of, prompts_of, recording_of, three_runs
from tests.helpers.models import tiny_model
from tests.helpers.noise import ar1_noise
from tests.helpers.recordings import blocks
from tests.oracle.regression import coefficients, gls, gls_f, ols

some = settings(max_examples=30, deadline=None, derandomize=True)


# Token level against statsmodels


@some
@given(
    noise=st.sampled_from(["ar1", "ols"]),
    length=st.sampled_from([None, 5, 12]),
    deficient=st.booleans(),
    exponents=st.lists(st.integers(-5, 5), min_size=4, max_size=4),
    constant=st.booleans(),
    rho=st.floats(-0.5, 0.9),
    seed=st.integers(0, 999),
)
def test_token_level_equals_gls_at_the_same_rho(
    noise: str,
    length: int | None,
    deficient: bool,
    exponents: list[int],
    constant: bool,
    rho: float,
    seed: int,
) -> None:
    """Random, rank-deficient and badly scaled designs, with contexts and without."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(70, 4)).cumsum(0)
    if constant:
        columns[:, 3] = 1
    columns *= 10.0 ** np.array(exponents)
    design = pd.DataFrame(columns, columns=list("wxyz"))
    if deficient:
        design["both"] = design["w"] - 2 * design["z"]
    y = ar1_noise(rho, 70, 3, seed=seed) + rng.normal(size=3)
    rows = None if length is None else [prompts_of(70, length, seed)]
    recording = recording_of([y], [blocks(["a", "b"], 35)], rows)
    fit = fbn.fit_glm(recording, noise=noise, design=[design])  # type: ignore[arg-type]
    assert fit.runs[0].rank == 4
    weights = {"x": 1.0, "y": -(10.0 ** (exponents[2] - exponents[1]))}  # of one size in units of the activations
    contrast = fit.contrast(f"x + {weights['y']!r} * y", level="token")
    vector = np.array([weights.get(name, 0.0) for name in design])
    several = fit.contrast([contrast.expression, "x"], level="token")
    both = np.array([vector, [float(name == "x") for name in design]])
    assert contrast.dof == several.dof == 66
    for unit in range(3):
        at = fit.runs[0].rho[unit]
        # statsmodels' own rank and pseudo-inverse take no scaling, so the columns come to it scaled
        scale = np.linalg.norm(design.to_numpy(), axis=0)
        truth = gls(noise_of(recording[0])[:, unit], design / scale, vector / scale, recording[0].segment_starts, at)
        assert truth.dof == contrast.dof
        assert contrast.t.values[unit] == pytest.approx(truth.t, rel=1e-6)
        assert contrast.effect.values[unit] == pytest.approx(truth.effect, rel=1e-6)
        assert contrast.variance.values[unit] == pytest.approx(truth.variance, rel=1e-6)
        assert contrast.p.values[unit] == pytest.approx(2 * stats.t.sf(abs(truth.t), 66), rel=1e-4)
        assert (at == 0) == (noise == "ols")
        f, p = gls_f(noise_of(recording[0])[:, unit], design / scale, both / scale, recording[0].segment_starts, at)
        assert several.f.values[unit] == pytest.approx(f, rel=1e-6)
        assert several.p.values[unit] == pytest.approx(p, rel=1e-4)


def test_ols_equals_nilearn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nilearn, about itself
        from nilearn.glm.contrasts import compute_contrast
        from nilearn.glm.first_level import run_glm
    recording = three_runs(n_units=20)
    fit = fbn.fit_glm(recording, noise="ols")
    for number, run in enumerate(recording):
        design = fit.designs[number]
        alone = fbn.glm.GLMFit(fit.space, (fit.runs[number],), "ols", (design,), {}).contrast("a - b", level="token")
        labels, results = run_glm(noise_of(run), design.to_numpy(), noise_model="ols")
        vector = np.array([{"a": 1.0, "b": -1.0}.get(name, 0.0) for name in design])
        theirs = compute_contrast(labels, results, vector, stat_type="t")
        np.testing.assert_allclose(alone.t.values, theirs.stat(), rtol=1e-5)
        np.testing.assert_allclose(alone.effect.values, theirs.effect_size(), rtol=1e-5)
        np.testing.assert_allclose(alone.z.values, theirs.z_score(), rtol=1e-5)


@pytest.mark.parametrize("noise", ["ar1", "ols"])
def test_large_mean_keeps_six_digits(noise: str) -> None:
    recording = recording_of(
        [ar1_noise(0.5, 200, 5, seed=3) + 1e4], [blocks(["a", "b"] * 10, 10)], [prompts_of(200, 10)]
    )
    fit = fbn.fit_glm(recording, noise=noise)  # type: ignore[arg-type]
    contrast = fit.contrast("a - b", level="token")
    design = fit.designs[0]
    vector = np.array([{"a": 1.0, "b": -1.0}.get(name, 0.0) for name in design])
    y = noise_of(recording[0])
    for unit in range(5):
        starts, rho = recording[0].segment_starts, fit.runs[0].rho[unit]
        truth = gls(y[:, unit] - y[:, unit].mean(), design.to_numpy(), vector, starts, rho)
        assert contrast.t.values[unit] == pytest.approx(truth.t, rel=1e-6)
    level = fit.contrast("(a + b) / 2", level="token").effect.values
    np.testing.assert_allclose(level, y.mean(0), rtol=1e-4)  # the shift is back


# Several runs


def test_runs_combine_as_documented() -> None:
    recording = three_runs()
    fit = fbn.fit_glm(recording)
    contrast = fit.contrast("a - b", level="token")
    truths = []
    for number, run in enumerate(recording):
        design = fit.designs[number]
        vector = np.array([{"a": 1.0, "b": -1.0}.get(name, 0.0) for name in design])
        rho = fit.runs[number].rho
        y = noise_of(run)
        truths.append([gls(y[:, u], design.to_numpy(), vector, run.segment_starts, rho[u]) for u in range(4)])
    for unit in range(4):
        parts = [truth[unit] for truth in truths]
        effect, variance = np.mean([p.effect for p in parts]), np.sum([p.variance for p in parts]) / 9
        assert contrast.effect.values[unit] == pytest.approx(effect, rel=1e-6)
        assert contrast.variance.values[unit] == pytest.approx(variance, rel=1e-6)
        assert contrast.t.values[unit] == pytest.approx(effect / np.sqrt(variance), rel=1e-6)
    assert contrast.dof == sum(truth[0].dof for truth in truths)
    assert contrast.runs == (0, 1, 2)
    rows = [run.n_rows for run in recording]
    np.testing.assert_allclose(fit.rho, np.average([run.rho for run in fit.runs], axis=0, weights=rows))


def test_a_condition_missing_in_a_run_is_reported_by_name() -> None:
    rng = np.random.default_rng(0)
    kinds = [["a", "b", "c"], ["a", "b", "d"], ["a", "c", "d"]]
    events = [blocks(kind * 4, 5) for kind in kinds]
    recording = recording_of([rng.normal(size=(60, 3)) for _ in kinds], events)
    fit = fbn.fit_glm(recording)
    contrast = fit.contrast("a - b", level="token")
    assert contrast.runs == (0, 1)
    assert contrast.skipped == {2: "no column b"}
    assert "not in 2 (no column b)" in repr(contrast)
    only = fbn.fit_glm(recording_of([noise_of(run) for run in recording][:2], events[:2]))
    for level in ("token", "block"):
        np.testing.assert_allclose(
            fit.contrast("a - b", level=level).t.values, only.contrast("a - b", level=level).t.values
        )
    with pytest.raises(ValueError, match=r"estimable in no run \(run 0: no column d; run 1: no column c; run 2: no co"):
        fit.contrast("b + c - 2 * d", level="token")
    assert fit.columns[:4] == ["a", "b", "c", "drift_1"]


# Block level


def by_blocks(fit: fbn.glm.GLMFit, recording: fbn.Recording, unit: int) -> tuple[float, float, float]:
    """Effect, t and dof of "a - b" by the documented definition, with statsmodels alone.

    Means of blocks without first tokens, less the within-block columns at their token-level coefficients, are stacked
    over runs; every run has its own between-block columns; the contrast is the mean over runs. One regression gives one
    noise variance.
    """
    stacked, designs, vectors = [], [], []
    for number, run in enumerate(recording):
        design, starts = fit.designs[number], run.segment_starts
        inside = [name for name in design if name in ("position", "first_token")]
        y = noise_of(run)[:, unit]
        beta = pd.Series(coefficients(y, design.to_numpy(), starts, fit.runs[number].rho[unit]), index=list(design))
        clean = y - design[inside].to_numpy() @ beta[inside].to_numpy()
        owner = np.repeat(np.arange(len(run.events)), run.events["duration"])
        first = run.rows.get("position", pd.Series(1, index=range(run.n_rows))).to_numpy() == 0
        rows = np.flatnonzero(~first[: len(owner)])
        owner = owner[rows]
        stacked.append(pd.Series(clean[rows]).groupby(owner).mean().to_numpy())
        between = design.drop(columns=inside)
        designs.append(between.iloc[rows].groupby(owner).mean().to_numpy())
        vectors.append([{"a": 1.0, "b": -1.0}.get(name, 0.0) / len(recording) for name in between])
    truth = ols(np.concatenate(stacked), block_diag(*designs), np.concatenate(vectors))
    return truth.effect, truth.t, truth.dof


@pytest.mark.parametrize("prompts", [True, False])
@pytest.mark.parametrize("noise", ["ar1", "ols"])
def test_block_level_equals_its_definition(noise: str, prompts: bool) -> None:
    recording = three_runs(prompts=prompts)
    fit = fbn.fit_glm(recording, noise=noise)  # type: ignore[arg-type]
    assert ("position" in fit.columns) == ("first_token" in fit.columns) == prompts
    contrast = fit.contrast("a - b")
    assert contrast.level == "block"
    for unit in range(4):
        effect, t, dof = by_blocks(fit, recording, unit)
        assert contrast.effect.values[unit] == pytest.approx(effect, rel=1e-7)
        assert contrast.t.values[unit] == pytest.approx(t, rel=1e-7)
        assert contrast.dof == dof


def test_block_level_of_a_plain_design_is_a_two_sample_t_test() -> None:
    y = np.random.default_rng(0).normal(size=(120, 5))
    recording = recording_of([y], [blocks(["a", "b"] * 6, 10)])
    contrast = fbn.fit_glm(recording, drift="none").contrast("a - b")
    means = recording[0].read().astype(float).reshape(12, 10, 5).mean(1)
    np.testing.assert_allclose(contrast.t.values, stats.ttest_ind(means[::2], means[1::2]).statistic, rtol=1e-9)
    assert contrast.dof == 10


def test_rows_without_a_condition_are_in_no_block() -> None:
    """Blocks with rests between: the rests enter the token level by the intercept only, and the block level not
    at all.
    """
    y = np.random.default_rng(1).normal(size=(120, 3))
    events = pd.DataFrame({"onset": np.arange(0, 120, 10), "duration": 6, "trial_type": ["a", "b"] * 6})
    fit = fbn.fit_glm(recording_of([y], [events]), drift="none")
    means = y.astype(np.float32).astype(float).reshape(12, 10, 3)[:, :6].mean(1)
    expected = stats.ttest_ind(means[::2], means[1::2]).statistic
    np.testing.assert_allclose(fit.contrast("a - b").t.values, expected, rtol=1e-9)
    assert "intercept" in fit.columns
    fit.contrast("a", level="token")  # against rest
    with pytest.raises(ValueError, match="'a' is not estimable from the 12 block means of run 0; use level=\"token\""):
        fit.contrast("a")


def test_run_level_is_a_one_sample_t_test_of_the_runs() -> None:
    recording = three_runs()
    fit = fbn.fit_glm(recording)
    contrast = fit.contrast("a - b", level="run")
    effects = np.array([run.effect({"a": 1.0, "b": -1.0})[0] for run in fit.runs])
    expected = stats.ttest_1samp(effects, 0)
    np.testing.assert_allclose(contrast.t.values, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(contrast.p.values, expected.pvalue, rtol=1e-9)
    assert contrast.dof == 2


# Edges


def test_units_that_never_vary_have_p_one() -> None:
    rng = np.random.default_rng(7)
    constants = np.array([0.0, 0.1, -1 / 3, 1e4 / 3, 1e-20])
    activations = [np.column_stack([np.tile(constants, (120, 1)), rng.normal(size=(120, 1))]) for _ in range(3)]
    recording = recording_of(activations, [blocks(["a", "b"] * 6, 10)] * 3, [prompts_of(120, 7)] * 3)
    for noise in ("ar1", "ols"):
        fit = fbn.fit_glm(recording, noise=noise)  # type: ignore[arg-type]
        np.testing.assert_array_equal(fit.rho[:5], 0)
        for level in ("token", "block", "run"):
            contrast = fit.contrast("a - b", level=level)  # type: ignore[arg-type]
            np.testing.assert_array_equal(contrast.p.values[:5], 1)
            np.testing.assert_array_equal(contrast.z.values[:5], 0)
            assert np.isnan(contrast.t.values[:5]).all()
            assert 0 < contrast.p.values[5] < 1


def test_units_that_the_design_explains_without_error_come_first() -> None:
    """Nothing is left to test against: the effect is infinitely many errors away from 0, and rounding is no noise."""
    rng = np.random.default_rng(11)
    activations, events = [], []
    for pairs in (6, 7, 9):
        task = np.tile(np.repeat([1.0, 0.0], 10), pairs)[:, None] * np.array([1 / 3, -100 / 7, 1e-6])
        activations.append(np.column_stack([task, rng.normal(size=(20 * pairs, 1)), np.full((20 * pairs, 1), 0.1)]))
        events.append(blocks(["a", "b"] * pairs, 10))
    recording = recording_of(activations, events)
    for noise in ("ar1", "ar1_pooled", "newey_west", "ols"):
        fit = fbn.fit_glm(recording, noise=noise)  # type: ignore[arg-type]
        for level in ("token", "block", "run"):
            contrast = fit.contrast("a - b", level=level)  # type: ignore[arg-type]
            np.testing.assert_array_equal(contrast.t.values[[0, 1, 2, 4]], [np.inf, -np.inf, np.inf, np.nan])
            np.testing.assert_array_equal(contrast.p.values[[0, 1, 2, 4]], [0, 0, 0, 1])
            assert 0 < contrast.p.values[3] < 1
            np.testing.assert_allclose(contrast.effect.values[:3], [1 / 3, -100 / 7, 1e-6], rtol=1e-6)


def test_same_activity_in_every_block_is_no_finding() -> None:
    """A unit that fires alike at each context's first token varies over rows, but not over blocks."""
    spikes = np.where(np.arange(120) % 10 == 0, 1000 / 3, 0.1)[:, None]
    recording = recording_of([spikes] * 2, [blocks(["a", "b"] * 6, 10)] * 2)
    np.testing.assert_array_equal(fbn.fit_glm(recording).contrast("a - b").p.values, 1)


def test_layers_without_units_keep_their_place() -> None:
    rng = np.random.default_rng(8)
    layers = [rng.normal(size=(40, width)) for width in (3, 0, 2)]
    recording = fbn.Recording.from_arrays([layers], events=[blocks(["a", "b"] * 2, 10)])
    contrast = fbn.fit_glm(recording, drift="none").contrast("a - b", level="token")
    alone = fbn.fit_glm(recording_of([layers[2]], [blocks(["a", "b"] * 2, 10)]), drift="none")
    np.testing.assert_allclose(contrast.t.by_layer()[2], alone.contrast("a - b", level="token").t.values)
    assert [part.size for part in contrast.t.by_layer()] == [3, 0, 2]


def test_white_residuals_of_the_whitened_fit() -> None:
    """GLS at the fitted rho leaves innovations: the reported noise variance is theirs."""
    recording = recording_of([ar1_noise(0.7, 2000, 50, seed=9)], [blocks(["a", "b"] * 20, 50)])
    fit = fbn.fit_glm(recording)
    assert fit.runs[0].innovation_variance.mean() == pytest.approx(1 - 0.7**2, rel=0.02)
    assert fit.rho.mean() == pytest.approx(0.7, abs=0.01)


def test_save_and_load(tmp_path: Path) -> None:
    recording = three_runs()
    fit = fbn.fit_glm(recording)
    fit.save(tmp_path / "fit.safetensors")
    again = fbn.glm.GLMFit.load(tmp_path / "fit.safetensors")
    for level in ("token", "block", "run"):
        ours, theirs = fit.contrast("a - b", level=level), again.contrast("a - b", level=level)  # type: ignore[arg-type]
        for name in ("effect", "variance", "t", "z", "p"):
            np.testing.assert_array_equal(getattr(ours, name).values, getattr(theirs, name).values)
        assert (ours.dof, ours.runs, ours.provenance) == (theirs.dof, theirs.runs, theirs.provenance)
    np.testing.assert_array_equal(fit.rho, again.rho)
    assert again.columns == fit.columns
    assert again.space == fit.space
    assert repr(again) == repr(fit)
    for mine, loaded in zip(fit.designs, again.designs, strict=True):
        pd.testing.assert_frame_equal(mine, loaded)
    pd.testing.assert_frame_equal(fit.to_dataframe(), again.to_dataframe())


def test_tables_and_words() -> None:
    fit = fbn.fit_glm(three_runs())
    table = fit.to_dataframe()
    assert list(table["rows"]) == [96, 128, 160]
    assert list(table["blocks"]) == [12, 16, 20]
    assert (table["dof"] == table["rows"] - table["rank"]).all()
    assert repr(fit).startswith("GLMFit ar1: 3 runs, 384 rows, ")
    assert "<table>" in fit._repr_html_()


# Norms of outgoing weights


def test_a_fit_has_the_norms_of_its_recording_stream_or_model(tmp_path: Path) -> None:
    model = tiny_model()
    scanner = fbn.Scanner(model)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    fit = fbn.fit_glm(recording, progress=False)
    contribution = fit.contrast("a - b").contribution
    np.testing.assert_allclose(contribution.values, fit.contrast("a - b").estimate * recording.outgoing_norms)
    streamed = fbn.fit_glm(scanner.stream(small_design(), progress=False))
    np.testing.assert_array_equal(streamed.outgoing_norms, recording.outgoing_norms)
    fit.save(tmp_path / "fit.safetensors")
    loaded = fbn.glm.GLMFit.load(tmp_path / "fit.safetensors")
    np.testing.assert_array_equal(loaded.contrast("a - b").contribution.values, contribution.values)
    plain = fbn.Recording.from_arrays(
        [[run.layer(0), run.layer(1)] for run in recording], events=[run.events for run in recording]
    )
    given = fbn.fit_glm(plain, model=model, progress=False)
    np.testing.assert_allclose(given.outgoing_norms, recording.outgoing_norms, rtol=1e-6)


def test_arrays_without_norms_are_an_error_only_where_they_are_asked_for(tmp_path: Path) -> None:
    fit = fbn.fit_glm(three_runs(), progress=False)
    assert fit.outgoing_norms is None
    fit.save(tmp_path / "fit.safetensors")  # nothing is written of them, as by earlier versions
    contrast = fbn.glm.GLMFit.load(tmp_path / "fit.safetensors").contrast(f"{fit.columns[0]} - {fit.columns[1]}")
    assert np.isfinite(contrast.z_within_layer.values).all()
    with pytest.raises(fbn.errors.InputError, match=r"or give the model: fit_glm\(recording, model=model\)"):
        contrast.contribution  # noqa: B018


# Bad input
