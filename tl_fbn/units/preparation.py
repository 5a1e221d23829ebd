"""How activations are prepared before they are decomposed, as an atlas keeps it for every later recording.

In a language model the first token of a prompt holds most of all variance, and a few units stand at hundreds of times
the others. An atlas that left both out can only be laid on activations that are prepared as its own were, so that it
keeps what that takes. For a value x of a unit with centre c and spread s::

    y = clip(x - c, -clip s, clip s) / s       without the division where nothing is standardised; y = x where nothing
                                               is scaled and nothing clipped

Centre and spread are those of the recording that the atlas was found on, and are not estimated again on the recording
that it is laid on. A map says by how many spreads *of the first recording* units move together, so that other spreads
would turn every map; and a single prompt has too few rows to estimate any. Networks are found with the centre of every
run taken off; what is kept is the mean of these centres, weighted by rows, because a later recording has other runs.

Rows that ``drop_first`` leaves out take no part where a sample is regressed. Where every row has to keep its place,
beside its token, they stand at the centre of every unit.

Units: spreads of the first recording where it was standardised, else those of the activations. Cost: two numbers a
unit. It estimates nothing: :mod:`tl_fbn.analysis.ica.unit_scales` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Standardize = bool | Literal["robust"]


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to activations before they are decomposed, or an atlas is laid on them.

    Args:
        drop_first: Number of rows to leave out at the start of every context.
        standardize: Whether units are divided by their spread over all rows: True by the standard deviation,
            ``"robust"`` by 1.4826 times the median absolute deviation, False not at all.
        clip: Number of spreads from the mean of the run (from its median where ``standardize`` is ``"robust"``) beyond
            which values are clipped; None clips nothing.
        centre: (unit,) mean of the centres of runs, weighted by rows; None before it was measured.
        spread: (unit,) spread of each unit over all rows, 1 for one that never varies; None before it was measured, or
            where values are neither scaled nor clipped.
        pool: How rows were pooled in the recording that was measured, ``"mean"`` or ``"last"``; None for single rows.
        run_centres: (run, unit) centres of every run while networks are found; an atlas does not keep them.
    """

    drop_first: int = 0
    standardize: Standardize = False
    clip: float | None = None
    centre: Float[np.ndarray, " unit"] | None = None
    spread: Float[np.ndarray, " unit"] | None = None
    pool: str | None = None
    run_centres: Float[np.ndarray, "run unit"] | None = None

    @property
    def plain(self) -> bool:
        """Whether values stay as they are; rows may be left out all the same."""
        return not self.standardize and self.clip is None

    @property
    def nothing(self) -> bool:
        """Whether neither values nor rows are touched."""
        return self.plain and self.drop_first == 0

    def of_units(self, units: Any) -> Preparation:
        """The preparation of some units: its arrays cut to them.

        Args:
            units: A slice or an index array of units.
        """
        cut: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else array[..., units]
            for name in ("centre", "spread", "run_centres")
        }
        return replace(self, **cut)

    def applied(self, values: Float[np.ndarray, "*rows"], units: Any) -> Float[np.ndarray, "*rows"]:
        """Values of some units, prepared; a preparation that was not measured cannot be applied.

        Args:
            values: (row, unit) activations, or those of one row or one unit; they are not changed.
            units: The index that took the units from an axis of all of them.
        """
        if self.plain:
            return values
        assert self.centre is not None and self.spread is not None
        spread = self.spread[units]
        y = np.subtract(values, self.centre[units], dtype=np.float32)
        if self.clip is not None:
            y = np.clip(y, -self.clip * spread, self.clip * spread)
        return y / spread if self.standardize else y

    def at_the_centre(self, units: Any) -> Any:
        """What units have in a row that is left out, where every row keeps its place: their prepared centre.

        Args:
            units: The index that took the units from an axis of all of them.
        """
        assert self.centre is not None
        return self.centre[units] if self.plain else np.float32(0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that an atlas keeps, by their names in its file."""
        named = {"preparation/centre": self.centre, "preparation/spread": self.spread}
        return {name: array for name, array in named.items() if array is not None}

    def about(self) -> dict[str, Any]:
        """The settings that an atlas keeps, as its file holds them."""
        return {"drop_first": self.drop_first, "standardize": self.standardize, "clip": self.clip, "pool": self.pool}

    @classmethod
    def from_file(cls, about: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> Preparation | None:
        """The preparation of a file; None of an atlas without one, as those of earlier versions are.

        Args:
            about: What :meth:`about` gave; None where the file has none.
            arrays: The arrays of the file, those of :meth:`arrays` among them.
        """
        if about is None:
            return None
        centre, spread = arrays.get("preparation/centre"), arrays.get("preparation/spread")
        return cls(**about, centre=centre, spread=spread)
