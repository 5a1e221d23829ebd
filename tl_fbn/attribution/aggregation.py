"""From scores of single items to one map: five ways to put them together, and how steady the ranking of units is.

A unit has a score r_n for each of N items (a chat, a string). An aggregate makes one number of them:

============== ======================================================== =================================
aggregate      formula                                                  what it tells
============== ======================================================== =================================
``sum_abs``    sum of abs(r_n) (Song et al. 2024)                       magnitude; grows with N
``mean_abs``   mean of abs(r_n)                                         magnitude; does not grow with N
``abs_mean``   abs(mean of r_n)                                         large where items agree in sign
``mean``       mean of r_n                                              signed
``t``          mean of r_n / (standard deviation of r_n / sqrt(N))      signed, in standard errors
============== ======================================================== =================================

All follow from three sums over items, of r_n, abs(r_n) and r_n squared, in float64, so that a map takes no more memory
for many items than for one. :class:`ItemScores` keeps the scores of every item instead (items x units x 4 bytes), from
which :meth:`ItemScores.split_half` measures how far two halves of the items agree. A large t says that items agree,
not that a unit matters: its scale is the spread over items, not nats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap, UnitSpace, html_table
from tl_fbn.units.prose import NOT_RECORDED, space_in_words
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance

Aggregate = Literal["sum_abs", "mean_abs", "abs_mean", "mean", "t"]


def check_aggregate(aggregate: str) -> None:
    """Raise an error for a word that is no aggregate.

    Args:
        aggregate: ``"sum_abs"``, ``"mean_abs"``, ``"abs_mean"``, ``"mean"`` or ``"t"``.

    Raises:
        InputError: Another word was given.
    """
    one_of(aggregate, Aggregate, "aggregate")


class Sums:
    """Running sums over items, from which every aggregate follows.

    Args:
        n_units: Number of units of the map.
    """

    def __init__(self, n_units: int) -> None:
        self.n = 0  # items so far
        self._sums = np.zeros((3, n_units))  # of r_n, abs(r_n) and r_n squared

    def add(self, values: Float[np.ndarray, "item unit"]) -> None:
        """Add the scores of some items to the sums.

        Args:
            values: (item, unit) scores, a row for each item.
        """
        values = values.astype(np.float64, copy=False)
        self.n += len(values)
        self._sums += [values.sum(0), np.abs(values).sum(0), np.square(values).sum(0)]

    def value(self, aggregate: Aggregate) -> Float[np.ndarray, " unit"]:
        """(unit,) aggregate of all items so far.

        Args:
            aggregate: How the items' scores are put together: ``"sum_abs"``, ``"mean_abs"``, ``"abs_mean"``, ``"mean"``
                or ``"t"``. The t of a unit whose scores are the same for all items is 0 if they are 0, else infinite;
                it needs two items.
        """
        total, magnitude, squares = self._sums
        if aggregate == "sum_abs":
            return magnitude.copy()
        if aggregate == "mean_abs":
            return magnitude / self.n
        if aggregate == "abs_mean":
            return np.abs(total) / self.n
        mean = total / self.n
        if aggregate == "mean":
            return mean
        # unbiased variance over items, (sum of r_n squared - N mean squared) / (N - 1)
        variance = np.maximum(squares - self.n * mean**2, 0.0) / (self.n - 1)
        # the difference of two equal sums is not exactly 0: below this share of the mean it is rounding
        variance[variance < 1e-14 * mean**2] = 0.0
        error = np.sqrt(variance / self.n)  # standard error of the mean
        # without variance, mean / error is infinite where the mean is not 0, and 0 / 0 where it is: defined as 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(mean == 0, 0.0, mean / error)


@checked
@dataclass(frozen=True, eq=False)
class ItemScores(Result, step="scores"):
    """The gradient scores of every item, before they are put together to one map.

    :func:`item_scores` makes them.

    >>> items = fbn.attribution.item_scores(model, fbn.chats("sort", n=16), progress=False)
    >>> items
    ItemScores of 16 items: tl_fbn-demo mlp.neurons (3 x 384)
    >>> items.to_dataframe().head(2).round(1)  # magnitude of the scores in each layer
       item  layer 0  layer 1  layer 2
    0     0      0.3      0.1      1.7
    1     1      0.2      0.0      2.2

    Args:
        space: Site, layers and widths of the units.
        values: (item, unit) scores. They are signed for the variants ``row_sum``, ``grad_x_act`` and ``grad``, and at
            least 0 for the norms ``row_l1`` and ``row_l2``.
        provenance: How the scores were made: method, variant, site, tokens, numbers of items, and digests of the
            prompts. Maps made of the scores have it too.
    """

    space: UnitSpace
    values: Float[np.ndarray, "item unit"]
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = number_array(self.values, "values")
        if values.ndim != 2 or values.shape[1] != self.space.n_units:
            raise InputError(
                f"values need shape (item, {self.space.n_units}) in {self.space.describe()}; got {values.shape}"
            )
        object.__setattr__(self, "values", values.astype(np.result_type(values, np.float16), copy=False))

    @checked
    def map(self, aggregate: Aggregate = "sum_abs") -> UnitMap:
        """One map of all items.

        Args:
            aggregate: How the items' scores r_n are put together: ``"sum_abs"`` (sum of magnitudes), ``"mean_abs"``
                (mean of magnitudes), ``"abs_mean"`` (magnitude of the mean), or signed ``"mean"`` and ``"t"`` (mean
                over its standard error).

        Returns:
            A map of kind ``"t"`` for ``"t"``, else of kind ``"attribution"``.

        Raises:
            InputError: Another word was given, or ``"t"`` with a single item.
        """
        check_aggregate(aggregate)
        return self._map_of(self.values, aggregate)

    def _map_of(self, values: Float[np.ndarray, "item unit"], aggregate: Aggregate) -> UnitMap:
        """The map of some of the items."""
        if aggregate == "t" and len(values) < 2:
            raise InputError('aggregate="t" needs at least two items; got 1. Use "sum_abs"')
        sums = Sums(self.space.n_units)
        sums.add(values)
        provenance = {**self.provenance, "aggregate": aggregate}
        return UnitMap(self.space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", provenance)

    @checked
    def split_half(
        self, amount: int | float = 0.05, *, seed: int, n_splits: int = 20, aggregate: Aggregate = "sum_abs"
    ) -> pd.DataFrame:
        """How far maps from two random halves of the items agree.

        Args:
            amount: Size of the networks of strongest units that are compared: an integer is a number of units, a float
                between 0 and 1 a share of all units.
            seed: Seed of the random splits of items into halves; the same seed gives the same splits.
            n_splits: Number of random splits.
            aggregate: How the items' scores are put together in each half: ``"sum_abs"``, ``"mean_abs"``,
                ``"abs_mean"``, ``"mean"`` or ``"t"``. For the last two, which are signed, the strongest units are those
                of largest magnitude.

        Returns:
            One line a split, with the columns split (its number), spearman (rank correlation of the two maps), jaccard
            (share of units in both networks of strongest units among those in either), and jaccard_by_chance (the same
            share of two random networks with as many units in each layer, from their expected overlap).

        Raises:
            InputError: Fewer than two items (four for ``"t"``), no split, or a word that is no aggregate.
        """
        check_aggregate(aggregate)
        least = 4 if aggregate == "t" else 2
        if len(self.values) < least or n_splits < 1:
            raise InputError(
                f"split_half needs at least {least} items and one split; got {len(self.values)} items, "
                f"n_splits={n_splits}"
            )
        rng = np.random.default_rng(seed)
        widths = np.array(self.space.widths)
        lines = []
        for split in range(n_splits):
            order = rng.permutation(len(self.values))
            halves = order[: len(order) // 2], order[len(order) // 2 :]  # of an odd number, the second has one more
            maps = [self._map_of(self.values[half], aggregate) for half in halves]
            tops = [one.top(amount, two_sided=aggregate in ("mean", "t")) for one in maps]
            shared = len(tops[0] & tops[1])
            either = len(tops[0] | tops[1])
            counts = [top.per_layer() for top in tops]
            # of a layer of w units, two random networks of k and m units share k m / w on average; J = both / either
            chance = float((counts[0] * counts[1] / np.maximum(widths, 1)).sum())
            total = sum(map(len, tops))
            rho = float(stats.spearmanr(maps[0].values, maps[1].values)[0])  # pyright: ignore[reportArgumentType]
            lines.append((split, rho, shared / max(either, 1), chance / max(total - chance, 1e-12)))
        return pd.DataFrame(lines, columns=["split", "spearman", "jaccard", "jaccard_by_chance"])

    def to_dataframe(self) -> pd.DataFrame:
        """One line an item: its number, and for every layer the sum of the magnitudes of its units' scores."""
        spans = [self.space.layer_slice(layer) for layer in range(self.space.n_layers)]
        layers = {f"layer {layer}": np.abs(self.values[:, span]).sum(1) for layer, span in enumerate(spans)}
        return pd.DataFrame({"item": np.arange(len(self.values)), **layers})

    def _methods_(self) -> list[str]:
        about = self.provenance
        method, variant, tokens = (about.get(key, NOT_RECORDED) for key in ("method", "variant", "tokens"))
        return [
            f"Gradient scores ({method}, {variant}, {tokens} tokens) of "
            f"{len(self)} items were kept one by one over {space_in_words(self.space)}."
        ]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"ItemScores of {len(self.values)} items: {self.space.describe()}"

    def _repr_html_(self) -> str:
        rows = [tuple(f"{x:.3g}" for x in row[1:]) for row in self.to_dataframe().head(10).itertuples(index=False)]
        return html_table(repr(self), [f"layer {layer}" for layer in range(self.space.n_layers)], rows)
