"""The best order of blocks among several."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
from scipy.fft import dct

import tl_fbn as fbn


def test_optimize_order_finds_a_better_order() -> None:
    prompts = {"a": [[1, 2, 3, i] for i in range(80)], "b": [[2, 3, 4, i] for i in range(80)]}

    def make(seed: int) -> fbn.BlockDesign:
        return fbn.block_design(prompts, n_runs=2, n_cycles=5, tokens_per_block=8, order="random", seed=seed)

    search = fbn.glm.optimize_order(make, "a - b", n=20, seed=3)
    best, table = search.design, search.table
    assert len(table) == 20
    assert table["share"].iloc[0] == 1
    assert table["efficiency"].iloc[0] >= table["efficiency"].iloc[-1]
    assert best.schedule == make(int(table["seed"].iloc[0])).schedule
    with pytest.raises(ValueError, match='names "c"'):
        fbn.glm.optimize_order(make, "a - c", n=2, seed=0)
    with pytest.raises(fbn.InputError, match="n=0 designs; try at least 1"):
        fbn.glm.optimize_order(make, "a - b", n=0, seed=0)


def by_hand(design: fbn.BlockDesign) -> float:
    """1 / c'(X'X)^-1 c over runs: boxcars, and the rows of a discrete cosine transform slower than four of the longest
    cycles.
    """
    total = 0.0
    for run in range(design.n_runs):
        events = design.events(run)
        kinds = np.repeat(events["trial_type"].to_numpy(), events["duration"].to_numpy(int))
        boxcars = np.stack([kinds == "a", kinds == "b"], axis=1).astype(float)
        onsets = {kind: events.loc[events["trial_type"] == kind, "onset"].to_numpy(float) for kind in "ab"}
        longest = max(np.diff(np.sort(one)).max() for one in onsets.values())
        slow = dct(np.eye(len(kinds)), axis=0)[1 : 1 + int(2 * len(kinds) / (4 * longest))].T
        x = np.column_stack([boxcars, slow])
        contrast = np.zeros(x.shape[1])
        contrast[:2] = 1, -1
        total += 1 / (contrast @ np.linalg.pinv(x.T @ x) @ contrast)
    return total


def test_designs_are_compared_by_the_variance_of_the_contrast_and_tried_in_order_of_their_seeds() -> None:
    prompts = {"a": [[1, 2, 3, i] for i in range(80)], "b": [[2, 3, 4, i] for i in range(80)]}
    asked: list[int] = []

    def make(seed: int) -> fbn.BlockDesign:
        asked.append(seed)
        return fbn.block_design(prompts, n_runs=2, n_cycles=5, tokens_per_block=8, order="random", seed=seed)

    search = fbn.glm.optimize_order(make, "a - b", n=6, seed=11)
    best, table = search.design, search.table
    assert asked == list(range(11, 17)) and sorted(table["seed"]) == asked
    np.testing.assert_allclose(table["efficiency"], [by_hand(make(seed)) for seed in table["seed"]], rtol=1e-9)
    assert table["efficiency"].is_monotonic_decreasing
    np.testing.assert_allclose(table["share"], table["efficiency"] / table["efficiency"].max())
    assert by_hand(best) == pytest.approx(table["efficiency"].max())


def test_a_contrast_that_no_order_can_estimate_is_refused() -> None:
    prompts = {"a": [[1, 2, 3, i] for i in range(40)], "b": [[2, 3, 4, i] for i in range(40)]}

    class Doubled(fbn.BlockDesign):
        """A design whose two conditions are always shown together."""

        n_runs = 1

        def events(self, run: int) -> pd.DataFrame:
            events = fbn.block_design(prompts, n_runs=1, n_cycles=3, tokens_per_block=8, seed=0).events(run)
            return pd.concat([events.assign(trial_type="a"), events.assign(trial_type="b")], ignore_index=True)

    search = inspect.unwrap(fbn.glm.optimize_order)
    with pytest.raises(ValueError, match="none of 2 designs can estimate 'a - b'; give the conditions more blocks"):
        search(lambda seed: Doubled.__new__(Doubled), "a - b", n=2, seed=0)
