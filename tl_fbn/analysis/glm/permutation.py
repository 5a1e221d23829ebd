"""Permutation tests of a contrast, corrected over all units by the largest statistic.

    result = max_t(recording, "sort - rest", n_permutations=1000, seed=0)
    network = result.threshold(fwe=0.05)

If blocks of the compared conditions are exchangeable within a run, their labels may be shuffled: the largest \\|t\\| over all
units then has a distribution of its own, and a unit beyond its 95th percentile is a false one in at most 5 % of
experiments, however the units depend on each other (Westfall and Young 1993; Nichols and Holmes 2002).

Only block means are needed, so 10,000 permutations are one product (permutation, block) x (block, unit). Means are freed of
columns that vary within blocks (``position``), then of drift and of conditions that the contrast does not name; the shuffled
regressor, freed of the same, is correlated with them (as in Freedman and Lane's scheme, with residuals that stay in place),
and ``t = r sqrt(dof / (1 - r**2))`` is monotone in \\|r\\|. With more than two conditions the regressor is the contrast's
weights, one a block: for balanced designs the contrast itself.

=============== ====================================================================================
null            what is done again and again
=============== ====================================================================================
``"labels"``    block labels are shuffled within each run
``"shift"``     each run's sequence of labels is rotated by some number of blocks; keeps its order, so that slow drifts
                of the data stay as they are; an alternating design has two rotations only, and is refused
``"signs"``     the effect of each run changes its sign, as it may if it is symmetric about zero; R runs give a p of at
                best ``2 / 2**R``, .125 for four. With ``over="pairs"`` the difference of each two neighbouring blocks of
                opposite sides does (t is the paired one): conditions may then differ in spread
=============== ====================================================================================

A fit with ``replicates="prompts"`` relabels prompts instead of blocks.

Cost: one fit, then ``2 * permutations * blocks * units`` flops. Memory: the block means, and a few MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_sums import Streamed
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.glm.permutation_schemes import NULLS_IN_WORDS, Null, Over, Relabellings, neighbour_pairs
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result
from tl_fbn.units.unit_map import TOP_UNITS, order_by_magnitude


@dataclass(frozen=True, eq=False)
class PermutationTest(Result, step="contrast"):
    """A contrast in every unit beside what relabelled data give.

    Args:
        space: The units.
        expression: The contrast.
        null: What was done to the data.
        statistic: (unit,) t of the data as they are; NaN for a unit that never varies.
        largest: (permutation,) the largest absolute t over all units, of each relabelling.
        highest: (permutation,) the largest t, of each.
        dof: Degrees of freedom of t.
        smallest_p: The smallest p that so many distinct relabellings allow.
        provenance: Recording, prompts, seed.
        estimate: (unit,) the contrast itself, in units of the activations.
    """

    space: UnitSpace
    expression: str
    null: Null
    statistic: Float[np.ndarray, " unit"]
    largest: Float[np.ndarray, " permutation"]
    highest: Float[np.ndarray, " permutation"]
    dof: float
    smallest_p: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    estimate: Float[np.ndarray, " unit"] | None = None

    _settings_ = ("expression", "null", "dof", "smallest_p")
    _measured_ = ("dof", "smallest_p")

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        origin = {"method": "max_t", "contrast": self.expression, "null": self.null, **self.provenance}
        return UnitMap(self.space, values, kind, origin)

    @property
    def t(self) -> UnitMap:
        """t of every unit."""
        return self._map(self.statistic, "t")

    @property
    def effect(self) -> UnitMap:
        """The contrast of every unit."""
        if self.estimate is None:
            raise InputError("this test was saved by a version that kept no effects; run max_t again")
        return self._map(self.estimate, "effect")

    @property
    def p(self) -> UnitMap:
        """p corrected over all units: the share of relabellings whose largest \\|t\\| reaches the unit's."""
        return self._map(self._corrected(np.abs(self.statistic), self.largest), "p")

    @staticmethod
    def _corrected(t: np.ndarray, extremes: np.ndarray) -> np.ndarray:
        above = len(extremes) - np.searchsorted(np.sort(extremes), np.nan_to_num(t, nan=-np.inf) * (1 - 1e-5), "left")
        return (1.0 + above) / (1.0 + len(extremes))

    def threshold(
        self,
        *,
        fwe: float = 0.05,
        two_sided: bool = True,
        min_effect: int | float | None = None,
        name: str | None = None,
    ) -> Network:
        """The units that pass.

        Args:
            fwe: Chance of any false unit.
            two_sided: Both directions, with signs; else only units with a positive effect.
            min_effect: Leave out units whose \\|effect\\| is smaller, in units of the activations.
            name: Name of the network; the expression by default.

        Raises:
            InputError: ``fwe`` is no error rate, or smaller than the relabellings can show.
        """
        if not 0 < fwe < 1:
            raise InputError(f"fwe={fwe} is no error rate; give a number between 0 and 1, e.g. fwe=0.05")
        finest = max(self.smallest_p, 1.0 / (1 + len(self.largest)))
        if finest > fwe:
            raise InputError(
                f"{len(self.largest)} relabellings of this design show no p below {finest:.3g}, so fwe={fwe} selects nothing; record more "
                "blocks or runs, or ask for more permutations"
            )
        t = self.statistic
        p = self._corrected(np.abs(t), self.largest) if two_sided else self._corrected(t, self.highest)
        passed = p <= fwe
        how: dict[str, Any] = {"fwe": fwe, "two_sided": two_sided}
        if min_effect is not None:
            passed &= np.abs(self.effect.values) >= min_effect
            how["min_effect"] = min_effect
        signs = np.nan_to_num(np.sign(t)).astype(np.int8)
        return Network(self.space, passed, signs, name or self.expression, {**self.t.provenance, "threshold": how})

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, t, p (corrected)."""
        return self.t.to_dataframe().rename(columns={"value": "t"}).assign(p=self.p.values)

    def _methods_(self) -> list[str]:
        about = self.provenance
        how = NULLS_IN_WORDS[self.null].format(
            replicates=about.get("replicates", "blocks"), over=about.get("over", "runs")
        )
        return [
            f"The contrast {self.expression} was tested against the largest statistic over all units under {len(self.largest):,} relabellings "
            f"({how}; seed {about.get('seed', NOT_RECORDED)}), which controls the family-wise error; the smallest p these allow is {self.smallest_p:.2g}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        passed = int((self.p.values <= 0.05).sum())
        text = (
            f"{self!r}.\n\np is corrected over all units: {passed:,} have p of at most .05, where by chance one experiment in twenty has "
            f"any. The picture shows t; the table lists the {TOP_UNITS} units of largest |t|."
        )
        return [
            {
                "title": f"Permutations of {self.expression}",
                "text": text,
                "origin": self.t.provenance,
                "figure": self.t,
                "table": self.to_dataframe().iloc[order_by_magnitude(self.t)],
            }
        ]

    def __repr__(self) -> str:
        critical = float(np.quantile(self.largest, 0.95))
        return (
            f'PermutationTest "{self.expression}": {len(self.largest):,} relabellings ({self.null}), 95 % of their largest |t| below '
            f"{critical:.2f}; {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.abs(self.statistic), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.t:.2f}", f"{r.p:.3g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "t", "p"), rows)


def max_t(
    recording: Recording | Streamed | GLMFit,
    expression: str,
    *,
    n_permutations: int = 1000,
    seed: int,
    null: Null = "labels",
    over: Over | None = None,
    progress: bool = True,
) -> PermutationTest:
    """Test a contrast of conditions by relabelling blocks, corrected over units by the largest t.

    Args:
        recording: A recording or stream, fitted with the defaults of :func:`.glm.fit_glm`; or a fit of your own.
        expression: A difference of conditions, e.g. ``"sort - rest"``: its weights must add up to 0, but for signs over runs.
        n_permutations: Relabellings drawn.
        seed: Decides them.
        null: ``"labels"``, ``"shift"`` or ``"signs"``; see the module.
        over: With ``null="signs"``: what changes its sign, ``"runs"`` (default) or ``"pairs"`` of neighbouring blocks.
        progress: Show a bar where it takes longer than some seconds.

    Raises:
        InputError: The contrast compares no exchangeable blocks, the design has fewer than 20 distinct relabellings (so
            that no p reaches .05), or fewer than 19 are asked for.
    """
    one_of(null, Null, "null")
    if over is not None and (null != "signs" or over not in get_args(Over)):
        raise InputError(f'over={over!r} with null={null!r}; over= is "pairs" or "runs", for null="signs"')
    if n_permutations < 19:
        raise InputError(f"n_permutations={n_permutations} shows no p below .05; give at least 19, better 1,000")
    fit = recording if isinstance(recording, GLMFit) else fit_glm(recording, progress=progress)
    (weights,), numbers, _ = fit.estimable([expression])
    used = [fit.runs[number] for number in numbers]
    rng = np.random.default_rng(seed)
    if null == "signs":
        effects = (
            neighbour_pairs(used, weights, expression) if over == "pairs" else [run.effect(weights)[0] for run in used]
        )
        drawn = Relabellings.of_signs(np.array(effects), over or "runs")
        effect = np.mean(effects, axis=0)
    else:
        drawn = Relabellings.of_blocks(used, weights, expression, null)
        effect = fit.contrast(expression).estimate
    if drawn.smallest_p > 0.05:
        raise InputError(
            f"this design allows a p of at best {drawn.smallest_p:.3g} by null={null!r} ({drawn.why}); record more "
            + ("runs" if null == "signs" and over != "pairs" else "blocks, or in random order")
        )
    observed, largest, highest = drawn.run(n_permutations, rng, progress=progress)
    provenance = {**fit.provenance, "n_permutations": n_permutations, "seed": seed, "replicates": fit.replicates}
    if null == "signs":
        provenance["over"] = over or "runs"
    return PermutationTest(
        fit.space, expression, null, observed, largest, highest, drawn.dof, drawn.smallest_p, provenance, effect
    )
