"""Permutation tests: the observed t, the null against brute force, error rates, planted units, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import tl_fbn as fbn
from tests.helpers.recordings import blocks

ORDERS = ["a", "b", "b", "a", "a", "b"], ["b", "a", "b", "a", "b", "a"]


def recorded(seed: int, *, n_units: int = 40, shift: float = 0.0, n_runs: int = 4, rho: float = 0.0) -> fbn.Recording:
    """White (or AR(1)) noise in one layer; the first three units differ between a and b by ``shift``."""
    rng = np.random.default_rng(seed)
    runs, events = [], []
    for run in range(n_runs):
        order = [*ORDERS[run % 2], *ORDERS[(run + 1) % 2]]
        y = rng.normal(size=(len(order) * 8, n_units))
        for t in range(1, len(y)):
            y[t] += rho * y[t - 1]
        on = np.repeat([name == "a" for name in order], 8)
        y[on, :3] += shift
        runs.append([y])
        events.append(blocks(order, 8))
    return fbn.Recording.from_arrays(runs, events=events)


def test_the_observed_t_is_that_of_a_regression_of_block_means():
    recording = recorded(0, shift=0.5)
    fit = fbn.fit_glm(recording, drift="none", position=False)
    result = fbn.max_t(fit, "a - b", n_permutations=20, seed=0)
    means = np.concatenate([run.block_means for run in fit.runs])
    a = np.concatenate([run.block_design[:, list(run.columns).index("a")] for run in fit.runs])
    x = np.column_stack([a, np.kron(np.eye(4), np.ones((12, 1)))])
    for unit in (0, 7, 30):
        model = sm.OLS(means[:, unit], x).fit()
        assert result.t.values[unit] == pytest.approx(model.tvalues[0], rel=1e-9)
        assert result.dof == model.df_resid


def test_the_null_is_that_of_shuffled_labels():
    recording = recorded(1, n_units=5, n_runs=2)
    fit = fbn.fit_glm(recording, drift="none", position=False)
    result = fbn.max_t(fit, "a - b", n_permutations=4000, seed=0)
    rng = np.random.default_rng(5)
    means = [run.block_means - run.block_means.mean(0) for run in fit.runs]
    largest = []
    for _ in range(4000):
        x = [rng.permutation(run.block_design[:, 0]) for run in fit.runs]
        x = np.concatenate([one - one.mean() for one in x])
        y = np.concatenate(means)
        r = (x @ y) / np.linalg.norm(x) / np.linalg.norm(y, axis=0)
        largest.append(np.abs(r * np.sqrt(result.dof / (1 - r**2))).max())
    quantiles = [0.1, 0.5, 0.9, 0.95]
    np.testing.assert_allclose(np.quantile(result.largest, quantiles), np.quantile(largest, quantiles), rtol=0.05)


@pytest.mark.slow
def test_family_wise_error_is_kept():
    hits = [
        len(fbn.max_t(recorded(seed, rho=0.5), "a - b", n_permutations=99, seed=seed).threshold(fwe=0.05)) > 0
        for seed in range(200)
    ]
    assert 0.01 <= np.mean(hits) <= 0.09  # .05 give or take 2.6 standard errors


def test_planted_units_are_found_with_their_signs():
    recording = recorded(3, shift=1.5)
    network = fbn.max_t(recording, "a - b", n_permutations=500, seed=0).threshold(fwe=0.05)
    assert network.indices.tolist() == [0, 1, 2]
    assert network.signs[:3].tolist() == [1, 1, 1]
    assert len(fbn.max_t(recording, "b - a", n_permutations=500, seed=0).threshold(fwe=0.05, two_sided=False)) == 0
    assert network.provenance["method"] == "max_t"


def test_other_conditions_and_drift_do_not_matter():
    """Blocks of a third condition, and a slow drift, are taken off before labels are shuffled."""
    rng = np.random.default_rng(0)
    order = ["a", "c", "b", "b", "c", "a", "a", "b", "c", "b", "a", "c"]
    y = rng.normal(size=(96, 30)) + 3 * np.linspace(-1, 1, 96)[:, None]
    y[np.repeat([name == "c" for name in order], 8)] += 50
    recording = fbn.Recording.from_arrays([[y], [y[::-1].copy()]], events=[blocks(order, 8), blocks(order[::-1], 8)])
    result = fbn.max_t(recording, "a - b", n_permutations=200, seed=0)
    assert np.nanmax(np.abs(result.t.values)) < 6
    moved = fbn.max_t(recording, "a - b", n_permutations=200, seed=0)
    np.testing.assert_array_equal(result.largest, moved.largest)  # seeded


@pytest.mark.parametrize("null", ["shift", "signs"])
def test_other_nulls_find_the_planted_and_keep_the_rest(null):
    recording = recorded(4, shift=2.0, n_runs=8)
    result = fbn.max_t(recording, "a - b", n_permutations=999, seed=0, null=null)
    assert set(result.threshold(fwe=0.05).indices.tolist()) <= {0, 1, 2}
    assert result.p.values[:3].max() <= 0.05


def test_signs_of_pairs_are_the_paired_t():
    order = [
        "a",
        "a",
        "b",
        "c",
        "b",
        "a",
        "b",
        "b",
        "b",
        "a",
    ]  # pairs 0-2, 1-4, 5-6, 7-9; 8 is left over, c is not compared
    y = np.random.default_rng(0).normal(size=(2, 80, 6))
    recording = fbn.Recording.from_arrays([[one] for one in y], events=[blocks(order, 8)] * 2)
    fit = fbn.fit_glm(recording, noise="ols", drift="none", position=False)
    result = fbn.max_t(fit, "2 * a - 2 * b", n_permutations=99, seed=0, null="signs", over="pairs")
    means = y.reshape(2, 10, 8, 6).mean(2)
    pairs = 2 * (means[:, [0, 1, 5, 9]] - means[:, [2, 4, 6, 7]]).reshape(8, 6)
    np.testing.assert_allclose(result.t.values, stats.ttest_1samp(pairs, 0).statistic, rtol=1e-5)
    np.testing.assert_allclose(result.effect.values, pairs.mean(0), rtol=1e-5, atol=1e-7)
    assert result.provenance["over"] == "pairs" and result.smallest_p == 2 / 2**8
    with pytest.raises(
        ValueError, match=r"at best 0\.125 by null='signs' \(4 pairs have 16 patterns.*record more blocks"
    ):
        one = fbn.Recording.from_arrays([[y[0]]], events=[blocks(order, 8)])
        fbn.max_t(one, "a - b", seed=0, null="signs", over="pairs")


def test_signs_of_pairs_keep_the_error_where_conditions_differ_in_spread():
    hits = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        order = ["a", "b", "b", "a"] * 5
        y = rng.standard_t(3, size=(160, 30))
        y[np.repeat([name == "a" for name in order], 8)] *= 3
        recording = fbn.Recording.from_arrays([[y]], events=[blocks(order, 8)])
        fit = fbn.fit_glm(recording, noise="ols", drift="none", position=False)
        result = fbn.max_t(fit, "a - b", n_permutations=99, seed=seed, null="signs", over="pairs")
        hits.append(result.p.values.min() <= 0.05)
    assert 0.01 <= np.mean(hits) <= 0.09


def test_prompts_as_replicates():
    """Each block has four prompts of two rows; the regression is one of prompt means."""
    rows = pd.DataFrame({"prompt": np.arange(96) // 2})
    plain = recorded(2, shift=1.0)
    arrays = [[run.layer(0)] for run in plain]
    recording = fbn.Recording.from_arrays(arrays, events=[run.events for run in plain], rows=[rows] * 4)
    fit = fbn.fit_glm(recording, drift="none", position=False, first_token=False, replicates="prompts")
    contrast, relabelled = fit.contrast("a - b"), fbn.max_t(fit, "a - b", n_permutations=50, seed=0)
    means = np.concatenate([run.layer(0).reshape(48, 2, -1).mean(1) for run in recording])
    a = np.concatenate([np.repeat([name == "a" for name in run.events["trial_type"]], 4) for run in recording])
    x = np.column_stack([a.astype(float), np.kron(np.eye(4), np.ones((48, 1)))])
    assert contrast.dof == 4 * 48 - 8  # a cell mean of each condition in every run
    for unit in (0, 7):
        model = sm.OLS(means[:, unit], x).fit()
        assert relabelled.t.values[unit] == pytest.approx(model.tvalues[0], rel=1e-6)  # recordings are float32
    assert relabelled.provenance["replicates"] == "prompts"
    with pytest.raises(ValueError, match=r'replicates="prompts" needs the column prompt.*run 0 lacks'):
        fbn.fit_glm(recorded(0), replicates="prompts")


def test_a_smallest_effect_may_be_asked_for():
    result = fbn.max_t(recorded(3, shift=1.5), "a - b", n_permutations=500, seed=0)
    np.testing.assert_allclose(result.effect.values[:3], 1.5, atol=0.5)
    assert len(result.threshold(fwe=0.05, min_effect=1e-3)) == 3
    network = result.threshold(fwe=0.05, min_effect=10)
    assert len(network) == 0 and network.provenance["threshold"]["min_effect"] == 10


def test_too_few_relabellings_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"allows a p of at best 0\.125 by null='signs' \(4 runs have 16 patterns"):
        fbn.max_t(recorded(0), "a - b", seed=0, null="signs")
    alternating = fbn.Recording.from_arrays(
        [[np.random.default_rng(0).normal(size=(96, 4))]], events=[blocks(["a", "b"] * 6, 8)]
    )
    with pytest.raises(ValueError, match=r"by null='shift' \(2 distinct relabellings, each as extreme"):
        fbn.max_t(alternating, "a - b", seed=0, null="shift")
    result = fbn.max_t(recorded(0), "a - b", seed=0, n_permutations=19)
    with pytest.raises(ValueError, match=r"no p below 0\.05, so fwe=0\.01 selects nothing"):
        result.threshold(fwe=0.01)


@pytest.mark.parametrize(
    ("expression", "options", "message"),
    [
        ("a", {}, r"compares conditions with nothing \(its weights add up to 1\)"),
        ("a - b", {"n_permutations": 5}, "n_permutations=5 shows no p below .05"),
        ("a - nothing", {}, 'names "nothing", which is no column'),
        ("a - b", {"over": "pairs"}, "over='pairs' with null='labels'; over= is"),
    ],
)
def test_refusals(expression, options, message):
    with pytest.raises(ValueError, match=message):
        fbn.max_t(recorded(0), expression, seed=0, **options)


def test_a_column_that_is_no_label_is_refused():
    recording = recorded(0)
    designs = [
        pd.DataFrame({"x": np.linspace(0, 1, run.n_rows), "y": np.repeat(np.arange(12) % 5 / 4, 8), "one": 1.0})
        for run in recording
    ]
    fit = fbn.fit_glm(recording, design=designs)
    with pytest.raises(ValueError, match="names columns that are no labels of whole blocks"):
        fbn.max_t(fit, "x - y", seed=0)


def test_a_unit_that_never_varies_is_never_found():
    arrays = [[np.array(run.layer(0))] for run in recorded(3, shift=1.5)]
    for (layer,) in arrays:
        layer[:, 20] = 7.0
    recording = fbn.Recording.from_arrays(arrays, events=[run.events for run in recorded(3)])
    result = fbn.max_t(recording, "a - b", n_permutations=200, seed=0)
    assert np.isnan(result.t.values[20])
    assert result.p.values[20] == 1
    assert 20 not in result.threshold(fwe=0.05).indices


def test_saved_and_shown(tmp_path):
    result = fbn.max_t(recorded(3, shift=1.5), "a - b", n_permutations=100, seed=0)
    result.save(tmp_path / "p.safetensors")
    back = fbn.glm.PermutationTest.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(back.largest, result.largest)
    assert repr(back) == repr(result)
    assert list(back.to_dataframe().columns[-2:]) == ["t", "p"]
    assert "100 relabellings (labels)" in repr(result)
    assert "<table" in result._repr_html_()
