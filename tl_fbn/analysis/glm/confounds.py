"""Regressors of no interest (confounds), from the row table: what a token is, where it stands, how surprising it is.

================ =====================================================================================================
name             columns
================ =====================================================================================================
``position``     place of the row in its context, linear
``log_position`` natural logarithm of the place (the first token of a context is place 1)
``onset``        1 at the first row of every context
``surprisal``    minus the log-probability of the token, given those before it, in nats
``entropy``      entropy of the model's prediction of the token
``token_class``  five columns that are 1 where the token is of the class: ``space`` (a token that begins with one),
                 ``punctuation``, ``digit``, ``newline``, ``special``
``spikes``       one column for each row of massive activations (their root mean square over units is more than ``10``
                 median absolute deviations above the run's median), as motion scrubbing takes out single scans
================ =====================================================================================================

Numbers are centred and scaled to unit variance in their run. Where a row has no value (the surprisal of a context's
first token), it gets the mean of the others; an infinite one (a token that the model rules out) counts as the largest
finite one of the run. A column that never varies in a run is left out of it. Only ``spikes`` reads the activations; all
else costs nothing but its column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import StreamRun
from tl_fbn.errors import InputError
from tl_fbn.units.ties import without_infinity

Columns = dict[str, np.ndarray]
_SPIKE_DEVIATIONS = 10.0  # median absolute deviations above the median


def confound_columns(run: Run | StreamRun, names: Sequence[str]) -> Columns:
    """Columns of the named confounds for one run.

    Args:
        run: A run of a recording, or of a stream that has not been read yet.
        names: Names of confounds, such as ``"surprisal"``; :data:`CONFOUNDS` lists them.

    Returns:
        Column name to (row,) values; columns that never vary are left out.

    Raises:
        InputError: An unknown name, or one that needs a column the row table lacks (or, for ``spikes``, activations
            that a stream has not seen yet), or a column of the row table without any value.
    """
    found: Columns = {}
    for name in names:
        if name not in CONFOUNDS:
            raise InputError(
                f"a confound must be one of {', '.join(CONFOUNDS)}; got {name!r}. Add columns of your own with design="
            )
        needed, make = CONFOUNDS[name]
        missing = [column for column in needed if column not in run.rows]
        if missing:
            raise InputError(
                f"confound {name!r} needs {', '.join(missing)} in the row table, which this run lacks; "
                + ("scan with entropy=True" if "entropy" in missing else "record it, or leave the confound out")
            )
        for column in needed:
            values = run.rows[column]
            if values.dtype.kind == "f" and len(values) and not np.isfinite(values.to_numpy(float)).any():
                raise InputError(
                    f"confound {name!r} needs {column} in the row table, which has no value in any row of this run; "
                    "record it again, or leave the confound out"
                )
        found |= {column: values for column, values in make(run).items() if np.ptp(values) > 0}
    return found


def scaled(values: Any) -> Float[np.ndarray, " row"]:
    """Numbers centred and of unit variance; missing ones at the mean, infinite ones at the largest finite magnitude."""
    numbers = without_infinity(np.asarray(values, dtype=float))
    present = np.isfinite(numbers)
    if not present.any():
        return np.zeros(len(numbers))
    away = np.where(present, numbers - numbers[present].mean(), 0.0)
    spread = away.std()
    return away / spread if spread > 0 else away


def spike_rows(run: Run) -> Bool[np.ndarray, " row"]:
    """Rows of massive activations: True where their size is far above that of the run's other rows."""
    squares = np.zeros(run.n_rows)
    for array in run.layers.values():
        squares += np.square(np.asarray(array[:], dtype=float)).sum(1)
    # root mean square over units, and how far it is from its median in the median row
    size = np.sqrt(squares / run.space.n_units)
    spread = np.median(np.abs(size - np.median(size)))
    return size > np.median(size) + _SPIKE_DEVIATIONS * max(float(spread), 1e-12)


def _token_classes(run: Run | StreamRun) -> Columns:
    # marks of tokenizers: \u0120 and \u2581 stand for a space, \u010a for a line break
    tokens = run.rows["token"].astype(str)
    bare = tokens.str.strip(" \u0120\u2581")  # byte-level and sentencepiece tokenizers write a space in their own ways
    classes = {
        "space": tokens.str.match("[ \u0120\u2581]"),
        "punctuation": bare.str.fullmatch(r"[^\w\s]+"),
        "digit": bare.str.fullmatch(r"\d+"),
        "newline": tokens.str.contains("[\n\u010a]"),
        "special": run.rows["flags"].astype(str).str.contains("special|bos"),
    }
    return {f"is_{name}": values.to_numpy(float) for name, values in classes.items()}


def _spikes(run: Run | StreamRun) -> Columns:
    if not isinstance(run, Run):
        raise InputError(
            'confound "spikes" needs the activations, which a stream has not seen when it is planned; scan instead'
        )
    rows = np.flatnonzero(spike_rows(run))
    # each takes a degree of freedom; a tenth of the rows is no rare event
    if len(rows) > run.n_rows // 10:
        raise InputError(
            f"{len(rows)} of {run.n_rows} rows are spikes, too many to take out one by one; record another site, "
            "or leave them in"
        )
    return {f"spike_{row}": (np.arange(run.n_rows) == row).astype(float) for row in rows}


def _onset(run: Run | StreamRun) -> Columns:
    return {"prompt_onset": run.segment_starts.astype(float)}


# name: the columns that it needs in the row table, and the function that makes its regressors
CONFOUNDS: dict[str, tuple[tuple[str, ...], Callable[[Run | StreamRun], Columns]]] = {
    "position": (("position",), lambda run: {"position": scaled(run.rows["position"])}),
    "log_position": (
        ("position",),
        lambda run: {"log_position": scaled(np.log1p(run.rows["position"].to_numpy(float)))},
    ),
    "onset": (("prompt",), _onset),
    "surprisal": (("surprisal",), lambda run: {"surprisal": scaled(run.rows["surprisal"])}),
    "entropy": (("entropy",), lambda run: {"entropy": scaled(run.rows["entropy"])}),
    "token_class": (("token", "flags"), _token_classes),
    "spikes": ((), _spikes),
}
