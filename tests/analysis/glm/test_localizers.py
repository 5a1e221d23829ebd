"""Rival localizers: scipy's Welch test, the published LAPE by hand, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.recordings import blocks


def recorded(seed: int = 0, n_runs: int = 2) -> tuple[fbn.Recording, list[np.ndarray], np.ndarray]:
    """Prompts of six rows, two a block, conditions a, b, c; the activations and the condition of every row."""
    rng = np.random.default_rng(seed)
    order = ["a", "b", "c"] * 4
    on = np.repeat(order, 12)
    rows = pd.DataFrame({"prompt": np.repeat(np.arange(24), 6), "position": np.tile(np.arange(6), 24)})
    runs = []
    for _ in range(n_runs):
        y = rng.normal(size=(144, 30)).astype(np.float32)
        y[on == "a", :3] += 1
        runs.append(y)
    recording = fbn.Recording.from_arrays(
        [[y[:, :10], y[:, 10:]] for y in runs], events=[blocks(order, 12)] * n_runs, rows=[rows] * n_runs
    )
    return recording, runs, on


@pytest.mark.parametrize("pool", ["last", "mean"])
@pytest.mark.parametrize("absolute", [True, False])
def test_welch_t_is_scipys(pool, absolute):
    recording, runs, on = recorded()
    prompts = [y.reshape(24, 6, 30)[:, -1] if pool == "last" else y.reshape(24, 6, 30).mean(1) for y in runs]
    pooled, labels = np.concatenate(prompts).astype(float), np.tile(on[::6], 2)
    pooled = np.abs(pooled) if absolute else pooled
    theirs = stats.ttest_ind(pooled[labels == "a"], pooled[labels == "b"], equal_var=False)
    ours = fbn.glm.welch_t(recording, "a", "b", pool=pool, absolute=absolute)
    np.testing.assert_allclose(ours.values, theirs.statistic, rtol=1e-5, atol=1e-5)
    assert ours.kind == "t"
    assert ours.provenance["method"] == "welch_t"


def test_a_pooled_recording_gives_the_same():
    recording, _, _ = recorded()
    np.testing.assert_allclose(
        fbn.glm.welch_t(recording.pool("last"), "a", "c").values, fbn.glm.welch_t(recording, "a", "c").values, rtol=1e-6
    )


def test_activation_difference_is_the_difference_of_means():
    recording, runs, on = recorded()
    y, labels = np.concatenate(runs), np.tile(on, 2)
    expected = y[labels == "a"].mean(0) - y[labels == "c"].mean(0)
    found = fbn.glm.activation_difference(recording, "a", "c")
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert set(found.top(3).indices.tolist()) == {0, 1, 2}


def test_lape_by_hand():
    recording, runs, on = recorded()
    y, labels = np.concatenate(runs), np.tile(on, 2)
    p = np.array([(y[labels == name] > 0).mean(0) for name in "abc"])
    shares = p / p.sum(0)
    entropy = -(shares * np.log(shares)).sum(0)
    expected = np.where(p.max(0) < np.quantile(p, 0.95), np.nan, -entropy)
    found = fbn.glm.lape(recording, ["a", "b", "c"])
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert set(found.top(3).indices.tolist()) == {0, 1, 2}
    for number, name in enumerate("abc"):  # the map of one condition: others' units are out of the race
        own = fbn.glm.lape(recording, ["a", "b", "c"], condition=name).values
        np.testing.assert_allclose(own, np.where(p.argmax(0) == number, expected, np.nan), rtol=1e-12)


def test_units_that_never_vary_or_fire():
    recording, runs, _ = recorded()
    arrays = [[y[:, :10].copy(), y[:, 10:]] for y in runs]
    for first, _ in arrays:
        first[:, 5], first[:, 6] = 2.0, -1.0
    still = fbn.Recording.from_arrays(arrays, events=[r.events for r in recording], rows=[r.rows for r in recording])
    for pool in ("last", "mean"):
        assert np.isnan(fbn.glm.welch_t(still, "a", "b", pool=pool).values[5:7]).all()
    assert np.isnan(fbn.glm.lape(still, ["a", "b"]).values[6])


def test_a_unit_that_only_the_condition_moves_has_an_infinite_t():
    """It differs between conditions and within none: scipy's own test says infinity, too."""
    recording, runs, on = recorded()
    arrays = [[y[:, :10].copy(), y[:, 10:]] for y in runs]
    for first, _ in arrays:
        first[:, 5] = np.where(on == "a", 0.3, 0.1)
        first[:, 6] = np.where(on == "a", 1e6, 1e6 + 1)
    still = fbn.Recording.from_arrays(arrays, events=[r.events for r in recording], rows=[r.rows for r in recording])
    found = fbn.glm.welch_t(still, "a", "b", pool="mean")
    np.testing.assert_array_equal(found.values[5:7], [np.inf, -np.inf])
    assert set(found.top(2, two_sided=True).indices.tolist()) == {5, 6}


def test_welch_t_far_from_zero_is_scipys():
    """Sums of squares of numbers near 1e7 leave nothing of a variance of 1 in float32's steps."""
    recording, runs, on = recorded()
    arrays = [[(1e6 + np.round(8 * y[:, :10])).astype(np.float32), y[:, 10:]] for y in runs]
    far = fbn.Recording.from_arrays(arrays, events=[r.events for r in recording], rows=[r.rows for r in recording])
    pooled = np.concatenate([first.reshape(24, 6, 10)[:, -1] for first, _ in arrays]).astype(float)
    labels = np.tile(on[::6], 2)
    theirs = stats.ttest_ind(pooled[labels == "a"], pooled[labels == "b"], equal_var=False)
    np.testing.assert_allclose(fbn.glm.welch_t(far, "a", "b").values[:10], theirs.statistic, rtol=1e-9)


def test_units_that_lape_rules_out_are_in_no_network():
    """57 of 60 units are below the quantile: a share of them is no network, and asking for one says so."""
    recording, _, _ = recorded()
    scores = fbn.glm.lape(recording, ["a", "b", "c"])
    valued = int((~np.isnan(scores.values)).sum())
    assert 0 < valued < 15
    network = scores.top(valued)
    assert not np.isnan(scores.values[network.indices]).any()
    with pytest.raises(ValueError, match=rf"only {valued} of .* have a value \(the others are NaN\); ask for fewer"):
        scores.top(0.5)


def test_refusals():
    recording, _, _ = recorded(n_runs=1)
    with pytest.raises(ValueError, match="no condition d in this recording; conditions: a, b, c"):
        fbn.glm.welch_t(recording, "a", "d")
    with pytest.raises(ValueError, match="condition must be one of those compared, 'a' or 'b'; got 'c'"):
        fbn.glm.lape(recording, ["a", "b"], condition="c")
    with pytest.raises(ValueError, match="at least two conditions; got \\['a'\\]"):
        fbn.glm.lape(recording, ["a"])


def test_pool_is_one_of_two(unchecked):
    recording, _, _ = recorded(n_runs=1)
    with pytest.raises(ValueError, match="pool must be 'last' or 'mean'; got 'first'"):
        fbn.glm.welch_t(recording, "a", "b", pool="first")
