"""Each model with the mean of the others: against numpy, by hand; nulls keep what they should; calibrated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.helpers import common_texts
from tl_fbn.analysis.networks import leave_one_out as loo


def run_of(n_models: int, lengths: list[int], n_networks: int = 2, seed: int = 0) -> loo.AlignedRun:
    courses = np.random.default_rng(seed).normal(size=(n_models, sum(lengths), n_networks))
    return loo.AlignedRun(courses + courses[:1], np.array(lengths))


def test_correlations_are_those_of_numpy() -> None:
    run = run_of(4, [5, 7, 3])
    pairs = loo.pair_correlations(loo.sums_of(run).covariance())
    found = loo.leave_one_out(pairs)
    for network in range(2):
        x = run.courses[:, :, network]
        assert pairs[network] == pytest.approx(np.corrcoef(x))
        z = stats.zscore(x, axis=1)
        expected = [np.corrcoef(z[i], np.delete(z, i, axis=0).mean(0))[0, 1] for i in range(4)]
        assert found[network] == pytest.approx(expected)
    assert loo.with_mean(found)[:, -1] == pytest.approx(found.mean(1))


def test_two_models_correlate_with_each_other() -> None:
    pairs = np.array([[1.0, 0.3], [0.3, 1.0]])
    assert loo.leave_one_out(pairs) == pytest.approx([0.3, 0.3])
    opposite = np.array([[1.0, 0.5, 0.5], [0.5, 1.0, -1.0], [0.5, -1.0, 1.0]])
    assert np.isfinite(loo.leave_one_out(opposite)).all()  # the mean of two opposites is nothing


def test_the_jackknife_is_that_of_the_textbook() -> None:
    runs = [run_of(3, [6, 8, 5], seed=1), run_of(3, [9, 4], seed=2)]
    low, high = loo.block_interval([loo.sums_of(one) for one in runs], "text", "jackknife", 1, np.random.default_rng(0))

    def z(left_out: tuple[int, int] | None) -> np.ndarray:
        """Fisher's z of each model and of the mean, of the first network, with numpy alone."""
        centred = []
        for number, one in enumerate(runs):
            texts = np.split(one.courses[:, :, 0], np.cumsum(one.lengths)[:-1], axis=1)
            rest = np.concatenate([text for i, text in enumerate(texts) if (number, i) != left_out], axis=1)
            centred.append(rest - rest.mean(1, keepdims=True))
        x = np.concatenate(centred, axis=1)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        r = [np.corrcoef(x[i], np.delete(x, i, axis=0).sum(0))[0, 1] for i in range(3)]
        # centred within runs, so that means over all rows are 0
        return np.arctanh([*r, np.mean(r)])

    left_out = np.array([z(one) for one in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]])
    error = np.sqrt(4 / 5 * np.square(left_out - left_out.mean(0)).sum(0))
    away = stats.t.ppf(0.975, 4) * error
    assert low[0] == pytest.approx(np.tanh(z(None) - away)) and high[0] == pytest.approx(np.tanh(z(None) + away))


def test_blocks_may_be_runs_and_a_lone_one_says_nothing() -> None:
    sums = [loo.sums_of(run_of(3, [6, 8], seed=seed)) for seed in range(4)]
    rng = np.random.default_rng(0)
    for kind in ("jackknife", "bootstrap"):
        low, high = loo.block_interval(sums, "run", kind, 100, rng)
        assert low.shape == (2, 4) and (low < high).all() and (low > -1).all()
    low, high = loo.block_interval(sums[:1], "run", "jackknife", 1, rng)
    assert (low == -1).all() and (high == 1).all()


@pytest.mark.parametrize("kind", ["texts", "shift", "phase"])
def test_a_null_keeps_the_first_model_and_what_the_others_are_like(kind: str) -> None:
    run, rng = run_of(3, [6] * 5), np.random.default_rng(1)
    change = {"texts": loo._other_texts, "shift": loo._shifted, "phase": loo._other_phases}[kind]
    drawn = change(run, rng)
    assert drawn[0] == pytest.approx(run.courses[0]) and not np.allclose(drawn[1], run.courses[1])
    assert drawn.mean(1) == pytest.approx(run.courses.mean(1)) and drawn.var(1) == pytest.approx(run.courses.var(1))
    if kind == "texts":  # whole texts trade places
        texts = {tuple(text[:, 0]) for text in np.split(run.courses[1], 5)}
        assert {tuple(text[:, 0]) for text in np.split(drawn[1], 5)} == texts
    else:  # spectra stay, and what networks of one model have to do with each other
        spectrum = np.abs(np.fft.rfft(run.courses, axis=1))
        assert np.abs(np.fft.rfft(drawn, axis=1)) == pytest.approx(spectrum)
        assert np.corrcoef(drawn[2].T) == pytest.approx(np.corrcoef(run.courses[2].T))
    odd = change(run_of(3, [7] * 3), rng)
    assert np.isrealobj(odd) and odd.shape == (3, 21, 2)


def test_texts_of_other_lengths_meet_up_to_the_shorter() -> None:
    courses = np.arange(13.0)[None, :, None] + np.array([0.0, 100.0])[:, None, None]
    run = loo.AlignedRun(courses, np.array([2, 5, 6]))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        first, second = loo._other_texts(run, rng)[:, :, 0]
        starts = {0.0: 0, 2.0: 1, 7.0: 2}
        # each row is at the same place of both texts that meet
        places = [[x - max(s for s in starts if s <= x) for x in row] for row in (first, second - 100)]
        assert places[0] == places[1]
        seen.add(len(first))
    assert seen == {13, 12, 10, 9}  # unmoved; 5 meets 6; 2 meets 5; any order in which 2 meets 6


def test_many_texts_trade_places_with_those_of_their_length() -> None:
    lengths = np.repeat([3, 9], 10)
    run = loo.AlignedRun(np.random.default_rng(0).normal(size=(2, lengths.sum(), 1)), lengths)
    assert loo._other_texts(run, np.random.default_rng(1)).shape == run.courses.shape  # nothing is cut


def test_a_course_that_never_varies_correlates_with_nothing() -> None:
    run = run_of(3, [6, 8, 5])
    run.courses[1, :, 0] = np.nan
    found = loo.leave_one_out(loo.pair_correlations(loo.sums_of(run).covariance()))
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


@pytest.mark.parametrize("null", ["texts", "shift", "phase"])
def test_p_is_calibrated(null) -> None:
    assert common_texts.rejected(null, 3, 12, 0.0, 150, n_null=19) < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 150)


@pytest.mark.slow
def test_texts_that_begin_alike_are_nothing_in_common() -> None:
    bound = 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 300)
    assert common_texts.rejected("texts", 5, 30, 1.0, 300) < bound
    assert common_texts.rejected("shift", 5, 30, 1.0, 100) > 0.5  # which is why it is not the default


@pytest.mark.slow
@pytest.mark.parametrize("n_texts", [5, 30])
@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_intervals_hold_the_truth(n_texts: int, shared: float) -> None:
    share = common_texts.covered("jackknife", 4, n_texts, shared, 600)
    assert abs(share - 0.95) < 3.3 * np.sqrt(0.05 * 0.95 / 600)
