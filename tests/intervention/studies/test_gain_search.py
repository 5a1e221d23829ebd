"""The search for an amount: the best that is allowed, of equals the weaker, none where nothing helps."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.intervention.hooks.interventions import strengthened
from tl_fbn.intervention.studies.gain_search import Amplified, Bench
from tl_fbn.intervention.studies.item_statistics import by_item

AMOUNTS = [0.5, 1.0, 2.0, 3.0]  # 1 changes nothing


def bench_of(model, few_items: fbn.Battery, **changed) -> Bench:
    target, others = few_items.select(["sort"]), few_items.select(["reverse"])
    settings = {
        "model": model,
        "target": target,
        "others": others,
        "untouched": tuple(by_item(each.score(model)) for each in (target, others)),
        "metric": 1,
        "kind": "gain",
        "amounts": AMOUNTS,
        "tolerance": 0.1,
        "strengthen": lambda network, amount: strengthened(
            model, network, "gain", amount, spread=None, positions="all"
        ),
        "batch_tokens": 8192,
    }
    return Bench(**(settings | changed))


def scores(change: float, n: int = 8) -> np.ndarray:
    return np.full((n, 2), float(change))


@pytest.fixture
def bench(demo_model, few_items) -> Bench:
    return bench_of(demo_model, few_items, untouched=(scores(0.0), scores(0.0)))


@pytest.mark.parametrize(
    ("on_target", "on_others", "expected"),
    [
        ((0.3, 0, 0.5, 0.4), {}, 2.0),  # the best
        ((0.3, 0, 0.5, 0.4), {2.0: -0.2}, 3.0),  # the best that costs the others no more than the tolerance
        ((0.3, 0, 0.5, 0.4), {2.0: -0.2, 3.0: -0.11, 0.5: -0.09}, 0.5),
        ((0.3, 0, 0.5, 0.4), {2.0: -0.2, 3.0: -0.2, 0.5: -0.2}, 1.0),  # none is allowed
        ((-0.3, 0, -0.5, 1e-7), {}, 1.0),  # none helps
        ((0.5, 0, 0.5, 0.5), {}, 0.5),  # of equals the nearest to none
    ],
)
def test_the_allowed_amount_that_raises_the_target_most_is_chosen(bench, on_target, on_others, expected) -> None:
    chosen = bench.choose(list(map(scores, on_target)), lambda amount: scores(on_others.get(amount, 0.0)))
    assert chosen == expected


def test_without_a_tolerance_the_others_are_not_scored(demo_model, few_items) -> None:
    free = bench_of(demo_model, few_items, untouched=(scores(0.0), scores(0.0)), tolerance=None)
    assert free.choose(list(map(scores, (0.3, 0, 0.5, 0.4))), lambda amount: pytest.fail("scored")) == 2.0


def test_an_amplification_finds_its_amount_when_it_is_due(demo_model, few_items) -> None:
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, range(0, 1152, 9), name="some")
    bench = bench_of(demo_model, few_items)
    given = Amplified(bench, network, "given", 2.0)
    assert given.condition().note(few_items, {}) == {"given": 2.0} and given() is not None
    searched = Amplified(bench, network, "searched")
    intervention = searched()
    assert searched.amount == bench.search(network) in AMOUNTS
    assert (intervention is None) is (searched.amount == 1.0)
    assert Amplified(bench, network, "none", 1.0)() is None
    with strengthened(demo_model, network, "gain", 2.0, spread=None, positions="all"):
        by_hand = by_item(bench.target.score(demo_model))
    assert np.array_equal(bench._items(bench.target, bench.untouched[0], network, 2.0), by_hand)
