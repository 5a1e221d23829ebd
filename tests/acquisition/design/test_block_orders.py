"""Orders of blocks: who follows whom, and how often."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tl_fbn as fbn
from tests.helpers.designs import pools

QUICK = settings(max_examples=40, deadline=None)


def test_alternation_known_answers() -> None:
    two = fbn.block_design(pools(2), n_runs=3, n_cycles=2, seed=0)
    assert two.schedule == (("a", "b", "a", "b"), ("b", "a", "b", "a"), ("a", "b", "a", "b"))
    four = fbn.block_design(pools(4), n_runs=4, n_cycles=1, seed=0)
    assert ["".join(run) for run in four.schedule] == ["abdc", "bcad", "cdba", "dacb"]


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_alternation_is_counterbalanced_over_a_williams_square(n: int) -> None:
    n_runs = n if n % 2 == 0 else 2 * n
    n_cycles = 2
    design = fbn.block_design(pools(n, 300), n_runs=n_runs, n_cycles=n_cycles, seed=3)
    leads = Counter(run[0] for run in design.schedule)
    assert set(leads.values()) == {n_runs // n}
    assert len(leads) == n
    cycles = [run[at : at + n] for run in design.schedule for at in range(0, len(run), n)]
    assert all(sorted(cycle) == sorted(design.conditions) for cycle in cycles)
    neighbours = Counter(pair for cycle in cycles for pair in pairwise(cycle))
    assert len(neighbours) == n * (n - 1)
    assert set(neighbours.values()) == {n_runs * n_cycles // n}
    places = Counter((place, name) for cycle in cycles for place, name in enumerate(cycle))
    assert set(places.values()) == {n_runs * n_cycles // n}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_alternation_repeats_one_order_within_a_run(n: int) -> None:
    design = fbn.block_design(pools(n), n_runs=4, n_cycles=5, seed=0)
    for run in design.schedule:
        assert run == run[:n] * 5


def test_off_on_off_known_answers() -> None:
    conditions = {name: pools(7)[name] for name in "abc"} | {"rest": [f"r {i}" for i in range(99)]}
    design = fbn.block_design(conditions, order="off/on/off", n_runs=2, n_cycles=2, seed=0)
    off, a, b, c = "rest", "a", "b", "c"
    assert design.schedule[0] == (off, a, off, b, off, c, off, a, off, b, off, c, off)
    assert design.schedule[1] == (off, b, off, c, off, a, off, b, off, c, off, a, off)
    chosen = fbn.block_design(conditions, order="off/on/off", baseline="b", n_runs=1, n_cycles=1, seed=0)
    assert chosen.schedule == (("b", "a", "b", "c", "b", "rest", "b"),)
    last = fbn.block_design(pools(2), order="off/on/off", n_runs=1, n_cycles=2, seed=0)
    assert last.schedule == (("b", "a", "b", "a", "b"),)


@QUICK
@given(n=st.integers(2, 5), n_runs=st.integers(1, 4), n_cycles=st.integers(1, 6), seed=st.integers(0, 10**9))
def test_random_order_is_balanced_and_never_repeats(n: int, n_runs: int, n_cycles: int, seed: int) -> None:
    design = fbn.block_design(pools(n), order="random", n_runs=n_runs, n_cycles=n_cycles, seed=seed)
    assert len(design.schedule) == n_runs
    for run in design.schedule:
        assert all(before != after for before, after in pairwise(run))
        assert set(Counter(run).values()) == {n_cycles}
        assert all(len(set(run[at : at + n])) == n for at in range(0, len(run), n))


def test_random_order_uses_every_permutation() -> None:
    design = fbn.block_design(pools(3, 2000), order="random", n_runs=60, n_cycles=4, seed=1)
    cycles = Counter(run[at : at + 3] for run in design.schedule for at in range(0, 12, 3))
    assert len(cycles) == 6
    assert max(cycles.values()) < 3 * min(cycles.values())
