"""Games whose Shapley values a textbook gives, and games that are hard to estimate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from scipy import stats

from tl_fbn.intervention.studies import coalition_values as cv

Worth = Callable[[frozenset[int]], float]


def worths(game: Worth, coalitions: np.ndarray) -> np.ndarray:
    """What coalitions are worth, as one task."""
    return np.array([[game(frozenset(np.flatnonzero(row).tolist()))] for row in coalitions], dtype=float)


def votes(quota: int, *weights: int) -> Worth:
    """A motion passes where its votes reach the quota."""
    return lambda players: float(sum(weights[i] for i in players) >= quota)


TEXTBOOK: dict[str, tuple[Worth, list[float]]] = {
    "additive": (lambda players: sum((2.0, -1.0, 0.5)[i] for i in players), [2.0, -1.0, 0.5]),
    "glove: one left, two right": (lambda players: float(min(0 in players, len(players - {0}))), [2 / 3, 1 / 6, 1 / 6]),
    "majority of three": (votes(2, 1, 1, 1), [1 / 3] * 3),
    "51 of 40, 30, 20, 10 votes": (votes(51, 40, 30, 20, 10), [5 / 12, 1 / 4, 1 / 4, 1 / 12]),
    "airport of runways 1, 2, 3": (lambda players: 1.0 + max(players) if players else 0.0, [1 / 3, 5 / 6, 11 / 6]),
    "unanimity, and a dummy": (lambda players: float({0, 1} <= players), [1 / 2, 1 / 2, 0.0]),
    "alone": (lambda players: 3.0 * len(players), [3.0]),
}


def by_all_orders(game: Worth, n: int) -> np.ndarray:
    """Shapley values by their definition: what each player adds, mean over all orders."""
    total = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        for k, player in enumerate(order):
            total[player] += game(frozenset(order[: k + 1])) - game(frozenset(order[:k]))
    return total / len(orders)


def hard_games(n: int = 8) -> dict[str, np.ndarray]:
    """Names to what all coalitions of n players are worth: noise, synergies, thresholds, and what saturates."""
    rng = np.random.default_rng(0)
    kept = cv.all_coalitions(n)
    games = {
        "noise": rng.normal(size=len(kept)),
        "two synergies": kept[:, 0] & kept[:, 1] | kept[:, 2] & kept[:, 3],
        "all are needed": kept.all(1),
        "majority": kept.sum(1) > n / 2,
        "saturates": np.log1p(kept @ rng.exponential(size=n)),
    }
    return {name: np.asarray(worth, dtype=float)[:, None] for name, worth in games.items()}


def permutation_coverage(worth: np.ndarray, n_permutations: int, n_seeds: int, n: int = 8) -> float:
    """How often the 95 % interval over permutations holds the exact value, over players and seeds."""
    kept = cv.all_coalitions(n)
    exact = cv.shapley_weights(kept) @ worth
    held = []
    for seed in range(n_seeds):
        orders = cv.antithetic_permutations(n, n_permutations, seed)
        away = stats.t.ppf(0.975, n_permutations // 2 - 1) * cv.permutation_errors(kept, worth, orders)
        held.append(np.abs(cv.shapley_weights(kept, orders) @ worth - exact) <= away + 1e-9)
    return float(np.mean(held))
