"""Claims: intervals and p beside known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from tl_fbn.papers.claims import COLUMNS, Claim, judged, mean_interval, sign_flip_p, table_of_claims


def test_an_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(size=9)
    assert np.allclose(mean_interval(values), DescrStatsW(values).tconfint_mean())
    assert np.isnan(mean_interval(values[:1])).all()


def test_sign_flips_are_counted_exactly():
    values = np.array([0.3, 1.2, 0.4, 0.9, -0.1])
    assert sign_flip_p(np.abs(values)) == 1 / 32
    expected = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis), permutation_type="samples", alternative="greater", vectorized=True
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(expected)


def test_sign_flips_of_nothing_are_small_no_more_often_than_they_say():
    rng = np.random.default_rng(1)
    p = np.array([sign_flip_p(one) for one in rng.normal(size=(2000, 6))])
    for level in (1 / 64, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / len(p))


def test_a_table_of_claims_has_every_column():
    table = table_of_claims([Claim("It is so", "no figure known", "share", 0.5, "holds", "Half of it.")])
    assert tuple(table) == COLUMNS and np.isnan(table["control"].iloc[0])
    assert [judged(True), judged(False, True), judged(False)] == ["holds", "holds in part", "does not hold"]
