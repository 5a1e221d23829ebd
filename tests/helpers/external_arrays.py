"""Activations, events and row tables of two runs, made elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.recording import Recording

WIDTHS = (4, 0, 3)
N_ROWS = (12, 8)


def arrays() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    return [[rng.normal(2, 1, size=(n, width)).astype(np.float32) for width in WIDTHS] for n in N_ROWS]


def all_events() -> list[pd.DataFrame]:
    return [blocks(["a", "b", "a"], 4), blocks(["rest", "b"], 4)]


def all_rows() -> list[pd.DataFrame]:
    return [
        pd.DataFrame(
            {
                "prompt": np.arange(n) // 3,
                "position": np.arange(n) % 3,
                "token": [("\t", "n/a", "é")[i % 3] for i in range(n)],
                "surprisal": np.where(np.arange(n) % 3, 1 / (1 + np.arange(n)), np.nan),
                "topic": [f"t{i % 2}" for i in range(n)],
                "correct": np.arange(n) % 2 == 0,
            }
        )
        for n in N_ROWS
    ]


def record(**options: Any) -> Recording:
    return Recording.from_arrays(**{"activations": arrays(), "events": all_events(), "rows": all_rows(), **options})
