"""Permutation tests of a contrast, corrected over all units by the largest statistic.

If blocks of the compared conditions are exchangeable within a run, their labels may be shuffled. The largest \\|t\\|
over all units then has a distribution of its own, and a unit beyond its 95th percentile is a false one in at most 5 %
of experiments, however the units depend on each other (Westfall and Young 1993; Nichols and Holmes 2002). The p of a
unit is

    p = (1 + number of relabellings whose largest absolute t reaches the unit's) / (1 + number of relabellings)

Only block means are needed (those of the fit: by default without first tokens), so that 10,000 relabellings are one
product (permutation, block) x (block, unit). Means are freed of columns that vary within blocks (``position``), then of
drift and of conditions that the contrast does not name. The relabelled regressor, freed of the same, is correlated with
them (as in the scheme of Freedman and Lane 1983, with residuals that stay in place), and
``t = r sqrt(dof / (1 - r**2))`` grows with the correlation r. With more than two conditions the regressor is the
contrast's weights, one for each block: for balanced designs the contrast itself.

=============== ================================================================================================
null            what is done to the data in each relabelling
=============== ================================================================================================
``"labels"``    block labels are shuffled within each run
``"shift"``     each run's sequence of labels is rotated by a random number of blocks. That keeps its order, so that
                slow drifts of the data stay as they are; an alternating design has two rotations only, and is refused
``"signs"``     the effect of each run changes its sign at random, as it may if it is symmetric about zero; R runs
give a
                p of at best ``2 / 2**R``, .125 for four. With ``over="pairs"`` the differences of neighbouring blocks
                of opposite sides of the contrast do (t is the paired one): conditions may then differ in spread
=============== ================================================================================================

A fit with ``replicates="prompts"`` relabels prompts instead of blocks. Whether blocks are exchangeable is an
assumption that the test cannot check: it holds where the order of blocks was drawn at random.

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
from tl_fbn.analysis.glm.contrast_prose import named_in_words, named_origin
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.glm.permutation_schemes import NULLS_IN_WORDS, Null, Over, Relabellings, neighbour_pairs
from tl_fbn.analysis.glm.run_fit import ROUNDING
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result
from tl_fbn.units.unit_map import TOP_UNITS, order_by_magnitude


@dataclass(frozen=True, eq=False)
class PermutationTest(Result, step="contrast"):
    """A contrast tested in every unit against what relabelled data give.

    >>> test = fbn.glm.max_t(recording, "sort - reverse", n_permutations=199, seed=0, progress=False)
    >>> len(test.largest), test.smallest_p < 0.001
    (199, True)
    >>> test.to_dataframe().sort_values("p").round(3).head(1).p.item()  # 1 / (1 + 199)
    0.005

    Args:
        space: The units that were tested: site, and width of every layer.
        expression: The contrast over columns as it was written, e.g. ``"sort - reverse"``; with the columns in the
            place of ``others``.
        null: How the data were relabelled: ``"labels"`` (shuffled), ``"shift"`` (rotated) or ``"signs"`` (signs
            changed).
        statistic: (unit,) t of the data as they are; NaN for a unit that never varies.
        largest: (permutation,) for each relabelling the largest absolute t over all units.
        highest: (permutation,) for each relabelling the largest t over all units, for one-sided tests.
        dof: Degrees of freedom of t.
        smallest_p: The smallest p that the number of distinct relabellings of this design allows.
        provenance: Recording, prompts, number of relabellings and seed.
        estimate: (unit,) the contrast itself, in the units of the activations. None in results of earlier versions.
        name: What titles, networks and files call the contrast; by default and in results of earlier versions the
            expression.
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
    name: str = ""

    _settings_ = ("expression", "null", "dof", "smallest_p")
    _measured_ = ("dof", "smallest_p")

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.expression)

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        origin = {
            "method": "max_t",
            **named_origin(self.expression, self.name),
            "null": self.null,
            **self.provenance,
        }
        return UnitMap(self.space, values, kind, origin)

    @property
    def t(self) -> UnitMap:
        """(unit,) t of the data as they are; NaN for a unit that never varies."""
        return self._map(self.statistic, "t")

    @property
    def effect(self) -> UnitMap:
        """(unit,) the contrast itself, in the units of the activations."""
        if self.estimate is None:
            raise InputError("this test was saved by a version that kept no effects; run max_t again")
        return self._map(self.estimate, "effect")

    @property
    def p(self) -> UnitMap:
        """p corrected over all units: the share of relabellings whose largest \\|t\\| reaches the unit's."""
        return self._map(self._corrected(np.abs(self.statistic), self.largest), "p")

    def _corrected(self, t: np.ndarray, extremes: np.ndarray) -> np.ndarray:
        """p of every unit: the share of extremes, the data's own included, that reach its t."""
        # t back to correlations, r = t / sqrt(dof + t^2). Relabellings are computed in float32: r that is smaller by
        # 1e-5 of itself counts as one that repeats the data. In t the same error grows without bound as r nears 1.
        own, reached = (one / np.sqrt(self.dof + np.square(one)) for one in (t, extremes))
        own = np.where(np.isnan(own), -np.inf, own - 1e-5 * np.abs(own))
        above = len(extremes) - np.searchsorted(np.sort(reached), own, "left")
        return (1.0 + above) / (1.0 + len(extremes))

    @checked
    def threshold(
        self,
        *,
        fwe: float = 0.05,
        two_sided: bool = True,
        min_effect: int | float | None = None,
        name: str | None = None,
    ) -> Network:
        """The network of the units whose corrected p is at most a family-wise error rate.

        >>> test = fbn.glm.max_t(recording, "sort - reverse", n_permutations=199, seed=0, progress=False)
        >>> test.threshold(fwe=0.05)
        Network "sort - reverse": ... of 1,152 units ...

        Args:
            fwe: Chance, between 0 and 1, that there is any false unit among those returned.
            two_sided: True selects effects of both directions and gives the units signs; False only positive effects,
                tested one-sided.
            min_effect: Smallest \\|effect\\|, in the units of the activations, that a unit must have besides.
            name: Name of the network; by default that of the contrast.

        Returns:
            The units that pass, with the sign of their effect.

        Raises:
            InputError: ``fwe`` is not between 0 and 1, or is smaller than the smallest p that the relabellings allow.
        """
        if not 0 < fwe < 1:
            raise InputError(f"fwe={fwe} is no error rate; give a number between 0 and 1, e.g. fwe=0.05")
        # neither the design nor the number of relabellings drawn can show a smaller p
        finest = max(self.smallest_p, 1.0 / (1 + len(self.largest)))
        if finest > fwe:
            raise InputError(
                f"{len(self.largest)} relabellings of this design show no p below {finest:.3g}, so fwe={fwe} "
                "selects nothing; record more blocks or runs, or ask for more permutations"
            )
        t = self.statistic
        p = self._corrected(np.abs(t), self.largest) if two_sided else self._corrected(t, self.highest)
        passed = p <= fwe
        how: dict[str, Any] = {"fwe": fwe, "two_sided": two_sided}
        if min_effect is not None:
            passed &= np.abs(self.effect.values) >= min_effect
            how["min_effect"] = min_effect
        signs = np.nan_to_num(np.sign(t)).astype(np.int8)
        return Network(self.space, passed, signs, name or self.name, {**self.t.provenance, "threshold": how})

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, t, p (corrected)."""
        return self.t.to_dataframe().rename(columns={"value": "t"}).assign(p=self.p.values)

    def _methods_(self) -> list[str]:
        about = self.provenance
        how = NULLS_IN_WORDS[self.null].format(
            replicates=about.get("replicates", "blocks"), over=about.get("over", "runs")
        )
        named = named_in_words((self.expression,), self.name)
        return [
            f"The contrast {named} was tested against the largest statistic over all units under "
            f"{len(self.largest):,} relabellings ({how}; seed {about.get('seed', NOT_RECORDED)}), which controls the "
            f"family-wise error; the smallest p these allow is {self.smallest_p:.2g}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        passed = int((self.p.values <= 0.05).sum())
        what = "" if self.name == self.expression else f"The contrast is {self.expression}. "
        text = (
            f"{self!r}.\n\n{what}p is corrected over all units: {passed:,} have p of at most .05, where by chance one "
            f"experiment in twenty has any. The picture shows t; the table lists the {TOP_UNITS} units of largest |t|."
        )
        return [
            {
                "title": f"Permutations of {self.name}",
                "text": text,
                "origin": self.t.provenance,
                "figure": self.t,
                "table": self.to_dataframe().iloc[order_by_magnitude(self.t)],
            }
        ]

    def __repr__(self) -> str:
        critical = float(np.quantile(self.largest, 0.95))
        return (
            f'PermutationTest "{self.name}": {len(self.largest):,} relabellings ({self.null}), '
            f"95 % of their largest |t| below {critical:.2f}; {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.abs(self.statistic), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.t:.2f}", f"{r.p:.3g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "t", "p"), rows)


@checked
def max_t(
    recording: Recording | Streamed | GLMFit,
    expression: str,
    *,
    n_permutations: int = 1000,
    seed: int,
    null: Null = "labels",
    over: Over | None = None,
    name: str | None = None,
    progress: bool = True,
) -> PermutationTest:
    """Test a contrast of conditions by relabelling blocks, corrected over units by the largest t.

    >>> fbn.glm.max_t(recording, "sort - reverse", n_permutations=199, seed=0, progress=False).threshold(fwe=0.05)
    Network "sort - reverse": ... of 1,152 units ...

    Args:
        recording: A recording or stream, which is fitted with the defaults of :func:`tl_fbn.fit_glm`; or a fit of
            your own.
        expression: A difference of conditions, e.g. ``"sort - reverse"`` or ``"sort - others"``. Its weights must add
            up to 0, except with ``null="signs"`` over runs.
        n_permutations: Number of random relabellings, at least 19; the smallest p is ``1 / (1 + n_permutations)``.
        seed: Seed of the random relabellings; the same seed gives the same relabellings.
        null: What is done to the data: ``"labels"`` shuffles the labels of blocks within each run, ``"shift"``
            rotates the sequence of labels of each run, ``"signs"`` changes the signs of effects at random.
        over: What changes its sign with ``null="signs"``: the effects of ``"runs"`` (default), or the differences of
            ``"pairs"`` of neighbouring blocks.
        name: What the result calls the contrast; by default as :meth:`GLMFit.contrast` calls it.
        progress: Whether to show a progress bar, which appears where the test takes longer than some seconds.

    Returns:
        t and corrected p of every unit; its method ``threshold`` gives the network.

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
    short, (expression,) = fit.in_columns([expression])
    (weights,), numbers, _ = fit.estimable([expression])
    used = [fit.runs[number] for number in numbers]
    rng = np.random.default_rng(seed)
    if null == "signs":
        # items are effects, of runs or of pairs of blocks: t is that of a one-sample test of their mean
        if over == "pairs":
            effects = neighbour_pairs(used, weights, expression)
            size = np.max([np.abs(run.block_means).max(0) for run in used], axis=0)
            rounding = ROUNDING * size * sum(map(abs, weights.values()))
        else:
            effects = [run.effect(weights)[0] for run in used]
            rounding = np.max([run.rounding([weights])[0] for run in used], axis=0)
        drawn = Relabellings.of_signs(np.array(effects), over or "runs", rounding)
        effect = np.mean(effects, axis=0)
    else:
        # items are blocks; the effect reported is that of the fit, the statistic that of the test
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
        fit.space,
        expression,
        null,
        observed,
        largest,
        highest,
        drawn.dof,
        drawn.smallest_p,
        provenance,
        effect,
        name or short,
    )
