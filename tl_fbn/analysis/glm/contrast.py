"""A contrast of a fitted GLM: effect, variance, t, z and p of every unit, and the network that passes a threshold.

A contrast is a weighted difference ``c beta`` of the regressors' coefficients, in the units of the activations, and
``t = c beta / sqrt(var(c beta))``. The level says what counts as an independent observation, and so what the variance
is taken over and what the p values speak about:

- ``"block"`` (default): block means. The test speaks about blocks of prompts like these;
- ``"token"``: rows. The test is against noise from row to row and speaks about *these prompts* only; the serial
  dependence of real activations is richer than AR(1), so that it rejects too often;
- ``"run"``: runs. The test is against the spread of the effect between runs, and needs at least three of them.

p values of single units are uncorrected; :meth:`Contrast.threshold` corrects for the number of units
(:mod:`.multiple_testing`). A unit that differs between conditions is not shown to matter for a task: that takes a
lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import special, stats

from tl_fbn.analysis.glm import multiple_testing
from tl_fbn.analysis.glm.contrast_prose import contrast_section, named_origin, tested_in_words
from tl_fbn.analysis.glm.scale_free import contributions, within_layers
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.result import Result

Level = Literal["block", "token", "run"]
SelectedBy = Literal["t", "effect", "standardized", "contribution", "z_within_layer"]


@dataclass(frozen=True, eq=False)
class Contrast(Result, step="contrast", picture="contrast", renamed={"error": "effect_variance"}):
    """One weighted difference of a design's regressors, tested in every unit.

    >>> contrast
    Contrast "sort - reverse" at block level, 14 degrees of freedom, runs [0, 1]: tl_fbn-demo mlp.neurons (3 x 384)
    >>> contrast.to_dataframe().round(1).head(2)
       layer  unit  effect     t    z    p
    0      0     0    -0.5 -20.8 -6.9  0.0
    1      0     1    -0.0  -4.3 -3.4  0.0

    Args:
        space: The units that were tested: site, and width of every layer.
        expression: The contrast over columns as it was written, e.g. ``"sort - reverse"``; with the columns in the
            place of ``others``.
        level: What counts as an independent observation: ``"block"``, ``"token"`` or ``"run"``.
        estimate: (unit,) the effect, in the units of the activations.
        effect_variance: (unit,) variance of the effect: its squared standard error.
        dof: Degrees of freedom of t.
        runs: Numbers of the runs in which the contrast could be estimated; the effect is their mean.
        skipped: For every other run, its number and the reason why it could not be used.
        provenance: Noise model, recording and prompts that the contrast goes back to.
        variance_tested: (unit,) variance of single observations of the level: rows, block means, or effects of runs.
            None in results of earlier versions.
        varies: (unit,) True where observations of the level vary at all: a unit that varies without any error is one
            that the design explains, and its t is infinite. None in results of earlier versions, where units without
            error count as units that never vary.
        name: What titles, networks and files call the contrast, e.g. ``"plural - others"``; by default and in results
            of earlier versions the expression.
        outgoing_norms: (unit,) norms of the outgoing weights of the units, for :attr:`contribution`. None where they
            are not known, as in results of earlier versions, or where units have none.
    """

    space: UnitSpace
    expression: str
    level: Level
    estimate: Float[np.ndarray, " unit"]
    effect_variance: Float[np.ndarray, " unit"]
    dof: float
    runs: tuple[int, ...]
    skipped: Mapping[int, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    variance_tested: Float[np.ndarray, " unit"] | None = None
    varies: Bool[np.ndarray, " unit"] | None = None
    name: str = ""
    outgoing_norms: Float[np.ndarray, " unit"] | None = None

    _settings_ = ("expression", "level", "dof", "runs", "skipped")
    _measured_ = ("dof", "runs", "skipped")

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.expression)

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        return UnitMap(self.space, values, kind, self._origin())

    def _origin(self) -> dict[str, Any]:
        return {"method": "glm", **named_origin(self.expression, self.name), "level": self.level, **self.provenance}

    @property
    def effect(self) -> UnitMap:
        """The effect, in the units of the activations."""
        return self._map(self.estimate, "effect")

    @property
    def variance(self) -> UnitMap:
        """Squared standard error of the effect."""
        return self._map(self.effect_variance, "variance")

    @property
    def t(self) -> UnitMap:
        """Effect over standard error; NaN for a unit that never varies.

        A unit that the design explains without error has an infinite t, or 0 where its effect is 0.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.estimate / np.sqrt(self.effect_variance)
        t = np.where(self._explained & (self.estimate == 0), 0.0, t)
        return self._map(np.where((self.effect_variance == 0) & ~self._explained, np.nan, t), "t")

    @property
    def _explained(self) -> Bool[np.ndarray, " unit"]:
        """(unit,) True for units that vary, and all of whose variation the design explains."""
        without_error = self.effect_variance == 0
        return without_error & self.varies if self.varies is not None else np.zeros_like(without_error)

    @property
    def z(self) -> UnitMap:
        """Normal deviate with the tail probability of t, infinite with it; 0 for a unit that never varies."""
        return self._map(multiple_testing.t_to_z(self.t.values, self.dof), "z")

    @property
    def p(self) -> UnitMap:
        """Two-sided p, uncorrected; 1 for a unit that never varies."""
        return self._map(multiple_testing.t_to_p(self.t.values, self.dof), "p")

    @property
    def partial_r2(self) -> UnitMap:
        """Share of the variance which the contrast explains of what other regressors leave: ``t**2 / (t**2 + dof)``."""
        # F of one contrast is t^2, and R2 = F / (F + dof)
        squared = np.square(np.nan_to_num(self.t.values, posinf=np.inf, neginf=-np.inf))
        return self._map(multiple_testing.explained_share(squared, self.dof), "partial_r2")

    @property
    def standardized(self) -> UnitMap:
        """The effect in standard deviations of single observations of the level; 0 for a unit that never varies.

        Observations are rows, block means or effects of runs, so that values of different levels do not compare. The
        effect of a unit that the design explains without error is infinite.
        """
        return self._map(self._in_sd(self.estimate), "standardized")

    @property
    def contribution(self) -> UnitMap:
        """The effect times the norm of the unit's outgoing weights: size of what the effect adds to the stream.

        >>> contrast.contribution.top(0.02).per_layer()
        array([16,  3,  4])

        Positive where the unit is more active. Of coordinates of the residual stream it is the effect itself. An
        InputError says what to do where the norms are not known, or where units have no outgoing weights.
        """
        return self._map(contributions(self.estimate, self.outgoing_norms, self.space), "contribution")

    @property
    def z_within_layer(self) -> UnitMap:
        """The effect less the median of the layer's effects, over their robust spread: no layer's scale counts.

        >>> contrast.z_within_layer.top(0.02).per_layer()
        array([15,  7,  1])

        The spread is 1.4826 times the median absolute deviation over the units of the layer. It is no test.
        """
        return self._map(within_layers(self.estimate, self.space), "z_within_layer")

    @checked
    def interval(self, confidence: float = 0.95, *, standardized: bool = False) -> tuple[UnitMap, UnitMap]:
        """Lower and upper end of a confidence interval of every unit, not corrected for the number of units.

        >>> low, high = contrast.interval()
        >>> low.values[0].round(2), high.values[0].round(2)
        (np.float64(-0.55), np.float64(-0.45))

        Args:
            confidence: Chance, between 0 and 1, that the interval holds the true effect of a unit.
            standardized: False gives the interval of the effect, in the units of the activations. True gives that of
                the effect in standard deviations, by inverting the noncentral t distribution (Smithson 2003).

        Returns:
            The lower and the upper end, a map each.

        Raises:
            InputError: ``confidence`` is no probability; or ``standardized`` of a contrast that an earlier version
                saved.
        """
        if not 0 < confidence < 1:
            raise InputError(f"confidence={confidence} is no probability; give e.g. 0.95")
        tails = (1 + confidence) / 2, (1 - confidence) / 2  # probabilities below t: the lower end has the larger one
        if standardized:
            spread = np.sqrt(self.effect_variance) * self._per_sd()
            t = self.t.values
            known = np.where(np.isfinite(t), t, 0.0)
            # noncentralities that would leave t at the upper or lower tail, brought to standard deviations; without any
            # error both ends are the effect itself
            ends = [np.where(np.isinf(t), t, special.nctdtrinc(self.dof, tail, known) * spread) for tail in tails]
        else:
            half = stats.t.ppf(tails[0], self.dof) * np.sqrt(self.effect_variance)
            ends = [self.estimate - half, self.estimate + half]
        low, high = (self._map(np.asarray(end, dtype=float), f"{confidence:g} interval") for end in ends)
        return low, high

    def _in_sd(self, effect: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
        """Effects in standard deviations of single observations, infinite for what is explained without error."""
        infinite = self._explained & (effect != 0)
        return np.where(infinite, np.copysign(np.inf, effect), effect * self._per_sd())

    def _per_sd(self) -> Float[np.ndarray, " unit"]:
        """One over the standard deviation of single observations; 0 for a unit that never varies."""
        if self.variance_tested is None:
            raise InputError("this contrast was saved by an earlier version, without variances; fit and contrast again")
        varies = self.variance_tested > 0
        return np.where(varies, 1.0 / np.sqrt(np.where(varies, self.variance_tested, 1.0)), 0.0)

    @checked
    def threshold(
        self,
        *,
        fdr: float | None = None,
        fwe: float | None = None,
        top: int | float | None = None,
        by: SelectedBy = "t",
        method: multiple_testing.CorrectionMethod | None = None,
        two_sided: bool = True,
        min_effect: int | float = 0.0,
        name: str | None = None,
    ) -> Network:
        """The network of the units that pass a corrected threshold, or that have the largest values of a map.

        >>> contrast.threshold(fwe=0.05, method="bonferroni", min_effect=0.5)
        Network "sort - reverse": ...
        >>> contrast.threshold(top=0.02, by="contribution").per_layer()
        array([19,  0,  4])

        Exactly one of ``fdr``, ``fwe`` and ``top`` is given.

        Args:
            fdr: False discovery rate: expected share, between 0 and 1, of false units among those returned.
            fwe: Family-wise error: chance, between 0 and 1, that there is any false unit among those returned.
            top: This number (an int) or share (a float) of units with the largest values, without any test.
            by: The map whose largest values ``top`` takes: ``"t"``, ``"effect"``, ``"standardized"``,
                ``"contribution"`` or ``"z_within_layer"``, each the property of that name.
            method: The correction. For ``fdr``: ``"bh"`` (Benjamini and Hochberg; the default), ``"by"`` (Benjamini and
                Yekutieli, under any dependence) or ``"layers"`` (layers are selected first, then units in them). For
                ``fwe``: ``"holm"`` (default) or ``"bonferroni"``.
            two_sided: True selects effects of both directions and gives the units signs; False only positive effects,
                tested one-sided.
            min_effect: Smallest effect, in the units of the activations, that a unit must have besides.
            name: Name of the network; by default that of the contrast.

        Returns:
            The units that pass, with the sign of their effect.

        Raises:
            InputError: Not exactly one of fdr, fwe and top is given, a rate is not between 0 and 1, the method does not
                control the rate asked for, ``by`` without ``top``, or a map that the contrast cannot have.
        """
        one_of(by, SelectedBy, "by")
        if by != "t" and top is None:
            raise InputError(f"by={by!r} says what top= takes the largest of; tests are of t, so give top= or leave it")
        if (fdr, fwe, top).count(None) != 2:
            raise InputError(f"threshold takes exactly one of fdr=, fwe= and top=; got fdr={fdr}, fwe={fwe}, top={top}")
        t = self.t.values
        ties: Mapping[str, Any] = {}  # where top= is asked for: how many had the t at the cut
        if top is not None:
            chosen_by: UnitMap = getattr(self, by)
            chosen = chosen_by.top(top, two_sided=two_sided)
            passed = chosen.members
            ties = chosen.provenance["selection"]
        else:
            p = self.p.values
            # one-sided p is half the two-sided one where the effect is positive; a unit that never varies has 1
            p = p if two_sided else np.where(t > 0, p / 2, np.where(t <= 0, 1 - p / 2, 1.0))
            passed = multiple_testing.significant(p, fdr=fdr, fwe=fwe, method=method, layers=self.space.layer_of)
        size = np.abs(self.estimate) if two_sided else self.estimate
        passed = passed & (size >= min_effect) if min_effect > 0 else passed
        how = {
            key: value
            for key, value in (("fdr", fdr), ("fwe", fwe), ("top", top), ("method", method))
            if value is not None
        }
        how |= {"by": by} if by != "t" else {}
        how |= {key: value for key, value in ties.items() if key in ("tied", "drawn", "seed")}
        provenance = {**self._origin(), "threshold": {**how, "two_sided": two_sided, "min_effect": min_effect}}
        signs = np.nan_to_num(np.sign(t)).astype(np.int8)  # a unit that never varies has no sign
        return Network(self.space, passed, signs, name or self.name, provenance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, effect, t, z, p."""
        table = self.effect.to_dataframe().rename(columns={"value": "effect"})
        return table.assign(t=self.t.values, z=self.z.values, p=self.p.values)

    def _methods_(self) -> list[str]:
        return [tested_in_words(self, (self.expression,), "t")]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return [{**contrast_section(self, (self.expression,)), "picture": "contrast"}]

    def __repr__(self) -> str:
        skipped = f", not in {', '.join(f'{run} ({why})' for run, why in self.skipped.items())}" if self.skipped else ""
        return (
            f'Contrast "{self.name}" at {self.level} level, {self.dof:g} degrees of freedom, '
            f"runs {list(self.runs)}{skipped}: {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.abs(self.t.values), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.effect:.3g}", f"{r.t:.2f}", f"{r.p:.2g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "effect", "t", "p"), rows)
