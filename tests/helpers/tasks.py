"""Recordings of several tasks, with units that follow each."""

from __future__ import annotations

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.recordings import blocks


def recordings(strength: float, *, n_tasks: int = 4, n_runs: int = 4, seed: int = 0, tokens: bool = False):
    """Tasks whose condition moves units of its own (and some that all share), against rest."""
    rng = np.random.default_rng(seed)
    found = {}
    for task in range(n_tasks):
        runs, events, rows = [], [], []
        for run in range(n_runs):
            y = rng.normal(size=(120, 80))
            on = np.repeat(np.arange(12) % 2 == 0, 10)
            y[np.ix_(on, np.arange(task * 10, task * 10 + 10))] += strength
            y[np.ix_(on, np.arange(60, 80))] += 1.0
            runs.append([y])
            events.append(blocks([f"task{task}", "rest"] * 6, 10))
            first = 1000 * task + 200 * run
            rows.append(pd.DataFrame({"prompt": np.repeat(np.arange(12), 10), "token_id": first + np.arange(120)}))
        found[f"task{task}"] = fbn.Recording.from_arrays(runs, events=events, rows=rows if tokens else None)
    return found
