"""Which rows are averaged into which block, for tests at the block level.

The rows of a run are described by one number each, the block that they belong to (-1 for none), not by a dense matrix
of blocks by rows. With ``replicates="prompts"`` every prompt within a block is a "block" of its own. Means over
blocks are added up piece by piece while the rows pass by; memory is one (block, unit) array.

Rows may be left out of the means: first tokens, where the design has a column for them (:mod:`.first_tokens`). A block
that has no other rows keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import sparse

from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import StreamRun
from tl_fbn.errors import InputError

Replicates = Literal["blocks", "prompts"]


@dataclass(frozen=True, eq=False)
class Averages:
    """The blocks that the rows of a run are averaged into; ``len`` is their number.

    Args:
        owner: (row,) number of the block that the row belongs to, -1 for a row in none.
        counts: (block,) number of rows that the mean of each block is of.
        left_out: (row,) True for a row that takes no part in the mean of its block.
    """

    owner: Int[np.ndarray, " row"]
    counts: Int[np.ndarray, " block"]
    left_out: Bool[np.ndarray, " row"]

    @classmethod
    def of(
        cls,
        run: Run | StreamRun,
        replicates: Replicates,
        number: int,
        *,
        without: Bool[np.ndarray, " row"] | None = None,
    ) -> Averages:
        """The blocks of a run, or the prompts of its blocks; a row in two blocks counts for the later.

        Args:
            run: The run, with its events.
            replicates: What is averaged: ``"blocks"`` or ``"prompts"``.
            number: Number of the run, for messages.
            without: (row,) True for rows that the means leave out wherever their block has others; None for none.
        """
        owner = np.full(run.n_rows, -1)
        for block, (_, rows) in enumerate(run.blocks()):
            owner[rows] = block
        if replicates == "prompts":
            check_prompts(run, number)
            # a prompt that goes on into the next block is two replicates
            pairs = pd.MultiIndex.from_arrays([owner, run.rows["prompt"]])
            owner = np.where(owner < 0, -1, pairs.factorize()[0])
        # renumbered without gaps: a block may have lost all its rows to a later one
        inside = owner >= 0
        _, numbers, counts = np.unique(owner[inside], return_inverse=True, return_counts=True)
        owner[inside] = numbers
        left_out = inside & (np.zeros(run.n_rows, dtype=bool) if without is None else without)
        kept = counts - np.bincount(owner[left_out], minlength=len(counts))
        left_out[inside] &= (kept > 0)[owner[inside]]
        return cls(owner, np.where(kept > 0, kept, counts), left_out)

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def inside(self) -> Bool[np.ndarray, " row"]:
        """True for rows that take part in the mean of some block."""
        return (self.owner >= 0) & ~self.left_out

    @cached_property
    def matrix(self) -> Any:
        """(block, row) sparse: times (row, regressor) it gives the mean of every regressor over every block."""
        rows = np.flatnonzero(self.inside)
        blocks = self.owner[rows]
        return sparse.csr_array((1.0 / self.counts[blocks], (blocks, rows)), shape=(len(self), len(self.owner)))

    @cached_property
    def spans(self) -> tuple[Int[np.ndarray, " block"], Int[np.ndarray, " block"]] | None:
        """First row of every block, and the row after its last; None if one of them is interrupted."""
        rows = np.flatnonzero(self.owner >= 0)  # those left out too, which `add` takes off again
        first = np.full(len(self), len(self.owner))
        last = np.full(len(self), -1)
        np.minimum.at(first, self.owner[rows], rows)
        np.maximum.at(last, self.owner[rows], rows)
        lengths = np.bincount(self.owner[rows], minlength=len(self))
        return (first, last + 1) if np.array_equal(last + 1 - first, lengths) else None

    def add(self, means: Float[np.ndarray, "block unit"], start: int, y: Float[np.ndarray, "row unit"]) -> None:
        """Add what some rows contribute to the mean of every block.

        Args:
            means: (block, unit) means so far; the contributions are added in place.
            start: Number of the first of the rows.
            y: (row, unit) their activations.
        """
        owner = self.owner[start : start + len(y)]
        left_out = self.left_out[start : start + len(y)]
        blocks = np.unique(owner[owner >= 0])
        if self.spans is None:  # a block with gaps: a small matrix of its weights, 1 / count, times the rows
            means[blocks] += (((owner == blocks[:, None]) & ~left_out) / self.counts[blocks, None]) @ y
            return
        # blocks without gaps are slices of the rows, which are summed without a product
        for block, first, stop in zip(blocks, *(ends[blocks] for ends in self.spans), strict=True):
            rows = slice(max(first - start, 0), stop - start)
            total = y[rows].sum(0)
            if left_out[rows].any():  # few rows: cheaper than to pick all others
                total -= y[rows][left_out[rows]].sum(0)
            means[block] += total / self.counts[block]

    def varying_within(self, matrix: Float[np.ndarray, "row regressor"]) -> Bool[np.ndarray, " regressor"]:
        """True for columns more than half of whose variance lies within blocks."""
        if not len(self):
            return np.zeros(matrix.shape[1], dtype=bool)
        rows = matrix[self.inside]
        # law of total variance: between blocks (weighted by their rows) and within them add up to the total
        total = rows.var(0)
        between = np.average(np.square(self.matrix @ matrix - rows.mean(0)), axis=0, weights=self.counts)
        return (between < 0.5 * total) & (total > 1e-12 * np.square(rows).mean(0))  # a constant varies by rounding only


def check_prompts(run: Run | StreamRun, number: int) -> None:
    """Refuse a run whose rows do not say which prompt they are of."""
    if "prompt" not in run.rows:
        raise InputError(f'replicates="prompts" needs the column prompt of the row table, which run {number} lacks')
