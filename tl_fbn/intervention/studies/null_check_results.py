"""What came of a null check: the numbers of an analysis in the model, and where they should vanish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.errors import visible
from tl_fbn.intervention.studies.item_statistics import empirical_p
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result

Null = Literal["untrained", "shuffled", "rotated", "reordered"]
IN_WORDS: dict[str, str] = {
    "untrained": "an untrained twin",
    "shuffled": "shuffled labels",
    "rotated": "a rotated basis",
    "reordered": "another order",
}
REPEATED = "reordered"  # here a number should come back; in all others it should be gone


@dataclass(frozen=True, eq=False)
class NullCheck(Result, step="comparison", picture="null_check"):
    """The same analysis on the model and where its claim should fail, number by number.

    :func:`tl_fbn.null_check` makes one. What is a fact of the architecture stands nowhere:

    >>> def n_neurons(model):
    ...     return {"neurons": fbn.Scanner(model).space.n_units}
    >>> print(fbn.null_check(n_neurons, model, seed=0, n=3, progress=False))  # doctest: +ELLIPSIS
    NullCheck of n_neurons: 1 numbers, 3 runs each of untrained, rotated
     number  model  untrained  rotated  stands
    neurons 1152.0     1152.0   1152.0   False
    0 of 1 numbers are larger in the model than in every run of an untrained twin and a rotated basis ...

    Args:
        numbers: Names of the numbers that the analysis claims.
        model: (number,) their values in the model.
        nulls: Names of what was run beside it: ``"untrained"``, ``"shuffled"``, ``"rotated"``, ``"reordered"``.
        values: (null, run, number) values there; NaN where a run had no such number.
        maps: Names of the maps that the analysis returned.
        agreements: (null, run, map) correlation over units of the map with the model's own; NaN in a rotated basis,
            whose units are other ones.
        provenance: Seed, name of the analysis, model, and seconds that the first run took.
    """

    numbers: tuple[str, ...]
    model: Float[np.ndarray, " number"]
    nulls: tuple[str, ...]
    values: Float[np.ndarray, "null run number"]
    maps: tuple[str, ...] = ()
    agreements: Float[np.ndarray, "null run map"] = field(default_factory=lambda: np.zeros((0, 0, 0)))
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_runs(self) -> int:
        """Number of runs of each null."""
        return self.values.shape[1]

    def to_dataframe(self) -> pd.DataFrame:
        """One line a number and null.

        Columns: number, null, model (value in the model), median, lowest and highest (over the null's runs), p (share
        of runs at least as large as the model's, the model's own counted: (1 + h) / (1 + n); NaN for another order,
        which is no null).
        """
        lines = []
        for place, number in enumerate(self.numbers):
            for name, runs in zip(self.nulls, self.values[:, :, place], strict=True):
                own = float(self.model[place])
                # a run that has no such number, such as one whose network was empty, does not reach the model's
                p = np.nan if name == REPEATED else float(empirical_p(own, np.where(np.isnan(runs), -np.inf, runs)))
                lines.append((number, name, own, *_spread(runs), p))
        return pd.DataFrame(lines, columns=["number", "null", "model", "median", "lowest", "highest", "p"])

    def summary(self) -> pd.DataFrame:
        """One line a number: its value in the model, the largest of each null, the smallest in another order.

        Columns: number, model, one for each null that was run, and stands: whether the number is larger in the model,
        and in every other order, than in every run of every null.
        """
        table = pd.DataFrame({"number": self.numbers, "model": self.model})
        for name, runs in zip(self.nulls, self.values, strict=True):
            table[name] = _extreme(runs, smallest=name == REPEATED)
        table["stands"] = self._stands()
        return table

    def map_agreement(self) -> pd.DataFrame:
        """One line a map and null: how far it is the model's own map, by correlation over units.

        Columns: map, null, median, lowest and highest (over runs). A map that comes out in an untrained twin, too,
        shows the architecture or the prompts.
        """
        lines = [
            (one, name, *_spread(runs[:, place]))
            for place, one in enumerate(self.maps)
            for name, runs in zip(self.nulls, self.agreements, strict=True)
            if np.isfinite(runs[:, place]).any()
        ]
        return pd.DataFrame(lines, columns=["map", "null", "median", "lowest", "highest"])

    def verdict(self) -> str:
        """In words: which numbers stand against every null, and where the others fail."""
        stands = self._stands()
        nulls = [name for name in self.nulls if name != REPEATED]
        against = listed([IN_WORDS[name] for name in nulls]) or "no null"
        once = f"one without cause is above the {self.n_runs} of one null once in {self.n_runs + 1}"
        lines = [
            f"{int(stands.sum())} of {len(self.numbers)} numbers are larger in the model than in every run of "
            f"{against} ({once})" + (", in another order, too." if REPEATED in self.nulls else ".")
        ]
        for place in np.flatnonzero(~stands):
            lines.append(
                f"{self.numbers[place]}: {self.model[place]:.3g} in the model, {listed(self._failures(int(place)))}."
            )
        return "\n".join(lines)

    def _failures(self, place: int) -> list[str]:
        own = self.model[place]
        if not np.isfinite(own):
            return ["which is no number to compare"]
        largest = {
            name: _largest(runs)
            for name, runs in zip(self.nulls, self.values[:, :, place], strict=True)
            if name != REPEATED
        }
        found = [f"{value:.3g} under {IN_WORDS[name]}" for name, value in largest.items() if value >= own]
        if REPEATED in self.nulls:
            again = _smallest(self.values[self.nulls.index(REPEATED), :, place])
            if not again > max(largest.values(), default=-np.inf):
                found.append(f"only {again:.3g} in another order")
        return found

    def _stands(self) -> np.ndarray:
        return np.array([not self._failures(place) for place in range(len(self.numbers))], dtype=bool)

    def _methods_(self) -> list[str]:
        about = self.provenance
        nulls = listed([IN_WORDS[name] for name in self.nulls])
        return [
            f"The analysis {about.get('analysis', NOT_RECORDED)} of {about.get('model', NOT_RECORDED)} was run again "
            f"under {nulls}, {self.n_runs} times each (seed {about.get('seed', NOT_RECORDED)}): an untrained twin has "
            "the same architecture and new random weights; labels are shuffled by dealing all prompts anew to "
            "conditions of the same sizes; in a rotated basis neurons are seen along random directions of their layer; "
            "in another order conditions and prompts come in another order. p = (1 + h) / (1 + n), with h the number "
            "of a null's n runs at least as large as the model, not corrected for the number of numbers and nulls."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self.verdict()} Columns hold the largest value of each null, and the smallest in another order, where a "
            "number should come back."
        )
        sections: list[dict[str, Any]] = [
            {"title": "Where the claim should fail", "text": text, "picture": "null_check"} | {"table": self.summary()},
            {"title": "Null by null", "text": "p is the share of runs at least as large, the model counted."}
            | {"table": self.to_dataframe()},
        ]
        if len(table := self.map_agreement()):
            words = "Correlation over units of the map with the model's own; 0 is what unrelated maps have."
            sections.append({"title": "Is it the same map?", "text": words, "table": table})
        return sections

    def __repr__(self) -> str:
        return (
            f"NullCheck of {self.provenance.get('analysis', 'an analysis')}: {len(self.numbers)} numbers, "
            f"{self.n_runs} runs each of {', '.join(self.nulls)}"
        )

    def __str__(self) -> str:
        return visible("\n".join([repr(self), self.summary().round(3).to_string(index=False), self.verdict()]))

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())


def _spread(runs: Float[np.ndarray, " run"]) -> tuple[float, float, float]:
    """Median, smallest and largest number of the runs that have one; NaN where none has."""
    known = runs[np.isfinite(runs)]
    if not len(known):
        return np.nan, np.nan, np.nan
    return float(np.median(known)), float(known.min()), float(known.max())


def _largest(runs: Float[np.ndarray, " run"]) -> float:
    """The largest number of some runs; minus infinity where none has one."""
    return float(max(runs[np.isfinite(runs)], default=-np.inf))


def _smallest(runs: Float[np.ndarray, " run"]) -> float:
    """The smallest number of some runs; minus infinity where one has none."""
    return float(runs.min()) if np.isfinite(runs).all() else -np.inf


def _extreme(runs: Float[np.ndarray, "run number"], *, smallest: bool) -> list[float]:
    found = [_smallest(one) if smallest else _largest(one) for one in runs.T]
    return [one if np.isfinite(one) else np.nan for one in found]
