"""A contrast of a fitted GLM: effect, variance, t, z and p of every unit, and the network that passes a threshold.

The level says what the p values speak about:

- ``"token"`` tests against noise from row to row: it holds for *these prompts* only, and for real activations, whose
  serial dependence is richer than AR(1), it rejects too often;
- ``"block"`` tests against the spread of block means, so it speaks about such blocks of prompts;
- ``"run"``   tests against the spread between runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn import files
from tl_fbn.analysis import inference
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask

Level = Literal["block", "token", "run"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """One linear combination of a design's columns, tested in every unit.

    Args:
        space: The units.
        expression: What was asked, e.g. ``"sort - rest"``.
        level: What the test speaks about.
        estimate: (unit,) the effect, in the units of the activations.
        error: (unit,) its squared standard error.
        dof: Degrees of freedom of t.
        runs: Runs the contrast was estimable in.
        skipped: Run number to the reason it could not be used.
        provenance: Noise model, recording, prompts.
    """

    space: UnitSpace
    expression: str
    level: Level
    estimate: Float[np.ndarray, " unit"]
    error: Float[np.ndarray, " unit"]
    dof: float
    runs: tuple[int, ...]
    skipped: Mapping[int, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
        return self._map(self.error, "variance")

    @property
    def t(self) -> UnitMap:
        """Effect over standard error; NaN for a unit that never varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._map(np.where(self.error > 0, self.estimate / np.sqrt(self.error), np.nan), "t")

    @property
    def z(self) -> UnitMap:
        """Normal deviate with the tail probability of t; 0 for a unit that never varies."""
        return self._map(inference.t_to_z(self.t.values, self.dof), "z")

    @property
    def p(self) -> UnitMap:
        """Two-sided p, uncorrected; 1 for a unit that never varies."""
        return self._map(inference.t_to_p(self.t.values, self.dof), "p")

    def threshold(
        self,
        *,
        fdr: float | None = None,
        fwe: float | None = None,
        top: int | float | None = None,
        two_sided: bool = True,
        min_effect: int | float = 0.0,
        name: str | None = None,
    ) -> Network:
        """The units that pass.

        Args:
            fdr: Benjamini-Hochberg at this expected share of false units.
            fwe: Holm at this chance of any false unit.
            top: Instead of a test, this number or share of units with the largest t.
            two_sided: Both directions, with signs; else only units with a positive effect, tested one-sided.
            min_effect: And the effect is at least this large.
            name: Name of the network; the expression by default.

        Raises:
            ValueError: Not exactly one of fdr, fwe and top.
        """
        if (fdr, fwe, top).count(None) != 2:
            raise ValueError(f"threshold takes exactly one of fdr=, fwe= and top=; got fdr={fdr}, fwe={fwe}, top={top}")
        t = self.t.values
        if top is not None:
            passed = self.t.top(top, two_sided=two_sided).members
        else:
            p = self.p.values
            p = p if two_sided else np.where(t > 0, p / 2, np.where(t <= 0, 1 - p / 2, 1.0))
            passed = inference.significant(p, fdr=fdr, fwe=fwe)
        size = np.abs(self.estimate) if two_sided else self.estimate
        passed = passed & (size >= min_effect) if min_effect > 0 else passed
        how = {key: value for key, value in (("fdr", fdr), ("fwe", fwe), ("top", top)) if value is not None}
        provenance = {**self._origin(), "threshold": {**how, "two_sided": two_sided, "min_effect": min_effect}}
        signs = np.nan_to_num(np.sign(t)).astype(np.int8)
        return Network(self.space, passed, signs, name or self.expression, provenance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, effect, t, z, p."""
        table = self.effect.to_dataframe().rename(columns={"value": "effect"})
        return table.assign(t=self.t.values, z=self.z.values, p=self.p.values)

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        about = {
            "space": self.space.about(),
            "expression": self.expression,
            "level": self.level,
            "dof": self.dof,
            "runs": list(self.runs),
            "skipped": {str(run): why for run, why in self.skipped.items()},
            "provenance": dict(self.provenance),
        }
        files.write_result(path, "Contrast", {"estimate": self.estimate, "error": self.error}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Contrast:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "Contrast")
        return cls(
            UnitSpace.from_about(about["space"]),
            about["expression"],
            about["level"],
            arrays["estimate"],
            arrays["error"],
            about["dof"],
            tuple(about["runs"]),
            {int(run): why for run, why in about["skipped"].items()},
            about["provenance"],
        )

    def __repr__(self) -> str:
        skipped = f", not in {', '.join(f'{run} ({why})' for run, why in self.skipped.items())}" if self.skipped else ""
        return f'Contrast "{self.expression}" at {self.level} level, {self.dof:g} degrees of freedom, runs {list(self.runs)}{skipped}: {self.space.describe()}'

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(np.abs(self.t.values), 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.effect:.3g}", f"{r.t:.2f}", f"{r.p:.2g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "effect", "t", "p"), rows)
