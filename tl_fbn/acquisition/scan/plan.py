"""What a scan will do, counted before it does it: rows, units, bytes, and the room there is."""

from __future__ import annotations

from dataclasses import dataclass

from tl_fbn.acquisition.recording.half_precision import Dtype
from tl_fbn.units import UnitSpace, html_table


@dataclass(frozen=True)
class Plan:
    """What a scan will do, counted before it does it.

    Args:
        spaces: Units to record, by site.
        n_runs: Runs.
        n_rows: Rows of all runs.
        n_contexts: Prompts presented.
        n_bytes: Bytes of activations on disk.
        free_bytes: Bytes free where it would be written; None if no folder was given.
        dtype: How activations are stored.
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
        return sum(space.n_units for space in self.spaces)

    def __repr__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 1e9:,.1f} GB free"
        units = " and ".join(space.describe() for space in self.spaces)
        short = "" if self.free_bytes is None or self.free_bytes >= self.n_bytes else " (NOT ENOUGH)"
        return (
            f"Plan: {self.n_rows:,} rows x {self.n_units:,} units of {units} in {self.n_runs} runs "
            f"({self.n_contexts:,} prompts); {self.n_bytes / 1e6:,.1f} MB in {self.dtype}{free}{short}"
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
