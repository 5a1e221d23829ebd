"""Do maps of one thing, made by different methods, point at the same units? Every pair, beside layer-matched chance.

    fbn.concordance({"glm": contrast.t, "cgvst": scores, "ica": atlas}, seed=0).to_dataframe()

Maps are compared whole, by correlation (null: one of the two shuffled within layers), and by their strongest units, by Dice (exact layer-matched p).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.analysis.networks.shuffles import atlas_rows, rows_of_norm_one, shuffle_within_layers
from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace
from tl_fbn.units.prose import P_FORMULA
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class Concordance(TableResult, step="comparison", picture="concordance"):
    """Every pair of maps: a, b, correlation (Pearson, of signed kinds too), p_correlation (two-sided), dice, expected (Dice by
    chance), p_dice (exact, layer-matched; for an atlas times its number of networks), network (the atlas' best)."""

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"{len(self)} pairs of maps were compared by correlation, against {about['n_null']:,} shuffles of one of the two within layers ({P_FORMULA}; "
            f"seed {about['seed']}), and by the overlap of their strongest {about['top']:.3g} of units, with its exact layer-matched p."
        ]

    def _report_sections_(self) -> list[dict[str, object]]:
        text = "Every two maps: their correlation, and the overlap of their strongest units beside what chance gives in the same layers."
        return [{"title": "Do maps agree?", "text": text, "picture": "concordance", "table": self.table}]

    def __repr__(self) -> str:
        agreed = np.count_nonzero((self.table["p_correlation"] < 0.05) & (self.table["p_dice"] < 0.05))
        return f"Concordance of {len(self)} pairs of maps: {agreed} agree beyond chance in correlation and in overlap (p < .05)"


def concordance(
    maps: Mapping[str, UnitMap | Atlas], *, seed: int, top: float = 0.05, n_null: int = 1000
) -> Concordance:
    """Every pair of maps of one thing, made by different methods: do they point at the same units?

    ::

        fbn.concordance({"glm": contrast.t, "cgvst": scores}, seed=0)

    Args:
        maps: Name to map. Of an atlas its best network for the other map counts, and best-of-many in the null too.
        seed: Seed of the shuffled maps.
        top: Share of units that makes a network of a map, for Dice: the largest \\|values\\| of signed maps
            (:attr:`tl_fbn.UnitMap.signed`), the largest values of others.
        n_null: Number of shuffles of one of the two maps, within layers.

    Returns:
        One line a pair; :class:`Concordance` says which columns.

    Raises:
        InputError: Fewer than two maps, or maps in different spaces.
    """
    if len(maps) < 2:
        raise InputError(f"concordance compares at least two maps; got {len(maps)}")
    items = {name: _Maps.of(thing, top) for name, thing in maps.items()}
    spaces = [item.space for item in items.values()]
    for space in spaces[1:]:
        spaces[0].require_same(space, "compare")
    rng = np.random.default_rng(seed)
    lines = []
    for (name_a, a), (name_b, b) in combinations(items.items(), 2):
        r = a.values @ b.values.T
        best = np.unravel_index(np.abs(r).argmax(), r.shape)
        observed = float(r[best])
        reached = 0
        few, many = (a, b) if len(a.values) <= len(b.values) else (b, a)
        for _ in range(n_null):
            shuffled = few.values[:, shuffle_within_layers(spaces[0], rng)]
            reached += int(np.abs(shuffled @ many.values.T).max() >= abs(observed) * (1 - 1e-9))
        pair = a.networks[best[0]], b.networks[best[1]]
        one = overlap(*pair, seed=seed, n_null=1)
        lines.append(
            {
                "a": name_a,
                "b": name_b,
                "correlation": observed,
                "p_correlation": (1 + reached) / (1 + n_null),
                "dice": one.dice,
                "expected": one.expected,
                "p_dice": min(1.0, one.p * r.size),
                "network": ", ".join(
                    network.name for network, item in zip(pair, (a, b), strict=True) if len(item.networks) > 1
                ),
            }
        )
    origin = {name: dict(thing.provenance) for name, thing in maps.items()}
    return Concordance(pd.DataFrame(lines), {"seed": seed, "top": top, "n_null": n_null, "of": origin})


@dataclass(frozen=True, eq=False)
class _Maps:
    """Maps of one method, each centred and of norm 1, and the network of each."""

    space: UnitSpace
    values: Float[np.ndarray, "map unit"]
    networks: list[Network]

    @classmethod
    def of(cls, thing: UnitMap | Atlas, top: float) -> _Maps:
        if isinstance(thing, UnitMap):
            values = np.nan_to_num(thing.values.astype(float))
            clean = UnitMap(thing.space, values, thing.kind, thing.provenance)
            return cls(thing.space, rows_of_norm_one(values[None]), [clean.top(top, two_sided=None)])
        return cls(thing.space, atlas_rows(thing), list(thing.values()))
