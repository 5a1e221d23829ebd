"""Search for an efficient order of blocks: draw many designs of one size, keep the one that tells a contrast best.

A design with blocks in random order shows a contrast ``c`` with efficiency ``1 / (c (X'X)^-1 c')``, the inverse
variance of its estimate for noise of variance 1 (:mod:`.efficiency`). Two orders of equally many blocks may differ in
it, because slow drift, which the GLM takes off, resembles some orders more than others. The search draws ``n``
designs with the seeds ``seed, seed + 1, ...``, builds the matrix of each run (a boxcar for each condition and the
default cosine drift), and adds the efficiencies of the runs up, since runs are independent.

The choice looks at events only, never at activations, so it does not bias the test that follows. It ignores the
position in the context, autocorrelated noise and how long a condition lasts (kernels). It is the random search of
Dale (1999) for event-related designs. Cost: one singular value decomposition a run and design, (rows x regressors).
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
from tl_fbn.kinds import shown
from tl_fbn.signatures import checked
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class OrderSearch(TableResult, step="design"):
    """The designs that :func:`optimize_order` compared, one line each, best first.

    >>> search = fbn.glm.optimize_order(
    ...     lambda seed: fbn.block_design(tasks, order="random", seed=seed), "sort - reverse", n=5, seed=0
    ... )
    >>> list(search.to_dataframe().columns)
    ['seed', 'efficiency', 'share']

    Args:
        table: (design,) the columns ``seed`` (the seed that draws this design again), ``efficiency`` (inverse
            variance of the contrast for noise of variance 1, summed over runs) and ``share`` (the efficiency as a
            share of the best).
        provenance: The first seed, the contrast and the number of designs of the search.
        design: The most efficient design, ready for the scanner; None for a search that was loaded from a file.
    """

    design: BlockDesign | None = None

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"The order of blocks is the most efficient for {about['contrast']} of {len(self)} random ones "
            f"(seeds from {about['seed']}); the median has "
            f"{self.table['share'].median():.0%} of its efficiency."
        ]

    def __repr__(self) -> str:
        efficiencies = self.table["efficiency"]
        best = efficiencies.max()
        return f"OrderSearch of {len(self)} designs: efficiency {best:.3g}, median {efficiencies.median():.3g}"


@checked
def optimize_order(make: Callable[[int], BlockDesign], expression: str, *, n: int = 50, seed: int) -> OrderSearch:
    """Draw several designs of one size and keep the one that estimates a contrast most efficiently.

    >>> search = fbn.glm.optimize_order(
    ...     lambda seed: fbn.block_design(tasks, order="random", seed=seed), "sort - reverse", n=5, seed=0
    ... )
    >>> search.design
    BlockDesign random: 4 runs, 72 blocks of 64 rows, 4,608 rows; sort (500 prompts), reverse (500 prompts), ...

    The default cosine drift is taken off in every design, as :func:`~tl_fbn.fit_glm` will do.

    Args:
        make: Function that takes a seed and returns a design, e.g.
            ``lambda seed: fbn.block_design(prompts, order="random", seed=seed)``.
        expression: The contrast to be estimated well, over names of conditions, e.g. ``"sort - reverse"``.
        n: Number of designs that are drawn and compared.
        seed: Seed of the first design; the others are drawn with ``seed + 1`` to ``seed + n - 1``.

    Returns:
        The efficiency of every design, best first, and the best design as ``.design``.

    Raises:
        InputError: No design can estimate the contrast, or n is less than 1.
    """
    if n < 1:
        raise InputError(f"n={n} designs; try at least 1")
    found: dict[int, float] = {}
    best_design = None
    best = 0.0
    for this_seed in range(seed, seed + n):
        design = make(this_seed)
        if not isinstance(design, BlockDesign):
            raise InputError(f"make must return a BlockDesign; it returned {shown(design)}")
        # runs are independent, so the inverse variances that they give of the contrast add up
        found[this_seed] = sum(
            efficiency(_expected_design_matrix(design.events(run)), expression) for run in range(design.n_runs)
        )
        # strictly better, from 0 on: a design that cannot estimate the contrast is never the best
        if found[this_seed] > best:
            best_design = design
            best = found[this_seed]
    if best_design is None:
        raise InputError(f"none of {n} designs can estimate {expression!r}; give the conditions more blocks")
    table = pd.DataFrame({"seed": list(found), "efficiency": list(found.values())})
    table = table.assign(share=table["efficiency"] / best).sort_values("efficiency", ascending=False)
    return OrderSearch(table, {"seed": seed, "contrast": expression, "n": n}, best_design)


def _expected_design_matrix(events: pd.DataFrame) -> pd.DataFrame:
    """The design matrix of one run: a boxcar a condition, and the drift that ``fit_glm`` takes off by default."""
    onsets = events["onset"].to_numpy(int)
    durations = events["duration"].to_numpy(int)
    n_rows = int((onsets + durations).max())
    names = sorted(set(events["trial_type"]))
    boxcars = np.zeros((n_rows, len(names)))
    for onset, duration, name in zip(onsets, durations, events["trial_type"], strict=True):
        boxcars[onset : onset + duration, names.index(name)] = 1.0
    # position in the context and first tokens are left out: they are known only once the prompts are tokenised
    drift = cosine_drift(n_rows, 4 * longest_cycle(events, n_rows))
    columns = [*names, *(f"drift_{i + 1}" for i in range(drift.shape[1]))]
    return pd.DataFrame(np.column_stack([boxcars, drift]), columns=pd.Index(columns))
