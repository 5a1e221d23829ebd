"""Do maps of one thing, made by different methods, point at the same units? Every pair of maps is compared.

::

    fbn.concordance({"glm": contrast.t, "cgvst": scores, "ica": atlas}, seed=0).to_dataframe()

Each pair is compared twice, each time beside what chance gives within layers:

- whole maps, by Pearson's correlation over units; the null shuffles the units of one of the two maps within layers
  (``n_null`` times), and ``p = (1 + shuffles at least as extreme) / (1 + shuffles)``, two-sided;
- their strongest units, by the Dice coefficient; its p is the exact one of :mod:`.overlap`, for random networks with
  as many units in each layer.

An atlas takes part with the one of its networks that correlates best with the other map. Choosing the best of many is
in both p: each shuffle chooses its best network too, and the p of Dice is multiplied by the number of choices
(Bonferroni).

p values are of single pairs and not corrected for the number of pairs. Cost: ``n_null`` products of the maps for each
pair. Maps must share one unit space: methods can be compared here, models cannot (:mod:`.fingerprint` does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.analysis.networks.shuffles import atlas_rows, rows_of_norm_one, shuffle_within_layers
from tl_fbn.arguments import share
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace
from tl_fbn.units.prose import P_FORMULA
from tl_fbn.units.result import TableResult
from tl_fbn.units.ties import without_infinity


@dataclass(frozen=True, eq=False)
class Concordance(TableResult, step="comparison", picture="concordance"):
    """Every pair of several methods' maps, compared by correlation and by their strongest units.

    >>> found = fbn.concordance({"glm": contrast.t, "ica": atlas}, seed=0, n_null=99)
    >>> list(found.table.columns)
    ['a', 'b', 'correlation', 'p_correlation', 'dice', 'expected', 'p_dice', 'network']
    >>> found.table["network"].item()  # the network of the atlas that is most like the map of t
    'N04'

    Args:
        table: One line a pair of maps: a and b (their names), correlation (Pearson over units, with its sign, whatever
            the kind of map), p_correlation (two-sided, from shuffles within layers), dice (of their strongest units),
            expected (Dice by chance, with layers matched), p_dice (exact, layer-matched; multiplied by the number of
            networks where an atlas takes part), network (name of the atlas' network that was compared; empty where no
            atlas takes part).
        provenance: Seed, share of units in a network, number of shuffles, and under ``"of"`` the provenance of each
            map.
    """

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"{len(self)} pairs of maps were compared by correlation, against {about['n_null']:,} shuffles of one of "
            f"the two within layers ({P_FORMULA}; "
            f"seed {about['seed']}), and by the overlap of their strongest {about['top']:.3g} of units, with its exact "
            "layer-matched p."
        ]

    def _report_sections_(self) -> list[dict[str, object]]:
        text = (
            "Every two maps: their correlation, and the overlap of their strongest units beside what chance gives in "
            "the same layers."
        )
        return [{"title": "Do maps agree?", "text": text, "picture": "concordance", "table": self.table}]

    def __repr__(self) -> str:
        agreed = np.count_nonzero((self.table["p_correlation"] < 0.05) & (self.table["p_dice"] < 0.05))
        return (
            f"Concordance of {len(self)} pairs of maps: {agreed} agree beyond chance in correlation and in overlap "
            "(p < .05)"
        )


@checked
def concordance(
    maps: Mapping[str, UnitMap | Atlas], *, seed: int, top: float = 0.05, n_null: int = 1000
) -> Concordance:
    """Compare every pair of maps of one thing, made by different methods: do they point at the same units?

    Are the units whose activity tells sorting from reversing those that gradients or ICA find in the same model?

    >>> scores = fbn.cgvst(model, fbn.chats("sort", n=8), progress=False)
    >>> found = fbn.concordance({"glm": contrast.t, "cgvst": scores, "ica": atlas}, seed=0, n_null=99)
    >>> found
    Concordance of 3 pairs of maps: 1 agree beyond chance in correlation and in overlap (p < .05)
    >>> found.table[["a", "b", "correlation", "p_correlation"]].round(2)
           a      b  correlation  p_correlation
    0    glm  cgvst         0.02           0.33
    1    glm    ica         0.27           0.01
    2  cgvst    ica         0.32           0.01

    Args:
        maps: Name to map, at least two in one space. An atlas takes part with the one of its networks that correlates
            best with the other map, and the null chooses the best of as many. Units without a value (NaN) in either
            map are left out of a correlation and of the network of their map; an infinite value counts as the largest
            finite one.
        seed: Seed of the shuffles; the same seed gives the same p.
        top: Share of units, between 0 and 1, that makes the network of a map for Dice: those with the largest
            \\|values\\| of signed maps (:attr:`tl_fbn.UnitMap.signed`), with the largest values of others. Networks of
            an atlas keep the members they have.
        n_null: Number of shuffles of one of the two maps within layers. The smallest possible p is
            ``1 / (1 + n_null)``.

    Returns:
        One line a pair; :class:`Concordance` says which columns.

    Raises:
        InputError: Fewer than two maps, maps in different spaces, fewer units with a value than the share asks for, or
            two maps without a unit that has a value in both.
    """
    share(top, "top")
    if len(maps) < 2:
        raise InputError(f"concordance compares at least two maps; got {len(maps)}")
    sources = {name: _MapsOfMethod.from_map_or_atlas(source, top) for name, source in maps.items()}
    spaces = [source.space for source in sources.values()]
    for space in spaces[1:]:
        spaces[0].require_same(space, "compare")
    rng = np.random.default_rng(seed)
    lines = []
    for (name_a, a), (name_b, b) in combinations(sources.items(), 2):
        # over units that have a value in all of these maps
        known = a.known & b.known
        if not known.any():
            raise InputError(f"no unit has a value both in {name_a!r} and in {name_b!r}; compare other maps")
        widths = np.bincount(spaces[0].layer_of[known], minlength=spaces[0].n_layers)
        compared = UnitSpace("compared", tuple(widths.tolist()))
        # rows are centred and of norm 1, so that their products are Pearson's correlations: (map of a, map of b)
        rows_a, rows_b = (rows_of_norm_one(one.values[:, known]) for one in (a, b))
        r = rows_a @ rows_b.T
        best = np.unravel_index(np.abs(r).argmax(), r.shape)
        observed = float(r[best])
        n_as_extreme = 0
        # shuffling either side gives the same null: the side with fewer maps is cheaper to copy
        few, many = (rows_a, rows_b) if len(rows_a) <= len(rows_b) else (rows_b, rows_a)
        for _ in range(n_null):
            shuffled = few[:, shuffle_within_layers(compared, rng)]
            # the best pair of each shuffle, as the observed one is; 1e-9 lets a shuffle that changes nothing count
            n_as_extreme += int(np.abs(shuffled @ many.T).max() >= abs(observed) * (1 - 1e-9))
        pair = a.networks[best[0]], b.networks[best[1]]
        # Dice, its expectation and its p are exact: the sampled null of the overlap is not looked at
        strongest = overlap(*pair, seed=seed, n_null=1)
        lines.append(
            {
                "a": name_a,
                "b": name_b,
                "correlation": observed,
                "p_correlation": (1 + n_as_extreme) / (1 + n_null),
                "dice": strongest.dice,
                "expected": strongest.expected,
                "p_dice": min(1.0, strongest.p * r.size),  # Bonferroni: the pair was chosen among r.size
                "network": ", ".join(
                    network.name for network, source in zip(pair, (a, b), strict=True) if len(source.networks) > 1
                ),
            }
        )
    origin = {name: dict(source.provenance) for name, source in maps.items()}
    return Concordance(pd.DataFrame(lines), {"seed": seed, "top": top, "n_null": n_null, "of": origin})


@dataclass(frozen=True, eq=False)
class _MapsOfMethod:
    """The maps of one method (one, or those of an atlas), and the network of each."""

    space: UnitSpace
    values: Float[np.ndarray, "map unit"]
    networks: list[Network]

    @classmethod
    def from_map_or_atlas(cls, source: UnitMap | Atlas, top: float) -> _MapsOfMethod:
        if isinstance(source, UnitMap):
            return cls(source.space, without_infinity(source.values)[None], [source.top(top, two_sided=None)])
        return cls(source.space, atlas_rows(source), list(source.values()))

    @property
    def known(self) -> Bool[np.ndarray, " unit"]:
        """(unit,) True for units that have a value (NaN is none: the unit never varies, or a score rules it out)."""
        return np.asarray(~np.isnan(self.values).any(0))
