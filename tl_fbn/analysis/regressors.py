"""The design matrix: what is expected of a unit at every row.

The default has, for every run,

- one boxcar column a condition (1 inside its blocks, 0 elsewhere), so that coefficients are *cell means* and
  ``"sort - rest"`` is their difference; an ``intercept`` only where some rows have no condition;
- ``position``: the row's place in its context, centred and scaled to unit variance (activations drift along a prompt,
  and conditions differ in length);
- ``drift_1 ...``: slow cosines (a discrete cosine basis as in SPM) with periods longer than ``cutoff`` rows.

The cut-off defaults to four full cycles of the design. A cosine at two *block lengths* would remove half of the task
itself; at four cycles almost nothing of an alternating boxcar is lost.

Cost: rows x regressors floats. No convolution kernel: a language model has no haemodynamic lag.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording import Run

Drift = Literal["cosine", "none"]


def design_matrix(
    run: Run, *, drift: Drift = "cosine", cutoff: float | None = None, position: bool = True
) -> pd.DataFrame:
    """The default design matrix of one run.

    Args:
        run: A run of a recording.
        drift: ``"cosine"``, or ``"none"`` for no drift columns.
        cutoff: Shortest drift period in rows; default four times the longest wait between two blocks of one condition.
        position: Include the row's place in its context.

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
    for condition, rows in run.blocks():
        columns.setdefault(condition, np.zeros(run.n_rows))[rows] = 1.0
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


def longest_cycle(events: pd.DataFrame, n_rows: int) -> float:
    """Longest wait, in rows, between the onsets of two successive blocks of one condition; the run if none repeats."""
    waits = [
        wait
        for _, group in events.sort_values("onset").groupby("trial_type")
        for wait in np.diff(group["onset"].to_numpy(float))
    ]
    return float(max(waits)) if waits else float(n_rows)


def cosine_drift(n_rows: int, cutoff: float) -> Float[np.ndarray, "row regressor"]:
    """Cosines of period longer than ``cutoff`` rows, without the constant, each of unit variance.

    Ashburner and Friston's high-pass basis: the k-th has period ``2 * n_rows / k``.
    """
    order = int(2 * n_rows / cutoff)
    place = (np.arange(n_rows) + 0.5) / n_rows
    return np.sqrt(2.0) * np.cos(np.pi * np.outer(place, np.arange(1, order + 1)))
