"""What viewers are made of: a recording whose every number is known, and a signed network."""

from __future__ import annotations

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.units import Network, UnitSpace

WIDTHS, ROWS = (5, 7), 12
SPACE = UnitSpace("mlp.neurons", WIDTHS)


def planted() -> fbn.Recording:
    """Two runs in which unit u is ``u + row / 10`` in run 0 and ten times that in run 1; prompts of 3 rows."""
    runs, tables = [], []
    for number in range(2):
        values = (10**number) * (np.arange(12.0) + np.arange(ROWS)[:, None] / 10)
        runs.append([values[:, :5], values[:, 5:]])
        table = {"prompt": np.arange(ROWS) // 3, "position": np.arange(ROWS) % 3}
        words = [f"\u0120w{row % 4}" for row in range(ROWS)]
        flags = ["bos" if row % 3 == 0 else "" for row in range(ROWS)]
        tables.append(pd.DataFrame({**table, "token": words, "surprisal": np.arange(ROWS) / 4, "flags": flags}))
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 6)] * 2, rows=tables)


def signed() -> Network:
    """Units 1 and 11 counted positively, 4 negatively."""
    members = np.isin(np.arange(12), [1, 4, 11])
    return Network(SPACE, members, np.where(np.arange(12) == 4, -1, members).astype(np.int8), "signed")
