"""The GLM against statsmodels and nilearn, against planted effects, and against pure noise."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import block_diag

import tl_fbn as fbn
from tests.benchmarks.calibration import ar1_noise, false_positives, null_recording
from tests.conftest import blocks
from tests.oracle.regression import coefficients, gls, gls_f, ols
from tl_fbn.acquisition.recording.recording import Run

some = settings(max_examples=30, deadline=None, derandomize=True)


def prompts_of(n_rows: int, length: int, seed: int = 0) -> pd.DataFrame:
    """A row table of prompts of about this many rows."""
    lengths = np.random.default_rng(seed).integers(length - 3, length + 4, size=n_rows)
    prompt = np.repeat(np.arange(n_rows), lengths)[:n_rows]
    position = np.concatenate([np.arange(n) for n in lengths])[:n_rows]
    return pd.DataFrame({"prompt": prompt, "position": position})


def noise_of(run: Run) -> np.ndarray:
    return run.read().astype(np.float64)


def recording_of(
    activations: list[np.ndarray], events: list[pd.DataFrame], rows: list[pd.DataFrame] | None = None
) -> fbn.Recording:
    return fbn.Recording.from_arrays([[y] for y in activations], events=events, rows=rows)


def three_runs(*, n_units: int = 4, rho: float = 0.4, prompts: bool = True) -> fbn.Recording:
    """Runs of 96 to 160 rows, with a drift, an effect in unit 0, and a mean that no two runs share."""
    activations, events, rows = [], [], []
    for number, pairs in enumerate((6, 8, 10)):
        n_rows = 16 * pairs
        y = ar1_noise(rho, n_rows, n_units, seed=number) + 3 * number
        y[:, 0] += np.tile(np.repeat([0.8, 0.0], 8), pairs)
        activations.append(y + np.linspace(0, 1, n_rows)[:, None])
        events.append(blocks(["a", "b"] * pairs, 8))
        rows.append(prompts_of(n_rows, 6, number))
    return recording_of(activations, events, rows if prompts else None)


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
        alone = fbn.GLMFit(fit.space, (fit.runs[number],), "ols", (design,), {}).contrast("a - b", level="token")
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


def by_blocks(fit: fbn.GLMFit, recording: fbn.Recording, unit: int) -> tuple[float, float, float]:
    """Effect, t and dof of "a - b" by the documented definition, with statsmodels alone.

    Block means, less the within-block columns at their token-level coefficients, are stacked over runs; every run has its
    own between-block columns; the contrast is the mean over runs. One regression gives one noise variance.
    """
    stacked, designs, vectors = [], [], []
    for number, run in enumerate(recording):
        design, starts = fit.designs[number], run.segment_starts
        inside = [name for name in design if name == "position"]
        y = noise_of(run)[:, unit]
        beta = pd.Series(coefficients(y, design.to_numpy(), starts, fit.runs[number].rho[unit]), index=list(design))
        clean = y - design[inside].to_numpy() @ beta[inside].to_numpy()
        owner = np.repeat(np.arange(len(run.events)), run.events["duration"])
        rows = np.arange(len(owner))
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
    assert ("position" in fit.columns) == prompts
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
    """Blocks with rests between: the rests enter the token level by the intercept only, and the block level not at all."""
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


# Planted truth and error rates


@pytest.mark.parametrize("level", ["token", "block"])
def test_planted_units_are_found_with_their_signs(level: str) -> None:
    n_units, planted = 400, 40
    activations, events = [], []
    for number in range(4):
        y = ar1_noise(0.5, 240, n_units, seed=50 + number) + 10
        task = np.tile(np.repeat([1.0, 0.0], 20), 6)[:, None]
        y[:, :planted] += task * np.where(np.arange(planted) % 2, -1.5, 1.5)
        activations.append(y)
        events.append(blocks(["task", "rest"] * 6, 20))
    contrast = fbn.fit_glm(recording_of(activations, events)).contrast("task - rest", level=level)  # type: ignore[arg-type]
    network = contrast.threshold(fdr=0.05)
    assert network.members[:planted].mean() > 0.95
    assert network.members[planted:].sum() <= 0.15 * planted
    np.testing.assert_array_equal(
        network.signed[:planted][network.members[:planted]],
        np.where(np.arange(planted) % 2, -1, 1)[network.members[:planted]],
    )
    assert np.abs(contrast.effect.values[:planted]).mean() == pytest.approx(1.5, abs=0.1)
    bonferroni = contrast.threshold(fwe=0.05)
    assert len(bonferroni - network) == 0
    assert bonferroni.members[planted:].sum() <= 1


def band(n: int) -> float:
    """Four standard errors of a share of .05."""
    return 4 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize("block", [50, 100])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_token_level_is_calibrated_on_ar1_noise(rho: float, block: int) -> None:
    recording = null_recording(rho, block=block, n_units=2000, seed=block)
    for drift in (True, False):
        share = false_positives(recording, "ar1", drift=drift)
        assert 0.047 - band(2000) < share < 0.055 + band(2000)
    if rho > 0:
        assert false_positives(recording, "ols", drift=False) > 0.10


@pytest.mark.slow
@pytest.mark.parametrize("block", [50, 100])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.8])
def test_token_level_is_calibrated_to_the_third_digit(rho: float, block: int) -> None:
    recording = null_recording(rho, block=block, n_units=20_000, seed=round(1000 * rho) + block)
    for drift in (True, False):
        assert 0.045 < false_positives(recording, "ar1", drift=drift) < 0.057
        independent = false_positives(recording, "ols", drift=drift)
        assert independent == pytest.approx({0.0: 0.05, 0.3: 0.15, 0.5: 0.26, 0.8: 0.50}[rho], abs=0.03)
        assert rho == 0 or independent > 0.10


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_block_level_is_calibrated(rho: float) -> None:
    """Contexts of six rows in blocks of eighteen, in shuffled order: noise starts afresh in every context."""
    rng = np.random.default_rng(5)
    activations, events, rows = [], [], []
    for _ in range(3):
        pieces = [ar1_noise(rho, 6, 2000, seed=int(rng.integers(2**31))) for _ in range(60)]
        activations.append(np.concatenate(pieces))
        events.append(blocks(list(rng.permutation(["a", "b"] * 10)), 18))
        rows.append(pd.DataFrame({"prompt": np.repeat(np.arange(60), 6), "position": list(range(6)) * 60}))
    fit = fbn.fit_glm(recording_of(activations, events, rows))
    for level in ("block", "token"):
        assert np.mean(fit.contrast("a - b", level=level).p.values < 0.05) == pytest.approx(
            0.05, abs=0.004 + band(2000)
        )


def test_block_level_holds_where_noise_is_not_ar1() -> None:
    """Every block has a level of its own: rows within it are then no replicates, which only the block level knows."""
    rng = np.random.default_rng(6)
    activations = [
        rng.normal(size=(200, 2000)) + np.repeat(rng.normal(size=(20, 2000)), 10, axis=0) * 0.7 for _ in range(3)
    ]
    recording = recording_of(activations, [blocks(list(rng.permutation(["a", "b"] * 10)), 10) for _ in range(3)])
    fit = fbn.fit_glm(recording, drift="none")
    assert np.mean(fit.contrast("a - b").p.values < 0.05) == pytest.approx(0.05, abs=0.002 + band(2000))
    assert np.mean(fit.contrast("a - b", level="token").p.values < 0.05) > 0.08


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


def test_units_that_the_design_explains_to_rounding_have_no_t() -> None:
    """Nothing is left to test against, and rounding is no noise."""
    rng = np.random.default_rng(11)
    activations, events = [], []
    for pairs in (6, 7, 9):
        task = np.tile(np.repeat([1.0, 0.0], 10), pairs)[:, None] * np.array([1 / 3, -100 / 7, 1e-6])
        activations.append(np.column_stack([task, rng.normal(size=(20 * pairs, 1))]))
        events.append(blocks(["a", "b"] * pairs, 10))
    recording = recording_of(activations, events)
    for noise in ("ar1", "ols"):
        fit = fbn.fit_glm(recording, noise=noise)  # type: ignore[arg-type]
        for level in ("token", "block", "run"):
            contrast = fit.contrast("a - b", level=level)  # type: ignore[arg-type]
            assert (contrast.p.values < 1).tolist() == [False, False, False, True]
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
    assert fit.runs[0].noise.mean() == pytest.approx(1 - 0.7**2, rel=0.02)
    assert fit.rho.mean() == pytest.approx(0.7, abs=0.01)


def test_save_and_load(tmp_path: Path) -> None:
    recording = three_runs()
    fit = fbn.fit_glm(recording)
    fit.save(tmp_path / "fit.safetensors")
    again = fbn.GLMFit.load(tmp_path / "fit.safetensors")
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


# Bad input


def test_unknown_noise_and_level(noise_recording: fbn.Recording) -> None:
    with pytest.raises(ValueError, match="noise='arma' is none of 'ar1', 'ar1_pooled', 'newey_west', 'ols'"):
        inspect.unwrap(fbn.fit_glm)(noise_recording, noise="arma")  # as where types are not checked
    with pytest.raises(ValueError, match="replicates='tokens' is none of 'blocks', 'prompts'"):
        inspect.unwrap(fbn.fit_glm)(noise_recording, replicates="tokens")
    fit = fbn.fit_glm(noise_recording)
    with pytest.raises(ValueError, match="level='prompt' is none of 'block', 'token', 'run'"):
        inspect.unwrap(fbn.GLMFit.contrast)(fit, "a - b", level="prompt")


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
