"""Intervals over items: published tests turned round, constrained likelihoods by an optimiser, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.proportion import proportions_ztest

from tests.helpers import coverage
from tl_fbn.intervention.studies import intervals

Z2 = stats.norm.ppf(0.975) ** 2


def items(gained: int, lost: int, n: int) -> np.ndarray:
    return np.repeat([1.0, -1.0, 0.0], [gained, lost, n - gained - lost])


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 20), (7, 20), (20, 20), (0, 1), (180, 200)])
def test_a_share_is_that_of_the_score_test(right: int, n: int) -> None:
    """Both ends are rates that the score test just rejects; where all items agree one end is 0 or 1."""
    low, high = intervals.of_share(np.repeat([1.0, 0.0], [right, n - right]))
    assert 0 <= low <= right / n <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        assert abs((right / n - end) / math.sqrt(end * (1 - end) / n)) == pytest.approx(math.sqrt(Z2))
    if right in (0, n):
        assert high - low == pytest.approx(Z2 / (n + Z2))
    p = [float(proportions_ztest(right, n, end, prop_var=end)[1]) for end in (low, high) if 0 < end < 1]
    assert p == pytest.approx([0.05] * len(p))


@pytest.mark.parametrize(("gained", "lost", "n"), [(9, 2, 20), (0, 5, 20), (12, 0, 60), (1, 0, 20), (3, 3, 200)])
def test_a_change_is_that_of_the_score_test_of_paired_shares(gained: int, lost: int, n: int) -> None:
    """The share lost under each end by a numerical maximum of the likelihood, instead of the closed form."""
    for end in intervals.of_change(items(gained, lost, n)):

        def minus_log_likelihood(q: float, end: float = end) -> float:
            shares = np.array([q + end, q, 1 - 2 * q - end])
            counts = np.array([gained, lost, n - gained - lost])
            return -float(np.where(counts > 0, counts * np.log(np.maximum(shares, 1e-300)), 0).sum())

        bounds = max(0.0, -end), (1 - end) / 2
        q = optimize.minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        score = (gained - lost - n * end) / math.sqrt(n * (2 * q + end * (1 - end)))
        assert abs(score) == pytest.approx(math.sqrt(Z2), rel=1e-3)


def test_a_change_holds_0_where_mcnemar_does_not_reject_it() -> None:
    for gained in range(21):
        for lost in range(21 - gained):
            low, high = intervals.of_change(items(gained, lost, 20))
            assert -1 <= low <= (gained - lost) / 20 <= high <= 1
            rejected = (gained - lost) ** 2 > Z2 * (gained + lost)
            assert (low > 0 or high < 0) == rejected
            turned = intervals.of_change(items(lost, gained, 20))
            assert turned == pytest.approx((-high, -low))


@pytest.mark.parametrize("n", [1, 20, 60, 200])
def test_intervals_do_not_collapse(n: int) -> None:
    """Known roots: of n items of which none changes, and of which all are lost."""
    assert intervals.of_change(np.zeros(n)) == pytest.approx((-Z2 / (n + Z2), Z2 / (n + Z2)))
    assert intervals.of_change(np.ones(n)) == pytest.approx(((n - Z2) / (n + Z2), 1.0))
    assert intervals.of_share(np.zeros(n)) == pytest.approx((0.0, Z2 / (n + Z2)))
    assert intervals.of_share(np.ones(n)) == pytest.approx((n / (n + Z2), 1.0))


def test_changes_in_between_by_hand() -> None:
    d = np.array([0.5, 0.25, 0.0, -0.5, 1.0])
    extended = np.r_[d, 1.0, -1.0]
    error = extended.std() / math.sqrt(7)  # the Wald interval of seven items
    mean, half = extended.mean(), math.sqrt(Z2) * error
    assert intervals.of_change(d) == pytest.approx((mean - half, mean + half))
    assert intervals.of_change(np.full(3, 0.5))[0] < 0.5 < intervals.of_change(np.full(3, 0.5))[1]


def test_nothing_is_said_of_nothing() -> None:
    draws = np.zeros((10, 1), dtype=np.int64)
    for found in (
        intervals.of_share(np.zeros(0)),
        intervals.of_share(np.array([1.0, np.nan])),
        intervals.of_change(np.zeros(0)),
        intervals.of_change(np.array([np.nan])),
        intervals.of_mean(np.array([3.0]), draws),
        intervals.of_mean(np.array([1.0, -np.inf]), np.repeat(draws, 2, axis=1)),
    ):
        assert np.isnan(found).all()


def test_a_mean_of_normal_scores_is_near_students() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=200)
    half = stats.t.ppf(0.975, 199) * stats.sem(scores)
    found = intervals.of_mean(scores, rng.integers(0, 200, (20_000, 200)))
    assert found == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.1 * half)
    assert intervals.of_mean(np.full(9, 0.1), rng.integers(0, 9, (50, 9))) == pytest.approx((0.1, 0.1))


def test_a_mean_of_skewed_scores_covers() -> None:
    """Percentiles of means cover 90 % here; 600 trials have a standard error of .009."""
    found = coverage.of_means(20, lambda rng, n: rng.exponential(1.0, n), 1.0, 600)
    assert 0.925 < found < 0.975


def test_a_sum_of_independent_means() -> None:
    """Of symmetric intervals it is the root of the sum of squares, as of normal numbers."""
    terms = [(1.0, (0.0, 2.0)), intervals.scaled(3.0, (1.0, 5.0), -0.5)]
    assert intervals.of_sum(terms) == pytest.approx((-0.5 - math.sqrt(2), -0.5 + math.sqrt(2)))
    low, high = intervals.of_sum([(0.0, (0.0, 3.0)), (1.0, (0.0, 5.0))])  # one-sided distances stay on their side
    assert (low, high) == pytest.approx((0.0, 6.0))


def check_coverage(n: int) -> None:
    shares = coverage.averaged(coverage.of_shares(n))
    assert shares.min() >= 0.93 and shares.max() <= 0.97
    for exact in coverage.of_changes(n).values():
        near = coverage.averaged(exact)
        assert near.min() >= 0.93
        # above .97 only where few items change: four of 60 or of 200, or most of 20 that are only lost
        common = (0.77 if n == 20 else 4.1 / n) < coverage.RATES
        assert near[common].max() <= 0.97


def test_coverage_of_20_items() -> None:
    check_coverage(20)


@pytest.mark.slow
@pytest.mark.parametrize("n", [60])
def test_coverage(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    check_coverage(n)
    with capsys.disabled():
        print()
        print(coverage.line("share", n, coverage.of_shares(n)))
        for lost, exact in coverage.of_changes(n).items():
            print(coverage.line(f"change, {lost:.0%} of it lost", n, exact))
