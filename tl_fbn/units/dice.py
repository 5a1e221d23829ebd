"""How much sets of units share, and how much layer-matched random sets are expected to share.

Two random sets with ``a_l`` and ``b_l`` units in layer ``l`` of width ``w_l`` are expected to share ``E|A & B| = sum_l a_l b_l / w_l`` units, so their
expected Dice coefficient is ``2 E|A & B| / (|A| + |B|)``. An expectation is no test: :func:`tl_fbn.overlap` has the exact p.
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
    """Shared units, Dice, and the Dice that layer-matched random sets are expected to have, of every two networks.

    Args:
        networks: Names to networks of one space.

    Returns:
        Three (network, network) arrays; Dice is NaN where both networks are empty.
    """
    n = len(networks)
    shared = np.zeros((n, n))
    expected = np.zeros((n, n))
    sizes = np.array([len(network) for network in networks.values()], dtype=np.float64)
    for parts in zip(*(network.by_layer() for network in networks.values()), strict=True):  # layer by layer
        inside = np.array(parts, dtype=np.float32)
        counts = inside.sum(1, dtype=np.float64)
        shared += inside @ inside.T
        expected += np.outer(counts, counts) / max(inside.shape[1], 1)  # a_l b_l / w_l
    together = sizes[:, None] + sizes
    together[together == 0] = np.nan
    return shared, 2 * shared / together, 2 * expected / together


def dice_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One line a pair: a, b, shared (units in both), dice, chance (its expectation for layer-matched random sets)."""
    shared, dice, chance = dice_of_all(networks)
    names = list(networks)
    lines = [
        (names[i], names[j], int(shared[i, j]), float(dice[i, j]), float(chance[i, j]))
        for i, j in combinations(range(len(names)), 2)
    ]
    return pd.DataFrame(lines, columns=["a", "b", "shared", "dice", "chance"])
