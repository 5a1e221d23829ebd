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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, overload

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_sums import Streamed
from tl_fbn.analysis.glm.block_means import Replicates, check_prompts
from tl_fbn.analysis.glm.contrast import Contrast, Level
from tl_fbn.analysis.glm.contrast_levels import by_block, by_run, by_token
from tl_fbn.analysis.glm.design_matrix import DesignOptions, design_matrix, is_nuisance
from tl_fbn.analysis.glm.efficiency import collinearity_table
from tl_fbn.analysis.glm.expressions import as_vector, contrast_weights
from tl_fbn.analysis.glm.f_contrast import FContrast, f_statistic
from tl_fbn.analysis.glm.run_fit import NOISE_IN_WORDS, Noise, RunFit, RunModel, check_rows, fit_run, fit_streamed
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitSpace, html_frame
from tl_fbn.units.prose import listed, space_in_words
from tl_fbn.units.result import Arrays, Described, Result

# fields of a RunFit that are arrays, and their names on disk, to which the number of the run is added
_RUN_ARRAYS = {
    name: name
    for name in (
        "to_coordinates",
        "to_columns",
        "constant",
        "fitted",
        "shift",
        "rho",
        "block_means",
        "block_design",
        "within",
    )
} | {"innovation_variance": "noise"}


@dataclass(frozen=True, eq=False)
class GLMFit(Result, step="fit"):
    """A GLM fitted to every unit of a recording.

    Args:
        space: The units.
        runs: The fit of each run.
        noise: ``"ar1"``, ``"ar1_pooled"``, ``"newey_west"`` or ``"ols"``.
        designs: The design matrix of each run, (row, regressor).
        provenance: Recording and prompts.
        replicates: What the block level tests over.
    """

    space: UnitSpace
    runs: tuple[RunFit, ...]
    noise: Noise
    designs: tuple[pd.DataFrame, ...]
    provenance: Mapping[str, Any]
    replicates: Replicates = "blocks"

    _settings_ = ("noise",)

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
            InputError: An unknown column or level, an expression that is not linear, expressions that follow from each
                other, a contrast that no run can estimate, or too few blocks or runs for the level.
        """
        one_of(level, Level, "level")
        expressions = (expression,) if isinstance(expression, str) else tuple(expression)
        weights, used, skipped = self.estimable(expressions)
        named = ", ".join(expressions)
        runs = [self.runs[number] for number in used]
        if level == "block":
            found = by_block(runs, weights, named, used)
        else:
            found = by_token(runs, weights) if level == "token" else by_run(runs, weights, named)
        about = {**self.provenance, "noise": self.noise, "replicates": self.replicates}
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
            InputError: An unknown column, expressions that follow from each other, or no such run.
        """
        weights = [contrast_weights(one, self.columns) for one in expressions]
        _check_independent(weights, expressions, self.columns)
        reasons = {number: next(filter(None, map(run.why_not, weights)), None) for number, run in enumerate(self.runs)}
        skipped = {number: reason for number, reason in reasons.items() if reason is not None}
        if len(skipped) == len(self.runs):
            detail = "; ".join(f"run {number}: {reason}" for number, reason in skipped.items())
            raise InputError(
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

    def _pack_(self) -> tuple[Arrays, Described]:
        arrays: Arrays = {f"design.{i}": design.to_numpy(float) for i, design in enumerate(self.designs)}
        for i, run in enumerate(self.runs):
            arrays |= {f"{on_disk}.{i}": getattr(run, name) for name, on_disk in _RUN_ARRAYS.items()}
            arrays[f"quadratic.{i}"] = np.array(run.quadratic)
            if run.covariance is not None:
                arrays[f"covariance.{i}"] = run.covariance
        about: Described = {
            "space": self.space.about(),
            "noise_model": self.noise,
            "replicates": self.replicates,
            "columns": [list(run.columns) for run in self.runs],
            "provenance": dict(self.provenance),
        }
        return arrays, about

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> GLMFit:
        runs = []
        designs = []
        for i, columns in enumerate(about["columns"]):
            a, b, c = arrays[f"quadratic.{i}"]
            designs.append(pd.DataFrame(arrays[f"design.{i}"], columns=columns))
            fitted = RunFit(
                columns=tuple(columns),
                quadratic=(a, b, c),
                n_rows=len(designs[-1]),
                covariance=arrays.get(f"covariance.{i}"),
                **{name: arrays[f"{on_disk}.{i}"] for name, on_disk in _RUN_ARRAYS.items()},
            )
            runs.append(fitted)
        return cls(
            UnitSpace.from_about(about["space"]),
            tuple(runs),
            about["noise_model"],
            tuple(designs),
            about["provenance"],
            about.get("replicates", "blocks"),
        )

    def _methods_(self) -> list[str]:
        nuisance = [name for name in self.columns if is_nuisance(name)]
        asked = [name for name in self.columns if name not in nuisance]
        drift = [name for name in nuisance if name.startswith("drift_")]
        others = [name for name in nuisance if name not in drift]
        if drift:
            others.append(f"{len(drift)} slow drift term{'s' if len(drift) > 1 else ''}")
        rows = sum(run.n_rows for run in self.runs)
        return [
            f"A general linear model with the regressors {listed(asked)} and the confounds {listed(others)} was fitted to every unit of "
            f"{space_in_words(self.space)}, run by run ({len(self.runs)} runs, {rows:,} rows), with {NOISE_IN_WORDS.get(self.noise, self.noise)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        about = (
            "The model of every row of run 0. A column whose variance inflation factor (VIF) is high is hard to tell from the others; boxcars of all "
            "conditions imply the constant, which costs their differences nothing."
        )
        text = f"{self!r}. A run is fitted by itself; contrasts are means over runs."
        sections: list[dict[str, Any]] = [
            {"title": "GLM fit", "text": text, "origin": self.provenance, "table": self.to_dataframe()}
        ]
        sections += [
            {
                "title": "Design",
                "text": about,
                "picture": ("design_matrix", design),
                "table": collinearity_table(design),
            }
            for design in self.designs[:1]
        ]
        return sections

    def __repr__(self) -> str:
        rows = sum(run.n_rows for run in self.runs)
        return f"GLMFit {self.noise}: {len(self.runs)} runs, {rows:,} rows, {self.space.describe()}; columns {', '.join(self.columns)}"

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
    progress: bool = True,
    **options: Unpack[DesignOptions],
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
        progress: Show a bar where it takes longer than some seconds.
        **options: Of the default design: drift, cutoff, position, phases, confounds, kernel, leak, n_lags and degree, as
            :func:`tl_fbn.design_matrix` explains them. Phases alternate within blocks, so contrast them at ``level="token"``.

    Returns:
        The fit; ask it for contrasts.

    Raises:
        InputError: An unknown noise model, designs that do not fit the runs or hold non-finite numbers, no more rows
            than regressors, or ``"newey_west"`` of a stream.
    """
    one_of(noise, Noise, "noise")
    one_of(replicates, Replicates, "replicates")
    if replicates == "prompts":
        for number, run in enumerate(recording):
            check_prompts(run, number)
    if maxlags is not None and (noise != "newey_west" or maxlags < 0):
        raise InputError(f'maxlags={maxlags} with noise={noise!r}; it is for "newey_west", and at least 0')
    if noise == "newey_west" and not isinstance(recording, Recording):
        raise InputError(
            'noise="newey_west" looks at the rows twice, and a stream shows them once; scan first, or take "ar1"'
        )
    if design is None:
        designs = [design_matrix(run, **options) for run in recording]
        if extra is not None:
            designs = _beside(designs, _one_a_run(extra, recording))
    else:
        if options:
            raise InputError(f"{', '.join(options)} shape the default design; with design= leave them out")
        if extra is not None:
            raise InputError("extra= adds columns to the default design; with design= put them into your own matrices")
        designs = _one_a_run(design, recording)
    for number, matrix in enumerate(designs):
        check_rows(matrix, number)
    models = (  # one at a time: the model of a run is several times as large as its design
        RunModel.of(run, matrix, noise, number, maxlags=maxlags, replicates=replicates)
        for number, (run, matrix) in enumerate(zip(recording, designs, strict=True))
    )
    if isinstance(recording, Recording):
        n_layers = sum(len(run.layers) for run in recording)
        with tqdm(total=n_layers, desc="GLM", unit="layer", delay=BAR_AFTER, disable=not progress) as bar:
            runs = tuple(fit_run(run, model, bar) for run, model in zip(recording, models, strict=True))
    else:
        runs = tuple(_streamed(recording, models))
    return GLMFit(recording.space, runs, noise, tuple(designs), recording.provenance, replicates)


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
        raise InputError("contrast got an empty list; give expressions")
    vectors = np.array([as_vector(dict(one), columns) for one in weights])
    if np.linalg.matrix_rank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) < len(vectors):
        raise InputError(
            f"the contrasts {', '.join(expressions)} follow from each other; leave out what the others imply"
        )


def _one_a_run(given: Sequence[pd.DataFrame] | pd.DataFrame, recording: Recording | Streamed) -> list[pd.DataFrame]:
    """Designs, or columns for them, checked against the runs."""
    designs = [given] if isinstance(given, pd.DataFrame) else list(given)
    if len(designs) != len(recording):
        raise InputError(f"{len(designs)} design matrices for {len(recording)} runs; give one a run")
    for number, (matrix, run) in enumerate(zip(designs, recording, strict=True)):
        if len(matrix) != run.n_rows:
            raise InputError(
                f"the design of run {number} has {len(matrix)} rows, the run {run.n_rows}; give one line a row"
            )
        if not matrix.shape[1]:
            raise InputError(f"the design of run {number} has no columns; give at least one regressor")
        if matrix.columns.duplicated().any():
            raise InputError(f"the design of run {number} names a column twice: {', '.join(map(str, matrix.columns))}")
        if words := [str(name) for name in matrix if not pd.api.types.is_numeric_dtype(matrix[name])]:
            raise InputError(
                f"the design of run {number} has columns that are no numbers: {', '.join(words)}; code them as numbers"
            )
        if not np.isfinite(matrix.to_numpy(float)).all():
            raise InputError(f"the design of run {number} has missing or infinite values; fill or drop them first")
    return designs


def _beside(designs: Sequence[pd.DataFrame], extra: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    for number, (matrix, more) in enumerate(zip(designs, extra, strict=True)):
        if taken := [str(name) for name in more.columns if name in matrix]:
            raise InputError(
                f"extra has a column {taken[0]!r}, and so has the design of run {number} ({', '.join(map(str, matrix.columns))}); rename it"
            )
    return [
        matrix.assign(**{str(name): more[name].to_numpy(float) for name in more})
        for matrix, more in zip(designs, extra, strict=True)
    ]
