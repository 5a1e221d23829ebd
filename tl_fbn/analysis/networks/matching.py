"""Which network of one atlas is which of another: a one-to-one assignment of maps.

The Hungarian algorithm finds the pairing of largest total \\|correlation\\| of maps (of Dice where an atlas has none). Chance is that of maps whose
units are shuffled within layers and paired in the same way, so that picking the best partner among many is in the null too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.analysis.networks.shuffles import atlas_rows, shuffle_within_layers
from tl_fbn.units import Atlas
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class Matching(TableResult, step="comparison"):
    """One line a pair of networks, best first: a, b, correlation (signed), dice, p (share of shuffled atlases whose best pair is
    as good: corrected for the number of pairs)."""

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Networks of two atlases were paired one to one by the largest sum of absolute correlations; p is the share of {about['n_null']:,} atlases with "
            f"units shuffled within layers whose best pair is as good (seed {about['seed']})."
        ]

    def __repr__(self) -> str:
        found = np.count_nonzero(self.table["p"] < 0.05)
        return f"Matching of {len(self)} pairs of networks: {found} more alike than by chance (p < .05, corrected)"


def match_networks(a: Atlas, b: Atlas, *, seed: int, n_null: int = 200) -> Matching:
    """Pair the networks of two atlases.

    ::

        pairs = fbn.networks.match_networks(atlas, other_atlas, seed=0)

    Args:
        a: An atlas.
        b: Another, in the same space.
        seed: Seed of the shuffled atlases.
        n_null: Number of shuffled atlases.

    Returns:
        One line a pair, best first; :class:`Matching` says which columns.

    Raises:
        InputError: Atlases of different spaces.
    """
    a.space.require_same(b.space, "match")
    left = atlas_rows(a)
    right = atlas_rows(b)
    r = left @ right.T
    rows, columns = linear_sum_assignment(-np.abs(r))
    rng = np.random.default_rng(seed)
    best = np.array([np.abs(left[:, shuffle_within_layers(a.space, rng)] @ right.T).max() for _ in range(n_null)])
    names_a = list(a)
    names_b = list(b)
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
    order = np.argsort(-table["correlation"].abs().to_numpy(), kind="stable")
    about = {"seed": seed, "n_null": n_null, "first": dict(a.provenance), "second": dict(b.provenance)}
    return Matching(table.iloc[order].reset_index(drop=True), about)
