"""Isolation: known values, ends that solve their equation, and coverage with several equal other tasks."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.helpers.coverage import of_isolation
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.isolation import isolation, isolation_interval


def fixed(drop: float, low: float, high: float, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """A drop whose interval is as wide at every level."""
    return drop, (low, high)


def test_values_by_hand() -> None:
    assert isolation(0.9, [0.3, 0.1]) == pytest.approx(0.5)  # three times the worst other
    assert isolation(0.4, [0.4, -0.9]) == 0.0 and isolation(0.4, [-0.1, -0.3]) == 1.0
    assert isolation(-0.2, [0.1]) == -1.0 and isolation(0.1, [0.3]) == pytest.approx(-0.5)
    for own, others in ((0.0, [0.0]), (-0.2, [-0.1]), (0.5, []), (0.5, [np.nan, 0.1]), (np.nan, [0.1])):
        assert np.isnan(isolation(own, others))


def test_ends_are_where_the_sum_of_drops_may_be_zero() -> None:
    """By search over c: the interval of (1 - c) own - (1 + c) other holds 0 between the ends and nowhere else."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        drops = rng.uniform(0.1, 1.0, 2)
        terms = [(x, (x - rng.uniform(0, 0.9) * x, x + rng.uniform(0.1, 0.6))) for x in drops]
        low, high = isolation_interval(*_one_other(terms))
        grid = np.linspace(-0.999, 0.999, 4001)
        sums = [
            intervals.of_sum([intervals.scaled(*terms[0], 1 - c), intervals.scaled(*terms[1], -(1 + c))]) for c in grid
        ]
        held = grid[[below <= 0 <= above for below, above in sums]]
        np.testing.assert_allclose([held.min(), held.max()], [low, high], atol=0.001)


def _one_other(terms: list) -> tuple:
    own, other = (partial(fixed, drop, *ends) for drop, ends in terms)
    return own, [other]


def test_edges() -> None:
    # the own drop may be 0: nothing bounds isolation from below; the others may lose nothing: nothing from above
    assert isolation_interval(partial(fixed, 0.2, -0.1, 0.5), [partial(fixed, 0.0, -0.1, 0.1)]) == (-1.0, 1.0)
    # no task loses anything, for certain
    assert isolation_interval(partial(fixed, -0.3, -0.4, -0.2), [partial(fixed, -0.3, -0.4, -0.2)]) == (-1.0, 1.0)
    # another task that is spared for certain changes nothing
    worst, spared = partial(fixed, 0.2, 0.1, 0.3), partial(fixed, -0.5, -0.6, -0.4)
    own = partial(fixed, 0.8, 0.7, 0.9)
    assert isolation_interval(own, [worst, spared]) == isolation_interval(own, [worst])
    assert np.isnan(isolation_interval(own, [])).all()
    assert np.isnan(isolation_interval(own, [worst, partial(fixed, 0.1, np.nan, np.nan)])).all()


def test_an_interval_does_not_collapse_where_all_agree() -> None:
    """Of 20 items all own answers are lost and no other: a bootstrap would claim 1 to 1."""
    own, other = np.ones(20), np.zeros(20)
    terms = [lambda level, d=d: (float(d.mean()), intervals.of_change(d, level=level)) for d in (own, other)]
    low, high = isolation_interval(terms[0], terms[1:])
    assert 0.5 < low < 0.9 and high == 1.0


@pytest.mark.parametrize(
    ("rates", "metric"),
    [
        ([0.5, 0.5], "exact_match"),
        ([0.8] + [0.1] * 7, "exact_match"),
        ([2.0] + [0.5] * 7, "log_likelihood"),
        ([1.0] + [0.0] * 7, "log_likelihood"),
    ],
)
def test_either_end_errs_in_at_most_two_and_a_half_percent(rates: list[float], metric: str) -> None:
    """Also where seven other tasks lose alike, of which a bootstrap that chooses the worst in each draw misses."""
    trials = 300
    found = of_isolation(rates, 40, trials, metric=metric, n_bootstrap=400)
    limit = 0.025 + 2.6 * np.sqrt(0.025 * 0.975 / trials)
    assert max(found["ours"]) <= limit, found
    if len(rates) > 2:
        assert found["percentile bootstrap"][1] > 0.3
