"""Games of textbooks, the definition over all orders, and estimates whose errors are what they say."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tests.helpers.games import TEXTBOOK, by_all_orders, hard_games, permutation_coverage, worths
from tl_fbn.intervention.studies import coalition_values as cv


def values_of(game, n: int) -> np.ndarray:
    kept = cv.all_coalitions(n)
    return (cv.shapley_weights(kept) @ worths(game, kept))[:, 0]


def interactions_of(game, n: int) -> np.ndarray:
    kept = cv.all_coalitions(n)
    return (cv.interaction_weights(kept) @ worths(game, kept))[..., 0]


@pytest.fixture(scope="module")
def random_game():
    drawn = np.random.default_rng(1).normal(size=32)
    return lambda players: float(drawn[sum(1 << i for i in players)])


@pytest.mark.parametrize("name", TEXTBOOK)
def test_games_of_textbooks(name: str) -> None:
    game, known = TEXTBOOK[name]
    assert values_of(game, len(known)) == pytest.approx(known, abs=1e-12)


def test_a_random_game_by_the_definition(random_game) -> None:
    assert values_of(random_game, 5) == pytest.approx(by_all_orders(random_game, 5), abs=1e-12)


def test_all_orders_as_permutations_are_exact(random_game) -> None:
    orders = np.array(list(permutations(range(5))))
    kept = cv.coalitions_along(orders)
    assert len(kept) == 32 and not kept[0].any() and kept[1].all()
    estimated = cv.shapley_weights(kept, orders) @ worths(random_game, kept)
    assert estimated[:, 0] == pytest.approx(by_all_orders(random_game, 5), abs=1e-12)


def test_interactions_by_games_in_which_two_are_one(random_game) -> None:
    """What defines the index (Grabisch and Roubens 1999): value of the pair as one player, less that of each without
    the other.
    """
    found = interactions_of(random_game, 5)
    for i in range(5):
        for j in range(i + 1, 5):
            rest = [k for k in range(5) if k not in (i, j)]

            def played(stands_for, rest=rest):
                seats = [frozenset(stands_for), *(frozenset([k]) for k in rest)]
                return lambda players: random_game(frozenset().union(*(seats[p] for p in players)))

            pair, one, other = (by_all_orders(played(who), 4)[0] for who in ((i, j), (i,), (j,)))
            assert [found[i, j], found[j, i]] == pytest.approx([pair - one - other] * 2, abs=1e-12)
    assert not found.diagonal().any()


def test_redundancy_synergy_and_a_dummy() -> None:
    either = lambda players: float(bool({0, 1} & players))  # noqa: E731
    both = lambda players: float({0, 1} <= players)  # noqa: E731
    for game, sign in ((either, -1.0), (both, 1.0)):
        assert values_of(game, 3) == pytest.approx([0.5, 0.5, 0.0])
        assert interactions_of(game, 3)[0, 1] == pytest.approx(sign)
        assert interactions_of(game, 3)[:2, 2] == pytest.approx([0.0, 0.0])
    # one left glove and two right ones: a pair is needed, and one right glove will do
    glove = interactions_of(TEXTBOOK["glove: one left, two right"][0], 3)
    assert glove[0, 1:] == pytest.approx([0.5, 0.5]) and glove[1, 2] == pytest.approx(-0.5)
    assert interactions_of(TEXTBOOK["additive"][0], 3) == pytest.approx(np.zeros((3, 3)), abs=1e-12)


def test_estimates_add_up_and_are_antithetic(random_game) -> None:
    orders = cv.antithetic_permutations(5, 8, seed=3)
    assert orders.shape == (8, 5) and (orders[0::2] == orders[1::2, ::-1]).all()
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    assert (orders == cv.antithetic_permutations(5, 8, seed=3)).all()
    assert (orders != cv.antithetic_permutations(5, 8, seed=4)).any()
    kept = cv.coalitions_along(orders)
    assert len({row.tobytes() for row in kept}) == len(kept)
    worth = worths(random_game, kept)
    assert (cv.shapley_weights(kept, orders) @ worth).sum() == pytest.approx(worth[1, 0] - worth[0, 0], abs=1e-12)


def test_errors_are_over_pairs_of_orders(random_game) -> None:
    orders = cv.antithetic_permutations(5, 8, seed=3)
    kept = cv.all_coalitions(5)
    pairs = []
    for order in orders[::2].tolist():
        added = np.zeros(5)
        for way in (order, order[::-1]):
            for k, player in enumerate(way):
                added[player] += random_game(frozenset(way[: k + 1])) - random_game(frozenset(way[:k]))
        pairs.append(added / 2)
    known = np.std(pairs, axis=0, ddof=1) / 2  # of four pairs
    assert cv.permutation_errors(kept, worths(random_game, kept), orders)[:, 0] == pytest.approx(known)
    # early in one order is late in the other: of a square every pair gives the exact value
    square = worths(lambda players: len(players) ** 2, kept)
    assert (cv.shapley_weights(kept, orders) @ square)[:, 0] == pytest.approx([5.0] * 5)
    assert cv.permutation_errors(kept, square, orders) == pytest.approx(np.zeros((5, 1)), abs=1e-12)


def test_intervals_over_permutations_cover() -> None:
    coverage = {name: permutation_coverage(worth, 50, 60) for name, worth in hard_games().items()}
    assert min(coverage.values()) > 0.92, coverage


def test_many_players() -> None:
    orders = cv.antithetic_permutations(100, 4, seed=0)
    kept = cv.coalitions_along(orders)
    assert kept.shape[1] == 100 and len(kept) <= 2 + 200 + 4 * 97
    assert (cv.shapley_weights(kept, orders) @ kept.sum(1)) == pytest.approx(np.ones(100))
