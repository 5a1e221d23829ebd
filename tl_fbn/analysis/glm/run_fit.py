"""The GLM of one run: the fit of every unit, kept as coefficients and sums that serve any contrast.

The coefficients of a unit with noise of autocorrelation rho solve the generalised least-squares equations

    (Q' V(rho)^-1 Q) b = Q' V(rho)^-1 y,      variance = (y' V(rho)^-1 y - b' Q' V(rho)^-1 y) / (rows - rank)

whose products with V(rho)^-1 are quadratic in rho (:mod:`.moments`); with rho 0 they are ordinary least squares.
Coefficients are in orthonormal coordinates Q of the design (:class:`.moments.Basis`), so that neither scaling nor
collinearity of columns costs digits. Rank-deficient designs have coefficients of minimum norm and ``rows - rank``
degrees of freedom. Block means are taken in the same pass over the activations, for tests over blocks; first tokens
are left out of them where the design has a column for those (:mod:`.first_tokens`).

Cost: two thin matrix products a run, then one rank x rank solve a unit (one a layer where rho is pooled, none for OLS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import sparse
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import RowSums, StreamRun
from tl_fbn.analysis.glm.autocorrelation import expected_autocorrelation, residual_autocorrelation, unbiased_rho
from tl_fbn.analysis.glm.block_means import Averages, Replicates
from tl_fbn.analysis.glm.estimability import is_estimable
from tl_fbn.analysis.glm.expressions import as_vector
from tl_fbn.analysis.glm.first_tokens import FIRST_TOKEN, rows_of_first_tokens
from tl_fbn.analysis.glm.moments import (
    SHIFT_ROWS,
    Basis,
    Moments,
    Quadratic,
    Summing,
    at,
    first_shift,
    information,
    solved,
)
from tl_fbn.analysis.glm.newey_west import add_scores, covariance_of, default_maxlags
from tl_fbn.analysis.parallel import each
from tl_fbn.analysis.unit_blocks import pieces, unit_blocks
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace

Noise = Literal["ar1", "ar1_pooled", "newey_west", "ols"]
NOISE_IN_WORDS: dict[str, str] = {
    "ar1": "first-order autoregressive noise, with one coefficient a unit",
    "ar1_pooled": "first-order autoregressive noise, with one coefficient a layer",
    "newey_west": "ordinary least squares with Newey-West covariance",
    "ols": "ordinary least squares (independent noise)",
}
# coordinates (rank, unit), rho (unit,), innovation variance (unit,) and shift (unit,) of a block of units
UnitFit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
ROUNDING = 1e-13  # of float64 sums: a smaller share of the numbers that were added is rounding


@dataclass(frozen=True, eq=False)
class RunFit:
    """What is kept of one run: enough for every contrast at every level.

    Args:
        columns: Names of the columns of the run's design.
        to_coordinates: (rank, regressor) so that ``q @ to_coordinates`` is the design, with ``q`` its orthonormal
            basis.
        to_columns: (regressor, rank) maps coordinates to coefficients of the columns.
        quadratic: A, B and C, each (rank, rank): the design's information at rho is ``A - rho B + rho**2 C``.
        constant: (rank,) coordinates of a column of ones, by which the shift comes back into effects.
        fitted: (rank, unit) coefficients in orthonormal coordinates.
        shift: (unit,) number that was taken off every activation of the unit before the fit.
        rho: (unit,) lag-one autocorrelation of the noise that the unit was fitted at; 0 for OLS.
        innovation_variance: (unit,) variance of the noise that is new at every row, as far as the row before does not
            predict it.
        n_rows: Number of rows of the run.
        block_means: (block, unit) mean activation of each block.
        block_design: (block, regressor) mean of the design over each block.
        within: (regressor,) True for columns that vary mostly within blocks.
        covariance: (unit, rank, rank) Newey and West's covariance of the coordinates; None for other noise models,
            where ``innovation_variance`` and ``rho`` determine it.
    """

    columns: tuple[str, ...]
    to_coordinates: Float[np.ndarray, "rank regressor"]
    to_columns: Float[np.ndarray, "regressor rank"]
    quadratic: Quadratic
    constant: Float[np.ndarray, " rank"]
    fitted: Float[np.ndarray, "rank unit"]
    shift: Float[np.ndarray, " unit"]
    rho: Float[np.ndarray, " unit"]
    innovation_variance: Float[np.ndarray, " unit"]
    n_rows: int
    block_means: Float[np.ndarray, "block unit"]
    block_design: Float[np.ndarray, "block regressor"]
    within: np.ndarray
    covariance: Float[np.ndarray, "unit rank rank"] | None = None

    @property
    def rank(self) -> int:
        """Number of independent columns of the design."""
        return self.fitted.shape[0]

    @property
    def dof(self) -> int:
        """Degrees of freedom of the noise between rows."""
        return self.n_rows - self.rank

    @property
    def varies(self) -> Bool[np.ndarray, " unit"]:
        """(unit,) True for a unit that varies over the rows, explained by the design or not."""
        # what the design explains, less the mean that is part of it: coordinates of a constant of height (1'y) / n
        explained = self.fitted - np.outer(self.constant, self.constant @ self.fitted / self.n_rows)
        squares = np.square(self.fitted).sum(0) + self.n_rows * np.square(self.shift)
        return (self.innovation_variance > 0) | (np.square(explained).sum(0) > ROUNDING**2 * squares)

    def rounding(self, weights: Sequence[Mapping[str, float]]) -> Float[np.ndarray, "contrast unit"]:
        """The size below which the effect of a contrast is rounding of the numbers that it is a sum of.

        Args:
            weights: For each contrast the weight of every column it names.
        """
        sizes = np.linalg.norm(self._in_coordinates(weights), axis=0)
        terms = np.linalg.norm(self.fitted, axis=0) + np.linalg.norm(self.constant) * np.abs(self.shift)
        return ROUNDING * np.outer(sizes, terms)

    def _in_coordinates(self, weights: Sequence[Mapping[str, float]]) -> Float[np.ndarray, "rank contrast"]:
        """Contrasts over the orthonormal coordinates instead of the columns."""
        vectors = [as_vector(dict(one), self.columns) for one in weights]
        return self.to_columns.T @ np.array(vectors, dtype=float).T

    def coefficients(self, of: slice | Bool[np.ndarray, " regressor"] = slice(None)) -> Float[np.ndarray, "some unit"]:
        """Coefficients of the columns, or of some; of minimum norm where the design is rank-deficient."""
        to_columns = self.to_columns[of]
        # the fit was of y - shift: add the coefficients of a constant of that height
        return to_columns @ self.fitted + (to_columns @ self.constant)[:, None] * self.shift

    def means_between(self) -> Float[np.ndarray, "block unit"]:
        """Block means freed of what varies within blocks."""
        if not self.within.any():
            return self.block_means
        # columns that vary within blocks are taken off with the coefficients that the rows gave them
        return self.block_means - self.block_design[:, self.within] @ self.coefficients(self.within)

    def why_not(self, weights: Mapping[str, float]) -> str | None:
        """Why a contrast cannot be estimated in this run, or None."""
        vector = as_vector(dict(weights), self.columns)
        if vector is None:
            return "no column " + ", ".join(name for name in weights if name not in self.columns)
        if not is_estimable(vector, self.to_columns, self.to_coordinates):
            return "not estimable: the columns it names are mixed up with others"
        return None

    def effects(
        self, weights: Sequence[Mapping[str, float]]
    ) -> tuple[Float[np.ndarray, "contrast unit"], Float[np.ndarray, "unit contrast contrast"]]:
        """Effects of contrasts and their covariance, from noise between rows.

        Args:
            weights: For each contrast the weight of every column it names.

        Returns:
            (contrast, unit) effects, in the units of the activations; and (unit, contrast, contrast) their covariances.
        """
        w = self._in_coordinates(weights)
        effects = w.T @ self.fitted + (w.T @ self.constant)[:, None] * self.shift
        if self.covariance is not None:
            # residuals of a unit that the design explains are rounding, and so is what was summed of them
            return effects, (w.T @ self.covariance @ w) * (self.innovation_variance > 0)[:, None, None]
        # sigma^2 W' (Q' V^-1 Q)^-1 W, where Q'Q is the identity for independent rows
        if not self.rho.any():
            return effects, self.innovation_variance[:, None, None] * (w.T @ w)
        spread = np.empty((len(self.rho), w.shape[1], w.shape[1]))
        rhos, which = np.unique(self.rho, return_inverse=True)  # one a layer where noise is pooled
        for part in unit_blocks(len(rhos)):  # one solve for each rho, then handed to all units that have it
            products = w.T @ solved(self.quadratic, rhos[part], np.broadcast_to(w, (len(rhos[part]), *w.shape)))
            in_part = (which >= part.start) & (which < part.stop)
            spread[in_part] = products[which[in_part] - part.start]
        return effects, self.innovation_variance[:, None, None] * spread

    def effect(self, weights: Mapping[str, float]) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
        """Effect of a contrast and its variance, from noise between rows."""
        effects, covariance = self.effects([weights])
        return effects[0], covariance[:, 0, 0]


@dataclass(frozen=True, eq=False)
class RunModel:
    """The design of one run, ready to meet activations.

    Args:
        design: (row, regressor) table with named columns.
        basis: Orthonormal coordinates of the design, and where its segments start.
        quadratic: A, B and C, each (rank, rank): the design's information at rho is ``A - rho B + rho**2 C``.
        curve: (rho,) the autocorrelation that residuals of this design show at each rho of the grid; None where rows
            are taken as independent in the fit.
        averages: Which rows are averaged into which block.
        pooled: Whether all units of a layer share one rho.
        maxlags: Number of rows over which Newey and West's covariance allows autocorrelation; None for other noise
            models.
    """

    design: pd.DataFrame
    basis: Basis
    quadratic: Quadratic
    curve: Float[np.ndarray, " rho"] | None
    averages: Averages
    pooled: bool = False
    maxlags: int | None = None

    @classmethod
    def of(
        cls,
        run: Run | StreamRun,
        design: pd.DataFrame,
        noise: Noise,
        number: int,
        *,
        maxlags: int | None = None,
        replicates: Replicates = "blocks",
    ) -> RunModel:
        """The model of a run.

        Args:
            run: The run, recorded or about to be streamed.
            design: (row, regressor) its design matrix.
            noise: Model of the noise.
            number: Number of the run, for messages.
            maxlags: Number of rows over which Newey and West's covariance allows autocorrelation; None takes their
                rule.
            replicates: What the block level averages rows into: ``"blocks"`` or ``"prompts"``.
        """
        check_rows(design, number)
        matrix = design.to_numpy(float)
        basis = Basis.of(matrix, run.segment_starts)
        curve = expected_autocorrelation(basis) if noise in ("ar1", "ar1_pooled") else None
        averages = Averages.of(run, replicates, number, without=rows_of_first_tokens(design, run))
        if noise == "newey_west" and maxlags is None:
            maxlags = default_maxlags(run.n_rows)
        return cls(design, basis, basis.quadratic(), curve, averages, noise == "ar1_pooled", maxlags)

    def __sizeof__(self) -> int:
        """Bytes, arrays included: joblib's dask backend sends an object that is large to each worker only once."""
        return object.__sizeof__(self) + self.basis.q.nbytes + self.design.size * 8 + self.averages.owner.nbytes

    @property
    def functionals(self) -> Any:
        """(functional, row) sparse: row vectors whose products with activations a fit needs, beside sums of squares."""
        return sparse.vstack([sparse.csr_array(self.basis.stacked.T), self.averages.matrix], format="csc")

    def moments(self, sums: RowSums) -> tuple[Moments, Float[np.ndarray, "block unit"]]:
        """Moments and block means from streamed sums."""
        # rows of the products in the order of `functionals`: Q, NQ, JQ, then the averages of blocks
        a, b, c, averages = np.split(sums.products, np.cumsum([self.basis.rank] * 3))
        # y'y, y'Ny (each neighbour counted from both sides) and y'Jy (without the ends of segments)
        squares = (sums.squares, 2.0 * sums.lagged, sums.squares - sums.ends)
        return Moments((a, b, c), squares, sums.shift), averages + sums.shift

    def fit(
        self,
        fits: Sequence[UnitFit],
        block_means: Float[np.ndarray, "block unit"],
        covariance: Float[np.ndarray, "unit rank rank"] | None = None,
    ) -> RunFit:
        """Put the fits of blocks of units together.

        Args:
            fits: The fits of blocks of units, in the order of the units.
            block_means: (block, unit) mean activation of each block.
            covariance: (unit, rank, rank) Newey and West's covariance of the coordinates, where it was asked for.
        """
        matrix = self.design.to_numpy(float)
        fitted, rho, variance, shift = (
            np.ascontiguousarray(np.concatenate(parts, axis=-1)) for parts in zip(*fits, strict=True)
        )
        basis = self.basis
        n_rows = len(matrix)
        within = self.averages.varying_within(matrix)
        if self.averages.left_out.any():  # the rest of the column may be 0, which varies nowhere
            within |= self.design.columns == FIRST_TOKEN
        return RunFit(
            columns=tuple(map(str, self.design.columns)),
            to_coordinates=basis.to_coordinates,
            to_columns=basis.to_columns,
            quadratic=self.quadratic,
            constant=basis.q.T @ np.ones(n_rows) if basis.spans_constant else np.zeros(basis.rank),
            fitted=fitted,
            shift=shift,
            rho=rho,
            innovation_variance=variance,
            n_rows=n_rows,
            block_means=block_means,
            block_design=self.averages.matrix @ matrix,
            within=within,
            covariance=covariance,
        )


def check_rows(design: pd.DataFrame, number: int) -> None:
    """Refuse a run without more rows than regressors, and a design that is 0 throughout."""
    if not design.to_numpy(float).any():
        raise InputError(
            f"all {design.shape[1]} columns of the design of run {number} ({', '.join(map(str, design.columns))}) are "
            "0 in every row, so there is nothing to fit; give a column that is not 0 somewhere, or leave the run out"
        )
    if len(design) <= design.shape[1]:
        raise InputError(
            f"run {number} has {len(design)} rows for {design.shape[1]} regressors "
            f"({', '.join(map(str, design.columns))}); "
            "record more rows or use fewer regressors"
        )


def fit_run(run: Run, model: RunModel, bar: tqdm | None = None) -> RunFit:
    """Fit every unit of a recorded run: layers side by side, a piece of the rows of a block of units at a time."""
    size = run.n_rows * run.space.n_units
    found = each(partial(_fit_array, model), run.layers.values(), size=size, bar=bar)
    fits, means, covariances = zip(*found, strict=True)
    covariance = np.concatenate(covariances) if model.maxlags is not None else None
    return model.fit([one for layer in fits for one in layer], np.concatenate(means, axis=1), covariance)


def _fit_array(
    model: RunModel, array: np.ndarray | HalfArray
) -> tuple[list[UnitFit], Float[np.ndarray, "block unit"], Float[np.ndarray, "unit rank rank"] | None]:
    """Fit the units of a layer; their block means; Newey and West's covariance where it is asked for."""
    shift = first_shift(model.basis, array[:SHIFT_ROWS])
    means = np.zeros((len(model.averages), array.shape[1]))
    lagged = model.curve is not None
    # one pass over the rows: the moments of every block of units, and the block means
    sums = [(units, Summing(model.basis, shift[units], lagged=lagged)) for units in unit_blocks(array.shape[1])]
    summing = {units.start: one for units, one in sums}
    for rows, units, y in pieces(array, shift):
        summing[units.start].add(rows.start, y)
        model.averages.add(means[:, units], rows.start, y)
    fits = _fit_layer(model, [one.moments() for _, one in sums])
    if model.maxlags is None:
        return fits, means + shift, None
    # Newey and West: a second pass, with the residuals of the fit and `maxlags` rows before each piece
    fitted = np.concatenate([one[0] for one in fits], axis=1)
    scores = np.zeros((array.shape[1], model.basis.rank, model.basis.rank))
    for rows, units, y in pieces(array, shift, lead=model.maxlags):
        residuals = y - model.basis.q[rows.stop - len(y) : rows.stop] @ fitted[:, units]
        add_scores(scores[units], model.basis, residuals, rows, model.maxlags)
    return fits, means + shift, covariance_of(scores, model.basis)


def fit_streamed(model: RunModel, sums: RowSums, space: UnitSpace) -> RunFit:
    """Fit every unit of a run from its sums."""
    moments, block_means = model.moments(sums)
    fits: list[UnitFit] = []
    for span in (space.layer_slice(layer) for layer in range(space.n_layers)):
        parts = unit_blocks(span.stop - span.start)
        fits += _fit_layer(model, [moments.units(slice(span.start + p.start, span.start + p.stop)) for p in parts])
    return model.fit(fits, block_means)


def _fit_layer(model: RunModel, sums: Sequence[Moments]) -> list[UnitFit]:
    """Fit the units of a layer, each at its own rho or all at one."""
    if model.curve is None:
        rhos = [np.zeros_like(moments.shift) for moments in sums]
    else:
        samples = [residual_autocorrelation(model.basis, model.quadratic, moments) for moments in sums]
        if model.pooled:
            # the mean of the samples, over units that vary at all, is corrected for bias like a single one
            joined = np.concatenate(samples) if samples else np.zeros(0)
            mean = np.nanmean(joined) if np.isfinite(joined).any() else np.nan
            samples = [np.full_like(sample, mean) for sample in samples]
        rhos = [unbiased_rho(model.curve, sample) for sample in samples]
    return [_fit_units(model, moments, rho) for moments, rho in zip(sums, rhos, strict=True)]


def _fit_units(model: RunModel, moments: Moments, rho: Float[np.ndarray, " unit"]) -> UnitFit:
    """Coordinates, rho, innovation variance and shift of a block of units."""
    basis = model.basis
    quadratic = model.quadratic
    right = at(moments.cross, rho)  # Q' V^-1 y
    if model.curve is None:
        fitted = right  # OLS in orthonormal coordinates
    elif model.pooled:
        fitted = np.linalg.solve(information(quadratic, rho[:1])[0], right)  # one system for all units
    else:
        fitted = solved(quadratic, rho, right.T[..., None])[..., 0].T
    total = at(moments.squares, rho)  # y' V^-1 y
    # e' V^-1 e = y' V^-1 y - b' Q' V^-1 y
    residual = total - np.einsum("kn,kn->n", fitted, right)
    residual = np.where(residual > 1e-12 * np.abs(total), residual, 0.0)  # a unit the design explains to rounding
    return fitted, rho, residual / (basis.n_rows - basis.rank), moments.shift
