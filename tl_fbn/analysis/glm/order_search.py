"""The best order of blocks for a budget: designs are drawn, and compared by the efficiency of the contrast that matters.

::

    search = fbn.glm.optimize_order(
        lambda seed: fbn.block_design(prompts, order="random", seed=seed), "sort - reverse", n=50, seed=0
    )
    recording = scanner.scan(search.design, "recordings/sort")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.analysis.glm.design_matrix import cosine_drift, longest_cycle
from tl_fbn.analysis.glm.efficiency import efficiency
from tl_fbn.errors import InputError
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class OrderSearch(TableResult, step="design"):
    """One line a design, best first: seed, efficiency (of the contrast), share (of the best).

    Args:
        table: The lines.
        provenance: Seed, contrast, number of designs.
        design: The best of them.
    """

    design: BlockDesign | None = None

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"The order of blocks is the most efficient for {about['contrast']} of {len(self)} random ones (seeds from {about['seed']}); the median has "
            f"{self.table['share'].median():.0%} of its efficiency."
        ]

    def __repr__(self) -> str:
        return f"OrderSearch of {len(self)} designs: efficiency {self.table['efficiency'].max():.3g}, median {self.table['efficiency'].median():.3g}"


def optimize_order(make: Callable[[int], BlockDesign], expression: str, *, n: int = 50, seed: int) -> OrderSearch:
    """The best of several designs of one budget, by the efficiency of a contrast with the default drift taken off.

    ::

        search = fbn.glm.optimize_order(
            lambda seed: fbn.block_design(prompts, order="random", seed=seed), "sort - rest", n=50, seed=0
        )
        search.design

    Args:
        make: Seed to design, e.g. ``lambda seed: fbn.block_design(prompts, order="random", seed=seed)``.
        expression: The contrast that matters.
        n: Designs tried.
        seed: The first of their seeds.

    Returns:
        The best design, beside the efficiency of all.

    Raises:
        InputError: No design can estimate the contrast, or n is 0.
    """
    if n < 1:
        raise InputError(f"n={n} designs; try at least 1")
    found: dict[int, float] = {}
    best_design = None
    best = 0.0
    for one in range(seed, seed + n):
        design = make(one)
        # runs are independent: what they tell of the contrast adds up
        found[one] = sum(efficiency(_matrix(design.events(run)), expression) for run in range(design.n_runs))
        if found[one] > best:
            best_design = design
            best = found[one]
    if best_design is None:
        raise InputError(f"none of {n} designs can estimate {expression!r}; give the conditions more blocks")
    table = pd.DataFrame({"seed": list(found), "efficiency": list(found.values())})
    table = table.assign(share=table["efficiency"] / best).sort_values("efficiency", ascending=False)
    return OrderSearch(table, {"seed": seed, "contrast": expression, "n": n}, best_design)


def _matrix(events: pd.DataFrame) -> pd.DataFrame:
    """The design matrix of one run: a boxcar a condition, and the drift that ``fit_glm`` takes off by default."""
    onsets, durations = (events[name].to_numpy(int) for name in ("onset", "duration"))
    n_rows = int((onsets + durations).max())
    names = sorted(set(events["trial_type"]))
    boxcars = np.zeros((n_rows, len(names)))
    for onset, duration, name in zip(onsets, durations, events["trial_type"], strict=True):
        boxcars[onset : onset + duration, names.index(name)] = 1.0
    drift = cosine_drift(n_rows, 4 * longest_cycle(events, n_rows))
    columns = [*names, *(f"drift_{i + 1}" for i in range(drift.shape[1]))]
    return pd.DataFrame(np.column_stack([boxcars, drift]), columns=pd.Index(columns))
