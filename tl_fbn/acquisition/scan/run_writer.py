"""From the model's device to the file of a run: convert, check, write, beside the next forward pass.

The forward pass hands over copies of its activations; a background thread moves them to the CPU, refuses what is not
finite, and writes consecutive rows in one go.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.half_precision import finite_rows
from tl_fbn.acquisition.recording.pooling import Pool
from tl_fbn.acquisition.scan.forward_passes import Chunk
from tl_fbn.acquisition.scan.writer_thread import WriterThread
from tl_fbn.errors import InputError

_TORCH = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class RunWriter:
    """A sink that writes a run.

    Args:
        laid_out: The run's file.
        worker: Where writing happens.
        run: Run number, for messages.
        pool: One row a prompt, or None for one a token.
        several: The recording has several sites.
    """

    def __init__(
        self, laid_out: store.LaidOutRun, worker: WriterThread, run: int, pool: Pool | None, several: bool
    ) -> None:
        self._laid_out = laid_out
        self._worker = worker
        self._run = run
        self._several = several
        self._pool: Pool | None = pool

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None:
        rows = chunk.rows
        if self._pool:
            rows, values = chunk.numbers, pooled(values, chunk.lengths, self._pool)
        stored = values.to(_TORCH[self._laid_out.dtype])
        self._worker.submit(partial(self._write, tap, rows, stored), stored.nbytes)

    def _write(self, tap: Tap, rows: Int[np.ndarray, " row"], stored: torch.Tensor) -> None:
        words = stored.cpu() if stored.dtype == torch.float32 else stored.view(torch.int16).cpu()
        array = words.contiguous().numpy()
        dtype = self._laid_out.dtype
        good = finite_rows(array, dtype)
        if not good.all():
            site = f", {tap.site}" if self._several else ""
            beyond = " (or beyond 65,504, the largest float16)" if dtype == "float16" else ""
            remedy = 'Record with dtype="float32", or check' if beyond else "Check"
            raise InputError(
                f"run {self._run}{site}, layer {tap.layer}, row {int(rows[~good].min())} has NaN or infinite activations{beyond}; "
                f"nothing of this run was committed. {remedy} the model's weights and dtype"
            )
        name = store.tensor_name(tap.layer, tap.site if self._several else "")
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            self._laid_out.write(name, int(rows[start]), array[start:stop])


def pooled(
    values: Float[torch.Tensor, "row unit"], lengths: list[int], how: Pool
) -> Float[torch.Tensor, "prompt unit"]:
    """The last row, or the mean, of each stretch of rows."""
    if how == "last":
        return values[torch.tensor(lengths, device=values.device).cumsum(0) - 1]
    return torch.stack([part.float().mean(0) for part in values.split(lengths)])
