"""The best order of blocks for a budget: designs are drawn, and compared by the efficiency of the contrast that matters.

design, table = fbn.optimise_order(
    lambda seed: fbn.block_design(prompts, order="random", seed=seed), "sort - rest", n=50, seed=0
)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.analysis.glm.design_matrix import cosine_drift, longest_cycle
from tl_fbn.analysis.glm.efficiency import efficiency


def optimise_order(
    make: Callable[[int], BlockDesign], expression: str, *, n: int = 50, seed: int
) -> tuple[BlockDesign, pd.DataFrame]:
    """The best of several designs of one budget, by the efficiency of a contrast with the default drift taken off.

    ::

        design, scores = fbn.optimise_order(
            lambda seed: fbn.block_design(prompts, order="random", seed=seed), "sort - rest", n=50, seed=0
        )

    Args:
        make: Seed to design, e.g. ``lambda seed: fbn.block_design(prompts, order="random", seed=seed)``.
        expression: The contrast that matters.
        n: Designs tried.
        seed: The first of their seeds.

    Returns:
        The best design, and a table (seed, efficiency, share of the best) of all.

    Raises:
        ValueError: No design can estimate the contrast.
    """
    lines, best = [], None
    for one in range(seed, seed + n):
        design = make(one)
        total = 0.0
        for run in range(design.n_runs):
            events = design.events(run)
            onsets, durations = (events[name].to_numpy(int) for name in ("onset", "duration"))
            n_rows, names = int((onsets + durations).max()), sorted(set(events["trial_type"]))
            columns = np.zeros((n_rows, len(names)))
            for onset, duration, name in zip(onsets, durations, events["trial_type"], strict=True):
                columns[onset : onset + duration, names.index(name)] = 1.0
            drift = cosine_drift(n_rows, 4 * longest_cycle(events, n_rows))
            matrix = pd.DataFrame(np.column_stack([columns, drift]))
            matrix.columns = [*names, *(f"drift_{i + 1}" for i in range(drift.shape[1]))]
            total += efficiency(matrix, expression)
        lines.append((one, total))
        if best is None or total > best[0]:
            best = total, design
    assert best is not None
    if best[0] <= 0:
        raise ValueError(f"none of {n} designs can estimate {expression!r}; give the conditions more blocks")
    table = pd.DataFrame(lines, columns=["seed", "efficiency"])
    return best[1], table.assign(share=table["efficiency"] / best[0]).sort_values("efficiency", ascending=False)
