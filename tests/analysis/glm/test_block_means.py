"""Blocks as one number a row: the same averages as a matrix of blocks by rows, at any cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.analysis.glm.block_means import Averages, check_prompts


def run_of(events: list[tuple[int, int]], n_rows: int, prompts: np.ndarray | None = None) -> fbn.Recording:
    table = pd.DataFrame(events, columns=["onset", "duration"]).assign(trial_type="a")
    rows = None if prompts is None else [pd.DataFrame({"prompt": prompts})]
    return fbn.Recording.from_arrays([[np.random.default_rng(0).normal(size=(n_rows, 3))]], events=[table], rows=rows)


def dense(averages: Averages) -> np.ndarray:
    members = ((averages.owner == np.arange(len(averages))[:, None]) & ~averages.left_out).astype(float)
    return members / members.sum(1, keepdims=True)


CASES = {
    "side by side": [(0, 10), (10, 5), (15, 25)],
    "gaps": [(2, 4), (9, 11), (30, 5)],
    "out of order": [(20, 10), (0, 10), (10, 10)],
    "one inside another": [(0, 30), (10, 5), (30, 10)],  # the first is interrupted
    "the later wins": [(0, 10), (0, 10), (10, 10)],  # the first has no row left
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cut", [1, 3, 7, 40])
@pytest.mark.parametrize("every", [None, 4])
def test_means_of_pieces_add_up_to_the_means(case: str, cut: int, every: int | None) -> None:
    run = run_of(CASES[case], 40)[0]
    without = None if every is None else np.arange(40) % every == 0
    averages = Averages.of(run, "blocks", 0, without=without)
    assert averages.left_out.sum() == (0 if without is None else (without & (averages.owner >= 0)).sum())
    expected = dense(averages) @ run.read().astype(float)
    np.testing.assert_allclose(averages.matrix.toarray(), dense(averages))
    assert (averages.spans is None) == (case == "one inside another")
    means = np.zeros((len(averages), 3))
    for start in range(0, 40, cut):
        averages.add(means, start, run.read()[start : start + cut].astype(float))
    np.testing.assert_allclose(means, expected, rtol=1e-12)


def test_a_row_in_two_blocks_counts_for_the_later() -> None:
    averages = Averages.of(run_of(CASES["the later wins"], 40)[0], "blocks", 0)
    assert averages.counts.tolist() == [10, 10]
    assert averages.owner[:20].tolist() == [0] * 10 + [1] * 10
    assert not averages.inside[20:].any()


def test_a_block_keeps_rows_to_leave_out_where_it_has_no_others() -> None:
    run = run_of([(0, 10), (10, 10), (20, 10)], 40)[0]
    averages = Averages.of(run, "blocks", 0, without=np.arange(40) < 13)
    assert averages.counts.tolist() == [10, 7, 10]
    means = np.zeros((3, 3))
    averages.add(means, 0, run.read().astype(float))
    y = run.read().astype(float)
    np.testing.assert_allclose(means, [y[:10].mean(0), y[13:20].mean(0), y[20:30].mean(0)], rtol=1e-12)


def test_prompts_of_blocks() -> None:
    prompts = np.repeat([5, 6, 7, 7], 5)  # prompt 7 goes on in the second block
    averages = Averages.of(run_of([(0, 12), (12, 8)], 20, prompts)[0], "prompts", 0)
    assert averages.counts.tolist() == [5, 5, 2, 8]
    bare = run_of([(0, 12), (12, 8)], 20)[0]
    with pytest.raises(ValueError, match="needs the column prompt of the row table, which run 3 lacks"):
        check_prompts(bare, 3)


def test_memory_is_a_number_a_row_however_many_blocks() -> None:
    n = 200_000
    run = run_of([(at, 10) for at in range(0, n, 10)], n)[0]
    averages = Averages.of(run, "blocks", 0)
    assert len(averages) == 20_000  # as a matrix of float64: 32 GB
    means = np.zeros((len(averages), 3))
    averages.add(means, 0, run.read().astype(float))
    np.testing.assert_allclose(means, run.read().astype(float).reshape(-1, 10, 3).mean(1))
    assert averages.varying_within(
        np.column_stack([np.arange(n) % 10, np.arange(n) // 10 % 2]).astype(float)
    ).tolist() == [
        True,
        False,
    ]
