"""How much of a run's variance lies in first tokens and in single units, added up while the run is written.

Of the activations ``y`` of every batch at every layer, as they are stored, four sums are kept: for every unit the sum
and the sum of squares over all rows, and both over the rows of first tokens. With N rows, n of them first tokens, and
``m`` the mean of a unit over the run::

    total = sum_u (sum_t y^2 - N m^2)
    first = sum_u (sum_first y^2 - 2 m sum_first y + n m^2)

A batch is summed in float32 and batches in float64. Where means are so much larger than what varies that the
difference would be rounding, nothing is said. Cost: two passes over each batch in memory, on the thread that writes it.
What the sums are for, and how they are read, is in :mod:`tl_fbn.acquisition.recording.massive_units`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording.massive_units import LISTED_FROM

_LEAST_SHARE = 1e-3  # of the sum of squares that has to be variance: float32 sums are exact to about 1e-6


@dataclass
class _LayerSums:
    """Sums over the rows of one layer, in float64: of all rows, and of first tokens.

    Args:
        sums: (2, unit) sums of activations.
        squares: (2, unit) sums of squared activations.
        n_rows: Number of all rows, and of first tokens.
    """

    sums: Float[np.ndarray, "2 unit"]
    squares: Float[np.ndarray, "2 unit"]
    n_rows: list[int]


class VarianceSums:
    """Adds up the activations of one run at every site."""

    def __init__(self) -> None:
        self._of_layer: dict[tuple[str, int], _LayerSums] = {}

    def add(self, tap: Tap, values: Float[torch.Tensor, "row unit"], first: Sequence[int]) -> None:
        """Add the activations of one batch at one tap.

        Args:
            tap: Site and layer of the activations.
            values: (row, unit) activations in main memory, as they are stored.
            first: Numbers of the rows of the batch that are first tokens.
        """
        y = values.float()
        width = y.shape[1]
        of = self._of_layer.setdefault(
            (tap.site, tap.layer), _LayerSums(np.zeros((2, width)), np.zeros((2, width)), [0, 0])
        )
        for place, rows in enumerate((y, y[list(first)])):
            of.sums[place] += rows.sum(0).double().numpy()
            # the norm of every column, squared: one pass without a copy of the squares
            of.squares[place] += torch.linalg.vector_norm(rows, dim=0).double().square().numpy()
            of.n_rows[place] += len(rows)

    def description(self) -> dict[str, Any]:
        """The sums of every site as ``run.json`` keeps them; a site whose sums would be rounding is left out."""
        sites = dict.fromkeys(site for site, _ in self._of_layer)
        return {site: sums for site in sites if (sums := self._of_site(site)) is not None}

    def _of_site(self, site: str) -> dict[str, Any] | None:
        raw = 0.0
        first = 0.0
        squares_of: dict[int, np.ndarray] = {}  # layer to the (unit,) sums of squared distances from the mean
        n_rows = n_first = 0
        for (name, layer), of in self._of_layer.items():
            if name != site:
                continue
            n_rows, n_first = of.n_rows
            mean = of.sums[0] / n_rows
            raw += float(of.squares[0].sum())
            squares_of[layer] = np.maximum(of.squares[0] - n_rows * np.square(mean), 0.0)
            first += float((of.squares[1] - 2 * mean * of.sums[1] + n_first * np.square(mean)).sum())
        total = sum(float(squares.sum()) for squares in squares_of.values())
        if not np.isfinite(raw) or not total > _LEAST_SHARE * raw:
            return None
        units = [
            [layer, int(unit), float(squares[unit])]
            for layer, squares in sorted(squares_of.items())
            for unit in np.flatnonzero(squares >= LISTED_FROM * total)
        ]
        first = min(max(first, 0.0), total)  # rounding
        return {"rows": n_rows, "total": total, "first_rows": n_first, "first": first, "units": units}
