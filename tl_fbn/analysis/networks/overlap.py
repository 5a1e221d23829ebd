"""How far two networks, or two maps, agree, and how far chance would have them agree.

Chance is *layer-matched*: as many units in each layer as the networks have, drawn anew. Task maps pile up in some layers
whatever the task, so chance over all units would call every pair of maps alike. Of two networks with ``n_a`` and ``n_b`` units in
a layer of ``F``, the number shared by chance is hypergeometric; over layers these add up, which gives the expectation and
the exact p. ``null`` holds sampled Dice coefficients of the same chance, for pictures and as a check.

``concordance`` asks the same of several methods' maps of one thing: the GLM's, ICA's, the gradient's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn import files
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace, html_table

_SIGNED = {"t", "z", "effect", "loading", "correlation", "weight"}


@dataclass(frozen=True, eq=False)
class Overlap:
    """Two networks against each other and against chance.

    Args:
        a: Name of the first.
        b: Name of the second.
        sizes: Their numbers of units.
        shared: Units in both.
        expected_shared: By chance, with layers matched.
        p: Chance of at least as many shared units, exact.
        null: (draw,) Dice coefficients of layer-matched random networks.
    """

    a: str
    b: str
    sizes: tuple[int, int]
    shared: int
    expected_shared: float
    p: float
    null: Float[np.ndarray, " draw"] = field(repr=False)

    @property
    def dice(self) -> float:
        """Twice the shared units over the sum of sizes; NaN for two empty networks."""
        return _ratio(2 * self.shared, sum(self.sizes))

    @property
    def jaccard(self) -> float:
        """Shared units over units in either."""
        return _ratio(self.shared, sum(self.sizes) - self.shared)

    @property
    def coefficient(self) -> float:
        """Shared units over the smaller network (Szymkiewicz and Simpson)."""
        return _ratio(self.shared, min(self.sizes))

    @property
    def expected(self) -> float:
        """Dice by chance, with layers matched."""
        return _ratio(2 * self.expected_shared, sum(self.sizes))

    def to_dataframe(self) -> pd.DataFrame:
        """One line."""
        names = ("a", "b", "shared", "dice", "jaccard", "coefficient", "expected", "expected_shared", "p")
        line = {name: getattr(self, name) for name in names}
        return pd.DataFrame([line | {"size_a": self.sizes[0], "size_b": self.sizes[1]}])

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        about = {name: getattr(self, name) for name in ("a", "b", "sizes", "shared", "expected_shared", "p")}
        files.write_result(path, "Overlap", {"null": self.null}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Overlap:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "Overlap")
        return cls(**{**arrays, **about, "sizes": tuple(about["sizes"])})

    def __repr__(self) -> str:
        return (
            f"Overlap of {self.a} ({self.sizes[0]:,} units) and {self.b} ({self.sizes[1]:,}): Dice {self.dice:.3f}, by chance "
            f"{self.expected:.3f} (p {self.p:.2g}); Jaccard {self.jaccard:.3f}; {self.shared:,} shared"
        )

    def _repr_html_(self) -> str:
        row = [f"{x:.3g}" if isinstance(x, float) else x for x in self.to_dataframe().iloc[0]]
        return html_table(repr(self), tuple(self.to_dataframe().columns), [tuple(row)])


def overlap(a: Network, b: Network, *, seed: int, n_null: int = 1000) -> Overlap:
    """Compare two networks.

    >>> space = UnitSpace("mlp.neurons", (10, 10))
    >>> overlap(Network.from_indices(space, range(4)), Network.from_indices(space, range(2, 6)), seed=0).dice
    0.5

    Args:
        a: A network.
        b: Another, in the same space.
        seed: Of the sampled null.
        n_null: Its draws.

    Raises:
        ValueError: Networks in different spaces.
    """
    a.space.require_same(b.space, "compare")
    counts_a, counts_b, widths = a.per_layer(), b.per_layer(), np.array(a.space.widths)
    shared = int((a.members & b.members).sum())
    filled = widths > 0
    expected = float((counts_a[filled] * counts_b[filled] / widths[filled]).sum())
    rng = np.random.default_rng(seed)
    drawn = sum(
        (rng.hypergeometric(n_a, width - n_a, n_b, n_null) if n_b else np.zeros(n_null))
        for n_a, n_b, width in zip(counts_a, counts_b, widths, strict=True)
    )
    total = len(a) + len(b)
    null = 2.0 * np.asarray(drawn, dtype=float) / total if total else np.full(n_null, np.nan)
    return Overlap(a.name, b.name, (len(a), len(b)), shared, expected, _p_shared(shared, a, b), null)


def _p_shared(shared: int, a: Network, b: Network) -> float:
    """P(at least so many shared) of a sum of hypergeometric numbers, one a layer."""
    pmf = np.ones(1)
    for n_a, n_b, width in zip(a.per_layer(), b.per_layer(), a.space.widths, strict=True):
        if n_a and n_b:
            pmf = np.convolve(pmf, stats.hypergeom.pmf(np.arange(min(n_a, n_b) + 1), width, n_a, n_b))
    return float(min(1.0, pmf[shared:].sum()))


def concordance(
    maps: Mapping[str, UnitMap | Atlas], *, seed: int, top: float = 0.05, n_null: int = 1000
) -> pd.DataFrame:
    """Every pair of maps of one thing, made by different methods: do they point at the same units?

    ::

        fbn.concordance({"glm": contrast.t, "cgvst": scores}, seed=0)

    Args:
        maps: Name to map. Of an atlas its best network for the other map counts, and best-of-many in the null too.
        seed: Of the null.
        top: Share of units that makes a network of a map, for Dice: the largest \\|values\\| of signed kinds (t, z, effect,
            loading), the largest values of others.
        n_null: Draws: one of the two maps is shuffled within layers.

    Returns:
        One line a pair: a, b, correlation (Pearson, of signed kinds too), p_correlation (two-sided), dice, expected (dice by chance), p_dice
        (exact, layer-matched; for an atlas times its number of networks), network (the atlas' best).

    Raises:
        ValueError: Fewer than two maps, or maps in different spaces.
    """
    if len(maps) < 2:
        raise ValueError(f"concordance compares at least two maps; got {len(maps)}")
    items = {name: _Maps.of(thing, top) for name, thing in maps.items()}
    spaces = [item.space for item in items.values()]
    for space in spaces[1:]:
        spaces[0].require_same(space, "compare")
    rng = np.random.default_rng(seed)
    lines = []
    for (name_a, a), (name_b, b) in combinations(items.items(), 2):
        r = a.values @ b.values.T
        best = np.unravel_index(np.abs(r).argmax(), r.shape)
        observed, reached = float(r[best]), 0
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
    return pd.DataFrame(lines)


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
            return cls(thing.space, _of_norm_one(values[None]), [clean.top(top, two_sided=thing.kind in _SIGNED)])
        return cls(thing.space, atlas_rows(thing), list(thing.values()))


def atlas_rows(atlas: Atlas) -> Float[np.ndarray, "map unit"]:
    """The maps of an atlas (memberships where it has none), each centred and of norm 1."""
    maps = [one.members for one in atlas.values()] if atlas.maps is None else atlas.maps
    return _of_norm_one(np.array(maps, dtype=float))


def _of_norm_one(values: Float[np.ndarray, "map unit"]) -> Float[np.ndarray, "map unit"]:
    centred = values - values.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norms > 0, norms, 1.0)


def shuffle_within_layers(space: UnitSpace, rng: np.random.Generator) -> np.ndarray:
    """A random order of units that keeps each in its layer."""
    order = np.arange(space.n_units)
    for layer in range(space.n_layers):
        rng.shuffle(order[space.layer_slice(layer)])
    return order


def _ratio(part: int | float, whole: int | float) -> float:
    return part / whole if whole else float("nan")
