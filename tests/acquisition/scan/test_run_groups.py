"""Runs that are decoded together: full batches, bounds on what a group holds, and nothing but the design decides."""

from __future__ import annotations

import pytest

from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.scan import run_groups
from tl_fbn.acquisition.scan.run_groups import batches, groups_of_runs


def run_of(lengths: list[int], new: list[int]) -> list[Context]:
    starts = [sum(new[:i]) for i in range(len(new))]
    return [
        Context(ids=(1,) * n, condition="a", block=0, first_row=start, digests=(), new=steps)
        for n, steps, start in zip(lengths, new, starts, strict=True)
    ]


def sizes(runs: list[list[Context]], **options) -> list[int]:
    given = {"batch_size": 8, "mode": "padded", "carry": False, "n_units": 10} | options
    groups = groups_of_runs(runs, **given)
    assert [number for group in groups for number in group] == list(range(len(runs)))
    return [len(group) for group in groups]


@pytest.mark.parametrize(
    ("n_prompts", "expected"),
    [
        (8, [1] * 10),  # one run fills a batch
        (4, [2] * 5),
        (1, [8, 2]),
        (3, [5, 5]),  # 15 of 16 places, within a tenth of 24 of 24
        (13, [1] * 10),  # 13 of 16 places; two runs have 26 of 32, the same
        (5, [3, 3, 3, 1]),  # 15 of 16 places
        (40, [1] * 10),  # more than a group of several runs may have
    ],
)
def test_runs_fill_batches(n_prompts: int, expected: list[int]) -> None:
    runs = [run_of([5] * n_prompts, [10] * n_prompts) for _ in range(10)]
    assert sizes(runs) == expected


def test_runs_are_alone_where_nothing_is_shared() -> None:
    runs = [run_of([5] * 3, [10] * 3) for _ in range(4)]
    assert sizes(runs, mode=None) == sizes(runs, carry=True) == [1] * 4
    # without a mask, prompts of different lengths share no batch, and then runs have nothing to share
    apart = [run_of([1 + 3 * i, 2 + 3 * i, 3 + 3 * i], [10] * 3) for i in range(4)]
    assert sizes(apart, mode="equal") == [1] * 4
    assert sizes(runs, mode="equal") == [2, 2]


def test_a_group_holds_no_more_activations_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run_of([5] * 2, [10] * 2) for _ in range(8)]
    assert sizes(runs) == [4, 4]
    monkeypatch.setattr(run_groups, "GROUP_BYTES", 4 * 10 * 20 * 2)  # two runs of 20 rows and 10 units
    assert sizes(runs) == [2] * 4
    assert sizes(runs, n_units=1000) == [1] * 8


def test_batches_hold_every_context_once_and_one_number_of_steps() -> None:
    contexts = run_of([5, 2, 9, 2, 7], [4, 4, 4, 2, 4])
    found = list(batches(contexts, 3, "padded"))
    assert found == [[3], [1, 0, 4], [2]]
    assert list(batches(contexts, 3, "equal")) == [[3], [1], [0], [4], [2]]
    shown = run_of([5, 2, 9, 2, 7], [0] * 5)
    assert list(batches(shown, 3)) == [[1, 3, 0], [4, 2]]
