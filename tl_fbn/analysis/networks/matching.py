"""Which network of one atlas is which of another: a one-to-one assignment of their maps.

With r(i, j) the correlation over units of map i of the first atlas with map j of the second, the Hungarian algorithm
finds the pairing with the largest sum of \\|r\\|. The sign does not count, as the sign of an ICA map is a convention.
Where an atlas has no maps, its networks' memberships (0 and 1) take their place. If one atlas has more networks than
the other, some of its networks stay without a partner.

Chance: the units of all maps of the first atlas are shuffled within layers, ``n_null`` times. The p of a pair is

    p = (1 + shuffles whose largest \\|r\\| of any two networks reaches the pair's) / (1 + shuffles)

so that picking the best partner among many is in the null too: p is corrected for the number of pairs.

Both atlases must share one unit space. Cost: ``n_null`` products (network, unit) x (unit, network).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.analysis.networks.shuffles import atlas_rows, shuffle_within_layers
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class Matching(TableResult, step="comparison"):
    """Which network of one atlas is which of another.

    >>> found = fbn.networks.match_networks(atlas, atlas, seed=0, n_null=99)
    >>> found
    Matching of 8 pairs of networks: 8 more alike than by chance (p < .05, corrected)
    >>> found.to_dataframe()[["correlation", "dice", "p"]].head(1).round(2)
       correlation  dice     p
    0          1.0   1.0  0.01

    Args:
        table: One line a pair of networks, best first: a (of the first atlas), b (of the second), correlation (of their
            maps over units, with its sign), dice (of their members), p (share of shuffled atlases whose best pair is as
            good, so that it is corrected for the number of pairs).
        provenance: Seed, number of shuffled atlases, and where the two atlases came from.
    """

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            "Networks of two atlases were paired one to one by the largest sum of absolute correlations; p is the "
            f"share of {about['n_null']:,} atlases with "
            f"units shuffled within layers whose best pair is as good (seed {about['seed']})."
        ]

    def __repr__(self) -> str:
        found = np.count_nonzero(self.table["p"] < 0.05)
        return f"Matching of {len(self)} pairs of networks: {found} more alike than by chance (p < .05, corrected)"


@checked
def match_networks(a: Atlas, b: Atlas, *, seed: int, n_null: int = 200) -> Matching:
    """Pair the networks of two atlases one to one, by the correlation of their maps.

    Does another seed of the decomposition find the same networks?

    >>> again = fbn.find_networks(recording, n_components=8, n_restarts=3, n_null=0, seed=1, progress=False)
    >>> fbn.networks.match_networks(atlas, again, seed=0, n_null=99)
    Matching of 8 pairs of networks: 8 more alike than by chance (p < .05, corrected)

    Args:
        a: The first atlas, whose units are shuffled for the null.
        b: The second atlas, in the same space. The numbers of networks may differ.
        seed: Seed of the shuffles; the same seed gives the same p.
        n_null: Number of shuffled atlases. The smallest possible p is ``1 / (1 + n_null)``.

    Returns:
        One line a pair, best first; :class:`Matching` says which columns.

    Raises:
        InputError: Atlases of different spaces.
    """
    a.space.require_same(b.space, "match")
    left = atlas_rows(a)
    right = atlas_rows(b)
    r = left @ right.T  # rows are centred and of norm 1: Pearson's correlations (network of a, network of b)
    # the assignment minimises a sum, here that of -|r|
    rows, columns = linear_sum_assignment(-np.abs(r))
    rng = np.random.default_rng(seed)
    # (shuffle,) the largest |r| of any pair, whether or not the best assignment would choose it
    best = np.array([np.abs(left[:, shuffle_within_layers(a.space, rng)] @ right.T).max() for _ in range(n_null)])
    names_a = list(a)
    names_b = list(b)
    lines = [
        {
            "a": names_a[i],
            "b": names_b[j],
            "correlation": float(r[i, j]),
            # the null of the overlap is not looked at
            "dice": overlap(a[names_a[i]], b[names_b[j]], seed=seed, n_null=1).dice,
            "p": (1.0 + float((best >= abs(r[i, j])).sum())) / (1.0 + n_null),
        }
        for i, j in zip(rows, columns, strict=True)
    ]
    table = pd.DataFrame(lines)
    # stable: pairs that are equally good stay in the order of the first atlas
    order = np.argsort(-table["correlation"].abs().to_numpy(), kind="stable")
    about = {"seed": seed, "n_null": n_null, "first": dict(a.provenance), "second": dict(b.provenance)}
    return Matching(table.iloc[order].reset_index(drop=True), about)
