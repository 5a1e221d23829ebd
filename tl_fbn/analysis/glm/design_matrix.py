"""The design matrix of the GLM: one column (regressor) for each condition and each source of variance, one line a row.

The default matrix of a run has

- one boxcar column a condition (1 inside its blocks, 0 elsewhere), so that coefficients are *cell means* and
  ``"sort - reverse"`` is their difference; an ``intercept`` only where some rows have no condition;
- ``position``: the row's place in its context, centred and scaled to unit variance (activations drift along a prompt,
  and conditions differ in length);
- ``first_token``: 1 in the first row of every prompt, which in many models holds most of all variance, whatever the
  prompt is about; left out where it says nothing or cannot be estimated, see :mod:`.first_tokens`;
- with ``phases``, a column for each phase of a condition instead, e.g. ``sort`` for the questions and ``sort_answer``
  for the answers, where a contrast should tell apart what a block mixes;
- ``drift_1 ...``: slow cosines (a discrete cosine basis as in SPM) with periods longer than ``cutoff`` rows, or
  Legendre polynomials;
- with ``confounds``, regressors of no interest from the row table, such as the surprisal of each token; see
  :mod:`.confounds`.

*Drift.* The cut-off defaults to four full cycles of the design, a cycle being the longest wait between two blocks of
one condition. A cosine at two *block lengths* would remove half of the task itself; at four cycles almost nothing of
an alternating boxcar is lost. Drift may take at most a fifth of the efficiency of a difference of two conditions:
where it would take more (blocks in random order), the default leaves out its fastest columns, and a cut-off or degree
that was given explicitly is refused.

*Kernels.* A language model has no haemodynamic lag, but earlier tokens of a context act on later ones. ``"leak"``
lets the response to a condition build up along each context, with ``h(k) = (1 - leak) * leak**k`` for the k-th row
after its onset. ``"fir"`` (finite impulse response) gives a condition ``n_lags`` columns, each the boxcar one row
later than the one before (``sort``, ``sort_lag1``, ...; the sum of their coefficients is the lasting response). Both
start anew with every context.

Memory: rows x regressors floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, TypedDict

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import signal

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import Streamed, StreamRun
from tl_fbn.analysis.glm.confounds import confound_columns
from tl_fbn.analysis.glm.efficiency import drift_cost
from tl_fbn.analysis.glm.first_tokens import FIRST_TOKEN, first_token_column
from tl_fbn.analysis.glm.others import mark_conditions
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked

Drift = Literal["cosine", "polynomial", "none"]
_NUISANCE_NAMES = (  # names that this file, confounds.py and first_tokens.py give to columns
    r"constant|(log_)?position|first_token|prompt_onset|surprisal|entropy|is_(space|punctuation|digit|newline|special)|"
    r"spike_\d+|drift_\d+"
)
Kernel = Literal["none", "leak", "fir"]
_MAX_DRIFT_COST = 0.2  # share of the efficiency of a difference of conditions that drift may take
Phases = Callable[[pd.DataFrame], Sequence[str]]


class DesignOptions(TypedDict, total=False):
    """The keyword arguments of :func:`design_matrix`, for functions that pass them on; meanings are explained there."""

    drift: Drift
    cutoff: int | float | None
    position: bool
    first_token: bool
    phases: Phases | None
    confounds: Sequence[str]
    kernel: Kernel
    leak: int | float | None
    n_lags: int
    degree: int | None


@checked
def design_matrix(
    run: Run | StreamRun,
    *,
    drift: Drift = "cosine",
    cutoff: int | float | None = None,
    position: bool = True,
    first_token: bool = True,
    phases: Phases | None = None,
    confounds: Sequence[str] = (),
    kernel: Kernel = "none",
    leak: int | float | None = None,
    n_lags: int = 4,
    degree: int | None = None,
) -> pd.DataFrame:
    """The default design matrix of one run.

    >>> fbn.design_matrix(recording[0], drift="none", confounds=("surprisal",)).round(2).tail(2)
         sort  reverse  add  position  surprisal  first_token
    766   0.0      0.0  1.0      1.59      -0.98          0.0
    767   0.0      0.0  1.0      1.82      -0.98          0.0

    Args:
        run: A run of a recording or of a stream, with events.
        drift: Slow columns: ``"cosine"`` (discrete cosines with periods longer than ``cutoff``), ``"polynomial"``
            (Legendre polynomials up to ``degree``) or ``"none"``.
        cutoff: Shortest period of the cosine drift, in rows; by default four times the longest wait between the
            onsets of two successive blocks of one condition.
        position: Whether to include the row's place in its context as a column, where the row table has it.
        first_token: Whether to include a column that is 1 at the first token of every prompt and 0 elsewhere. It is
            left out where the rows are pooled prompts, hold no first tokens or nothing else, where the row table does
            not tell, and where other columns add up to it. Block means are then taken without first tokens.
        phases: A function that takes the row table and returns a label for each row, ``""`` for none, so that a
            condition has one column for each label (``condition_label``); :func:`from_token` makes one. None: one
            column a condition.
        confounds: Names of regressors of no interest to add: ``"position"``, ``"log_position"``, ``"onset"``,
            ``"surprisal"``, ``"entropy"``, ``"token_class"``, ``"spikes"``.
        kernel: Shape of the response to a condition within a context: ``"none"`` (a boxcar), ``"leak"`` (builds up
            exponentially) or ``"fir"`` (one free coefficient for each of ``n_lags`` rows).
        leak: Share of the response that is left after one row, between 0 and 1; needed by ``kernel="leak"``.
            :func:`tl_fbn.glm.estimate_leak` proposes one.
        n_lags: Number of columns for each condition with ``kernel="fir"``: the boxcar and ``n_lags - 1`` delayed ones.
        degree: Highest power of the polynomial drift; by default 1 + rows / 150, as AFNI counts.

    Returns:
        (row, regressor) table with the names of the regressors as columns.

    Raises:
        InputError: The run has no events; drift, kernel or a confound is unknown; the cut-off is shorter than two full
            cycles of the design; drift that was asked for takes more than a fifth of the efficiency of a difference of
            conditions; a condition has the name of a column that is added here; or two columns would have one name (a
            condition ``sort_answer`` beside phase ``answer`` of ``sort``, or ``sort_lag1`` beside ``sort``).
    """
    one_of(drift, Drift, "drift")
    one_of(kernel, Kernel, "kernel")
    events = run.events
    if len(events) == 0:
        raise InputError("this run has no events, so no condition to model; give events, or design= your own matrices")
    columns: dict[str, np.ndarray] = {}
    made_of: dict[str, tuple[str, str]] = {}  # name of a column: the condition and the label that it was joined from
    labels = np.full(run.n_rows, "") if phases is None else _phase_labels(phases, run)
    # boxcars: 1 in the rows of a condition's blocks (with phases: that have the label), 0 elsewhere
    for condition, rows in run.blocks():
        for label in dict.fromkeys(labels[rows].tolist()):
            name = f"{condition}_{label}" if label else condition
            if made_of.setdefault(name, (condition, label)) != (condition, label):
                parts = " and ".join(
                    f"condition {whole!r}" + (f" in phase {phase!r}" if phase else "")
                    for whole, phase in (made_of[name], (condition, label))
                )
                raise InputError(
                    f"{parts} would share the column {name!r} and be taken for one; rename the condition or the phase"
                )
            column = columns.setdefault(name, np.zeros(run.n_rows))
            column[rows][labels[rows] == label] = 1.0
    added: dict[str, np.ndarray] = {}
    # boxcars that cover every row add up to the constant already; a second constant would make the design singular
    if not np.all(np.sum(list(columns.values()), axis=0) > 0):
        added["intercept"] = np.ones(run.n_rows)
    slow = _drift_columns(events, run.n_rows, drift, cutoff, degree)
    # the cost of drift is judged by plain boxcars, so before the kernel
    slow = _within_drift_cost(columns, slow, chosen=cutoff is not None or degree is not None)
    columns = _with_kernel(columns, run.segment_starts, kernel, leak, n_lags)
    wanted = ["position", *confounds] if position and "position" in run.rows else list(confounds)
    added |= confound_columns(run, wanted)
    if first_token:
        others = [*columns.values(), *added.values(), *slow.T]
        if (column := first_token_column(run, others)) is not None:
            added[FIRST_TOKEN] = column
    added |= {f"drift_{i + 1}": column for i, column in enumerate(slow.T)}
    taken = [name for name in columns if name in added]
    if taken:
        raise InputError(
            f"condition {taken[0]!r} has the name of a column that the design adds ({', '.join(added)}); rename it"
        )
    # of a lagged column the condition is that of the column without the lag
    plain = {name: name if name in made_of else re.sub(r"_lag\d+$", "", name) for name in columns}
    return mark_conditions(pd.DataFrame(columns | added), {name: made_of[plain[name]][0] for name in columns})


@checked
def from_token(token: str, label: str) -> Phases:
    """Phases of chat prompts: the rows from a special token on, up to the next special token, get a label.

    >>> answers = fbn.glm.from_token("[/INST]", "answer")
    >>> fit = fbn.fit_glm(recording, phases=answers, progress=False)
    >>> fit.contrast("sort_answer - reverse_answer", level="token").threshold(top=0.01)
    Network "sort_answer - reverse_answer": ...

    ``from_token("[/INST]", "answer")`` labels the answers of a chat whose questions end in ``[/INST]``. The row of
    that token itself is labelled too, for the first token of the answer is predicted there.

    Args:
        token: The token that begins the phase, as written in the column ``token`` of the row table.
        label: Name of the phase; the design's column for it is called ``condition_label``.

    Returns:
        A function of the row table, for the argument ``phases=`` of :func:`tl_fbn.design_matrix` and
        :func:`tl_fbn.fit_glm`. It raises InputError where the table lacks one of the columns prompt, token and flags,
        or where no row holds the token.
    """

    def phases(rows: pd.DataFrame) -> Sequence[str]:
        missing = [name for name in ("prompt", "token", "flags") if name not in rows]
        if missing:
            raise InputError(
                f"phases need the row table's columns prompt, token and flags; it lacks {', '.join(missing)}"
            )
        # special tokens (and the token asked for) keep their text, all other rows are missing; then each row takes the
        # latest special token of its own prompt
        marks = rows["token"].where(rows["flags"].str.contains("special|bos") | (rows["token"] == token))
        latest = marks.groupby(rows["prompt"]).ffill()
        if not (latest == token).any():
            raise InputError(f"no row of this run holds the token {token!r}; give a token that the prompts contain")
        return np.where(latest == token, label, "").tolist()

    return phases


def _phase_labels(phases: Phases, run: Run | StreamRun) -> np.ndarray:
    try:
        labels = np.array([str(label) for label in phases(run.rows)])
    except (TypeError, ValueError) as error:  # no function of a table, or one that returns no list
        raise InputError(
            f"phases must take the row table and return one label a row; it ended with: {error}"
        ) from error
    if len(labels) != run.n_rows:
        raise InputError(f"phases gave {len(labels)} labels for {run.n_rows} rows; give one a row")
    return labels


def _drift_columns(
    events: pd.DataFrame, n_rows: int, drift: str, cutoff: int | float | None, degree: int | None
) -> Float[np.ndarray, "row regressor"]:
    if drift == "cosine":
        cycle = longest_cycle(events, n_rows)
        if cutoff is not None and cutoff < 2 * cycle:
            raise InputError(
                f"cutoff={cutoff:g} rows is shorter than two full cycles of the design ({2 * cycle:g} rows) and would "
                "remove the task with the drift; give a longer one"
            )
        return cosine_drift(n_rows, 4 * cycle if cutoff is None else cutoff)
    if drift == "polynomial":
        return polynomial_drift(n_rows, 1 + n_rows // 150 if degree is None else degree)
    return np.zeros((n_rows, 0))


def _within_drift_cost(
    columns: dict[str, np.ndarray], drift: Float[np.ndarray, "row regressor"], *, chosen: bool
) -> Float[np.ndarray, "row kept"]:
    """Drift columns that leave every difference of two conditions four fifths of its efficiency.

    The default drift loses its fastest columns until that holds; a cut-off or degree that the user chose is refused
    instead.
    """
    while len(columns) > 1 and drift.shape[1]:
        cost = drift_cost(np.column_stack(list(columns.values())), drift)
        names = list(columns)
        i, j = np.unravel_index(cost.argmax(), cost.shape)
        if cost[i, j] <= _MAX_DRIFT_COST:
            break
        if chosen:
            raise InputError(
                f"drift takes {cost[i, j]:.0%} of the efficiency of {names[i]} - {names[j]} (a fifth is allowed); "
                'give a longer cutoff, a lower degree, or drift="none"'
            )
        drift = drift[:, :-1]  # columns are ordered from slow to fast
    return drift


def _with_kernel(
    columns: dict[str, np.ndarray], starts: Bool[np.ndarray, " row"], kernel: str, leak: int | float | None, n_lags: int
) -> dict[str, np.ndarray]:
    if kernel == "none":
        return columns
    if kernel == "leak":
        if leak is None or not 0 < leak < 1:
            raise InputError(f'kernel="leak" needs leak= between 0 and 1, what is left after one row; got {leak}')
        return {name: leaky(column, starts, leak) for name, column in columns.items()}
    if n_lags < 1:
        raise InputError(f'kernel="fir" needs n_lags of at least 1; got {n_lags}')
    # rows since the start of the context: a lag that reaches back beyond it is 0
    place = np.arange(len(starts)) - np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    found = {}
    for name, column in columns.items():
        for lag in range(n_lags):
            shifted = np.append(np.zeros(lag), column[: len(column) - lag]) * (place >= lag)
            if shifted.any():  # contexts shorter than the lag leave an empty column, which no contrast could use
                label = f"{name}_lag{lag}" if lag else name
                if label in found or (lag and label in columns):
                    raise InputError(
                        f"the column of {name!r} at lag {lag} would be called {label!r}, as another column is; rename "
                        'one of the conditions, or use kernel="leak"'
                    )
                found[label] = shifted
    return found


def leaky(
    column: Float[np.ndarray, " row"], starts: Bool[np.ndarray, " row"], leak: int | float
) -> Float[np.ndarray, " row"]:
    """A column convolved with ``(1 - leak) * leak**k``, anew in every context."""
    out = np.empty_like(column)
    edges = [*np.flatnonzero(starts), len(column)]
    for first, stop in pairwise(edges):
        # the recursion y_t = leak * y_(t-1) + (1 - leak) * x_t, from 0
        out[first:stop] = signal.lfilter([1 - leak], [1, -leak], column[first:stop])
    return out


def longest_cycle(events: pd.DataFrame, n_rows: int) -> float:
    """Longest wait, in rows, between the onsets of two successive blocks of one condition; the run if none repeats."""
    waits = [
        wait
        for _, group in events.sort_values("onset").groupby("trial_type")
        for wait in np.diff(group["onset"].to_numpy(float))
    ]
    return float(max(waits)) if waits else float(n_rows)


def cosine_drift(n_rows: int, cutoff: int | float) -> Float[np.ndarray, "row regressor"]:
    """Cosines of period longer than ``cutoff`` rows, without the constant, each of unit variance.

    Ashburner and Friston's high-pass basis: the k-th has period ``2 * n_rows / k``.
    """
    order = int(2 * n_rows / cutoff)
    place = (np.arange(n_rows) + 0.5) / n_rows  # midpoints of rows, as in the DCT-II
    return np.sqrt(2.0) * np.cos(np.pi * np.outer(place, np.arange(1, order + 1)))


def polynomial_drift(n_rows: int, degree: int) -> Float[np.ndarray, "row regressor"]:
    """Legendre polynomials of degree 1 to ``degree`` over the run."""
    # the constant, degree 0, is left out: conditions or the intercept have it
    place = np.linspace(-1, 1, n_rows)
    return np.polynomial.legendre.legvander(place, degree)[:, 1:]


def is_nuisance(name: str) -> bool:
    """Whether a column has a name that :func:`design_matrix` gives to a regressor of no interest.

    >>> [is_nuisance(name) for name in ("sort", "position", "drift_2", "surprisal")]
    [False, True, True, True]
    """
    return re.fullmatch(_NUISANCE_NAMES, name) is not None


def one_per_run(given: Sequence[pd.DataFrame] | pd.DataFrame, recording: Recording | Streamed) -> list[pd.DataFrame]:
    """One table of columns for each run, checked against the runs: length, names, finite numbers."""
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
        if matrix.columns.map(str).duplicated().any():  # as text, for columns are named so: 1 and "1" are one name
            raise InputError(f"the design of run {number} names a column twice: {', '.join(map(str, matrix.columns))}")
        numeric = pd.api.types.is_numeric_dtype
        complex_ = pd.api.types.is_complex_dtype  # a cast to floats would keep the real part
        if words := [str(name) for name in matrix if not numeric(matrix[name]) or complex_(matrix[name])]:
            raise InputError(
                f"the design of run {number} has columns that are no numbers: {', '.join(words)}; code them as numbers"
            )
        if not np.isfinite(matrix.to_numpy(float)).all():
            raise InputError(f"the design of run {number} has missing or infinite values; fill or drop them first")
    return designs


def with_extra_columns(designs: Sequence[pd.DataFrame], extra: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The designs with the columns of ``extra`` added, under names that must be new."""
    for number, (matrix, more) in enumerate(zip(designs, extra, strict=True)):
        if taken := [str(name) for name in more.columns if str(name) in map(str, matrix.columns)]:
            raise InputError(
                f"extra has a column {taken[0]!r}, and so has the design of run {number} "
                f"({', '.join(map(str, matrix.columns))}); rename it"
            )
    return [
        matrix.assign(**{str(name): more[name].to_numpy(float) for name in more})
        for matrix, more in zip(designs, extra, strict=True)
    ]
