"""A run on disk, written by the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.recording import store

WIDTHS = {"layer.00": 3, "layer.02": 5, "layer.11": 1}
N_ROWS = 6


def events() -> pd.DataFrame:
    return pd.DataFrame({"onset": [0, 4], "duration": [4, 2], "trial_type": ["a\tb", "rest"]})


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt": [0, 0, 0, 1, 1, 2],
            "position": [0, 1, 2, 0, 1, 0],
            "token": ["<s>", "n/a", "\n", "<s>", "", "\t"],
            "surprisal": np.array([np.nan, 0.1, 2.5, np.nan, 7e-12, np.nan], dtype=np.float32),
        }
    )


def values(name: str, width: int) -> np.ndarray:
    return np.random.default_rng(list(name.encode())).normal(size=(N_ROWS, width)).astype(np.float32)


def write_run(path: Path, run: int = 0, **about: Any) -> Path:
    laid_out = store.lay_out(path, run, N_ROWS, WIDTHS)
    for name, width in WIDTHS.items():
        laid_out.write(name, 0, values(name, width))
    assert store.commit(laid_out, store.run_folder(path, run), {"key": "k", **about}, events(), rows())
    return store.run_folder(path, run)
