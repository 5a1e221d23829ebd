"""Scores of single items and their sums: how maps are aggregated, and how steady they are.

====================== =======================================================================
aggregate              over the items' scores r_n
====================== =======================================================================
``sum_abs``            sum of abs(r_n) (Song et al. 2024)
``mean_abs``           mean of abs(r_n)
``abs_mean``           abs(mean of r_n): large where the sign agrees
``mean``               mean of r_n: signed
``t``                  mean of r_n over its standard error: signed
====================== =======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitMap, UnitSpace, html_table
from tl_fbn.units.prose import NOT_RECORDED, space_in_words
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance

Aggregate = Literal["sum_abs", "mean_abs", "abs_mean", "mean", "t"]


def check_aggregate(aggregate: str) -> None:
    one_of(aggregate, Aggregate, "aggregate")


class Sums:
    """Running sums over items, from which every aggregate follows.

    Args:
        n_units: Units of a map.
    """

    def __init__(self, n_units: int) -> None:
        self.n = 0
        self._sums = np.zeros((3, n_units))

    def add(self, values: Float[np.ndarray, "item unit"]) -> None:
        """Take in the scores of some items."""
        values = values.astype(np.float64, copy=False)
        self.n += len(values)
        self._sums += [values.sum(0), np.abs(values).sum(0), np.square(values).sum(0)]

    def value(self, aggregate: Aggregate) -> Float[np.ndarray, " unit"]:
        """One number a unit; the t of a unit whose scores never vary is 0 if they are 0, else infinite."""
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
        variance = np.maximum(squares - self.n * mean**2, 0.0) / (self.n - 1)
        variance[variance < 1e-14 * mean**2] = 0.0  # what rounding leaves of nothing
        error = np.sqrt(variance / self.n)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(mean == 0, 0.0, mean / error)


@dataclass(frozen=True, eq=False)
class ItemScores(Result, step="scores"):
    """One score an item and unit.

    Args:
        space: Where the units are.
        values: (item, unit) scores, signed where the variant is.
        provenance: How they were made; travels on to maps.
    """

    space: UnitSpace
    values: Float[np.ndarray, "item unit"]
    provenance: Provenance = field(default_factory=dict)

    def map(self, aggregate: Aggregate = "sum_abs") -> UnitMap:
        """The map that these scores add up to."""
        check_aggregate(aggregate)
        return self._of(self.values, aggregate)

    def _of(self, values: Float[np.ndarray, "item unit"], aggregate: Aggregate) -> UnitMap:
        if aggregate == "t" and len(values) < 2:
            raise InputError('aggregate="t" needs at least two items; got 1. Use "sum_abs"')
        sums = Sums(self.space.n_units)
        sums.add(values)
        provenance = {**self.provenance, "aggregate": aggregate}
        return UnitMap(self.space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", provenance)

    def split_half(
        self, amount: int | float = 0.05, *, seed: int, n_splits: int = 20, aggregate: Aggregate = "sum_abs"
    ) -> pd.DataFrame:
        """How far maps from two random halves of the items agree.

        Args:
            amount: Size of the networks compared, as for :meth:`UnitMap.top`.
            seed: Seed of the random splits of items into halves.
            n_splits: Number of random splits.
            aggregate: As for :meth:`map`.

        Returns:
            One line a split: spearman of the two maps, jaccard of their top units, and jaccard expected of random networks with as
            many units in each layer.

        Raises:
            InputError: Fewer than two items (four for ``"t"``), or no split.
        """
        check_aggregate(aggregate)
        least = 4 if aggregate == "t" else 2
        if len(self.values) < least or n_splits < 1:
            raise InputError(
                f"split_half needs at least {least} items and one split; got {len(self.values)} items, n_splits={n_splits}"
            )
        rng = np.random.default_rng(seed)
        widths = np.array(self.space.widths)
        lines = []
        for split in range(n_splits):
            order = rng.permutation(len(self.values))
            halves = order[: len(order) // 2], order[len(order) // 2 :]
            maps = [self._of(self.values[half], aggregate) for half in halves]
            tops = [one.top(amount, two_sided=aggregate in ("mean", "t")) for one in maps]
            shared = len(tops[0] & tops[1])
            either = len(tops[0] | tops[1])
            counts = [top.per_layer() for top in tops]
            chance = float((counts[0] * counts[1] / np.maximum(widths, 1)).sum())
            total = sum(map(len, tops))
            rho = float(stats.spearmanr(maps[0].values, maps[1].values)[0])  # pyright: ignore[reportArgumentType]
            lines.append((split, rho, shared / max(either, 1), chance / max(total - chance, 1e-12)))
        return pd.DataFrame(lines, columns=["split", "spearman", "jaccard", "jaccard_by_chance"])

    def to_dataframe(self) -> pd.DataFrame:
        """One line an item: its number, and magnitude (sum of absolute scores) of every layer."""
        spans = [self.space.layer_slice(layer) for layer in range(self.space.n_layers)]
        layers = {f"layer {layer}": np.abs(self.values[:, span]).sum(1) for layer, span in enumerate(spans)}
        return pd.DataFrame({"item": np.arange(len(self.values)), **layers})

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Gradient scores ({about.get('method', NOT_RECORDED)}, {about.get('variant', NOT_RECORDED)}, {about.get('tokens', NOT_RECORDED)} tokens) of "
            f"{len(self)} items were kept one by one over {space_in_words(self.space)}."
        ]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"ItemScores of {len(self.values)} items: {self.space.describe()}"

    def _repr_html_(self) -> str:
        rows = [tuple(f"{x:.3g}" for x in row[1:]) for row in self.to_dataframe().head(10).itertuples(index=False)]
        return html_table(repr(self), [f"layer {layer}" for layer in range(self.space.n_layers)], rows)
