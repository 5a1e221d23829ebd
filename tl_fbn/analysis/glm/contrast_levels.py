"""Contrasts of a fitted GLM at the three levels (token, block, run): effects, their covariance, degrees of freedom.

For R runs with effects ``c beta_r`` the effect is their mean at every level. Its covariance is

- token: ``sum_r cov_r / R**2``, with the covariance of each run from noise between rows;
- block: ``variance * sum_r C (Z'Z)^-1 C' / R**2``, from a regression of the block means on the block means Z of the
  design, with one variance over all runs;
- run: the sum of squares and products of the R effects about their mean, over ``(R - q) R`` for q contrasts.

Effects of several contrasts are (contrast, unit) and their covariances (unit, contrast, contrast), so that F tests need
nothing else; t is the case of one contrast. What each level says is explained in :mod:`.contrast`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.analysis.glm.estimability import is_estimable
from tl_fbn.analysis.glm.expressions import as_vector
from tl_fbn.analysis.glm.moments import Basis
from tl_fbn.analysis.glm.run_fit import ROUNDING, RunFit
from tl_fbn.errors import InputError

Weights = Sequence[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Effects of one or several contrasts, and what their test needs.

    Args:
        effects: (contrast, unit) effects, in the units of the activations.
        covariance: (unit, contrast, contrast) covariance of the effects.
        variance: (unit,) variance of single observations of the level: rows (marginal, also where noise is AR(1)),
            block means, or effects of runs (of the first contrast).
        dof: Degrees of freedom of t, or of the denominator of F.
        varies: (unit,) True where observations of the level vary at all. A unit that varies and has an error of 0 is
            one that the design explains.
    """

    effects: Float[np.ndarray, "contrast unit"]
    covariance: Float[np.ndarray, "unit contrast contrast"]
    variance: Float[np.ndarray, " unit"]
    dof: float
    varies: Bool[np.ndarray, " unit"]

    @classmethod
    def of(
        cls,
        effects: Float[np.ndarray, "contrast unit"],
        covariance: Float[np.ndarray, "unit contrast contrast"],
        variance: Float[np.ndarray, " unit"],
        dof: float,
        varies: Bool[np.ndarray, " unit"],
        rounding: Float[np.ndarray, "contrast unit"],
    ) -> Estimate:
        """The estimate, with effects that have no error and are rounding themselves as exactly 0.

        Args:
            effects: (contrast, unit) effects as computed.
            covariance: (unit, contrast, contrast) covariance of the effects.
            variance: (unit,) variance of single observations of the level.
            dof: Degrees of freedom.
            varies: (unit,) True where observations of the level vary at all.
            rounding: (contrast, unit) size below which an effect is rounding.
        """
        without_error = np.einsum("ncc->cn", covariance) == 0
        effects = np.where(without_error & (np.abs(effects) <= rounding), 0.0, effects)
        return cls(effects, covariance, variance, dof, varies)


def by_token(runs: Sequence[RunFit], weights: Weights) -> Estimate:
    """Against noise between rows: the mean effect over runs, with fixed effects."""
    parts = [run.effects(weights) for run in runs]
    # marginal variance of AR(1) noise: innovation variance / (1 - rho^2)
    variances = [run.innovation_variance / (1.0 - np.square(run.rho)) for run in runs]
    return Estimate.of(
        np.mean([effects for effects, _ in parts], axis=0),
        np.sum([covariance for _, covariance in parts], axis=0) / len(runs) ** 2,
        np.average(variances, axis=0, weights=[run.dof for run in runs]),
        float(sum(run.dof for run in runs)),
        np.any([run.varies for run in runs], axis=0),
        np.mean([run.rounding(weights) for run in runs], axis=0),
    )


def by_run(runs: Sequence[RunFit], weights: Weights, expression: str) -> Estimate:
    """Against the spread between runs; several contrasts by Hotelling's T squared, as an F."""
    n = len(runs)
    q = len(weights)
    if n < q + 2:
        raise InputError(
            f'level="run" tests over runs and needs at least {q + 2}; {expression!r} is estimable in {n}. '
            "Record more runs"
        )
    effects = np.array([run.effects(weights)[0] for run in runs])  # (run, contrast, unit)
    varies = np.any([run.varies for run in runs], axis=0)
    rounding = np.max([run.rounding(weights) for run in runs], axis=0)
    away = effects - effects.mean(0)
    away[:, np.abs(away).max(0) <= rounding] = 0.0  # runs that differ by rounding do not differ
    # over n - q instead of n - 1: t' R^-1 t / q is then Hotelling's T squared as an F on q and n - q degrees of freedom
    spread = np.einsum("rcn,rdn->ncd", away, away) / (n - q) * varies[:, None, None]
    return Estimate.of(effects.mean(0), spread / n, spread[:, 0, 0], float(n - q), varies, rounding)


def by_block(runs: Sequence[RunFit], weights: Weights, expression: str, numbers: Sequence[int]) -> Estimate:
    """Against the spread of block means, freed of what varies within blocks.

    Args:
        runs: The runs in which all of the contrasts can be estimated.
        weights: For each contrast the weight of every column it names.
        expression: The contrasts as they were written, for messages.
        numbers: Numbers of the runs, for messages.

    Raises:
        InputError: A contrast names a column that varies within blocks, a run has no events or too few blocks to
            estimate a contrast, or no degree of freedom is left.
    """
    effects = []
    spread = np.zeros((len(weights), len(weights)))  # sum of C (Z'Z)^-1 C' over runs
    squares = np.zeros(runs[0].fitted.shape[1])
    varies = np.zeros(squares.shape, dtype=bool)
    rounding = np.zeros((len(weights), len(squares)))
    dof = 0
    for number, run in zip(numbers, runs, strict=True):
        basis, reduced = _between_blocks(run, weights, expression, number)
        means = run.means_between()
        # in orthonormal coordinates of Z the contrasts are w, (rank, contrast), and C (Z'Z)^-1 C' is w'w
        w = basis.to_columns.T @ reduced.T
        fitted = basis.q.T @ means
        effects.append(w.T @ fitted)
        spread += w.T @ w
        residual = np.square(means - basis.q @ fitted).sum(0)
        size = np.square(means).sum(0)
        squares += np.where(residual > ROUNDING**2 * size, residual, 0.0)  # below is rounding
        # a unit varies by its block means, not by what the regression leaves of them
        varies |= np.square(means - means.mean(0)).sum(0) > ROUNDING**2 * size
        rounding += ROUNDING * np.outer(np.linalg.norm(w, axis=0), np.sqrt(size))
        dof += len(means) - basis.rank
    if dof < 1:
        blocks = sum(len(run.block_means) for run in runs)
        raise InputError(
            f'level="block" has {blocks} blocks for {expression!r} and as many regressors, so no spread to test '
            'against; record more cycles or runs, use drift="none", or level="token"'
        )
    variance = squares / dof
    covariance = variance[:, None, None] * spread / len(runs) ** 2
    return Estimate.of(np.mean(effects, axis=0), covariance, variance, float(dof), varies, rounding / len(runs))


def _between_blocks(
    run: RunFit, weights: Weights, expression: str, number: int
) -> tuple[Basis, Float[np.ndarray, "contrast regressor"]]:
    """The design of a run's block means, without columns that vary within blocks, and the contrasts over it."""
    vectors = []
    for one in weights:
        vector = as_vector(dict(one), run.columns)
        assert vector is not None
        if np.any(vector[run.within] != 0):
            inside = zip(run.columns, run.within, vector, strict=True)
            names = ", ".join(name for name, within, weight in inside if within and weight)
            raise InputError(f'contrast {expression!r} names {names}, which varies within blocks; use level="token"')
        vectors.append(vector[~run.within])
    if not len(run.block_means):
        raise InputError(f'level="block" tests over blocks, but run {number} has no events; use level="token"')
    basis = Basis.of(run.block_design[:, ~run.within], np.ones(len(run.block_means), dtype=bool))
    if not all(is_estimable(vector, basis.to_columns, basis.to_coordinates) for vector in vectors):
        raise InputError(
            f"contrast {expression!r} is not estimable from the {len(run.block_means)} block means of run {number}; "
            'use level="token", more blocks, or drift="none"'
        )
    return basis, np.array(vectors)
