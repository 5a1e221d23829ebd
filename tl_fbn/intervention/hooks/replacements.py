"""What a silenced unit is given instead of zero, taken from a recording of other prompts (the reference).

=================== =====================================================================================
``"mean"``          the unit's mean over all rows of the reference
``"position_mean"`` the unit's mean over the reference rows at the same position of a prompt; its overall
                    mean where no prompt of the reference is that long
``"resample"``      what the unit did at the same position of one prompt of the reference. One prompt is
                    drawn for all units and positions of a text, so that activations that belong together
                    stay together (Chan et al. 2022, resampling ablation)
``"noise"``         a normal deviate with the unit's own mean and standard deviation over the reference;
                    units are independent
=================== =====================================================================================

All values are in activation units of the site.

How a token finds its value: each layer has a table of values (line x unit), prepared once, and an index that says
which line a token takes. For ``"position_mean"`` the line is the token's position. For ``"resample"`` and ``"noise"``
it is a hash of the seed, the tokens of the prompt and, for ``"noise"``, the position. So the same call does the same
to the same text, whatever other texts share its batch, with a key-value cache and without one.

Cost: one pass over the reference for means, two more for standard deviations, and one table a layer. At most
``N_TEXTS`` = 64 prompts of the reference and ``N_DRAWS`` = 512 draws of noise are kept (our choice).
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

from tl_fbn.acquisition.model.pass_tokens import Reading, mixed
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
    """The rule by which a token finds its line in a table of values.

    Args:
        by: ``"position"``: the line is the token's position. ``"text"``: the table holds whole prompts of the reference
            one after the other, and each text of the batch is given one of them. ``"draw"``: any line, drawn anew for
            each token.
        n: Number of lines of the table.
        starts: (text,) number of the first line of each prompt in the table.
        lengths: (text,) number of lines of each prompt in the table.
        firsts: (text,) position, within its prompt, of the token on each prompt's first line; 0 unless the recording
            left out how the prompt begins.
        seed: Seed of the hash that draws lines; the same seed draws the same lines.
        digest: All of the above as one string; it enters the digest of an intervention, and names the index in the memo
            of a forward pass.
    """

    by: Indexed
    n: int
    starts: torch.Tensor
    lengths: torch.Tensor
    firsts: torch.Tensor
    seed: int
    digest: str

    def index(self, reading: Reading, batch: int, n: int, device: torch.device) -> Int[torch.Tensor, "batch pos"]:
        """The line of every token of a forward pass.

        Args:
            reading: Where the tokens of the running pass stand in their texts.
            batch: Number of texts in the pass.
            n: Number of tokens of each text in the pass; one behind a key-value cache.
            device: Device of the activations, on which the index is made.

        Returns:
            (batch, pos) line numbers.
        """
        # layers share the index, so the first layer of a pass works it out for all
        key = (self.digest, batch, n, device)
        if key not in reading.memo:
            positions = reading.positions(n, device).expand(batch, n)
            if self.by == "position":
                # the last line is the overall mean: it serves every position beyond the longest prompt
                reading.memo[key] = positions.clamp(max=self.n - 1)
                return reading.memo[key]
            # (batch, 1) a hash of each text's prompt tokens
            texts = reading.texts(batch, n, device)[:, None]
            if self.by == "draw":
                # line = hash(hash(text, seed) + position) mod n
                reading.memo[key] = mixed(mixed(texts, self.seed) + positions) % self.n
                return reading.memo[key]
            # one prompt of the reference for each text: hash(text, seed) mod number of prompts
            text = mixed(texts, self.seed) % len(self.starts)
            length = self.lengths.to(device)[text]
            # the line within that prompt on which the same position stands
            place = positions - self.firsts.to(device)[text]
            inside = (place >= 0) & (place < length)
            # a position that the prompt lacks goes round it: position mod length
            reading.memo[key] = self.starts.to(device)[text] + torch.where(inside, place, positions % length)
        return reading.memo[key]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What silenced units are given; made once, so that the reference is read once for many networks.

    Args:
        method: ``"zero"``, or one of the four methods in the table at the top of this file.
        reference: A recording of the same units on other prompts; None for ``"zero"``, which needs none.
        seed: Seed of what ``"resample"`` and ``"noise"`` draw; the same seed draws the same.
    """

    method: ReplacementMethod
    reference: Recording | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self.method, ReplacementMethod, "method")

    def check(self, space: UnitSpace) -> None:
        """Check that units of a space can be given this replacement.

        Args:
            space: The unit space of the network to silence.

        Raises:
            InputError: The units are attention heads, whose mean is no activation; the method needs a reference and has
                none; or the reference is a recording of other units.
        """
        if self.method == "zero":
            return
        if space.site == HEADS:
            raise InputError(
                f"{HEADS} records the mean over a head's width, which is no activation to set; "
                'use method="zero", or lesion blocks.{layer}.attn.hook_z'
            )
        if self.reference is None:
            raise InputError(f'method="{self.method}" needs reference=, a recording of {space.describe()}')
        space.require_same(self.reference.space, "take the reference for")

    @cached_property
    def lines(self) -> Lines | None:
        """How tokens find their line in the tables of :meth:`values`; None where all tokens are given the same."""
        if self.method == "position_mean":
            # one line a position, and one more for the overall mean
            n_positions = 1 + max(int(positions.max(initial=0)) for positions in self._row_positions)
            return _lines("position", n_positions + 1, 0)
        if self.method == "resample":
            lengths = np.array([span.stop - span.start for _, span in self._drawn_texts])
            firsts = np.array([self._row_positions[run][span.start] for run, span in self._drawn_texts])
            return _lines("text", int(lengths.sum()), self.seed, lengths, firsts)
        if self.method == "noise":
            return _lines("draw", N_DRAWS, self.seed)
        return None

    def values(self, layer: int, members: Int[np.ndarray, " member"]) -> Float[np.ndarray, "*line member"]:
        """The values that units of one layer are given, in activation units.

        Args:
            layer: Number of the layer.
            members: (member,) indices of the units within the layer.

        Returns:
            (member,) one value a unit for ``"zero"`` and ``"mean"``; else a table (line, member), of which
            :attr:`lines` says which line a token takes.
        """
        if self.method == "zero" or self.reference is None:
            return np.zeros(len(members))
        span = self.reference.space.layer_slice(layer)
        mean = self._mean[span][members]
        if self.method == "mean":
            return mean
        if self.method == "noise":
            # mean + sd z, with z drawn for the whole layer: a unit's draws do not depend on which others are silenced
            rng = np.random.default_rng([self.seed, layer])
            deviates = rng.standard_normal((N_DRAWS, span.stop - span.start))[:, members]
            return mean + self._standard_deviation[span][members] * deviates
        if self.method == "resample":
            # the drawn prompts one after the other, in the order in which `lines` counts them
            texts = [self.reference[run].layers[layer][rows][:, members] for run, rows in self._drawn_texts]
            return np.concatenate(texts).astype(np.float64)
        assert self.method == "position_mean" and self.lines is not None
        n_positions = self.lines.n - 1
        sums = np.zeros((n_positions, len(members)))
        counts = np.zeros(n_positions)
        for run, positions in zip(self.reference, self._row_positions, strict=True):
            counts += np.bincount(positions, minlength=n_positions)
            # (position, row) indicator matrix: its product with the rows sums the rows of each position
            n_rows = len(positions)
            indicator = sparse.csr_matrix(
                (np.ones(n_rows), (positions, np.arange(n_rows))), shape=(n_positions, n_rows)
            )
            sums += indicator @ run.layers[layer][:][:, members].astype(np.float64)
        # positions that no row has (a recording that left out first tokens) are given the overall mean, too
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], mean)
        return np.concatenate([means, mean[None]])

    @cached_property
    def _mean(self) -> Float[np.ndarray, " unit"]:
        assert self.reference is not None
        return self.reference.mean()

    @cached_property
    def _standard_deviation(self) -> Float[np.ndarray, " unit"]:
        assert self.reference is not None
        return standard_deviation(self.reference)

    @cached_property
    def _row_positions(self) -> list[Int[np.ndarray, " row"]]:
        """Each run's positions of rows in their prompts."""
        assert self.reference is not None
        return [_positions_of_rows(run.rows, run.n_rows) for run in self.reference]

    @cached_property
    def _drawn_texts(self) -> list[tuple[int, slice]]:
        """(run, rows) of the prompts of the reference that are drawn from: at most ``N_TEXTS``, in recorded order."""
        assert self.reference is not None
        spans = [
            (number, span)
            for number, run in enumerate(self.reference)
            for span in _spans_of_texts(run.rows, run.n_rows)
        ]
        chosen = np.random.default_rng(self.seed).choice(len(spans), min(N_TEXTS, len(spans)), replace=False)
        return [spans[i] for i in sorted(chosen.tolist())]


def standard_deviation(recording: Recording) -> Float[np.ndarray, " unit"]:
    """Standard deviation of every unit over all rows (divisor: the number of rows), in activation units.

    Args:
        recording: The recording; it is read twice, layer by layer.
    """
    mean = recording.mean()
    # sums of squared deviations from the mean: sums of raw squares would cancel where the mean is large
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
    """Lines of a table; without ``lengths`` the table is one text of ``n`` lines from position 0."""
    lengths = np.array([n]) if lengths is None else lengths
    firsts = np.zeros_like(lengths) if firsts is None else firsts
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    digest = f"{by} {n} {seed} {lengths.tolist()} {firsts.tolist()}"
    return Lines(by, n, torch.from_numpy(starts), torch.from_numpy(lengths), torch.from_numpy(firsts), seed, digest)


def _positions_of_rows(rows: pd.DataFrame, n_rows: int) -> Int[np.ndarray, " row"]:
    """Position of every row in its prompt; a run without a row table is one prompt."""
    if "position" not in rows.columns:
        if "prompt" in rows.columns:
            raise InputError(
                "the reference has prompts but no positions (its rows are pooled); "
                "give a recording with a row for every token"
            )
        return np.arange(n_rows)
    return rows["position"].to_numpy(dtype=np.int64)


def _spans_of_texts(rows: pd.DataFrame, n_rows: int) -> list[slice]:
    """Rows of every prompt of a run, in order."""
    if "prompt" not in rows.columns:
        return [slice(0, n_rows)]
    prompt = rows["prompt"].to_numpy()
    # a prompt begins where its number differs from that of the row before
    edges = [0, *(np.flatnonzero(prompt[1:] != prompt[:-1]) + 1).tolist(), n_rows]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
