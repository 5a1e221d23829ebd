"""Several models: random effects by statsmodels and by hand, calibrated intervals, names that meet, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

import tl_fbn as fbn
from tests.helpers.results import of_models, study
from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.intervention.studies.second_level import COLUMNS, combined


def test_the_numbers_are_those_of_statsmodels_and_of_the_formulas() -> None:
    effects = np.array([0.1, 0.3, 0.35, 0.65, 0.45, 0.15])
    variances = np.array([0.03, 0.03, 0.05, 0.01, 0.05, 0.02])
    found = dict(zip(COLUMNS, combined(effects, variances), strict=True))
    variances[:] = variances.mean()  # every model counts alike
    theirs = combine_effects(effects, variances, method_re="iterated", use_t=True)
    weights = 1 / (variances + theirs.tau2)
    mean = (weights * effects).sum() / weights.sum()
    error = np.sqrt((weights * (effects - mean) ** 2).sum() / 5 / weights.sum())
    assert (mean, error) == pytest.approx((effects.mean(), effects.std(ddof=1) / np.sqrt(6)))
    assert found["mean"] == pytest.approx(mean) and found["tau2"] == pytest.approx(theirs.tau2)
    assert found["high"] == pytest.approx(mean + stats.t.ppf(0.975, 5) * error)
    assert found["p"] == pytest.approx(2 * stats.t.sf(mean / error, 5))
    q = ((effects - (effects / variances).sum() / (1 / variances).sum()) ** 2 / variances).sum()
    assert (found["q"], found["q_p"]) == pytest.approx((q, stats.chi2.sf(q, 5)))
    assert found["i2"] == pytest.approx(max(0, 1 - 5 / q))
    assert found["predicted_low"] < found["low"] and found["predicted_high"] > found["high"]
    assert combined(effects, variances) == combined(effects, variances)


def test_models_that_agree_have_no_variance_between_them_and_a_lone_one_predicts_nothing() -> None:
    found = dict(zip(COLUMNS, combined(np.array([0.5, 0.51]), np.array([0.04, 0.04])), strict=True))
    assert found["tau2"] == 0 == found["i2"] and np.isnan(found["predicted_low"])
    still = dict(zip(COLUMNS, combined(np.zeros(4), np.zeros(4)), strict=True))
    assert still["mean"] == 0 and np.isnan(still["p"])
    sure = dict(zip(COLUMNS, combined(np.array([1.0, 1.0, 0.2]), np.array([0.0, 0.0, 0.02])), strict=True))
    assert all(np.isfinite(value) for value in sure.values()) and sure["mean"] == pytest.approx(2.2 / 3)


@pytest.mark.parametrize("n_items", [12, 30])
def test_errors_that_go_with_shares_do_not_pull_the_mean(n_items: int) -> None:
    rng = np.random.default_rng(n_items)
    truth = 0.15
    means = []
    for _ in range(150):
        shares = rng.binomial(n_items, truth, 8) / n_items
        means.append(combined(shares, shares * (1 - shares) / (n_items - 1))[0])
    assert np.mean(means) == pytest.approx(truth, abs=4 * np.std(means) / np.sqrt(150))


@pytest.mark.slow
@pytest.mark.parametrize(("k", "tau"), [(2, 0.1), (3, 0.5), (5, 0.0), (10, 0.1)])
def test_intervals_and_p_hold_what_they_say(k: int, tau: float) -> None:
    rng = np.random.default_rng([k, int(10 * tau)])
    held, expected, rejected = [], [], []
    for _ in range(300):
        variances = rng.uniform(0.005, 0.05, k)
        effects = rng.normal(0, tau, k) + rng.normal(0, np.sqrt(variances))
        known = variances * rng.chisquare(29, k) / 29  # as estimated from thirty items
        found = dict(zip(COLUMNS, combined(effects, known), strict=True))
        held.append(found["low"] <= 0 <= found["high"])
        rejected.append(found["p"] <= 0.05)
        expected.append(found["predicted_low"] <= rng.normal(0, tau) <= found["predicted_high"])
    error = np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(held) > 0.95 - 3.5 * error and np.mean(rejected) < 0.05 + 3.5 * error
    assert k == 2 or np.mean(expected) > 0.95 - 3.5 * error


def test_effects_are_the_drops_of_each_study() -> None:
    first, second = study(), study()
    found = fbn.second_level({"A": first, "B": second})
    assert found.cells == [(a, b) for a in ("sort", "add") for b in ("sort", "add")]
    for i, one in enumerate((first, second)):
        assert found.effects[i] == pytest.approx(one.drops().ravel())
    items = first.baseline_items[:4, 0] - first.lesioned_items[0, :4, 0]
    assert found.variances[0, 0] == pytest.approx(items.var(ddof=1) / 4)
    # sizes 2 0 2: in the first and the last of three layers, two units each
    assert found.depths[0] == pytest.approx([0.5, 0.5])
    assert len(found.summary()) == 2 and found.layers()["mean"].tolist() == pytest.approx([0.5, 0.5])


def test_what_one_model_lacks_is_left_out_and_said() -> None:
    first = study()
    renamed = replace(first, networks=("sort", "other"))
    found = fbn.second_level({"A": first, "B": renamed})
    assert found.cells == [("sort", "sort"), ("sort", "add")]
    assert "add / add" in found.provenance["left_out"] and "other / sort" in found.provenance["left_out"]


def test_identifications_are_combined_beyond_chance() -> None:
    one = Identification(("sort", "add"), np.array([[3, 1], [0, 4]]), "correlation", 0.02, 100)
    found = fbn.second_level({"A": one, "B": one, "C": one})
    assert found.effects[0] == pytest.approx([0.25, 0.5]) and found.placed == ()
    assert (found.variances > 0).all() and "task is identified" in found.verdict()


def test_words_and_files(tmp_path) -> None:
    found = of_models()
    assert "beyond 0 for 1 of 1: sort" in found.verdict() and "3 models say little" in found.verdict()
    found.save(tmp_path / "second.safetensors")
    assert str(fbn.load(tmp_path / "second.safetensors")) == str(found)
    fbn.Report("models", found).save(tmp_path / "page.html")
    assert "Where the networks lie" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "studies, said",
    [
        (lambda: {"A": study()}, "two or more, got 1"),
        (lambda: {"A": study(), "B": replace(study(), metric="log_likelihood")}, "say which with metric="),
        (lambda: {"A": study(), "B": replace(study(), networks=("x", "y"))}, "no network and task in common"),
        (lambda: {"A": study(), "B": of_models()}, "got LesionStudy and SecondLevel"),
    ],
)
def test_refusals(studies, said) -> None:
    with pytest.raises((fbn.InputError, TypeError), match=said):
        fbn.second_level(studies())


def test_an_unknown_metric_is_refused_in_words() -> None:
    with pytest.raises(fbn.InputError, match="metric"):
        fbn.second_level({"A": study(), "B": study()}, metric="accuracy")
