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

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn import files
from tl_fbn.acquisition.recording import Recording
from tl_fbn.acquisition.row_sums import Streamed
from tl_fbn.analysis.expressions import as_vector
from tl_fbn.analysis.glm import GLMFit, fit_glm
from tl_fbn.analysis.run_fit import RunFit
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask

Null = Literal["labels", "shift", "signs"]
Over = Literal["pairs", "runs"]
_CHUNK, _UNITS = 512, 4096


@dataclass(frozen=True, eq=False)
class PermutationTest:
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
            raise ValueError("this test was saved by a version that kept no effects; run max_t again")
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
            ValueError: ``fwe`` is no error rate, or smaller than the relabellings can show.
        """
        if not 0 < fwe < 1:
            raise ValueError(f"fwe={fwe} is no error rate; give a number between 0 and 1, e.g. fwe=0.05")
        finest = max(self.smallest_p, 1.0 / (1 + len(self.largest)))
        if finest > fwe:
            raise ValueError(
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

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        arrays = {"statistic": self.statistic, "largest": self.largest, "highest": self.highest}
        if self.estimate is not None:
            arrays["estimate"] = self.estimate
        about = {name: getattr(self, name) for name in ("expression", "null", "dof", "smallest_p")}
        about |= {"space": self.space.about(), "provenance": dict(self.provenance)}
        files.write_result(path, "PermutationTest", arrays, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> PermutationTest:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "PermutationTest")
        space = UnitSpace.from_about(about.pop("space"))
        return cls(space, **arrays, **about)

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
) -> PermutationTest:
    """Test a contrast of conditions by relabelling blocks, corrected over units by the largest t.

    Args:
        recording: A recording or stream, fitted with the defaults of :func:`.glm.fit_glm`; or a fit of your own.
        expression: A difference of conditions, e.g. ``"sort - rest"``: its weights must add up to 0, but for signs over runs.
        n_permutations: Relabellings drawn.
        seed: Decides them.
        null: ``"labels"``, ``"shift"`` or ``"signs"``; see the module.
        over: What changes its sign, ``"runs"`` (default) or ``"pairs"``.

    Raises:
        ValueError: The contrast compares no exchangeable blocks, the design has fewer than 20 distinct relabellings (so
            that no p reaches .05), or fewer than 19 are asked for.
    """
    if null not in get_args(Null):
        raise ValueError(f"null={null!r} is none of {', '.join(map(repr, get_args(Null)))}")
    if over is not None and (null != "signs" or over not in get_args(Over)):
        raise ValueError(f'over={over!r} with null={null!r}; over= is "pairs" or "runs", for null="signs"')
    if n_permutations < 19:
        raise ValueError(f"n_permutations={n_permutations} shows no p below .05; give at least 19, better 1,000")
    fit = recording if isinstance(recording, GLMFit) else fit_glm(recording)
    (weights,), numbers, _ = fit.estimable([expression])
    used = [fit.runs[number] for number in numbers]
    rng = np.random.default_rng(seed)
    if null == "signs":
        effects = _pairs(used, weights, expression) if over == "pairs" else [run.effect(weights)[0] for run in used]
        drawn = _Relabellings.of_signs(np.array(effects), over or "runs")
        effect = np.mean(effects, axis=0)
    else:
        drawn = _Relabellings.of_blocks(used, weights, expression, null)
        effect = fit.contrast(expression).estimate
    if drawn.smallest_p > 0.05:
        raise ValueError(
            f"this design allows a p of at best {drawn.smallest_p:.3g} by null={null!r} ({drawn.why}); record more "
            + ("runs" if null == "signs" and over != "pairs" else "blocks, or in random order")
        )
    observed, largest, highest = drawn.run(n_permutations, rng)
    provenance = {**fit.provenance, "n_permutations": n_permutations, "seed": seed, "replicates": fit.replicates}
    if null == "signs":
        provenance["over"] = over or "runs"
    return PermutationTest(
        fit.space, expression, null, observed, largest, highest, drawn.dof, drawn.smallest_p, provenance, effect
    )


@dataclass(frozen=True, eq=False)
class _Relabellings:
    """Data in small coordinates, and how their regressor is drawn anew.

    Args:
        data: (item, unit) freed of nuisance, each unit of norm 1 (0 where it never varies).
        regressors: One a run: the values of its items.
        residual: One a run: (item, item) takes nuisance off a regressor.
        movable: One a run: the items that trade values; None to change signs instead.
        shift: Rotate rather than shuffle.
        dof: Degrees of freedom of t.
        smallest_p: The smallest p that distinct relabellings allow.
        why: How many there are, in words.
    """

    data: Float[np.ndarray, "item unit"]
    regressors: Sequence[np.ndarray]
    residual: Sequence[np.ndarray]
    movable: Sequence[np.ndarray] | None
    shift: bool
    dof: float
    smallest_p: float
    why: str

    @classmethod
    def of_signs(cls, effects: Float[np.ndarray, "item unit"], over: Over) -> _Relabellings:
        n = len(effects)
        why = f"{n} {over} have {2.0**n:.4g} patterns of signs, each as extreme as its opposite"
        return cls(_normed(effects), [np.ones(n)], [np.eye(n)], None, False, n - 1.0, 2.0 / 2.0**n, why)

    @classmethod
    def of_blocks(
        cls, runs: Sequence[RunFit], weights: Mapping[str, float], expression: str, null: Null
    ) -> _Relabellings:
        _require_comparison(weights, expression)
        data, regressors, residuals, movable = [], [], [], []
        dof, log_count, opposite = -1.0, 0.0, True
        for number, run in enumerate(runs):
            regressor, moving = _labelled(run, weights, expression, number)
            residual, rank = _residual_maker(run, weights)
            data.append(residual @ run.means_between())
            regressors.append(regressor)
            residuals.append(residual)
            movable.append(moving)
            dof += len(regressor) - rank
            values, counts = np.unique(regressor[moving], return_counts=True)
            if null == "shift":
                rolled = {tuple(np.roll(regressor[moving], k)) for k in range(len(moving))}
                log_count += math.log(len(rolled))
                opposite &= tuple(-regressor[moving]) in rolled
            else:
                log_count += math.lgamma(len(moving) + 1) - sum(math.lgamma(n + 1) for n in counts)
                opposite &= bool(np.allclose(values, -values[::-1]) and (counts == counts[::-1]).all())
        if dof < 1:
            raise ValueError(f"{expression!r} leaves no blocks to compare once drift is off; record more cycles")
        smallest = math.exp(math.log(2.0 if opposite else 1.0) - log_count)
        why = f"{math.exp(min(log_count, 50)):.3g} distinct relabellings" + (
            ", each as extreme as its opposite" if opposite else ""
        )
        joined = _normed(np.concatenate(data))
        return cls(joined, regressors, residuals, movable, null == "shift", dof, smallest, why)

    def run(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t of the data, and of n relabellings the largest |t| and the largest t."""
        observed = self._designs(None, 1, rng) @ self.data
        t = self._t(observed[0])
        t[~self.data.any(0)] = np.nan
        narrow = self.data.astype(np.float32)
        highest, lowest = np.full(n, -np.inf), np.full(n, np.inf)
        for start in range(0, n, _CHUNK):
            part = slice(start, min(start + _CHUNK, n))
            designs = self._designs(part, part.stop - part.start, rng).astype(np.float32)
            for first in range(0, narrow.shape[1], _UNITS):
                r = designs @ narrow[:, first : first + _UNITS]
                np.maximum(highest[part], r.max(1), out=highest[part])
                np.minimum(lowest[part], r.min(1), out=lowest[part])
        return t, self._t(np.maximum(highest, -lowest)), self._t(highest)

    def _t(self, r: np.ndarray) -> np.ndarray:
        r = np.clip(r, -1, 1)
        with np.errstate(divide="ignore"):
            return r * np.sqrt(self.dof / np.maximum(1 - r**2, 1e-15))

    def _designs(self, part: slice | None, n: int, rng: np.random.Generator) -> Float[np.ndarray, "permutation item"]:
        """Relabelled regressors, freed of nuisance, each of norm 1; the true one for no part."""
        made = []
        for i, (regressor, residual) in enumerate(zip(self.regressors, self.residual, strict=True)):
            drawn = np.tile(regressor, (n, 1))
            if part is not None and self.movable is None:
                drawn *= rng.choice([-1.0, 1.0], size=drawn.shape)
            elif part is not None:
                assert self.movable is not None
                moving = self.movable[i]
                values = np.tile(regressor[moving], (n, 1))
                if self.shift:
                    turned = (np.arange(len(moving)) + rng.integers(len(moving), size=(n, 1))) % len(moving)
                    drawn[:, moving] = np.take_along_axis(values, turned, 1)
                else:
                    drawn[:, moving] = rng.permuted(values, axis=1)
            made.append(drawn @ residual)
        joined = np.concatenate(made, axis=1)
        norms = np.linalg.norm(joined, axis=1, keepdims=True)
        return joined / np.where(norms > 1e-9, norms, np.inf)  # a relabelling that drift explains shows nothing


def _require_comparison(weights: Mapping[str, float], expression: str) -> None:
    if abs(sum(weights.values())) > 1e-9:
        raise ValueError(
            f"{expression!r} compares conditions with nothing (its weights add up to {sum(weights.values()):g}), which no "
            'exchange of labels tests; compare conditions, or use null="signs"'
        )


def _pairs(runs: Sequence[RunFit], weights: Mapping[str, float], expression: str) -> list[Float[np.ndarray, " unit"]]:
    """Differences of neighbouring blocks, one of each side of the contrast; a block without a partner is left out."""
    _require_comparison(weights, expression)
    found, scale = [], sum(weight for weight in weights.values() if weight > 0)
    for number, run in enumerate(runs):
        values, compared = _labelled(run, weights, expression, number)
        means, waiting = run.means_between(), list[int]()
        for block in compared:
            if waiting and values[waiting[0]] * values[block] < 0:
                sign = np.sign(values[block])
                found.append(scale * sign * (means[block] - means[waiting.pop(0)]))
            else:
                waiting.append(int(block))
    return found


def _labelled(
    run: RunFit, weights: Mapping[str, float], expression: str, number: int
) -> tuple[Float[np.ndarray, " block"], np.ndarray]:
    """The contrast's weight of every block, and which blocks it compares."""
    vector = as_vector(dict(weights), run.columns)
    assert vector is not None
    if not len(run.block_means):
        raise ValueError(f"max_t relabels blocks, but run {number} has no events; give events")
    named = run.block_design[:, vector != 0]
    labelled = np.isclose(named, 1) | np.isclose(named, 0)
    if run.within[vector != 0].any() or not labelled.all() or (np.isclose(named, 1).sum(1) > 1).any():
        raise ValueError(
            f"contrast {expression!r} names columns that are no labels of whole blocks (run {number}); max_t exchanges labels "
            "of conditions"
        )
    return run.block_design @ np.where(vector != 0, vector, 0.0), np.flatnonzero(np.isclose(named, 1).any(1))


def _residual_maker(run: RunFit, weights: Mapping[str, float]) -> tuple[Float[np.ndarray, "block block"], int]:
    """Takes the constant, drift and the conditions that are not compared off a block's numbers; and their rank."""
    others = [i for i, name in enumerate(run.columns) if name not in weights and not run.within[i]]
    nuisance = np.column_stack([np.ones(len(run.block_means)), run.block_design[:, others]])
    left, singular, _ = np.linalg.svd(
        nuisance / np.maximum(np.linalg.norm(nuisance, axis=0), 1e-300), full_matrices=False
    )
    left = left[:, singular > 1e-9 * singular[0]]
    return np.eye(len(nuisance)) - left @ left.T, left.shape[1]


def _normed(data: Float[np.ndarray, "item unit"]) -> Float[np.ndarray, "item unit"]:
    norms = np.linalg.norm(data, axis=0)
    varies = norms > 1e-13 * np.abs(data).max(initial=0.0)
    return np.where(varies, data, 0.0) / np.where(varies, norms, 1.0)
