"""The column for first tokens, and what it means for block means.

In many language models the first token of a prompt holds most of the variance of all activations, whatever the prompt
is about (*massive activations*; :meth:`tl_fbn.Recording.massive` counts it). A design without a word for that takes it
for noise of its rows, and for an effect of conditions whose prompts are shorter. ``first_token`` is 1 in the first row
of every prompt, 0 elsewhere, a regressor of no interest.

*Between rows* (levels token and run) it takes off what first tokens have in common in a run. A difference between
conditions in their first tokens alone stays in the cell means.

*Between blocks* that would not be enough: first tokens that differ (of a model without a begin-of-text token) may still
be larger than all else, and a block's mean would be about them. So the mean of a block is that of its rows without
first tokens wherever the design has the column. A block of nothing but first tokens keeps them, less the column's
coefficient, as with every column that varies within blocks.

The column is left out where it cannot be estimated or says nothing: rows that are pooled prompts, that hold no first
tokens (tokens that a model wrote) or nothing else; row tables that do not tell; a design that has it already as a
combination of other columns (``confounds=("onset",)``; the lags of ``kernel="fir"``); and no more rows than columns.
Leaving it out changes no other contrast's estimability, and neither does adding it, since it is no combination of
others. Cost: rows x columns**2, once a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tl_fbn.acquisition.recording.massive import first_tokens
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import StreamRun
from tl_fbn.analysis.glm.moments import Basis

FIRST_TOKEN = "first_token"  # name of the column
_IMPLIED = 1e-6  # length of what other columns leave of it, as a share of its own, below which they imply it


def first_token_column(run: Run | StreamRun, others: Sequence[np.ndarray]) -> Float[np.ndarray, " row"] | None:
    """1 at the first token of every prompt, 0 elsewhere; None where that says nothing or cannot be estimated.

    Args:
        run: A run of a recording or of a stream.
        others: (row,) the other columns of the design.
    """
    found = first_tokens(run)
    if found is None or found.all() or run.n_rows <= len(others) + 1:
        return None
    column = found.astype(float)
    # what is left of the column when all others are taken off
    q = Basis.of(np.column_stack(others), run.segment_starts).q
    left = column - q @ (q.T @ column)
    return column if np.linalg.norm(left) > _IMPLIED * np.linalg.norm(column) else None


def rows_of_first_tokens(design: pd.DataFrame, run: Run | StreamRun) -> Bool[np.ndarray, " row"]:
    """(row,) True in the rows that a design marks as first tokens: where its column ``first_token`` is 1.

    A column of that name that is a condition, or holds other numbers than 0 and 1, marks nothing.

    Args:
        design: (row, regressor) design matrix of the run, built here or the user's own.
        run: The run, whose events name the conditions.
    """
    nothing = np.zeros(len(design), dtype=bool)
    if FIRST_TOKEN not in design or any(name == FIRST_TOKEN for name, _ in run.blocks()):
        return nothing
    column = design[FIRST_TOKEN].to_numpy(float)
    return column == 1.0 if np.isin(column, (0.0, 1.0)).all() else nothing
