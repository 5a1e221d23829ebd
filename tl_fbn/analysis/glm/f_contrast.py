"""An F contrast of a fitted GLM: does any of several contrasts differ from 0, unit by unit?

For instance, ``fit.contrast(["sort - reverse", "sort - add"])`` finds the units that tell any two of the three tasks
apart.

    F = t' R^-1 t / q

with the t values of the ``q`` contrasts and their correlations ``R``, on q and ``dof`` degrees of freedom. F has no
sign, and does not say which contrast differs. Levels mean what they mean for a single contrast: what counts as an
independent observation (:mod:`.contrast`); at the run level F is Hotelling's T squared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tl_fbn.analysis.glm import multiple_testing
from tl_fbn.analysis.glm.contrast import Level
from tl_fbn.analysis.glm.contrast_prose import contrast_section, tested_in_words
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.result import Result


@dataclass(frozen=True, eq=False)
class FContrast(Result, step="contrast"):
    """Several contrasts, tested together in every unit: does any of them differ from 0?

    >>> fbn.fit_glm(recording, progress=False).contrast(["sort - reverse", "sort - add"]).threshold(top=0.02)
    Network "sort - reverse, sort - add": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), ...

    Args:
        space: The units that were tested: site, and width of every layer.
        expressions: The contrasts over columns as they were written; with the columns in the place of ``others``.
        level: What counts as an independent observation: ``"block"``, ``"token"`` or ``"run"``.
        statistic: (unit,) F; NaN for a unit that never varies, infinite for one that the design explains without error.
        dof: Degrees of freedom of the denominator; those of the numerator are the number of expressions.
        runs: Numbers of the runs in which all of the contrasts could be estimated.
        skipped: For every other run, its number and the reason why it could not be used.
        provenance: Noise model, recording and prompts that the contrasts go back to.
        name: What titles, networks and files call the contrasts together; by default and in results of earlier versions
            their expressions.
    """

    space: UnitSpace
    expressions: tuple[str, ...]
    level: Level
    statistic: Float[np.ndarray, " unit"]
    dof: float
    runs: tuple[int, ...]
    skipped: Mapping[int, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    _settings_ = ("expressions", "level", "dof", "runs", "skipped")
    _measured_ = ("dof", "runs", "skipped")

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or ", ".join(self.expressions))

    def _map(self, values: np.ndarray, kind: str) -> UnitMap:
        about: dict[str, Any] = {"contrast": list(self.expressions)}
        if self.name != ", ".join(self.expressions):
            about["contrast_name"] = self.name
        origin = {"method": "glm", **about, "level": self.level, **self.provenance}
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
        """Normal deviate with the upper tail of F, infinite with it; 0 for a unit that never varies."""
        return self._map(multiple_testing.f_to_z(self.statistic, self.numerator, self.dof), "z")

    @property
    def p(self) -> UnitMap:
        """p, uncorrected; 1 for a unit that never varies."""
        return self._map(multiple_testing.f_to_p(self.statistic, self.numerator, self.dof), "p")

    @property
    def partial_r2(self) -> UnitMap:
        """Share of the variance which the contrasts explain of what other regressors leave: ``qF / (qF + dof)``."""
        explained = self.numerator * np.nan_to_num(self.statistic, posinf=np.inf)
        return self._map(multiple_testing.explained_share(explained, self.dof), "partial_r2")

    @checked
    def threshold(
        self,
        *,
        fdr: float | None = None,
        fwe: float | None = None,
        top: int | float | None = None,
        method: multiple_testing.CorrectionMethod | None = None,
        name: str | None = None,
    ) -> Network:
        """The network of the units that pass a corrected threshold, or that have the largest F; they have no sign.

        Exactly one of ``fdr``, ``fwe`` and ``top`` is given.

        Args:
            fdr: False discovery rate: expected share, between 0 and 1, of false units among those returned.
            fwe: Family-wise error: chance, between 0 and 1, that there is any false unit among those returned.
            top: This number (an int) or share (a float) of units with the largest F, without any test.
            method: The correction. For ``fdr``: ``"bh"`` (Benjamini and Hochberg; the default), ``"by"`` (Benjamini and
                Yekutieli, under any dependence) or ``"layers"`` (layers are selected first, then units in them). For
                ``fwe``: ``"holm"`` (default) or ``"bonferroni"``.
            name: Name of the network; by default that of the contrasts.

        Returns:
            The units that pass.

        Raises:
            InputError: Not exactly one of fdr, fwe and top is given, a rate is not between 0 and 1, or the method
                does not control the rate asked for.
        """
        given = {key: value for key, value in (("fdr", fdr), ("fwe", fwe), ("top", top)) if value is not None}
        if len(given) != 1:
            raise InputError(f"threshold takes exactly one of fdr=, fwe= and top=; got {given or 'none'}")
        if top is not None:
            chosen = self.f.top(top)  # a unit that never varies has no F, and is never taken
            passed = chosen.members
            ties = chosen.provenance["selection"]
            given |= {key: ties[key] for key in ("tied", "drawn", "seed") if key in ties}
        else:
            passed = multiple_testing.significant(
                self.p.values, fdr=fdr, fwe=fwe, method=method, layers=self.space.layer_of
            )
        provenance = {**self.f.provenance, "threshold": {**given, **({"method": method} if method else {})}}
        return Network(self.space, passed, name=name or self.name, provenance=provenance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit, f, z, p."""
        table = self.f.to_dataframe().rename(columns={"value": "f"})
        return table.assign(z=self.z.values, p=self.p.values)

    def _methods_(self) -> list[str]:
        return [tested_in_words(self, self.expressions, "F")]

    def _report_sections_(self) -> list[dict[str, Any]]:
        section = contrast_section(self, self.expressions)
        return [{**section, "figure": self.z}]  # F has no sign; its z is drawn as a map

    def __repr__(self) -> str:
        return (
            f"FContrast [{self.name}] at {self.level} level, {self.numerator} and {self.dof:g} degrees of freedom, "
            f"runs {list(self.runs)}: {self.space.describe()}"
        )

    def _repr_html_(self) -> str:
        best = np.flatnonzero(top_mask(self.statistic, 5))
        table = self.to_dataframe().iloc[best].sort_values("p")
        rows = [(r.layer, r.unit, f"{r.f:.2f}", f"{r.p:.2g}") for r in table.itertuples()]
        return html_table(repr(self), ("layer", "unit", "F", "p"), rows)


def f_statistic(
    effects: Float[np.ndarray, "contrast unit"],
    covariance: Float[np.ndarray, "unit contrast contrast"],
    varies: Bool[np.ndarray, " unit"],
) -> Float[np.ndarray, " unit"]:
    """F of every unit: the effects weighed by their inverse covariance, over their number.

    Args:
        effects: (contrast, unit) effects; exactly 0 where they have no error and are rounding.
        covariance: (unit, contrast, contrast) covariance of the effects.
        varies: (unit,) True for units that vary at all.

    Returns:
        (unit,) F: NaN for a unit that never varies, and infinite where some combination of the effects has no error and
        is not 0. A combination without error that is 0 adds nothing.
    """
    errors = np.sqrt(np.einsum("ncc->nc", covariance))  # standard errors: roots of the diagonals
    exact = errors == 0
    # by way of t values and their correlations, so that contrasts of any size are told apart
    scale = np.where(exact, 1.0, errors)
    t = np.where(exact, 0.0, effects.T / scale)
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    # R = U L U', so that t' R^-1 t is the sum over directions of (U't)^2 / L; without variance in one, L is rounding
    spread, directions = np.linalg.eigh(correlation)
    along = np.einsum("ncd,nc->nd", directions, t)
    solid = spread > 1e-13 * spread.max(1, keepdims=True)
    f = np.where(solid, np.square(along) / np.where(solid, spread, 1.0), 0.0).sum(1) / len(effects)
    # 1e-6: beyond it a direction of so little variance would add more than all others
    beyond = ~solid & (np.abs(along) > 1e-6 * np.linalg.norm(t, axis=1, keepdims=True))
    f[beyond.any(1) | (exact & (effects.T != 0)).any(1)] = np.inf
    return np.where(varies, f, np.nan)
