"""Which condition a network follows: correlations by hand, planted courses, and a null that holds its rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks

SPACE = fbn.UnitSpace("mlp.neurons", (6, 4), model="external")
CYCLE = ["a", "b", "c"]


def recorded(rng: np.random.Generator, *, n_runs: int = 2, n_blocks: int = 12, effect: float = 0.0) -> fbn.Recording:
    """Noise in which units 0 and 1 are more active in a, and units 2 and 3 less active in c."""
    labels = np.array((CYCLE * n_blocks)[:n_blocks])
    runs = []
    for run in range(n_runs):
        y = rng.normal(size=(10 * n_blocks, 10)) + 3 * run  # runs differ in level
        y[:, :2] += effect * np.repeat(labels == "a", 10)[:, None]
        y[:, 2:4] -= effect * np.repeat(labels == "c", 10)[:, None]
        runs.append([y[:, :6], y[:, 6:]])
    return fbn.Recording.from_arrays(runs, events=[blocks(labels.tolist(), 10)] * n_runs)


NETWORKS = {
    "up": fbn.Network.from_indices(SPACE, [0, 1]),
    "down": fbn.Network.from_indices(SPACE, [2, 3]),
    "noise": fbn.Network.from_indices(SPACE, [7, 8]),
    "none": fbn.Network.from_indices(SPACE, []),
}


def test_planted_networks_follow_their_conditions() -> None:
    found = fbn.networks.followed_conditions(recorded(np.random.default_rng(1), effect=3), NETWORKS, seed=0)
    assert found["network"].tolist() == list(NETWORKS)
    assert found["follows"].tolist() == ["a", "c", "", ""]
    assert found["r"][0] > 0.8 and found["r"][1] < -0.8
    assert found["p"][:2].tolist() == [1 / 1000] * 2 and found["p"][2] > 0.05 and np.isnan(found["p"][3])
    assert found["blocks"].tolist() == [24] * 4
    again = fbn.networks.followed_conditions(recorded(np.random.default_rng(1), effect=3), NETWORKS, seed=0)
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize("drop_first", [0, 1, 4])
def test_correlations_by_hand(drop_first: int) -> None:
    recording = recorded(np.random.default_rng(2), effect=0.5)
    found = fbn.networks.followed_conditions(
        recording, NETWORKS["down"], seed=0, n_permutations=9, drop_first=drop_first
    )
    means, labels = [], []
    for run in recording:
        y = run.read(units=NETWORKS["down"]).astype(float).mean(1)
        y[:drop_first] = np.nan  # without a row table a run is one context
        course = [np.nanmean(y[10 * b : 10 * b + 10]) for b in range(12)]
        means.append(np.array(course) - np.mean(course))
        labels += run.events["trial_type"].tolist()
    for condition in CYCLE:
        boxcar = [one == condition for one in labels]  # as many blocks of each in every run: centring does nothing
        r = np.corrcoef(np.concatenate(means), boxcar)[0, 1]
        assert found[f"r {condition}"][0] == pytest.approx(r, abs=1e-6)


def test_of_two_conditions_it_is_the_one_with_more_activity() -> None:
    rng = np.random.default_rng(0)
    for sign, name in ((1, "a"), (-1, "b")):
        y = rng.normal(size=(120, 10)) + sign * np.repeat([3.0, 0.0] * 6, 10)[:, None]
        two = fbn.Recording.from_arrays([[y[:, :6], y[:, 6:]]], events=[blocks(["a", "b"] * 6, 10)])
        found = fbn.networks.followed_conditions(two, NETWORKS["up"], seed=0, n_permutations=99)
        assert found["follows"][0] == name and found["r"][0] > 0


def test_noise_follows_something_at_the_rate_of_the_test() -> None:
    rng = np.random.default_rng(5)
    each = {f"{unit}": fbn.Network.from_indices(SPACE, [unit]) for unit in range(10)}
    p = [
        fbn.networks.followed_conditions(recorded(rng), each, seed=s, n_permutations=99)["p"].to_numpy()
        for s in range(30)
    ]
    assert abs(np.mean(np.concatenate(p) <= 0.05) - 0.05) < 0.03  # 300 networks: 2.4 standard errors


def test_what_cannot_be_compared_is_refused() -> None:
    recording = recorded(np.random.default_rng(0))
    with pytest.raises(fbn.InputError, match="must be at least 1, and drop_first=0"):
        fbn.networks.followed_conditions(recording, NETWORKS, seed=0, n_permutations=0, drop_first=0)
    y = np.random.default_rng(0).normal(size=(20, 10))
    one = [[y[:, :6], y[:, 6:]]]
    with pytest.raises(fbn.InputError, match="this recording has 1, record two"):
        alone = fbn.Recording.from_arrays(one, events=[blocks(["a", "a"], 10)])
        fbn.networks.followed_conditions(alone, NETWORKS, seed=0)
    with pytest.raises(fbn.InputError, match="every run has blocks of one condition only"):
        apart = fbn.Recording.from_arrays(one * 2, events=[blocks(["a", "a"], 10), blocks(["b", "b"], 10)])
        fbn.networks.followed_conditions(apart, NETWORKS, seed=0)


def test_networks_without_units_follow_nothing(noise_recording):
    none = fbn.Network.from_indices(noise_recording.space, [], name="none")
    table = fbn.networks.followed_conditions(noise_recording, none, seed=0, n_permutations=9)
    assert table["follows"].tolist() == [""] and table[["r", "chance", "p"]].isna().all(axis=None)
