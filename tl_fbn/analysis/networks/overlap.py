"""How far two networks, or two maps, agree, and how far chance would have them agree.

Chance is *layer-matched*: as many units in each layer as the networks have, drawn anew. Task maps pile up in some layers
whatever the task, so chance over all units would call every pair of maps alike. Of two networks with ``n_a`` and ``n_b`` units in
a layer of ``F``, the number shared by chance is hypergeometric; over layers these add up, which gives the expectation and
the exact p. ``null`` holds sampled Dice coefficients of the same chance, for pictures and as a check.

``concordance`` asks the same of several methods' maps of one thing: the GLM's, ICA's, the gradient's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn.units import Network, html_table
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class Overlap(Result, step="comparison"):
    """Two networks against each other and against chance.

    Args:
        a: Name of the first.
        b: Name of the second.
        sizes: Their numbers of units.
        shared: Units in both.
        expected_shared: By chance, with layers matched.
        p: Chance of at least as many shared units, exact.
        null: (draw,) Dice coefficients of layer-matched random networks.
        provenance: Seed, and where the two networks came from.
    """

    a: str
    b: str
    sizes: tuple[int, int]
    shared: int
    expected_shared: float
    p: float
    null: Float[np.ndarray, " draw"] = field(repr=False)
    provenance: Provenance = field(default_factory=dict)

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

    def _methods_(self) -> list[str]:
        return [
            f"Overlap of {self.a} and {self.b} was compared with {len(self.null):,} random pairs that take as many units from every layer ({P_FORMULA}; "
            f"seed {self.provenance.get('seed', NOT_RECORDED)})."
        ]

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
        seed: Seed of the random draws of the null; the same seed gives the same null.
        n_null: Number of random pairs of networks drawn for the null.

    Raises:
        InputError: Networks in different spaces.
    """
    a.space.require_same(b.space, "compare")
    counts_a = a.per_layer()
    counts_b = b.per_layer()
    widths = np.array(a.space.widths)
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
    about = {"seed": seed, "first": dict(a.provenance), "second": dict(b.provenance)}
    return Overlap(a.name, b.name, (len(a), len(b)), shared, expected, _p_shared(shared, a, b), null, about)


def _p_shared(shared: int, a: Network, b: Network) -> float:
    """P(at least so many shared) of a sum of hypergeometric numbers, one a layer."""
    pmf = np.ones(1)
    for n_a, n_b, width in zip(a.per_layer(), b.per_layer(), a.space.widths, strict=True):
        if n_a and n_b:
            # the distribution of a sum of independent numbers is the convolution of theirs
            pmf = np.convolve(pmf, stats.hypergeom.pmf(np.arange(min(n_a, n_b) + 1), width, n_a, n_b))
    return float(min(1.0, pmf[shared:].sum()))


def _ratio(part: int | float, whole: int | float) -> float:
    return part / whole if whole else float("nan")
