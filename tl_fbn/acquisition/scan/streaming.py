"""Sums over rows, taken while the model runs: what a linear analysis needs of a recording, without the recording.

A GLM and a randomized decomposition ask the same two things of the activations Y (row, unit): products with a few known
row vectors, ``W Y`` (design columns, block indicators, random test vectors), and with a few known unit vectors,
``Y P`` (a sketch). Both are taken batch by batch on the model's own device, with the sums of squares that noise and its
autocorrelation need; memory is one batch and the sums, whatever the number of rows.

Products of a batch are float32 like the activations, less a shift near each unit's mean so that no digits are lost to
it; they are added up in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, repeat
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from tqdm.auto import tqdm

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording.run_sums import RowSums, StreamRun
from tl_fbn.acquisition.scan.forward_passes import Chunk, Passes, Words
from tl_fbn.acquisition.scan.token_table import row_table
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace


@dataclass(frozen=True, eq=False)
class Stream(Sequence[StreamRun]):
    """A design about to be read: its runs are known, their activations pass by once for each :meth:`sums`.

    Args:
        space: The units.
        passes: How the model is read.
        contexts: For every run its contexts.
        design: The design.
        about: Description, as of a recording.
        tokenizer: For the words of the row tables.
        hooks_allowed: The user has named what foreign hooks do.
        progress: Show a progress bar.
    """

    space: UnitSpace
    passes: Passes
    contexts: Sequence[Sequence[Context]]
    design: BlockDesign
    about: Mapping[str, Any]
    tokenizer: Any
    hooks_allowed: bool = False
    progress: bool = True

    @cached_property
    def _first_prompts(self) -> list[int]:
        return list(accumulate(map(len, self.contexts), initial=0))

    @property
    def key(self) -> str:
        """The key that a recording of this design would have."""
        return str(self.about["key"])

    @property
    def n_rows(self) -> int:
        return sum(context.n_rows for contexts in self.contexts for context in contexts)

    @property
    def provenance(self) -> dict[str, Any]:
        """What a network found in this stream has to remember of it."""
        weights = self.about["fields"]["weights"]
        return {"recording": self.key, "weights": weights, "prompts": list(self.about["prompts"])}

    def sums(
        self,
        functionals: Iterable[Any],
        *,
        shifted: Iterable[bool] | None = None,
        loadings: Float[np.ndarray, "unit component"] | None = None,
    ) -> Iterator[RowSums]:
        """Read the runs, one after the other, and yield the sums of each.

        Args:
            functionals: For every run its row vectors, (functional, row), an array or sparse; asked for when the run's turn comes.
            shifted: For every run whether to take off a value near each unit's mean first; default all.
            loadings: Unit vectors to project on.
        """
        if isinstance(functionals, Sized) and len(functionals) != len(self.contexts):
            raise InputError(f"{len(functionals)} sets of row vectors for {len(self.contexts)} runs; give one a run")
        model = self.passes.model
        now = host.active_edits(model)
        then = self.about["fields"]["interventions"]
        if now != then:
            raise InputError(
                f"this stream was made under {len(then)} edits of interventions, and {len(now)} are in force now; make it, and fit it, inside "
                "the same `with` block"
            )
        with tqdm(total=self.n_rows, desc="stream", unit="row", disable=not self.progress) as bar:
            flags = repeat(True, len(self)) if shifted is None else shifted
            asked = zip(self.contexts, functionals, flags, strict=True)
            for number, (contexts, vectors, shift) in enumerate(asked):
                summing = _Summing(self.space, vectors, shift, loadings)
                with watching(model, allowed=self.hooks_allowed):
                    self.passes.read(contexts, number, summing, Words.of(contexts, carry=self.passes.carry), bar)
                yield summing.result()

    def __getitem__(self, index: int) -> StreamRun:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What is known of a run; its table is made anew, so that a million rows need not be held."""
        number = range(len(self))[index]
        contexts = self.contexts[number]
        words = Words.of(contexts, carry=self.passes.carry)
        table = row_table(contexts, words, self.tokenizer, self._first_prompts[number], False)
        return StreamRun(self.space, self.design.events(number), table)

    def __len__(self) -> int:
        return len(self.contexts)

    def __repr__(self) -> str:
        return f"Stream: {len(self)} runs, {self.n_rows:,} rows, {self.space.describe()}; nothing is stored"


class _Summing:
    """A sink that adds up."""

    def __init__(
        self,
        space: UnitSpace,
        vectors: Any,
        shifted: bool,
        loadings: Float[np.ndarray, "unit component"] | None,
    ) -> None:
        self._space = space
        self._shifted = shifted
        self._vectors = sparse.csc_array(vectors)
        self._asked: tuple[Chunk, torch.Tensor, torch.Tensor] | None = None
        self._loadings = None if loadings is None else torch.from_numpy(np.ascontiguousarray(loadings, np.float32))
        n = vectors.shape[0]
        self._products = {layer: torch.zeros(n, w, dtype=torch.float64) for layer, w in enumerate(space.widths) if w}
        self._squares = {layer: torch.zeros(3, w, dtype=torch.float64) for layer, w in enumerate(space.widths) if w}
        self._shift: dict[int, torch.Tensor] = {}
        self._sketch = None if loadings is None else np.zeros((vectors.shape[1], loadings.shape[1]))

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None:
        y = values.float()
        layer = tap.layer
        if not bool(torch.isfinite(y.sum())) and not bool((good := torch.isfinite(y).all(1)).all()):
            row = int(chunk.rows[~good.cpu().numpy()].min())
            raise InputError(
                f"layer {layer}, row {row} of a run has NaN or infinite activations; check the model's weights and dtype"
            )
        if self._loadings is not None and self._sketch is not None:
            part = self._loadings[self._space.layer_slice(layer)].to(y.device)
            self._sketch[chunk.rows] += (y @ part).double().cpu().numpy()
        if layer not in self._shift:
            self._shift[layer] = y.mean(0) if self._shifted else torch.zeros_like(y[0])
            self._products[layer] = self._products[layer].to(y.device)
            self._squares[layer] = self._squares[layer].to(y.device)
        y = y.sub_(self._shift[layer])  # the copy is ours
        active, vectors = self._of(chunk)
        self._products[layer][active.to(y.device)] += (vectors.to(y.device) @ y).double()
        self._add_squares(y, chunk.lengths, self._squares[layer])

    def _of(self, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
        """Which functionals the rows of a chunk are in, and their values there; the same for all layers."""
        if self._asked is None or self._asked[0] is not chunk:
            found = self._vectors[:, chunk.rows]
            active = np.unique(found.indices)
            dense = torch.from_numpy(found.tocsr()[active].toarray()).float()
            self._asked = chunk, torch.from_numpy(active.astype(np.int64)), dense
        return self._asked[1:]

    def _add_squares(self, y: torch.Tensor, lengths: list[int], into: torch.Tensor) -> None:
        """Context by context, so that what is multiplied is still in cache."""
        for part in y.split(lengths):
            into[0] += part.square().sum(0)
            into[1] += (part[1:] * part[:-1]).sum(0)
            into[2] += part[0].square() + part[-1].square()

    def result(self) -> RowSums:
        def joined(parts: Mapping[int, torch.Tensor]) -> np.ndarray:
            return torch.cat([parts[layer].double().cpu() for layer in sorted(parts)], dim=-1).numpy()

        squares = joined(self._squares)
        return RowSums(joined(self._products), squares[0], squares[1], squares[2], joined(self._shift), self._sketch)
