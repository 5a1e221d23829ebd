"""One row a prompt: the row of its last token, or the mean of its rows.

Localizers compare prompts rather than tokens (one score a sentence). Pooling happens while the scanner records, which
writes a fraction of the bytes, or later from a recording of every token; both give the same numbers.

A block ends after a fixed number of rows, which may be in the middle of a prompt: the last row of such a prompt is not
that of its last token. The row table flags it ``cut``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError

Pool = Literal["last", "mean"]


def long_enough(rows: pd.DataFrame, starts: Int[np.ndarray, " prompt"], drop_first: int) -> Bool[np.ndarray, " prompt"]:
    """Which prompts have rows left when their first ones are dropped; all but some that were cut.

    Args:
        rows: The row table of a run, with a line a row.
        starts: (prompt,) first row of every prompt, ascending; a prompt's rows end where the next begin.
        drop_first: Number of rows that are dropped at the start of every prompt.

    Raises:
        InputError: A prompt that was not cut has no rows left, or none has.
    """
    stops = np.append(starts[1:], len(rows))
    lengths = stops - starts
    long = np.asarray(lengths > drop_first)
    cut = np.zeros(len(starts), dtype=bool)
    if "flags" in rows:  # at the last row
        cut = np.array(["cut" in str(flag).split() for flag in rows["flags"].to_numpy()[stops - 1]])
    if drop_first and (not long.any() or not (long | cut).all()):
        lost = int((~(long | cut)).sum()) or len(starts)  # all, where every prompt was cut
        raise InputError(
            f"drop_first={drop_first} leaves nothing of {lost} of {len(starts)} prompts, the shortest of "
            f"which has {int(lengths.min())} rows; give a smaller number"
        )
    return long


def pool_rows(
    array: Any,
    starts: Int[np.ndarray, " prompt"],
    n_rows: int,
    how: Pool,
    *,
    stops: Int[np.ndarray, " prompt"] | None = None,
) -> Float[np.ndarray, "prompt unit"]:
    """Pool (row, unit) activations over the rows of each prompt.

    Args:
        array: (row, unit) activations of one layer of a run: an array, a memory map or 16-bit words.
        starts: (prompt,) first row of every prompt, ascending; a prompt's rows end where the next begin.
        n_rows: Number of rows of the run, where the last prompt ends.
        how: ``"last"`` takes the last row of every prompt, ``"mean"`` the mean of its rows.
        stops: (prompt,) row after the last of every prompt; None where each ends at the next.

    Returns:
        (prompt, unit) activations in float32.
    """
    stops = np.append(starts[1:], n_rows) if stops is None else stops
    if how == "last":
        return np.asarray(array[stops - 1], np.float32)
    pooled = np.empty((len(starts), array.shape[1]), np.float32)
    for prompt, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        # a prompt at a time, so that a memory map is never read as a whole; summed in float64
        pooled[prompt] = np.asarray(array[start:stop]).mean(0, dtype=np.float64)
    return pooled


def pooled_tables(
    events: pd.DataFrame,
    rows: pd.DataFrame,
    starts: Int[np.ndarray, " prompt"],
    n_rows: int,
    *,
    stops: Int[np.ndarray, " prompt"] | None = None,
    dropped: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and row table of a pooled run: events count prompts, and a line is a prompt.

    The row table keeps ``prompt``, ``block`` and ``trial_type``; ``n_tokens`` is the number of rows pooled,
    ``surprisal`` (and ``entropy``) their mean where known, and ``flags`` says ``cut`` where the prompt went on.

    Args:
        events: The blocks of the run, one a line, with ``onset`` and ``duration`` in rows and ``trial_type``.
        rows: The row table of the run, with a line a row.
        starts: (prompt,) first row of every prompt, ascending.
        n_rows: Number of rows of the run.
        stops: (prompt,) row after the last of every prompt; None where each ends at the next.
        dropped: Number of rows that were dropped at the start of every prompt, which ``starts`` come after.

    Returns:
        The events, with onset and duration in prompts (blocks in which no prompt starts are left out), and the table of
        prompts.
    """
    stops = np.append(starts[1:], n_rows) if stops is None else stops
    first = rows.iloc[starts]  # number, block and condition are the same in all rows of a prompt
    kept = {name: first[name].to_numpy() for name in ("prompt", "block", "trial_type") if name in rows}
    table = pd.DataFrame({**kept, "n_tokens": stops - starts})
    for name in ("surprisal", "entropy"):
        if name in rows:
            values = rows[name].to_numpy(np.float64)
            table[name] = [_mean_of_known(values[start:stop]) for start, stop in zip(starts, stops, strict=True)]
    if "flags" in rows:
        last = rows["flags"].to_numpy()[stops - 1]  # a cut is flagged at the last row
        table["flags"] = ["cut" if "cut" in str(flag).split() else "" for flag in last]
    onsets = events["onset"].to_numpy()
    ends = onsets + events["duration"].to_numpy()
    # a prompt belongs to the block in which it starts: its number is how many prompts start before it
    begun = starts - dropped
    first_prompt = np.searchsorted(begun, onsets)
    counts = np.searchsorted(begun, ends) - first_prompt
    kinds: Sequence[str] = events["trial_type"].to_list()
    with_prompts = [i for i, count in enumerate(counts) if count]
    columns = {
        "onset": first_prompt[with_prompts],
        "duration": counts[with_prompts],
        "trial_type": [kinds[i] for i in with_prompts],
    }
    return pd.DataFrame(columns), table.rename_axis("row")


def _mean_of_known(values: Float[np.ndarray, " row"]) -> float:
    """The mean of the values that are not NaN (a prompt's first token has no surprisal); NaN where none is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
