"""How far two networks agree, and how far chance would have them agree.

For networks A and B: the Dice coefficient 2 \\|A and B\\| / (\\|A\\| + \\|B\\|), Jaccard's \\|A and B\\| /
\\|A or B\\|, and the coefficient of Szymkiewicz and Simpson, \\|A and B\\| / min(\\|A\\|, \\|B\\|).

Chance is *layer-matched*: random networks with as many units in each layer as the two have. Task maps pile up in some
layers whatever the task, so that chance over all units would call every pair of maps alike. If A and B have ``n_a`` and
``n_b`` units in a layer of ``F``, the number that they share by chance is hypergeometric, with mean ``n_a n_b / F``.
The sum over layers gives the expectation, and the convolution of the layers' distributions the exact p: the chance of
at least as many shared units. ``null`` holds Dice coefficients sampled from the same distribution, for pictures and as
a check.

Signs of units do not count. Cost: nothing that matters; ``n_null`` random numbers for each layer.

:func:`.concordance.concordance` asks the same of several methods' maps of one thing: the GLM's, ICA's, the gradient's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn.signatures import checked
from tl_fbn.units import Network, html_table
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class Overlap(Result, step="comparison"):
    """Two networks compared with each other, and their overlap with that of random networks.

    Do sorting and reversing differ from adding in the same units?

    >>> fit = fbn.fit_glm(recording)
    >>> networks = [fit.contrast(f"{task} - add").threshold(top=0.02) for task in ("sort", "reverse")]
    >>> found = fbn.networks.overlap(*networks, seed=0, n_null=99)
    >>> found.shared, found.sizes, round(found.expected_shared, 2)
    (20, (23, 23), 0.68)

    Args:
        a: Name of the first network.
        b: Name of the second network.
        sizes: Numbers of units of the first and of the second network.
        shared: Number of units that are in both.
        expected_shared: Mean number of shared units of random networks with as many units in each layer.
        p: Chance that such random networks share at least as many units; exact.
        null: (draw,) Dice coefficients of such random networks.
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
        """Dice coefficient: twice the shared units over the sum of sizes, 0 to 1; NaN for two empty networks."""
        return _ratio(2 * self.shared, sum(self.sizes))

    @property
    def jaccard(self) -> float:
        """Jaccard index: shared units over units that are in either network, 0 to 1; NaN for two empty networks."""
        return _ratio(self.shared, sum(self.sizes) - self.shared)

    @property
    def coefficient(self) -> float:
        """Szymkiewicz and Simpson's coefficient: share of the smaller network that is in both; NaN if it is empty."""
        return _ratio(self.shared, min(self.sizes))

    @property
    def expected(self) -> float:
        """Mean Dice coefficient of random networks with as many units in each layer; NaN for two empty networks."""
        return _ratio(2 * self.expected_shared, sum(self.sizes))

    def to_dataframe(self) -> pd.DataFrame:
        """One line: names, sizes, shared units, dice, jaccard, coefficient, what chance gives, and p."""
        names = ("a", "b", "shared", "dice", "jaccard", "coefficient", "expected", "expected_shared", "p")
        line = {name: getattr(self, name) for name in names}
        return pd.DataFrame([line | {"size_a": self.sizes[0], "size_b": self.sizes[1]}])

    def _methods_(self) -> list[str]:
        return [
            f"Overlap of {self.a} and {self.b} was compared with {len(self.null):,} random pairs that take as many "
            f"units from every layer ({P_FORMULA}; "
            f"seed {self.provenance.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        return (
            f"Overlap of {self.a} ({self.sizes[0]:,} units) and {self.b} ({self.sizes[1]:,}): Dice {self.dice:.3f}, by "
            f"chance {self.expected:.3f} (p {self.p:.2g}); Jaccard {self.jaccard:.3f}; {self.shared:,} shared"
        )

    def _repr_html_(self) -> str:
        row = [f"{x:.3g}" if isinstance(x, float) else x for x in self.to_dataframe().iloc[0]]
        return html_table(repr(self), tuple(self.to_dataframe().columns), [tuple(row)])


@checked
def overlap(a: Network, b: Network, *, seed: int, n_null: int = 1000) -> Overlap:
    """Compare two networks with each other, and their overlap with layer-matched chance.

    Are the neurons that gradients call important for sorting in a network that ICA found?

    >>> scores = fbn.cgvst(model, fbn.chats("sort", n=8), progress=False)
    >>> found = fbn.overlap(scores.top(0.02), atlas["N00"], seed=0)
    >>> found  # doctest: +ELLIPSIS
    Overlap of top 0.02 (23 units) and N00 (24): Dice 0.511, by chance 0.059 (p ...); Jaccard 0.343; 12 shared

    Args:
        a: The first network.
        b: The second network, in the same space.
        seed: Seed of the random draws of the null; the same seed gives the same null.
        n_null: Number of random pairs of networks drawn for the null. The expectation and p are exact and do not depend
            on it.

    Returns:
        Sizes, shared units, coefficients, what chance gives, and p.

    Raises:
        InputError: Networks in different spaces.
    """
    a.space.require_same(b.space, "compare")
    counts_a = a.per_layer()
    counts_b = b.per_layer()
    widths = np.array(a.space.widths)
    shared = int((a.members & b.members).sum())
    filled = widths > 0  # layers that the site does not have
    # sum over layers of the mean n_a n_b / F of a hypergeometric number
    expected = float((counts_a[filled] * counts_b[filled] / widths[filled]).sum())
    rng = np.random.default_rng(seed)
    # of n_b units drawn from a layer, how many are among the n_a of the other network; the draws of layers add up
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
            # P(0 ... min(n_a, n_b) shared) in this layer; the distribution of a sum of independent numbers is the
            # convolution of theirs
            pmf = np.convolve(pmf, stats.hypergeom.pmf(np.arange(min(n_a, n_b) + 1), width, n_a, n_b))
    return float(min(1.0, pmf[shared:].sum()))  # rounding may exceed 1 by some 1e-16


def _ratio(part: int | float, whole: int | float) -> float:
    """A share; NaN of nothing."""
    return part / whole if whole else float("nan")
