"""A contrast of a fitted GLM: effect, variance, t, z and p of every unit, and the network that passes a threshold.

The level says what the p values speak about:

- ``"token"`` tests against noise from row to row: it holds for *these prompts* only, and for real activations, whose
  serial dependence is richer than AR(1), it rejects too often;
- ``"block"`` tests against the spread of block means, so it speaks about such blocks of prompts;
- ``"run"``   tests against the spread between runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special, stats

from tl_fbn.analysis.glm import multiple_testing
from tl_fbn.analysis.glm.contrast_prose import contrast_section, tested_in_words
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.result import Result

Level = Literal["block", "token", "run"]


@dataclass(frozen=True, eq=False)
class Contrast(Result, step="contrast", picture="contrast", renamed={"error": "effect_variance"}):
    """One linear combination of a design's columns, tested in every unit.

    Args:
        space: The units.
        expression: What was asked, e.g. ``"sort - rest"``.
        level: What the test speaks about.
        estimate: (unit,) the effect, in the units of the activations.
        effect_variance: (unit,) variance of the effect: its squared standard error.
        dof: Degrees of freedom of t.
        runs: Runs the contrast was estimable in.
        skipped: Run number to the reason it could not be used.
        provenance: Noise model, recording, prompts.
        variance_tested: (unit,) variance of what the level tests against: rows, block means, or runs' effects. None in
            results of earlier versions.
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

    _settings_ = ("expression", "level", "dof", "runs", "skipped")
    _measured_ = ("dof", "runs", "skipped")

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        return UnitMap(self.space, values, kind, self._origin())

    def _origin(self) -> dict[str, Any]:
        return {"method": "glm", "contrast": self.expression, "level": self.level, **self.provenance}

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
        """Effect over standard error; NaN for a unit that never varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._map(
                np.where(self.effect_variance > 0, self.estimate / np.sqrt(self.effect_variance), np.nan), "t"
            )

    @property
    def z(self) -> UnitMap:
        """Normal deviate with the tail probability of t; 0 for a unit that never varies."""
        return self._map(multiple_testing.t_to_z(self.t.values, self.dof), "z")

    @property
    def p(self) -> UnitMap:
        """Two-sided p, uncorrected; 1 for a unit that never varies."""
        return self._map(multiple_testing.t_to_p(self.t.values, self.dof), "p")

    @property
    def partial_r2(self) -> UnitMap:
        """Share of the variance left by all else that the contrast explains: ``t**2 / (t**2 + dof)``."""
        squared = np.square(np.nan_to_num(self.t.values))
        return self._map(squared / (squared + self.dof), "partial_r2")

    @property
    def standardized(self) -> UnitMap:
        """The effect in standard deviations of what the level tests against: rows, block means, or runs; 0 for a unit that
        never varies. Values of different levels do not compare."""
        return self._map(self.estimate * self._per_sd(), "standardized")

    def interval(self, confidence: float = 0.95, *, standardized: bool = False) -> tuple[UnitMap, UnitMap]:
        """Lower and upper end of a confidence interval of every unit, uncorrected.

        Args:
            confidence: Chance that the interval holds the true effect.
            standardized: Of the standardized effect, by inverting the noncentral t distribution (Smithson 2003); else of
                the effect itself.
        """
        if not 0 < confidence < 1:
            raise InputError(f"confidence={confidence} is no probability; give e.g. 0.95")
        tails = (1 + confidence) / 2, (1 - confidence) / 2
        if standardized:
            with np.errstate(invalid="ignore"):
                spread = np.sqrt(self.effect_variance) * self._per_sd()
            t = np.nan_to_num(self.t.values)
            ends = [special.nctdtrinc(self.dof, tail, t) * spread for tail in tails]
        else:
            half = stats.t.ppf(tails[0], self.dof) * np.sqrt(self.effect_variance)
            ends = [self.estimate - half, self.estimate + half]
        low, high = (self._map(np.asarray(end, dtype=float), f"{confidence:g} interval") for end in ends)
        return low, high

    def _per_sd(self) -> Float[np.ndarray, " unit"]:
        if self.variance_tested is None:
            raise InputError("this contrast was saved by an earlier version, without variances; fit and contrast again")
        varies = self.variance_tested > 0
        return np.where(varies, 1.0 / np.sqrt(np.where(varies, self.variance_tested, 1.0)), 0.0)

    def threshold(
        self,
        *,
        fdr: float | None = None,
        fwe: float | None = None,
        top: int | float | None = None,
        method: multiple_testing.CorrectionMethod | None = None,
        two_sided: bool = True,
        min_effect: int | float = 0.0,
        name: str | None = None,
    ) -> Network:
        """The units that pass.

        Args:
            fdr: Expected share of false units among those returned.
            fwe: Chance of any false unit.
            method: How: for ``fdr`` ``"bh"`` (default), ``"by"`` or ``"layers"`` (layers first, then units), for ``fwe`` ``"holm"``
                (default) or ``"bonferroni"``; see :mod:`.inference`.
            top: Instead of a test, this number or share of units with the largest t.
            two_sided: Both directions, with signs; else only units with a positive effect, tested one-sided.
            min_effect: And the effect is at least this large.
            name: Name of the network; the expression by default.

        Raises:
            InputError: Not exactly one of fdr, fwe and top.
        """
        if (fdr, fwe, top).count(None) != 2:
            raise InputError(f"threshold takes exactly one of fdr=, fwe= and top=; got fdr={fdr}, fwe={fwe}, top={top}")
        t = self.t.values
        if top is not None:
            passed = self.t.top(top, two_sided=two_sided).members
        else:
            p = self.p.values
            p = p if two_sided else np.where(t > 0, p / 2, np.where(t <= 0, 1 - p / 2, 1.0))
            passed = multiple_testing.significant(p, fdr=fdr, fwe=fwe, method=method, layers=self.space.layer_of)
        size = np.abs(self.estimate) if two_sided else self.estimate
        passed = passed & (size >= min_effect) if min_effect > 0 else passed
        how = {
            key: value
            for key, value in (("fdr", fdr), ("fwe", fwe), ("top", top), ("method", method))
            if value is not None
        }
        provenance = {**self._origin(), "threshold": {**how, "two_sided": two_sided, "min_effect": min_effect}}
        signs = np.nan_to_num(np.sign(t)).astype(np.int8)
        return Network(self.space, passed, signs, name or self.expression, provenance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, effect, t, z, p."""
        table = self.effect.to_dataframe().rename(columns={"value": "effect"})
        return table.assign(t=self.t.values, z=self.z.values, p=self.p.values)

    def _methods_(self) -> list[str]:
        return [tested_in_words(self, (self.expression,), "t")]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return [{**contrast_section(self, self.expression), "picture": "contrast"}]

    def __repr__(self) -> str:
        skipped = f", not in {', '.join(f'{run} ({why})' for run, why in self.skipped.items())}" if self.skipped else ""
        return f'Contrast "{self.expression}" at {self.level} level, {self.dof:g} degrees of freedom, runs {list(self.runs)}{skipped}: {self.space.describe()}'

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.abs(self.t.values), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.effect:.3g}", f"{r.t:.2f}", f"{r.p:.2g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "effect", "t", "p"), rows)
