"""What a scan will write, counted before anything runs: runs, prompts, rows, units, bytes, and the room there is.

Bytes are those of the activations: rows x units x 4 (float32) or 2 (bfloat16, float16). Tables of rows and events and
the descriptions come on top; they are small beside the activations. How much of the variance will lie in first tokens
is not known before the model has run: the recording says it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tl_fbn.acquisition.recording.half_precision import Dtype
from tl_fbn.units import UnitSpace, html_table


@dataclass(frozen=True)
class Plan:
    """What a scan will write, counted before anything runs; :meth:`tl_fbn.Scanner.plan` makes it.

    >>> plan = fbn.Scanner(model, dtype="bfloat16").plan(design)
    >>> plan.n_rows, plan.n_units
    (1536, 1152)
    >>> plan.n_bytes == plan.n_rows * plan.n_units * 2  # a bfloat16 has two bytes
    True

    Args:
        spaces: The units that will be recorded, one space a site.
        n_runs: Number of runs.
        n_rows: Number of rows of all runs together, as they are stored: tokens, or prompts where rows are pooled.
        n_contexts: Number of prompts that are shown, in all runs together.
        n_bytes: Bytes of activations on disk.
        free_bytes: Bytes that are free where the recording would be written; None if no folder was given.
        dtype: Type of the activations on disk.
    """

    spaces: tuple[UnitSpace, ...]
    n_runs: int
    n_rows: int
    n_contexts: int
    n_bytes: int
    free_bytes: int | None
    dtype: Dtype = "float32"

    @property
    def n_units(self) -> int:
        """Number of units of all sites together."""
        return sum(space.n_units for space in self.spaces)

    def __repr__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 1e9:,.1f} GB free"
        units = " and ".join(space.describe() for space in self.spaces)
        # a plan only says it; Scanner.scan raises the error
        warning = "" if self.free_bytes is None or self.free_bytes >= self.n_bytes else " (NOT ENOUGH)"
        return (
            f"Plan: {self.n_rows:,} rows x {self.n_units:,} units of {units} in {self.n_runs} runs "
            f"({self.n_contexts:,} prompts); {self.n_bytes / 1e6:,.1f} MB in {self.dtype}{free}{warning}"
        )

    def _repr_html_(self) -> str:
        free = "" if self.free_bytes is None else f"{self.free_bytes:,}"
        rows = [
            ("runs", self.n_runs),
            ("prompts", self.n_contexts),
            ("rows", f"{self.n_rows:,}"),
            *((f"units, {space.site}", f"{space.n_units:,}") for space in self.spaces),
        ]
        return html_table(repr(self), ("", ""), [*rows, ("bytes", f"{self.n_bytes:,}"), ("free bytes", free)])
