"""The general linear model, unit by unit: y = X beta + e, with independent or AR(1) noise.

X is the design matrix (row, regressor), y the activations of one unit, beta its coefficients, e the noise. With
:func:`fit_glm`, then ``fit.contrast("sort - reverse")``, then ``.threshold(fdr=0.05)``, a recording becomes a map and a
network; a list of contrasts is an F test. The models of the noise:

- ``"ar1"`` (default) fits each unit at its own autocorrelation rho, estimated from its residuals under ordinary least
  squares (OLS) and corrected for the design's bias (:mod:`.autocorrelation`), by generalised least squares on sums
  over rows (:mod:`.moments`). Values of rho are not binned, the data are read once, and one block of units is in
  memory;
- ``"ar1_pooled"`` gives all units of a layer their mean residual autocorrelation: less noisy for short runs, wrong
  for units that differ;
- ``"newey_west"`` keeps the OLS fit and takes its covariance from the scores of neighbouring rows (:mod:`.newey_west`);
- ``"ols"`` takes rows as independent.

Rows are neighbours within a segment: a prompt where prompts have fresh contexts, else the run.

*Runs* are fitted one by one. A token-level contrast is the mean effect over the R runs in which it is estimable, with
variance ``sum of variances / R**2`` and the sum of degrees of freedom (fixed effects). A run that lacks a condition
of the contrast is left out, and the result names it.

*The block level* is tested on block means, which leave out first tokens where the design has a column for them, as the
default has (:mod:`.first_tokens`). Columns that vary mostly within blocks (``position``) are taken off with their
token-level coefficients; columns that vary mostly between blocks (conditions, drift) form a small regression of
the block means, with one noise variance over runs and ``blocks - rank`` degrees of freedom.

Cost: two thin matrix products a run, then one rank x rank solve a unit. Float64 throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from tl_fbn.analysis.glm.design_matrix import DesignOptions, design_matrix, one_per_run, with_extra_columns
from tl_fbn.analysis.glm.expressions import check_independent, read_contrast
from tl_fbn.analysis.glm.f_contrast import FContrast, f_statistic
from tl_fbn.analysis.glm.fit_arrays import arrays_of_runs, runs_of_arrays
from tl_fbn.analysis.glm.fit_prose import fit_in_words, fit_sections, table_of_runs
from tl_fbn.analysis.glm.model_norms import norms_of_model
from tl_fbn.analysis.glm.others import against_others, conditions_of, mark_conditions
from tl_fbn.analysis.glm.run_fit import Noise, RunFit, RunModel, check_rows, fit_run, fit_streamed
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import UnitSpace, html_frame
from tl_fbn.units.outgoing_norms import OUTGOING_NORMS
from tl_fbn.units.result import Arrays, Described, Result


@dataclass(frozen=True, eq=False)
class GLMFit(Result, step="fit"):
    """A GLM fitted to every unit of a recording, run by run; ask it for contrasts.

    >>> fit = fbn.fit_glm(recording, progress=False)
    >>> fit
    GLMFit ar1: 2 runs, 1,536 rows, tl_fbn-demo mlp.neurons (3 x 384); columns sort, reverse, add, position, ...
    >>> fit.contrast("sort - others")
    Contrast "sort - others" at block level, 14 degrees of freedom, runs [0, 1]: ...

    Args:
        space: The units that were fitted: site, and width of every layer.
        runs: The fit of each run: coefficients, noise and block means of every unit.
        noise: Model of the noise: ``"ar1"``, ``"ar1_pooled"``, ``"newey_west"`` or ``"ols"``.
        designs: The design matrix of each run, (row, regressor).
        provenance: Recording and prompts that the fit goes back to.
        replicates: What the block level averages rows into: ``"blocks"`` or ``"prompts"``.
        conditions: Name of a column to the condition that it is of; empty where that is not known, as in results of
            earlier versions.
        outgoing_norms: (unit,) norms of the units' outgoing weights, for ``contrast.contribution``; None where unknown.
    """

    space: UnitSpace
    runs: tuple[RunFit, ...]
    noise: Noise
    designs: tuple[pd.DataFrame, ...]
    provenance: Mapping[str, Any]
    replicates: Replicates = "blocks"
    conditions: Mapping[str, str] = field(default_factory=dict)
    outgoing_norms: Float[np.ndarray, " unit"] | None = None

    _settings_ = ("noise",)

    @property
    def columns(self) -> list[str]:
        """Every column of any run's design, in order of first appearance."""
        return list(dict.fromkeys(name for run in self.runs for name in run.columns))

    @property
    def rho(self) -> Float[np.ndarray, " unit"]:
        """(unit,) lag-one autocorrelation of the noise that the unit was fitted at, the row-weighted mean over runs."""
        return np.average([run.rho for run in self.runs], axis=0, weights=[run.n_rows for run in self.runs])

    @overload
    def contrast(self, expression: str, *, level: Level = "block", name: str | None = None) -> Contrast: ...

    @overload
    def contrast(
        self, expression: list[str] | tuple[str, ...], *, level: Level = "block", name: str | None = None
    ) -> FContrast: ...

    @checked
    def contrast(
        self, expression: str | list[str] | tuple[str, ...], *, level: Level = "block", name: str | None = None
    ) -> Contrast | FContrast:
        """Test a contrast in every unit, or several contrasts together.

        >>> fbn.fit_glm(recording, progress=False).contrast("sort - reverse", level="token").t.top(0.01)
        Network "top 0.01 of sort - reverse": ...

        Args:
            expression: Sums and differences of column names, times or divided by numbers, with parentheses, e.g.
                ``"sort - reverse"`` or ``"sort - (add + reverse) / 2"``. ``others`` is the mean of all conditions that
                the expression does not name, rest among them, unless a column is called others:
                ``"sort - others"``; with phases or lags it is of the same phase and lag. A name that holds signs or
                spaces stands in backticks where the text has a second reading. A list of expressions is an F test:
                whether any of them differs from 0.
            level: What counts as an independent observation: ``"block"`` (block means), ``"token"`` (rows) or
                ``"run"``.
            name: What titles, networks and files call the contrast. By default the expression, or ``"sort - others"``
                for one of more than 40 characters that means the same.

        Returns:
            A :class:`Contrast` for one expression, an :class:`FContrast` for a list.

        Raises:
            InputError: An unknown column or level, an expression that has two readings or is not linear, expressions
                that follow from each other, a contrast that no run can estimate, or too few blocks or runs for the
                level.
        """
        one_of(level, Level, "level")
        short, expressions = self.in_columns((expression,) if isinstance(expression, str) else expression)
        name = name or short
        weights, used, skipped = self.estimable(expressions)
        runs = [self.runs[number] for number in used]
        if level == "block":
            found = by_block(runs, weights, name, used)
        else:
            found = by_token(runs, weights) if level == "token" else by_run(runs, weights, name)
        about = {**self.provenance, "noise": self.noise, "replicates": self.replicates}
        if isinstance(expression, str):
            error = found.covariance[:, 0, 0]  # of one contrast, the covariance is its variance
            return Contrast(
                self.space,
                expressions[0],
                level,
                found.effects[0],
                error,
                found.dof,
                tuple(used),
                skipped,
                about,
                found.variance,
                found.varies,
                name,
                self.outgoing_norms,
            )
        f = f_statistic(found.effects, found.covariance, found.varies)
        return FContrast(self.space, expressions, level, f, found.dof, tuple(used), skipped, about, name)

    @checked
    def contrasts_against_others(self, *, level: Level = "block") -> dict[str, Contrast]:
        """Test every condition against the mean of all others.

        >>> for name, each in fbn.fit_glm(recording, progress=False).contrasts_against_others().items():
        ...     print(name, "|", each.name, "|", each.expression)
        sort | sort - others | sort - (reverse + add) / 2
        reverse | reverse - others | reverse - (sort + add) / 2
        add | add - others | add - (sort + reverse) / 2

        With phases or lags there is one contrast for each of a condition's columns, against the others of its phase and
        lag; a phase or lag that no other condition has is left out.

        Args:
            level: What counts as an independent observation: ``"block"`` (block means), ``"token"`` (rows) or
                ``"run"``.

        Returns:
            Name of a condition's column to its contrast, in the order of the design.

        Raises:
            InputError: The fit does not know which columns are conditions, there is only one of them, or a contrast
                cannot be tested at the level.
        """
        return {
            column: self.contrast(expression, level=level, name=name)
            for column, (expression, name) in against_others(self.columns, self.conditions).items()
        }

    @checked
    def in_columns(self, expressions: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """What contrasts are called together, and each with columns in the place of ``others``.

        >>> fbn.fit_glm(recording, progress=False).in_columns(["sort - others"])
        ('sort - others', ('sort - (reverse + add) / 2',))

        Args:
            expressions: Contrasts over column names and ``others``.

        Raises:
            InputError: An expression that cannot be read, or has two readings.
        """
        read = [read_contrast(one, self.columns, self.conditions) for one in expressions]
        return ", ".join(one.name for one in read), tuple(one.expression for one in read)

    @checked
    def estimable(self, expressions: Sequence[str]) -> tuple[list[dict[str, float]], list[int], dict[int, str]]:
        """Weights of contrasts, the numbers of the runs that can estimate them all, and why the others cannot.

        Args:
            expressions: Contrasts over column names, e.g. ``["sort - reverse"]``.

        Returns:
            For each contrast the weight of every column it names; the numbers of the runs that can estimate all
            contrasts; and for each other run the reason why it cannot.

        Raises:
            InputError: An unknown column, expressions that follow from each other, or no such run.
        """
        weights = [read_contrast(one, self.columns, self.conditions).weights for one in expressions]
        check_independent(weights, expressions, self.columns)
        # the first contrast that a run cannot estimate is reason enough to leave the run out of all
        reasons = {number: next(filter(None, map(run.why_not, weights)), None) for number, run in enumerate(self.runs)}
        skipped = {number: reason for number, reason in reasons.items() if reason is not None}
        if len(skipped) == len(self.runs):
            detail = "; ".join(f"run {number}: {reason}" for number, reason in skipped.items())
            raise InputError(
                f"contrast {', '.join(expressions)!r} is estimable in no run ({detail}); "
                f"columns: {', '.join(self.columns)}"
            )
        return weights, [number for number in reasons if number not in skipped], skipped

    def to_dataframe(self) -> pd.DataFrame:
        """One line a run: rows, rank of its design, degrees of freedom, blocks, mean rho over units, columns."""
        return table_of_runs(self)

    def _pack_(self) -> tuple[Arrays, Described]:
        about: Described = {
            "space": self.space.about(),
            "noise_model": self.noise,
            "replicates": self.replicates,
            "conditions": dict(self.conditions),
            "columns": [list(run.columns) for run in self.runs],
            "provenance": dict(self.provenance),
        }
        norms = {} if self.outgoing_norms is None else {OUTGOING_NORMS: self.outgoing_norms}
        return arrays_of_runs(self.runs, self.designs) | norms, about

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> GLMFit:
        conditions = about.get("conditions", {})  # not in results of earlier versions, as replicates
        runs, designs = runs_of_arrays(arrays, about["columns"])
        return cls(
            UnitSpace.from_about(about["space"]),
            runs,
            about["noise_model"],
            tuple(mark_conditions(design, conditions) for design in designs),
            about["provenance"],
            about.get("replicates", "blocks"),
            conditions,
            arrays.get(OUTGOING_NORMS),
        )

    def _methods_(self) -> list[str]:
        return [fit_in_words(self)]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return fit_sections(self)

    def __repr__(self) -> str:
        rows = sum(run.n_rows for run in self.runs)
        return (
            f"GLMFit {self.noise}: {len(self.runs)} runs, {rows:,} rows, {self.space.describe()}; "
            f"columns {', '.join(self.columns)}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe(), ".2f")


@checked
def fit_glm(
    recording: Recording | Streamed,
    *,
    noise: Noise = "ar1",
    maxlags: int | None = None,
    replicates: Replicates = "blocks",
    design: Sequence[pd.DataFrame] | pd.DataFrame | None = None,
    extra: Sequence[pd.DataFrame] | pd.DataFrame | None = None,
    model: Any = None,
    progress: bool = True,
    **options: Unpack[DesignOptions],
) -> GLMFit:
    """Fit a GLM to every unit of a recording.

    >>> fbn.fit_glm(recording, progress=False).contrast("sort - reverse").threshold(top=0.02)
    Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 18 5 0

    Activations from elsewhere are fitted alike. Here the first of three units follows a task:

    >>> task = np.repeat([1.0, 0.0] * 4, 20)[:, None]  # (row, 1): eight blocks of 20 rows
    >>> activations = np.random.default_rng(0).normal(size=(160, 3)) + task * [2, 0, 0]
    >>> events = pd.DataFrame({"onset": range(0, 160, 20), "duration": 20, "trial_type": ["sort", "reverse"] * 4})
    >>> simulated = fbn.Recording.from_arrays([[activations]], events=[events])
    >>> fbn.fit_glm(simulated).contrast("sort - reverse").threshold(fdr=0.05).indices
    array([0])

    Args:
        recording: What the scanner wrote, or arrays from elsewhere (:meth:`Recording.from_arrays`); or
            ``scanner.stream(design)``, which fits while the model runs and stores no activations.
        noise: Model of the noise. ``"ar1"``: autocorrelation of first order, estimated for each unit;
            ``"ar1_pooled"``: the same for all units of a layer, their mean one; ``"newey_west"``: ordinary least
            squares with a covariance that allows autocorrelation up to ``maxlags`` rows; ``"ols"``: independent rows.
        maxlags: Number of rows over which ``noise="newey_west"`` allows autocorrelation; by default
            ``4 (n / 100) ** (2 / 9)`` for n rows.
        replicates: What the block level averages rows into and counts as independent: ``"blocks"``, or ``"prompts"``,
            which are more, and independent only where each has a fresh context and was drawn for its condition at
            random.
        design: Your own design matrices, one (row, regressor) DataFrame for each run (or one, for a single run), used
            without any addition; None builds those of :func:`tl_fbn.design_matrix`. A column of zeros and ones called
            first_token keeps its rows out of block means, as there.
        extra: Columns of your own to add to the default design, e.g. a rating of every token: one DataFrame for each
            run.
        model: The model that was recorded, whose outgoing weights are measured for ``contrast.contribution`` where the
            recording has no norms of them, as those of earlier versions; None takes the recording's.
        progress: Whether to show a progress bar, which appears where the fit takes longer than some seconds.
        **options: Options of the default design: drift, cutoff, position, first_token, phases, confounds, kernel, leak,
            n_lags and degree, explained in :func:`tl_fbn.design_matrix`. Phases alternate within blocks, so test their
            contrasts at ``level="token"``.

    Returns:
        The fit, which tests contrasts with its method ``contrast``.

    Raises:
        InputError: An unknown noise model, designs that do not fit the runs or hold non-finite numbers, no more rows
            than regressors, ``"newey_west"`` of a stream, or a model without the recording's units.
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
            designs = with_extra_columns(designs, one_per_run(extra, recording))
    else:
        if options:
            raise InputError(f"{', '.join(options)} shape the default design; with design= leave them out")
        if extra is not None:
            raise InputError("extra= adds columns to the default design; with design= put them into your own matrices")
        designs = one_per_run(design, recording)
    for number, matrix in enumerate(designs):
        check_rows(matrix, number)
    norms = recording.outgoing_norms if model is None else norms_of_model(model, recording.space)
    models = (  # one at a time: the model of a run is several times as large as its design
        RunModel.of(run, matrix, noise, number, maxlags=maxlags, replicates=replicates)
        for number, (run, matrix) in enumerate(zip(recording, designs, strict=True))
    )
    if isinstance(recording, Recording):
        n_layers = sum(len(run.layers) for run in recording)
        with tqdm(total=n_layers, desc="GLM", unit="layer", delay=BAR_AFTER, disable=not progress) as bar:
            runs = tuple(fit_run(run, model, bar) for run, model in zip(recording, models, strict=True))
    else:
        runs = tuple(_fit_stream(recording, models))
    conditions = conditions_of(designs, recording)
    return GLMFit(recording.space, runs, noise, tuple(designs), recording.provenance, replicates, conditions, norms)


def _fit_stream(recording: Streamed, models: Iterator[RunModel]) -> Iterator[RunFit]:
    """Fit the runs as they pass by, each model made when its run begins and dropped when it is fitted."""
    current: list[RunModel] = []

    def functionals() -> Iterator[Any]:
        for model in models:
            current[:] = [model]
            yield model.functionals

    # both generators go on by one when a run begins, functionals first: `current` is then the model of that run
    shifted = (current[0].basis.spans_constant for _ in range(len(recording)))
    for sums in recording.sums(functionals(), shifted=shifted):
        yield fit_streamed(current[0], sums, recording.space)
