"""Overlap of every two networks (Dice), and the overlap that layer-matched random sets are expected to have.

The Dice coefficient of the sets A and B is ``2 |A & B| / (|A| + |B|)``: 0 where they share no unit, 1 where they are
equal. Two random sets with ``a_l`` and ``b_l`` units in layer ``l`` of width ``w_l`` are expected to share
``E|A & B| = sum_l a_l b_l / w_l`` units, so that their expected Dice is
``2 E|A & B| / (|A| + |B|)``: the sizes are fixed. An expectation is no test: :func:`tl_fbn.overlap` gives an exact p.

Cost: one product of a (network, unit) by a (unit, network) matrix in each layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.units.network import Network

Pairwise = Float[np.ndarray, "network network"]


def dice_of_all(networks: Mapping[str, Network]) -> tuple[Pairwise, Pairwise, Pairwise]:
    """Shared units, Dice and expected Dice of every two networks.

    >>> from tl_fbn.units.dice import dice_of_all
    >>> parts = {"+": contrast.threshold(top=0.05).positive(), "all": contrast.threshold(top=0.05)}
    >>> shared, dice, chance = dice_of_all(parts)
    >>> dice.round(2).tolist()
    [[1.0, 0.48], [0.48, 1.0]]

    Args:
        networks: Names to networks of one space.

    Returns:
        Three (network, network) arrays: numbers of shared units; Dice; the Dice expected of random sets with as many
        units in each layer. Both Dice are NaN where both networks are empty.
    """
    n = len(networks)
    shared = np.zeros((n, n))
    expected = np.zeros((n, n))
    sizes = np.array([len(network) for network in networks.values()], dtype=np.float64)
    for parts in zip(*(network.by_layer() for network in networks.values()), strict=True):  # one layer of all networks
        inside = np.array(parts, dtype=np.float32)  # (network, unit of the layer) 1 for a member
        counts = inside.sum(1, dtype=np.float64)
        shared += inside @ inside.T  # sums of ones, exact in float32 up to 2^24 units a layer
        expected += np.outer(counts, counts) / max(inside.shape[1], 1)  # a_l b_l / w_l
    together = sizes[:, None] + sizes  # |A| + |B|
    together[together == 0] = np.nan
    return shared, 2 * shared / together, 2 * expected / together


def dice_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One line for every two networks: a, b, shared (units), dice, chance (Dice expected of layer-matched random sets).

    Args:
        networks: Names to networks of one space.
    """
    shared, dice, chance = dice_of_all(networks)
    names = list(networks)
    lines = [
        (names[i], names[j], int(shared[i, j]), float(dice[i, j]), float(chance[i, j]))
        for i, j in combinations(range(len(names)), 2)
    ]
    return pd.DataFrame(lines, columns=["a", "b", "shared", "dice", "chance"])
