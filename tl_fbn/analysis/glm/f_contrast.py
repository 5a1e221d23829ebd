"""An F contrast of a fitted GLM: do any of several linear combinations of columns differ from 0, unit by unit?

    fit.contrast(["sort - rest", "add - rest"]).threshold(fdr=0.05)      # units that follow any of the tasks

``F = t' R^-1 t / q`` with the t values of the ``q`` combinations and their correlations ``R``; it has no sign. Levels are those of :mod:`.contrast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.glm import multiple_testing
from tl_fbn.analysis.glm.contrast import Level
from tl_fbn.analysis.glm.contrast_prose import contrast_section, tested_in_words
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.result import Result


@dataclass(frozen=True, eq=False)
class FContrast(Result, step="contrast"):
    """Several linear combinations of a design's columns, tested together in every unit: does any differ from 0?

    Args:
        space: The units.
        expressions: What was asked.
        level: What the test speaks about.
        statistic: (unit,) F; NaN for a unit that never varies.
        dof: Degrees of freedom of the denominator; those of the numerator are the number of expressions.
        runs: Runs all of them were estimable in.
        skipped: Run number to the reason it could not be used.
        provenance: Noise model, recording, prompts.
    """

    space: UnitSpace
    expressions: tuple[str, ...]
    level: Level
    statistic: Float[np.ndarray, " unit"]
    dof: float
    runs: tuple[int, ...]
    skipped: Mapping[int, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("expressions", "level", "dof", "runs", "skipped")
    _measured_ = ("dof", "runs", "skipped")

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        origin = {"method": "glm", "contrast": list(self.expressions), "level": self.level, **self.provenance}
        return UnitMap(self.space, values, kind, origin)

    @property
    def numerator(self) -> int:
        """Degrees of freedom of the numerator."""
        return len(self.expressions)

    @property
    def f(self) -> UnitMap:
        """F of every unit."""
        return self._map(self.statistic, "f")

    @property
    def z(self) -> UnitMap:
        """Normal deviate with the upper tail of F; 0 for a unit that never varies."""
        return self._map(multiple_testing.f_to_z(self.statistic, self.numerator, self.dof), "z")

    @property
    def p(self) -> UnitMap:
        """p, uncorrected; 1 for a unit that never varies."""
        return self._map(multiple_testing.f_to_p(self.statistic, self.numerator, self.dof), "p")

    @property
    def partial_r2(self) -> UnitMap:
        """Share of the variance left by all else that the contrasts explain."""
        explained = self.numerator * np.nan_to_num(self.statistic)
        return self._map(explained / (explained + self.dof), "partial_r2")

    def threshold(
        self,
        *,
        fdr: float | None = None,
        fwe: float | None = None,
        top: int | float | None = None,
        method: multiple_testing.CorrectionMethod | None = None,
        name: str | None = None,
    ) -> Network:
        """The units that pass; they have no sign. Arguments as in :meth:`Contrast.threshold`."""
        given = {key: value for key, value in (("fdr", fdr), ("fwe", fwe), ("top", top)) if value is not None}
        if len(given) != 1:
            raise InputError(f"threshold takes exactly one of fdr=, fwe= and top=; got {given or 'none'}")
        if top is not None:
            passed = self._map(np.nan_to_num(self.statistic, nan=-1.0), "f").top(top).members
        else:
            passed = multiple_testing.significant(
                self.p.values, fdr=fdr, fwe=fwe, method=method, layers=self.space.layer_of
            )
        provenance = {**self.f.provenance, "threshold": {**given, **({"method": method} if method else {})}}
        return Network(self.space, passed, name=name or ", ".join(self.expressions), provenance=provenance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, f, z, p."""
        table = self.f.to_dataframe().rename(columns={"value": "f"})
        return table.assign(z=self.z.values, p=self.p.values)

    def _methods_(self) -> list[str]:
        return [tested_in_words(self, self.expressions, "F")]

    def _report_sections_(self) -> list[dict[str, Any]]:
        section = contrast_section(self, ", ".join(self.expressions))
        return [{**section, "figure": self.z}]  # F has no sign; its z is drawn as a map

    def __repr__(self) -> str:
        asked = ", ".join(self.expressions)
        return (
            f"FContrast [{asked}] at {self.level} level, {self.numerator} and {self.dof:g} degrees of freedom, runs "
            f"{list(self.runs)}: {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.nan_to_num(self.statistic, nan=-1.0), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.f:.2f}", f"{r.p:.2g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "F", "p"), rows)


def f_statistic(
    effects: Float[np.ndarray, "contrast unit"], covariance: Float[np.ndarray, "unit contrast contrast"]
) -> Float[np.ndarray, " unit"]:
    """Effects weighed by the inverse of their covariance, a contrast; NaN where nothing varies."""
    errors = np.sqrt(np.einsum("ncc->nc", covariance))
    varies = (errors > 0).all(1)
    f = np.full(effects.shape[1], np.nan)
    # by way of t values and their correlations, so that contrasts of any size are told apart
    errors = errors[varies]
    t = (effects.T[varies] / errors)[..., None]
    correlation = covariance[varies] / (errors[:, :, None] * errors[:, None, :])
    # F = t' R^-1 t / q, with R the correlations of the q contrasts
    f[varies] = (t * np.linalg.solve(correlation, t)).sum((1, 2)) / len(effects)
    return f
