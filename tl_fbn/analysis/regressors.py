"""The design matrix: what is expected of a unit at every row.

The default has, for every run,

- one boxcar column a condition (1 inside its blocks, 0 elsewhere), so that coefficients are *cell means* and
  ``"sort - rest"`` is their difference; an ``intercept`` only where some rows have no condition;
- ``position``: the row's place in its context, centred and scaled to unit variance (activations drift along a prompt,
  and conditions differ in length);
- with ``phases``, a column for each phase of a condition instead: ``sort`` for its questions and ``sort_answer`` for its answers,
  say, for what a block mixes may be what a contrast should keep apart;
- ``drift_1 ...``: slow cosines (a discrete cosine basis as in SPM) with periods longer than ``cutoff`` rows.

The cut-off defaults to four full cycles of the design. A cosine at two *block lengths* would remove half of the task
itself; at four cycles almost nothing of an alternating boxcar is lost.

Cost: rows x regressors floats. No convolution kernel: a language model has no haemodynamic lag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording import Run
from tl_fbn.acquisition.row_sums import StreamRun

Drift = Literal["cosine", "none"]
Phases = Callable[[pd.DataFrame], Sequence[str]]


def design_matrix(
    run: Run | StreamRun,
    *,
    drift: Drift = "cosine",
    cutoff: int | float | None = None,
    position: bool = True,
    phases: Phases | None = None,
) -> pd.DataFrame:
    """The default design matrix of one run.

    Args:
        run: A run of a recording.
        drift: ``"cosine"``, or ``"none"`` for no drift columns.
        cutoff: Shortest drift period in rows; default four times the longest wait between two blocks of one condition.
        position: Include the row's place in its context.
        phases: Takes the row table and returns a label for each row, ``""`` for none; see :func:`from_token`.

    Returns:
        (row, regressor) with named columns.

    Raises:
        ValueError: A run without events, an unknown drift, a cut-off shorter than two full cycles, or a condition that
            has the name of a column added here.
    """
    if drift not in ("cosine", "none"):
        raise ValueError(f"drift={drift!r} is none of 'cosine', 'none'")
    events = run.events
    if len(events) == 0:
        raise ValueError("this run has no events, so no condition to model; give events, or design= your own matrices")
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
    if position and "position" in run.rows:
        place = run.rows["position"].to_numpy(float)
        spread = place.std()
        if spread > 0:  # rows of one-token contexts have no place to speak of
            added["position"] = (place - place.mean()) / spread
    if drift == "cosine":
        cycle = longest_cycle(events, run.n_rows)
        if cutoff is not None and cutoff < 2 * cycle:
            raise ValueError(
                f"cutoff={cutoff:g} rows is shorter than two full cycles of the design ({2 * cycle:g} rows) and would remove the "
                "task with the drift; give a longer one"
            )
        basis = cosine_drift(run.n_rows, 4 * cycle if cutoff is None else cutoff)
        added |= {f"drift_{i + 1}": column for i, column in enumerate(basis.T)}
    taken = [name for name in columns if name in added]
    if taken:
        raise ValueError(
            f"condition {taken[0]!r} has the name of a column that the design adds ({', '.join(added)}); rename it"
        )
    return pd.DataFrame(columns | added)


def from_token(token: str, label: str) -> Phases:
    """Phases of chat prompts: the rows from a special token on, up to the next special token, get a label.

    ``from_token("[/INST]", "answer")`` labels the answers of a chat whose questions end in ``[/INST]``; that token's own row is
    the one that decides the answer's first token, so it counts.

    Args:
        token: As in the column ``token`` of the row table, flagged there as special.
        label: Name of the phase; a condition's column for it is ``condition_label``.
    """

    def phases(rows: pd.DataFrame) -> Sequence[str]:
        missing = [name for name in ("prompt", "token", "flags") if name not in rows]
        if missing:
            raise ValueError(
                f"phases need the row table's columns prompt, token and flags; it lacks {', '.join(missing)}"
            )
        marks = rows["token"].where(rows["flags"].str.contains("special|bos") | (rows["token"] == token))
        latest = marks.groupby(rows["prompt"]).ffill()
        if not (latest == token).any():
            raise ValueError(f"no row of this run holds the token {token!r}; give a token that the prompts contain")
        return np.where(latest == token, label, "").tolist()

    return phases


def _labels(phases: Phases, run: Run | StreamRun) -> np.ndarray:
    labels = np.array([str(label) for label in phases(run.rows)])
    if len(labels) != run.n_rows:
        raise ValueError(f"phases gave {len(labels)} labels for {run.n_rows} rows; give one a row")
    return labels


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
