"""What a claim about a lesion needs: known answers and independent oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.tasks import Scores
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.item_statistics import (
    by_item,
    change_interval,
    check_metric,
    empirical_p,
    equivalence_p,
    mcnemar_p,
    metric_of,
    resamples,
    score_interval,
)


def test_empirical_p_counts_ties_against_the_claim():
    assert empirical_p(2.0, np.array([1.0, 2.0, 3.0])) == 3 / 4
    assert empirical_p(9.0, np.zeros(99)) == 1 / 100
    np.testing.assert_allclose(empirical_p(np.array([1.0, 0.0]), np.array([[0.5, 0.5], [2.0, -1.0]])), [2 / 3, 2 / 3])


def test_p_of_no_number_is_no_number():
    assert np.isnan(empirical_p(np.nan, np.zeros(9)))
    assert np.isnan(empirical_p(1.0, np.array([0.0, np.nan])))
    assert np.isnan(empirical_p(np.array([np.nan, 1.0]), np.zeros((9, 2)))).tolist() == [True, False]


def test_intervals_are_of_the_kind_of_score():
    rng = np.random.default_rng(0)
    draws = resamples(50, 400, 1)
    scores, right = rng.normal(0.3, 1.0, 50), (rng.random(50) < 0.3).astype(float)
    for interval in (change_interval, score_interval):
        assert interval(scores, "log_likelihood", draws) == intervals.of_mean(scores, draws)
    assert change_interval(right, "exact_match", draws) == intervals.of_change(right)
    assert score_interval(right, "exact_match", draws) == intervals.of_share(right)
    wide, narrow = (change_interval(right, "exact_match", draws, level=level) for level in (0.99, 0.8))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_mcnemar_is_the_binomial_of_discordant_items():
    before, after = np.array([1.0] * 9 + [0.0] * 3), np.array([0.0] * 8 + [1.0] * 2 + [0.0] * 2)
    assert mcnemar_p(before, after) == pytest.approx(stats.binomtest(8, 9).pvalue)
    assert mcnemar_p(before, before) == 1.0
    assert np.isnan(mcnemar_p(np.array([np.nan]), np.array([np.nan])))


def test_equivalence_with_many_items_is_the_one_sample_test_of_the_controls():
    """Where items do not vary, what is left is the two one-sided t tests of the controls' means."""
    from statsmodels.stats.weightstats import DescrStatsW

    means = np.random.default_rng(0).normal(0.01, 0.05, 30)
    mean, error, p = equivalence_p(means, np.full(1000, means.mean()), 0.05)
    oracle, *_ = DescrStatsW(means).ttost_mean(-0.05, 0.05)
    assert p == pytest.approx(oracle)
    assert mean == pytest.approx(means.mean())
    assert error == pytest.approx(stats.sem(means))
    assert equivalence_p(np.zeros(5), np.zeros(5), 0.05) == (0.0, 0.0, 0.0)


def test_items_of_all_tasks_in_a_row():
    scores = {
        "a": Scores(np.array([True, False]), np.array([-1.0, -2.0])),
        "text": Scores(np.array([], bool), np.array([-3.0])),
    }
    np.testing.assert_array_equal(by_item(scores), [[1, -1], [0, -2], [np.nan, -3]])


def test_the_metric_that_scores_every_task():
    pairs, texts = Battery.from_pairs({"a": [("x", "y")]}), Battery.from_texts({"t": ["x y"]})
    assert metric_of(pairs, None) == "exact_match"
    assert metric_of(texts, None) == "log_likelihood"
    with pytest.raises(ValueError, match="plain text has log_likelihood"):
        metric_of(texts, "exact_match")
    with pytest.raises(ValueError, match="metric must be 'exact_match' or 'log_likelihood'; got"):
        check_metric("accuracy")
