"""What a silenced unit is given instead of zero, taken from a recording of other prompts.

=================== ==================================================================================================
``"mean"``          its mean over all rows
``"position_mean"`` its mean over the rows at the same position of a text; its overall mean where no text is so long
``"resample"``      what it did at the same position of another text, one text for all units and positions, so that what
                    belongs together stays together (Chan et al. 2022, resampling ablation)
``"noise"``         a normal deviate of its own mean and standard deviation, units independent
=================== ==================================================================================================

A table of values stands ready for each layer and an index says which line a token takes: by its position, or by a hash of seed, the tokens of its prompt and
position. So the same call does the same to the same text, whoever shares its batch, with a key-value cache and without one. At most 64 texts of a recording, and
512 draws of noise, are kept (our choice).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import sparse

from tl_fbn.acquisition.model.forward_context import Reading, mixed
from tl_fbn.acquisition.model.sites import HEADS
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitSpace

N_TEXTS = 64
N_DRAWS = 512
ReplacementMethod = Literal["zero", "mean", "position_mean", "resample", "noise"]
Indexed = Literal["position", "text", "draw"]


@dataclass(frozen=True, eq=False)
class Lines:
    """Which line of a table each token takes.

    Args:
        by: ``"position"``; ``"text"``, one text drawn for each text of the batch; ``"draw"``, a line for each token.
        n: Lines of the table.
        starts: (text,) first lines, and
        lengths: (text,) numbers of lines of each text, and
        firsts: (text,) the position of its first line.
        seed: Of the draws.
        digest: What this is.
    """

    by: Indexed
    n: int
    starts: torch.Tensor
    lengths: torch.Tensor
    firsts: torch.Tensor
    seed: int
    digest: str

    def index(self, reading: Reading, batch: int, n: int, device: torch.device) -> Int[torch.Tensor, "batch pos"]:
        """Lines of the ``n`` tokens of a pass."""
        key = (self.digest, batch, n, device)
        if key not in reading.memo:
            positions = reading.positions(n, device).expand(batch, n)
            if self.by == "position":
                reading.memo[key] = positions.clamp(max=self.n - 1)
                return reading.memo[key]
            texts = reading.texts(batch, n, device)[:, None]
            if self.by == "draw":
                reading.memo[key] = mixed(mixed(texts, self.seed) + positions) % self.n
                return reading.memo[key]
            text = mixed(texts, self.seed) % len(self.starts)
            length = self.lengths.to(device)[text]
            place = positions - self.firsts.to(device)[text]
            inside = (place >= 0) & (place < length)
            reading.memo[key] = self.starts.to(device)[text] + torch.where(inside, place, positions % length)
        return reading.memo[key]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What silenced units are given; made once for many networks.

    Args:
        method: As in the table above, or ``"zero"``.
        reference: A recording of other prompts; none for zero.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw.
    """

    method: ReplacementMethod
    reference: Recording | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self.method, ReplacementMethod, "method")

    def check(self, space: UnitSpace) -> None:
        """Raise InputError unless units of a space can be given this."""
        if self.method == "zero":
            return
        if space.site == HEADS:
            raise InputError(
                f'{HEADS} records the mean over a head\'s width, which is no activation to set; use method="zero", or lesion '
                "blocks.{layer}.attn.hook_z"
            )
        if self.reference is None:
            raise InputError(f'method="{self.method}" needs reference=, a recording of {space.describe()}')
        space.require_same(self.reference.space, "take the reference for")

    @cached_property
    def lines(self) -> Lines | None:
        """How tokens find their values; None where all get the same."""
        if self.method == "position_mean":
            longest = 1 + max(int(at.max(initial=0)) for at in self._positions)
            return _lines("position", longest + 1, 0)
        if self.method == "resample":
            lengths = np.array([span.stop - span.start for _, span in self._texts])
            firsts = np.array([self._positions[run][span.start] for run, span in self._texts])
            return _lines("text", int(lengths.sum()), self.seed, lengths, firsts)
        if self.method == "noise":
            return _lines("draw", N_DRAWS, self.seed)
        return None

    def values(self, layer: int, members: Int[np.ndarray, " member"]) -> Float[np.ndarray, "*line member"]:
        """(member,) one value each, or (line, member) a table, for units of one layer."""
        if self.method == "zero" or self.reference is None:
            return np.zeros(len(members))
        span = self.reference.space.layer_slice(layer)
        mean = self._mean[span][members]
        if self.method == "mean":
            return mean
        if self.method == "noise":
            rng = np.random.default_rng([self.seed, layer])
            drawn = rng.standard_normal((N_DRAWS, span.stop - span.start))[
                :, members
            ]  # a unit's own, whoever else is silenced
            return mean + self._sd[span][members] * drawn
        if self.method == "resample":
            parts = [self.reference[run].layers[layer][rows][:, members] for run, rows in self._texts]
            return np.concatenate(parts).astype(np.float64)
        assert self.lines is not None
        longest = self.lines.n - 1
        sums = np.zeros((longest, len(members)))
        counts = np.zeros(longest)
        for run, at in zip(self.reference, self._positions, strict=True):
            counts += np.bincount(at, minlength=longest)
            picks = sparse.csr_matrix((np.ones(len(at)), (at, np.arange(len(at)))), shape=(longest, len(at)))
            sums += picks @ run.layers[layer][:][:, members].astype(np.float64)
        own = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], mean)
        return np.concatenate([own, mean[None]])

    @cached_property
    def _mean(self) -> Float[np.ndarray, " unit"]:
        assert self.reference is not None
        return self.reference.mean()

    @cached_property
    def _sd(self) -> Float[np.ndarray, " unit"]:
        assert self.reference is not None
        return standard_deviation(self.reference)

    @cached_property
    def _positions(self) -> list[Int[np.ndarray, " row"]]:
        assert self.reference is not None
        return [_positions(run.rows, run.n_rows) for run in self.reference]

    @cached_property
    def _texts(self) -> list[tuple[int, slice]]:
        """(run, rows) of the texts that are drawn from."""
        assert self.reference is not None
        spans = [(number, span) for number, run in enumerate(self.reference) for span in _texts(run.rows, run.n_rows)]
        chosen = np.random.default_rng(self.seed).choice(len(spans), min(N_TEXTS, len(spans)), replace=False)
        return [spans[i] for i in sorted(chosen.tolist())]


def standard_deviation(recording: Recording) -> Float[np.ndarray, " unit"]:
    """Of every unit over all rows."""
    mean = recording.mean()
    squares = np.zeros_like(mean)
    for run in recording:
        for layer, array in run.layers.items():
            span = recording.space.layer_slice(layer)
            squares[span] += np.square(array[:] - mean[span]).sum(0)
    return np.sqrt(squares / recording.n_rows)


def _lines(
    by: Indexed,
    n: int,
    seed: int,
    lengths: Int[np.ndarray, " text"] | None = None,
    firsts: Int[np.ndarray, " text"] | None = None,
) -> Lines:
    lengths = np.array([n]) if lengths is None else lengths
    firsts = np.zeros_like(lengths) if firsts is None else firsts
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    digest = f"{by} {n} {seed} {lengths.tolist()} {firsts.tolist()}"
    return Lines(by, n, torch.from_numpy(starts), torch.from_numpy(lengths), torch.from_numpy(firsts), seed, digest)


def _positions(rows: pd.DataFrame, n_rows: int) -> Int[np.ndarray, " row"]:
    """Position of every row in its text; a run without a row table is one text."""
    if "position" not in rows.columns:
        if "prompt" in rows.columns:
            raise InputError(
                "the reference has prompts but no positions (its rows are pooled); give a recording with a row for every token"
            )
        return np.arange(n_rows)
    return rows["position"].to_numpy(dtype=np.int64)


def _texts(rows: pd.DataFrame, n_rows: int) -> list[slice]:
    """Rows of every text of a run."""
    if "prompt" not in rows.columns:
        return [slice(0, n_rows)]
    prompt = rows["prompt"].to_numpy()
    edges = [0, *(np.flatnonzero(prompt[1:] != prompt[:-1]) + 1).tolist(), n_rows]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
