"""From the model's device to the file of a run: pool, convert, check and write, beside the next forward pass.

The forward pass hands over copies of its activations. On the model's device they are pooled (if a row is a prompt) and
rounded to the dtype of the file, so that only what is stored travels. A background thread moves them to main memory,
refuses NaN and infinity, writes each stretch of consecutive rows with one call to the system, and, where rows are the
tokens of prompts, adds up how much of the variance lies in first tokens and in single units (:mod:`.variance_sums`).

16-bit floats are moved and written as raw 16-bit words, because numpy has no bfloat16; no value changes by that.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.half_precision import finite_rows
from tl_fbn.acquisition.recording.massive_units import VARIANCE
from tl_fbn.acquisition.recording.pooling import Pool
from tl_fbn.acquisition.scan.forward_passes import Chunk
from tl_fbn.acquisition.scan.variance_sums import VarianceSums
from tl_fbn.acquisition.scan.writer_thread import WriterThread
from tl_fbn.errors import InputError

_TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class RunWriter:
    """A sink that writes the activations of one run into its file.

    Args:
        laid_out: The run's file, at full size and yet to be filled.
        worker: The thread on which activations are checked and written.
        run: Number of the run, from 0, for messages.
        pool: ``"last"`` or ``"mean"`` for one row a prompt; None for one row a token.
        several: True where the recording has several sites, which are then part of the names of tensors.
    """

    def __init__(
        self, laid_out: store.LaidOutRun, worker: WriterThread, run: int, pool: Pool | None, several: bool
    ) -> None:
        self._laid_out = laid_out
        self._worker = worker
        self._run = run
        self._several = several
        self._pool: Pool | None = pool
        self._sums = VarianceSums()

    def variance(self) -> dict[str, Any]:
        """What ``run.json`` says of the run's variance, once all is written; empty where no row is a first token."""
        return {VARIANCE: found} if (found := self._sums.description()) else {}

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None:
        """Hand the activations of one batch at one tap to the writing thread; waits while its backlog is full.

        Args:
            chunk: The contexts, and the rows that the activations belong to.
            tap: Site and layer of the activations.
            values: (row, unit) activations, in the model's dtype and on its device.

        Raises:
            InputError: Activations that were handed over earlier are not finite.
            OSError: Activations that were handed over earlier could not be written.
        """
        rows = chunk.rows
        if self._pool:
            rows = chunk.numbers  # a row is a prompt, and has the prompt's number within the run
            values = pooled(values, chunk.lengths, self._pool)
        stored = values.to(_TORCH_DTYPES[self._laid_out.dtype])
        # tokens that the model wrote stand behind a prompt, and none is a first one
        counted = not self._pool and not any(context.new for context in chunk.contexts)
        first = list(accumulate(chunk.lengths[:-1], initial=0)) if counted else None
        self._worker.submit(partial(self._write, tap, rows, stored, first), stored.nbytes)

    def _write(self, tap: Tap, rows: Int[np.ndarray, " row"], stored: torch.Tensor, first: list[int] | None) -> None:
        """Check and write some rows of one tensor; on the writing thread."""
        stored = stored.cpu().contiguous()
        array = (stored if stored.dtype == torch.float32 else stored.view(torch.int16)).numpy()
        dtype = self._laid_out.dtype
        is_finite = finite_rows(array, dtype)
        if not is_finite.all():
            site = f", {tap.site}" if self._several else ""
            # a finite activation beyond float16's range became infinite when it was rounded
            beyond = " (or beyond 65,504, the largest float16)" if dtype == "float16" else ""
            remedy = 'Record with dtype="float32", or check' if beyond else "Check"
            raise InputError(
                f"run {self._run}{site}, layer {tap.layer}, row {int(rows[~is_finite].min())} has NaN or infinite "
                f"activations{beyond}; nothing of this run was committed. {remedy} the model's weights and dtype"
            )
        if first is not None:
            self._sums.add(tap, stored, first)
        name = store.tensor_name(tap.layer, tap.site if self._several else "")
        # contexts of a batch are seldom neighbours in the run: one write for each stretch of consecutive rows
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            self._laid_out.write(name, int(rows[start]), array[start:stop])


def pooled(
    values: Float[torch.Tensor, "row unit"], lengths: list[int], how: Pool
) -> Float[torch.Tensor, "prompt unit"]:
    """One row a prompt from the rows of its tokens.

    Args:
        values: (row, unit) activations of several prompts, one behind another.
        lengths: Number of rows of each prompt.
        how: ``"last"`` takes the last row of each prompt, ``"mean"`` the mean of its rows, in float32.
    """
    if how == "last":
        # the cumulative sum of lengths is the row behind each prompt
        return values[torch.tensor(lengths, device=values.device).cumsum(0) - 1]
    return torch.stack([part.float().mean(0) for part in values.split(lengths)])
