"""One row a prompt: the row of its last token, or the mean of its rows.

Localizers compare prompts rather than tokens (one score a sentence). Pooling happens while the scanner records, which
writes a fraction of the bytes, or later from a recording of every token; both give the same numbers.

The last row of a prompt that its block cut is not its end: the row table flags it ``cut``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

Pool = Literal["last", "mean"]


def pool_rows(
    array: Any, starts: Int[np.ndarray, " prompt"], n_rows: int, how: Pool
) -> Float[np.ndarray, "prompt unit"]:
    """Pool (row, unit) activations over the rows of each prompt.

    Args:
        array: (row, unit) activations.
        starts: (prompt,) first row of every prompt, ascending.
        n_rows: Rows.
        how: ``"last"`` or ``"mean"``.
    """
    stops = np.append(starts[1:], n_rows)
    if how == "last":
        return np.asarray(array[stops - 1], np.float32)
    pooled = np.empty((len(starts), array.shape[1]), np.float32)
    for prompt, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        pooled[prompt] = np.asarray(array[start:stop]).mean(0, dtype=np.float64)
    return pooled


def pooled_tables(
    events: pd.DataFrame, rows: pd.DataFrame, starts: Int[np.ndarray, " prompt"], n_rows: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and row table of a pooled run: events count prompts, and a line is a prompt.

    The row table keeps ``prompt``, ``block`` and ``trial_type``; ``n_tokens`` is the number of rows pooled, ``surprisal`` (and
    ``entropy``) their mean, and ``flags`` says ``cut`` where the prompt went on.
    """
    stops = np.append(starts[1:], n_rows)
    first = rows.iloc[starts]
    kept = {name: first[name].to_numpy() for name in ("prompt", "block", "trial_type") if name in rows}
    table = pd.DataFrame({**kept, "n_tokens": stops - starts})
    for name in ("surprisal", "entropy"):
        if name in rows:
            values = rows[name].to_numpy(np.float64)
            table[name] = [_mean(values[start:stop]) for start, stop in zip(starts, stops, strict=True)]
    if "flags" in rows:
        last = rows["flags"].to_numpy()[stops - 1]
        table["flags"] = ["cut" if "cut" in str(flag).split() else "" for flag in last]
    onsets = events["onset"].to_numpy()
    ends = onsets + events["duration"].to_numpy()
    first_prompt = np.searchsorted(starts, onsets)
    counts = np.searchsorted(starts, ends) - first_prompt
    kinds: Sequence[str] = events["trial_type"].to_list()
    held = [i for i, count in enumerate(counts) if count]
    columns = {"onset": first_prompt[held], "duration": counts[held], "trial_type": [kinds[i] for i in held]}
    return pd.DataFrame(columns), table.rename_axis("row")


def _mean(values: Float[np.ndarray, " row"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
