"""The general linear model, unit by unit: y = X beta + e, with independent or AR(1) noise.

    fit = fit_glm(recording)                        # noise="ar1" (default), "ar1_pooled", "newey_west" or "ols"
    contrast = fit.contrast("sort - rest")          # level="block" (default), "token" or "run"
    any_task = fit.contrast(["sort - rest", "add - rest"])   # a list is an F test
    network = contrast.threshold(fdr=0.05)

``"ar1"`` fits each unit at its own rho, estimated from its OLS residuals and freed of the design's bias
(:mod:`.autocorrelation`), by generalised least squares on sums (:mod:`.moments`): no bins of rho, no second pass, one
block of units in memory. ``"ar1_pooled"`` gives all units of a layer their mean residual autocorrelation: less noisy for
short runs, wrong for units that differ. ``"newey_west"`` keeps the OLS fit and takes its covariance from the scores of neighbouring
rows (:mod:`.newey_west`). A segment, within which rows are neighbours, is a prompt where prompts have fresh contexts.

Several runs are fitted one by one. A token-level contrast is their mean effect over the R runs in which it is
estimable, with variance ``sum of variances / R**2`` and the sum of degrees of freedom (fixed effects). A run that lacks a
condition is left out, by name.

The block level is tested on block means. Columns that vary mostly within blocks (``position``) are taken off with
their token-level coefficients; columns that vary mostly between blocks (conditions, drift) form a small regression of
the block means, with one noise variance over runs and ``blocks - rank`` degrees of freedom.

Cost: two thin matrix products a run, then one rank x rank solve a unit. Float64 throughout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, overload

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn import files
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_sums import Streamed
from tl_fbn.analysis.glm.block_means import Replicates, check_prompts
from tl_fbn.analysis.glm.contrast import Contrast, FContrast, Level, f_statistic
from tl_fbn.analysis.glm.contrast_levels import by_block, by_run, by_token
from tl_fbn.analysis.glm.design_matrix import Drift, Kernel, Phases, design_matrix
from tl_fbn.analysis.glm.expressions import as_vector, contrast_weights
from tl_fbn.analysis.glm.run_fit import Noise, RunFit, RunModel, check_rows, fit_run, fit_streamed
from tl_fbn.units import UnitSpace, html_frame

# fields of a RunFit that are arrays with the run number as their only other name on disk
_RUN_ARRAYS = (
    "to_coordinates",
    "to_columns",
    "constant",
    "fitted",
    "shift",
    "rho",
    "noise",
    "block_means",
    "block_design",
    "within",
)


@dataclass(frozen=True, eq=False)
class GLMFit:
    """A GLM fitted to every unit of a recording.

    Args:
        space: The units.
        runs: The fit of each run.
        noise_model: ``"ar1"``, ``"ar1_pooled"``, ``"newey_west"`` or ``"ols"``.
        designs: The design matrix of each run, (row, regressor).
        provenance: Recording and prompts.
        replicates: What the block level tests over.
    """

    space: UnitSpace
    runs: tuple[RunFit, ...]
    noise_model: Noise
    designs: tuple[pd.DataFrame, ...]
    provenance: Mapping[str, Any]
    replicates: Replicates = "blocks"

    @property
    def columns(self) -> list[str]:
        """Every column of any run's design, in order of first appearance."""
        return list(dict.fromkeys(name for run in self.runs for name in run.columns))

    @property
    def rho(self) -> Float[np.ndarray, " unit"]:
        """Autocorrelation of every unit, the row-weighted mean over runs."""
        return np.average([run.rho for run in self.runs], axis=0, weights=[run.n_rows for run in self.runs])

    @overload
    def contrast(self, expression: str, *, level: Level = "block") -> Contrast: ...

    @overload
    def contrast(self, expression: list[str] | tuple[str, ...], *, level: Level = "block") -> FContrast: ...

    def contrast(
        self, expression: str | list[str] | tuple[str, ...], *, level: Level = "block"
    ) -> Contrast | FContrast:
        """Test a linear expression of column names in every unit, or several together.

        Args:
            expression: E.g. ``"sort - rest"``, ``"sort - (copy + reverse) / 2"``; see :mod:`.expressions`. A list of them is
                an F test: whether any of them differs from 0.
            level: ``"block"``, ``"token"`` or ``"run"``; see :mod:`.contrast`.

        Raises:
            ValueError: An unknown column or level, an expression that is not linear, expressions that follow from each
                other, a contrast that no run can estimate, or too few blocks or runs for the level.
        """
        if level not in get_args(Level):
            raise ValueError(f"level={level!r} is none of {', '.join(map(repr, get_args(Level)))}")
        expressions = (expression,) if isinstance(expression, str) else tuple(expression)
        weights, used, skipped = self.estimable(expressions)
        named = ", ".join(expressions)
        runs = [self.runs[number] for number in used]
        if level == "block":
            found = by_block(runs, weights, named, used)
        else:
            found = by_token(runs, weights) if level == "token" else by_run(runs, weights, named)
        about = {**self.provenance, "noise": self.noise_model, "replicates": self.replicates}
        if isinstance(expression, str):
            error = found.covariance[:, 0, 0]
            return Contrast(
                self.space,
                expression,
                level,
                found.effects[0],
                error,
                found.dof,
                tuple(used),
                skipped,
                about,
                found.variance,
            )
        f = f_statistic(found.effects, found.covariance)
        return FContrast(self.space, expressions, level, f, found.dof, tuple(used), skipped, about)

    def estimable(self, expressions: Sequence[str]) -> tuple[list[dict[str, float]], list[int], dict[int, str]]:
        """Weights of contrasts, the numbers of the runs that can estimate them all, and why the others cannot.

        Raises:
            ValueError: An unknown column, expressions that follow from each other, or no such run.
        """
        weights = [contrast_weights(one, self.columns) for one in expressions]
        _check_independent(weights, expressions, self.columns)
        reasons = {number: next(filter(None, map(run.why_not, weights)), None) for number, run in enumerate(self.runs)}
        skipped = {number: reason for number, reason in reasons.items() if reason is not None}
        if len(skipped) == len(self.runs):
            detail = "; ".join(f"run {number}: {reason}" for number, reason in skipped.items())
            raise ValueError(
                f"contrast {', '.join(expressions)!r} is estimable in no run ({detail}); columns: {', '.join(self.columns)}"
            )
        return weights, [number for number in reasons if number not in skipped], skipped

    def to_dataframe(self) -> pd.DataFrame:
        """One line a run: rows, rank, degrees of freedom, mean rho, columns."""
        lines = [
            (i, r.n_rows, r.rank, r.dof, len(r.block_means), float(r.rho.mean()), ", ".join(r.columns))
            for i, r in enumerate(self.runs)
        ]
        return pd.DataFrame(lines, columns=["run", "rows", "rank", "dof", "blocks", "mean rho", "columns"])

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        arrays = {f"design.{i}": design.to_numpy(float) for i, design in enumerate(self.designs)}
        for i, run in enumerate(self.runs):
            arrays |= {f"{name}.{i}": getattr(run, name) for name in _RUN_ARRAYS}
            arrays[f"quadratic.{i}"] = np.array(run.quadratic)
            if run.covariance is not None:
                arrays[f"covariance.{i}"] = run.covariance
        about = {
            "space": self.space.about(),
            "noise_model": self.noise_model,
            "replicates": self.replicates,
            "columns": [list(run.columns) for run in self.runs],
        }
        files.write_result(path, "GLMFit", arrays, {**about, "provenance": dict(self.provenance)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> GLMFit:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "GLMFit")
        runs, designs = [], []
        for i, columns in enumerate(about["columns"]):
            part = {name: arrays[f"{name}.{i}"] for name in _RUN_ARRAYS}
            a, b, c = arrays[f"quadratic.{i}"]
            designs.append(pd.DataFrame(arrays[f"design.{i}"], columns=columns))
            runs.append(
                RunFit(
                    columns=tuple(columns),
                    quadratic=(a, b, c),
                    n_rows=len(designs[-1]),
                    covariance=arrays.get(f"covariance.{i}"),
                    **part,
                )
            )
        where = UnitSpace.from_about(about["space"])
        return cls(
            where,
            tuple(runs),
            about["noise_model"],
            tuple(designs),
            about["provenance"],
            about.get("replicates", "blocks"),
        )

    def __repr__(self) -> str:
        rows = sum(run.n_rows for run in self.runs)
        return f"GLMFit {self.noise_model}: {len(self.runs)} runs, {rows:,} rows, {self.space.describe()}; columns {', '.join(self.columns)}"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe(), ".2f")


def fit_glm(
    recording: Recording | Streamed,
    *,
    noise: Noise = "ar1",
    maxlags: int | None = None,
    replicates: Replicates = "blocks",
    design: Sequence[pd.DataFrame] | pd.DataFrame | None = None,
    extra: Sequence[pd.DataFrame] | pd.DataFrame | None = None,
    drift: Drift = "cosine",
    cutoff: int | float | None = None,
    position: bool = True,
    phases: Phases | None = None,
    confounds: Sequence[str] = (),
    kernel: Kernel = "none",
    leak: int | float | None = None,
    n_lags: int = 4,
    degree: int | None = None,
) -> GLMFit:
    """Fit a GLM to every unit of a recording.

    >>> task = np.repeat([1.0, 0.0] * 4, 20)[:, None]  # (row, 1): eight blocks of 20 rows
    >>> activations = np.random.default_rng(0).normal(size=(160, 3)) + task * [2, 0, 0]  # the first unit follows the task
    >>> events = pd.DataFrame({"onset": range(0, 160, 20), "duration": 20, "trial_type": ["sort", "rest"] * 4})
    >>> recording = Recording.from_arrays([[activations]], events=[events])
    >>> fit_glm(recording).contrast("sort - rest").threshold(fdr=0.05).indices
    array([0])

    Args:
        recording: What the scanner wrote, or :meth:`Recording.from_arrays`; or ``scanner.stream(design)``, which fits while the
            model runs and stores nothing.
        noise: ``"ar1"``: each unit at its own autocorrelation; ``"ar1_pooled"``: all units of a layer at their mean one;
            ``"newey_west"``: OLS with a covariance that allows autocorrelation up to ``maxlags`` rows; ``"ols"``: independent rows.
        maxlags: For ``"newey_west"``; the default grows with the rows as ``4 (n / 100) ** (2 / 9)``.
        replicates: What the block level averages rows into and tests over: ``"blocks"``, or ``"prompts"``, which are more, and
            independent only where each has a fresh context and was drawn for its condition by chance.
        design: Your own matrices, one (row, regressor) DataFrame a run (or one, for a single run), taken as they are;
            the default is :func:`.regressors.design_matrix`.
        extra: Columns of your own beside the default design's, e.g. a rating of every token; one DataFrame a run.
        drift: For the default design: ``"cosine"``, ``"polynomial"`` or ``"none"``.
        cutoff: For the default design: shortest drift period, in rows.
        position: For the default design: include the place in the context.
        phases: For the default design: split conditions by phases of their prompts, e.g.
            ``from_token("[/INST]", "answer")``. Phases alternate within blocks, so contrast them at ``level="token"``.
        confounds: For the default design: columns of no interest, e.g. ``("log_position", "surprisal")``; see :mod:`.confounds`.
        kernel: For the default design: how a condition lasts, ``"none"``, ``"leak"`` or ``"fir"``; see :mod:`.regressors`.
        leak: With ``kernel="leak"``: what is left after one row.
        n_lags: With ``kernel="fir"``: columns a condition.
        degree: With ``drift="polynomial"``: highest power.

    Returns:
        The fit; ask it for contrasts.

    Raises:
        ValueError: An unknown noise model, designs that do not fit the runs or hold non-finite numbers, no more rows
            than regressors, or ``"newey_west"`` of a stream.
    """
    if noise not in get_args(Noise):
        raise ValueError(f"noise={noise!r} is none of {', '.join(map(repr, get_args(Noise)))}")
    if replicates not in get_args(Replicates):
        raise ValueError(f"replicates={replicates!r} is none of {', '.join(map(repr, get_args(Replicates)))}")
    if replicates == "prompts":
        for number, run in enumerate(recording):
            check_prompts(run, number)
    if maxlags is not None and (noise != "newey_west" or maxlags < 0):
        raise ValueError(f'maxlags={maxlags} with noise={noise!r}; it is for "newey_west", and at least 0')
    if noise == "newey_west" and not isinstance(recording, Recording):
        raise ValueError(
            'noise="newey_west" looks at the rows twice, and a stream shows them once; scan first, or take "ar1"'
        )
    if design is None:
        options: dict[str, Any] = {
            "drift": drift,
            "cutoff": cutoff,
            "position": position,
            "phases": phases,
            "confounds": confounds,
            "kernel": kernel,
            "leak": leak,
            "n_lags": n_lags,
            "degree": degree,
        }
        designs = [design_matrix(run, **options) for run in recording]
        if extra is not None:
            designs = _beside(designs, _one_a_run(extra, recording))
    else:
        if extra is not None:
            raise ValueError("extra= adds columns to the default design; with design= put them into your own matrices")
        designs = _one_a_run(design, recording)
    for number, matrix in enumerate(designs):
        check_rows(matrix, number)
    models = (  # one at a time: the model of a run is several times as large as its design
        RunModel.of(run, matrix, noise, number, maxlags=maxlags, replicates=replicates)
        for number, (run, matrix) in enumerate(zip(recording, designs, strict=True))
    )
    fits = map(fit_run, recording, models) if isinstance(recording, Recording) else _streamed(recording, models)
    runs = tuple(fits)
    return GLMFit(recording.space, runs, noise, tuple(designs), recording.provenance(), replicates)


def _streamed(recording: Streamed, models: Iterator[RunModel]) -> Iterator[RunFit]:
    """Fit the runs as they pass by, each model made when its run begins and dropped when it is fitted."""
    current: list[RunModel] = []

    def functionals() -> Iterator[Any]:
        for model in models:
            current[:] = [model]
            yield model.functionals

    shifted = (current[0].basis.spans_constant for _ in range(len(recording)))
    for sums in recording.sums(functionals(), shifted=shifted):
        yield fit_streamed(current[0], sums, recording.space)


def _check_independent(
    weights: Sequence[Mapping[str, float]], expressions: Sequence[str], columns: Sequence[str]
) -> None:
    if not expressions:
        raise ValueError("contrast got an empty list; give expressions")
    vectors = np.array([as_vector(dict(one), columns) for one in weights])
    if np.linalg.matrix_rank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) < len(vectors):
        raise ValueError(
            f"the contrasts {', '.join(expressions)} follow from each other; leave out what the others imply"
        )


def _one_a_run(given: Sequence[pd.DataFrame] | pd.DataFrame, recording: Recording | Streamed) -> list[pd.DataFrame]:
    """Designs, or columns for them, checked against the runs."""
    designs = [given] if isinstance(given, pd.DataFrame) else list(given)
    if len(designs) != len(recording):
        raise ValueError(f"{len(designs)} design matrices for {len(recording)} runs; give one a run")
    for number, (matrix, run) in enumerate(zip(designs, recording, strict=True)):
        if len(matrix) != run.n_rows:
            raise ValueError(
                f"the design of run {number} has {len(matrix)} rows, the run {run.n_rows}; give one line a row"
            )
        if not matrix.shape[1]:
            raise ValueError(f"the design of run {number} has no columns; give at least one regressor")
        if matrix.columns.duplicated().any():
            raise ValueError(f"the design of run {number} names a column twice: {', '.join(map(str, matrix.columns))}")
        if words := [str(name) for name in matrix if not pd.api.types.is_numeric_dtype(matrix[name])]:
            raise ValueError(
                f"the design of run {number} has columns that are no numbers: {', '.join(words)}; code them as numbers"
            )
        if not np.isfinite(matrix.to_numpy(float)).all():
            raise ValueError(f"the design of run {number} has missing or infinite values; fill or drop them first")
    return designs


def _beside(designs: Sequence[pd.DataFrame], extra: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    for number, (matrix, more) in enumerate(zip(designs, extra, strict=True)):
        if taken := [str(name) for name in more.columns if name in matrix]:
            raise ValueError(
                f"extra has a column {taken[0]!r}, and so has the design of run {number} ({', '.join(map(str, matrix.columns))}); rename it"
            )
    return [
        matrix.assign(**{str(name): more[name].to_numpy(float) for name in more})
        for matrix, more in zip(designs, extra, strict=True)
    ]
