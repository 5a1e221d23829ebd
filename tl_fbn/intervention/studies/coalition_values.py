"""What each player of a game is worth: Shapley values and interactions, from what coalitions of players are worth.

A game is a number v(S) for every set S of its n players. Nothing here knows what players are.

- *Shapley value* (Shapley 1953): the mean, over all orders in which players can come, of what a player adds to those
  before it. With s players in S::

      phi_i  = sum over S without i of s! (n - s - 1)! / n! (v(S + i) - v(S))

- *Interaction* (Grabisch and Roubens 1999): what two players are worth together beyond what each is worth alone, over
  all sets of the others; above 0 they need each other, below 0 either will do, 0 where their shares simply add::

      I_ij   = sum over S without i, j of s! (n - s - 2)! / (n - 1)! (v(S + i + j) - v(S + i) - v(S + j) + v(S))

- *Antithetic permutations* (Mitchell et al. 2022): orders are drawn, and each is gone through forwards and backwards. A
  player that comes early in one comes late in the other, so that the noise of a pair is mostly less than that of two
  orders drawn apart. Pairs are independent of each other, the two orders of a pair are not: the standard error is that
  of the mean over pairs.

Every order goes from nobody to everybody, so that the values add up to v(all) - v(nobody), exactly or estimated.
Values and interactions are weighted sums of what coalitions are worth: what holds for a task's mean holds item by item.
An order never holds S + i, S + j and S + i + j at once, so that interactions take all coalitions.

Coalitions are an array (coalition, player), True for those that are in it. Cost: n 2^n weights for values, n^2 2^n for
interactions; (number of permutations) x n for estimates.
"""

from __future__ import annotations

from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

Coalitions = Bool[np.ndarray, "coalition player"]
Permutations = Int[np.ndarray, "permutation player"]


def all_coalitions(n: int) -> Coalitions:
    """All sets of n players, 2^n of them, from nobody to everybody: player i is in those whose number has bit i.

    Args:
        n: Number of players.
    """
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def antithetic_permutations(n: int, n_permutations: int, seed: int) -> Permutations:
    """Orders of players, in pairs: one that is drawn, and the same backwards.

    Args:
        n: Number of players.
        n_permutations: Number of orders, an even number.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(n), (n_permutations // 2, 1)), axis=1)
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, n)


def coalitions_along(permutations: Permutations) -> Coalitions:
    """The coalitions that orders pass through, each once; nobody, everybody, each one and all but one come first.

    Args:
        permutations: Orders of the players.
    """
    n = permutations.shape[1]
    one = np.eye(n, dtype=bool)
    first = np.concatenate([np.zeros((1, n), bool), np.ones((1, n), bool), one, ~one])
    found = np.concatenate([first, _passed(permutations).reshape(-1, n)])
    # dict keeps the first of equal rows, in order
    return np.array([np.frombuffer(row, dtype=bool) for row in dict.fromkeys(row.tobytes() for row in found)])


def shapley_weights(
    coalitions: Coalitions, permutations: Permutations | None = None
) -> Float[np.ndarray, "player coalition"]:
    """The weights with which what coalitions are worth adds up to what each player is worth.

    Args:
        coalitions: All sets of the players, or at least those that the orders pass through.
        permutations: The orders that values are estimated from; None takes the exact values of all coalitions.
    """
    n = coalitions.shape[1]
    place = _places(coalitions)
    weights = np.zeros((n, len(coalitions)))
    if permutations is not None:
        at = _looked_up(place, _passed(permutations))  # (permutation, step) from nobody to everybody
        # a player adds the coalition that it completes, less the one that it finds
        np.add.at(weights, (permutations, at[:, 1:]), 1 / len(permutations))
        np.add.at(weights, (permutations, at[:, :-1]), -1 / len(permutations))
        return weights
    sizes = coalitions.sum(1)
    for player in range(n):
        without = np.flatnonzero(~coalitions[:, player])
        joined = coalitions[without]
        joined[:, player] = True
        # s! (n - s - 1)! / n! = 1 / (n C(n - 1, s))
        share = np.array([1 / (n * comb(n - 1, int(s))) for s in sizes[without]])
        weights[player, _looked_up(place, joined)] = share
        weights[player, without] = -share
    return weights


def permutation_errors(
    coalitions: Coalitions, worth: Float[np.ndarray, "coalition task"], permutations: Permutations
) -> Float[np.ndarray, "player task"]:
    """Standard errors of values that are estimated from orders, over pairs of orders.

    Args:
        coalitions: The coalitions that the orders pass through, among others.
        worth: What each coalition is worth.
        permutations: The orders, each pair one after the other.
    """
    at = _looked_up(_places(coalitions), _passed(permutations))
    added = np.empty((*permutations.shape, worth.shape[1]))
    every = np.arange(len(permutations))[:, None]
    added[every, permutations] = worth[at[:, 1:]] - worth[at[:, :-1]]
    pairs = added.reshape(-1, 2, *added.shape[1:]).mean(1)  # (pair, player, task)
    return pairs.std(0, ddof=1) / np.sqrt(len(pairs))


def interaction_weights(coalitions: Coalitions) -> Float[np.ndarray, "player player coalition"]:
    """The weights with which what coalitions are worth adds up to the interaction of two players; 0 for the same.

    Args:
        coalitions: All sets of the players.
    """
    n = coalitions.shape[1]
    place = _places(coalitions)
    weights = np.zeros((n, n, len(coalitions)))
    sizes = coalitions.sum(1)
    for one in range(n):
        for other in range(one + 1, n):
            neither = np.flatnonzero(~coalitions[:, one] & ~coalitions[:, other])
            # s! (n - s - 2)! / (n - 1)! = 1 / ((n - 1) C(n - 2, s))
            share = np.array([1 / ((n - 1) * comb(n - 2, int(s))) for s in sizes[neither]])
            for joining, sign in (([], 1), ([one], -1), ([other], -1), ([one, other], 1)):
                joined = coalitions[neither]
                joined[:, joining] = True
                weights[one, other, _looked_up(place, joined)] = sign * share
            weights[other, one] = weights[one, other]
    return weights


def number_of(coalitions: Coalitions, wanted: Bool[np.ndarray, "wanted player"]) -> Int[np.ndarray, " wanted"]:
    """Where coalitions are among others.

    Args:
        coalitions: Coalitions, each once.
        wanted: Some of them.
    """
    return _looked_up(_places(coalitions), wanted)


def _passed(permutations: Permutations) -> Bool[np.ndarray, "permutation step player"]:
    """The n + 1 coalitions of every order: step k holds the first k players."""
    rank = np.argsort(permutations, axis=1)  # at which step each player comes
    return rank[:, None, :] < np.arange(permutations.shape[1] + 1)[:, None]


def _places(coalitions: Coalitions) -> dict[bytes, int]:
    return {row.tobytes(): number for number, row in enumerate(coalitions)}


def _looked_up(place: dict[bytes, int], wanted: Bool[np.ndarray, "*some player"]) -> Int[np.ndarray, "*some"]:
    rows = wanted.reshape(-1, wanted.shape[-1])
    return np.array([place[row.tobytes()] for row in rows], dtype=int).reshape(wanted.shape[:-1])
