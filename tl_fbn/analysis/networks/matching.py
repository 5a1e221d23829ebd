"""Which network of one atlas is which of another: a one-to-one assignment of maps.

The Hungarian algorithm finds the pairing of largest total \\|correlation\\| of maps (of Dice where an atlas has none). Chance is that of maps whose
units are shuffled within layers and paired in the same way, so that picking the best partner among many is in the null too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from tl_fbn.analysis.networks.overlap import atlas_rows, overlap, shuffle_within_layers
from tl_fbn.units import Atlas


def match_networks(a: Atlas, b: Atlas, *, seed: int, n_null: int = 200) -> pd.DataFrame:
    """Pair the networks of two atlases.

    ::

        pairs = fbn.match_networks(atlas, other_atlas, seed=0)

    Args:
        a: An atlas.
        b: Another, in the same space.
        seed: Of the null.
        n_null: Its draws.

    Returns:
        One line a pair, best first: a, b, correlation (signed), dice, p (share of shuffled atlases whose best pair is as good: corrected for the number of
        pairs).

    Raises:
        ValueError: Atlases of different spaces.
    """
    a.space.require_same(b.space, "match")
    left, right = atlas_rows(a), atlas_rows(b)
    r = left @ right.T
    rows, columns = linear_sum_assignment(-np.abs(r))
    rng = np.random.default_rng(seed)
    best = np.array([np.abs(left[:, shuffle_within_layers(a.space, rng)] @ right.T).max() for _ in range(n_null)])
    names_a, names_b = list(a), list(b)
    lines = [
        {
            "a": names_a[i],
            "b": names_b[j],
            "correlation": float(r[i, j]),
            "dice": overlap(a[names_a[i]], b[names_b[j]], seed=seed, n_null=1).dice,
            "p": (1.0 + float((best >= abs(r[i, j])).sum())) / (1.0 + n_null),
        }
        for i, j in zip(rows, columns, strict=True)
    ]
    table = pd.DataFrame(lines)
    return table.iloc[np.argsort(-table["correlation"].abs().to_numpy(), kind="stable")].reset_index(drop=True)
