"""The design matrix: what is expected of a unit at every row.

The default has, for every run,

- one boxcar column a condition (1 inside its blocks, 0 elsewhere), so that coefficients are *cell means* and
  ``"sort - rest"`` is their difference; an ``intercept`` only where some rows have no condition;
- ``position``: the row's place in its context, centred and scaled to unit variance (activations drift along a prompt,
  and conditions differ in length);
- with ``phases``, a column for each phase of a condition instead: ``sort`` for its questions and ``sort_answer`` for its answers,
  say, for what a block mixes may be what a contrast should keep apart;
- ``drift_1 ...``: slow cosines (a discrete cosine basis as in SPM) with periods longer than ``cutoff`` rows, or Legendre
  polynomials;
- with ``confounds``, what the row table says of each token; see :mod:`.confounds`.

The cut-off defaults to four full cycles of the design. A cosine at two *block lengths* would remove half of the task
itself; at four cycles almost nothing of an alternating boxcar is lost. Drift may take a fifth of the efficiency of a difference of
two conditions: the default leaves out its fastest columns where it would take more (blocks in random order), a cut-off or
degree of your own is refused then.

*Kernels.* A language model has no haemodynamic lag; what lasts is context. ``"leak"`` lets a condition build up along each
context, ``h(k) = (1 - leak) * leak**k`` after its onset; ``"fir"`` gives each of the first ``n_lags`` rows behind a column of its own
(``sort``, ``sort_lag1``, ...; their sum is the lasting response). Both start anew with every context.

Cost: rows x regressors floats.
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

from tl_fbn.acquisition.recording.recording import Run
from tl_fbn.acquisition.recording.run_sums import StreamRun
from tl_fbn.analysis.glm.confounds import confound_columns
from tl_fbn.analysis.glm.efficiency import drift_cost
from tl_fbn.errors import InputError, one_of

Drift = Literal["cosine", "polynomial", "none"]
_NUISANCE = r"constant|(log_)?position|prompt_onset|surprisal|entropy|is_(space|punctuation|digit|newline|special)|spike_\d+|drift_\d+"
Kernel = Literal["none", "leak", "fir"]
_COST = 0.2
Phases = Callable[[pd.DataFrame], Sequence[str]]


class DesignOptions(TypedDict, total=False):
    """What :func:`design_matrix` takes, for those who pass it on."""

    drift: Drift
    cutoff: int | float | None
    position: bool
    phases: Phases | None
    confounds: Sequence[str]
    kernel: Kernel
    leak: int | float | None
    n_lags: int
    degree: int | None


def design_matrix(
    run: Run | StreamRun,
    *,
    drift: Drift = "cosine",
    cutoff: int | float | None = None,
    position: bool = True,
    phases: Phases | None = None,
    confounds: Sequence[str] = (),
    kernel: Kernel = "none",
    leak: int | float | None = None,
    n_lags: int = 4,
    degree: int | None = None,
) -> pd.DataFrame:
    """The default design matrix of one run.

    ::

        fbn.design_matrix(recording[0], drift="none", confounds=("surprisal",))

    Args:
        run: A run of a recording.
        drift: ``"cosine"``, ``"polynomial"`` or ``"none"``.
        cutoff: Shortest drift period in rows; default four times the longest wait between two blocks of one condition.
        position: Include the row's place in its context.
        phases: Takes the row table and returns a label for each row, ``""`` for none; see :func:`from_token`.
        confounds: Names of :data:`.confounds.CONFOUNDS`.
        kernel: ``"none"``, ``"leak"`` or ``"fir"``; see the module.
        leak: With ``kernel="leak"``: what is left after one row, in (0, 1); :func:`.leakage.estimate_leak` proposes one.
        n_lags: With ``kernel="fir"``: columns a condition.
        degree: With ``drift="polynomial"``: highest power; default 1 + rows / 150, as AFNI counts.

    Returns:
        (row, regressor) with named columns.

    Raises:
        InputError: A run without events, an unknown drift, kernel or confound, a cut-off shorter than two full cycles,
            drift that takes a fifth of what the design can show, or a condition that has the name of a column added here.
    """
    one_of(drift, Drift, "drift")
    one_of(kernel, Kernel, "kernel")
    events = run.events
    if len(events) == 0:
        raise InputError("this run has no events, so no condition to model; give events, or design= your own matrices")
    columns: dict[str, np.ndarray] = {}
    labels = np.full(run.n_rows, "") if phases is None else _labels(phases, run)
    for condition, rows in run.blocks():
        for label in dict.fromkeys(labels[rows].tolist()):
            name = f"{condition}_{label}" if label else condition
            column = columns.setdefault(name, np.zeros(run.n_rows))
            column[rows][labels[rows] == label] = 1.0
    added: dict[str, np.ndarray] = {}
    if not np.all(np.sum(list(columns.values()), axis=0) > 0):
        added["intercept"] = np.ones(run.n_rows)
    slow = _drift_columns(events, run.n_rows, drift, cutoff, degree)
    slow = _affordable(columns, slow, asked=cutoff is not None or degree is not None)
    columns = _with_kernel(columns, run.segment_starts, kernel, leak, n_lags)
    wanted = ["position", *confounds] if position and "position" in run.rows else list(confounds)
    added |= confound_columns(run, wanted)
    added |= {f"drift_{i + 1}": column for i, column in enumerate(slow.T)}
    taken = [name for name in columns if name in added]
    if taken:
        raise InputError(
            f"condition {taken[0]!r} has the name of a column that the design adds ({', '.join(added)}); rename it"
        )
    return pd.DataFrame(columns | added)


def from_token(token: str, label: str) -> Phases:
    """Phases of chat prompts: the rows from a special token on, up to the next special token, get a label.

    ::

        fit = fbn.fit_glm(recording, phases=fbn.glm.from_token("[/INST]", "answer"))
        fit.contrast("sort_answer - rest", level="token")

    ``from_token("[/INST]", "answer")`` labels the answers of a chat whose questions end in ``[/INST]``; that token's own row is
    the one that decides the answer's first token, so it counts.

    Args:
        token: As in the column ``token`` of the row table, flagged there as special.
        label: Name of the phase; a condition's column for it is ``condition_label``.

    Returns:
        A function of the row table, for ``phases=``; it raises ValueError where the table lacks prompt, token or flags, or no row holds the
        token.
    """

    def phases(rows: pd.DataFrame) -> Sequence[str]:
        missing = [name for name in ("prompt", "token", "flags") if name not in rows]
        if missing:
            raise InputError(
                f"phases need the row table's columns prompt, token and flags; it lacks {', '.join(missing)}"
            )
        marks = rows["token"].where(rows["flags"].str.contains("special|bos") | (rows["token"] == token))
        latest = marks.groupby(rows["prompt"]).ffill()
        if not (latest == token).any():
            raise InputError(f"no row of this run holds the token {token!r}; give a token that the prompts contain")
        return np.where(latest == token, label, "").tolist()

    return phases


def _labels(phases: Phases, run: Run | StreamRun) -> np.ndarray:
    labels = np.array([str(label) for label in phases(run.rows)])
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
                f"cutoff={cutoff:g} rows is shorter than two full cycles of the design ({2 * cycle:g} rows) and would remove the "
                "task with the drift; give a longer one"
            )
        return cosine_drift(n_rows, 4 * cycle if cutoff is None else cutoff)
    if drift == "polynomial":
        return polynomial_drift(n_rows, 1 + n_rows // 150 if degree is None else degree)
    return np.zeros((n_rows, 0))


def _affordable(
    columns: dict[str, np.ndarray], drift: Float[np.ndarray, "row regressor"], *, asked: bool
) -> Float[np.ndarray, "row kept"]:
    """Drift that leaves every difference of two conditions four fifths of its efficiency: the default gives up its fastest
    columns for that, a cut-off or degree that was asked for is refused."""
    while len(columns) > 1 and drift.shape[1]:
        cost = drift_cost(np.column_stack(list(columns.values())), drift)
        names = list(columns)
        i, j = np.unravel_index(cost.argmax(), cost.shape)
        if cost[i, j] <= _COST:
            break
        if asked:
            raise InputError(
                f"drift takes {cost[i, j]:.0%} of the efficiency of {names[i]} - {names[j]} (a fifth is allowed); give a longer cutoff, a "
                'lower degree, or drift="none"'
            )
        drift = drift[:, :-1]
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
    place = np.arange(len(starts)) - np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    found = {}
    for name, column in columns.items():
        for lag in range(n_lags):
            shifted = np.append(np.zeros(lag), column[: len(column) - lag]) * (place >= lag)
            if shifted.any():
                found[f"{name}_lag{lag}" if lag else name] = shifted
    return found


def leaky(
    column: Float[np.ndarray, " row"], starts: Bool[np.ndarray, " row"], leak: int | float
) -> Float[np.ndarray, " row"]:
    """A column convolved with ``(1 - leak) * leak**k``, anew in every context."""
    out = np.empty_like(column)
    edges = [*np.flatnonzero(starts), len(column)]
    for first, stop in pairwise(edges):
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
    place = (np.arange(n_rows) + 0.5) / n_rows
    return np.sqrt(2.0) * np.cos(np.pi * np.outer(place, np.arange(1, order + 1)))


def polynomial_drift(n_rows: int, degree: int) -> Float[np.ndarray, "row regressor"]:
    """Legendre polynomials of degree 1 to ``degree`` over the run."""
    place = np.linspace(-1, 1, n_rows)
    return np.polynomial.legendre.legvander(place, degree)[:, 1:]


def is_nuisance(name: str) -> bool:
    """Whether a column has a name that :func:`design_matrix` gives to what is not asked about.

    >>> [is_nuisance(name) for name in ("sort", "position", "drift_2", "surprisal")]
    [False, True, True, True]
    """
    return re.fullmatch(_NUISANCE, name) is not None
