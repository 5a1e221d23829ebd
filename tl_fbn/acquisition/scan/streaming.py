"""Sums over rows, taken while the model runs: what a linear analysis needs of a recording, without the recording.

A GLM and a randomized decomposition need the same few sums over the activations Y (row, unit) of a run. With c, a
value near each unit's mean that is taken off (*shift*), and Z = Y - c, they are

================ ============ ==============================================================================
``W Z``          *products*   with a few row vectors W: design columns, indicators of blocks, random vectors
``Y P``          *sketch*     with a few unit vectors P (*loadings*); nothing is taken off
sum z_t^2        *squares*    of every unit, for the variance of noise
sum z_t z_t+1    *lagged*     of neighbouring rows of one context, for the autocorrelation of noise
z_1^2 + z_n^2    *ends*       of the first and last row of each context, which AR(1) noise weights less
================ ============ ==============================================================================

All are taken batch by batch on the model's own device. Memory is one batch, the sums and W, whatever the number of
rows; a sketch also has one number a row and component. Where the model writes, these are the sums of the few runs that
are decoded together (:mod:`.run_groups`).

Sums of one batch are float32 like the activations. The shift keeps their digits: a unit whose mean is a thousand times
its standard deviation would lose three of seven. Sums of batches are added in float64.

What it does not do: keep the activations. Every analysis that asks for sums runs the model again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, repeat
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
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording.descriptions import model_dtype_of
from tl_fbn.acquisition.recording.run_sums import RowSums, StreamRun
from tl_fbn.acquisition.scan.forward_passes import Chunk, Passes, Reading, Words
from tl_fbn.acquisition.scan.token_table import row_table
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, InputIndexError
from tl_fbn.units import UnitSpace
from tl_fbn.units.outgoing_norms import stated_norms


@dataclass(frozen=True, eq=False)
class Stream(Sequence[StreamRun]):
    """A design about to be read: a sequence of runs whose rows are known, and whose activations are summed on the way.

    :meth:`tl_fbn.Scanner.stream` makes one, and ``fit_glm`` takes it in place of a recording.

    >>> stream = fbn.Scanner(model).stream(design, progress=False)
    >>> stream
    Stream: 2 runs, 1,536 rows, tl_fbn-demo mlp.neurons (3 x 384) in float32; nothing is stored
    >>> indicators = [np.stack([run.rows["trial_type"] == name for name in ("sort", "reverse")]) for run in stream]
    >>> sums = next(stream.sums(indicators))
    >>> sums.products.shape  # (condition, unit): sums over the rows of each condition in run 0
    (2, 1152)

    Args:
        space: The units that are read.
        passes: How the model is read: its hook points, size of batches, how it writes.
        contexts: For every run its contexts, in the order of rows.
        design: The block design that is shown.
        about: Description with the same entries as that of a recording, ``key`` and its ``fields`` among them.
        tokenizer: A Hugging Face tokenizer for the words of the row tables; None writes token ids.
        hooks_allowed: True where the user has named what hooks of the user's own do; they may then change activations.
        progress: True shows rows per second and the time left.
        state: The model as it was when the stream was made, which is what the key speaks of; None compares only the
            interventions.
    """

    space: UnitSpace
    passes: Passes
    contexts: Sequence[Sequence[Context]]
    design: BlockDesign
    about: Mapping[str, Any]
    tokenizer: Any
    hooks_allowed: bool = False
    progress: bool = True
    state: ModelState | None = None

    @cached_property
    def _first_prompts(self) -> list[int]:
        """Number of each run's first prompt within the design."""
        return list(accumulate(map(len, self.contexts), initial=0))

    @property
    def key(self) -> str:
        """The key that a recording of this design would have."""
        return str(self.about["key"])

    @property
    def n_rows(self) -> int:
        """Number of rows of all runs together."""
        return sum(context.n_rows for contexts in self.contexts for context in contexts)

    @property
    def provenance(self) -> dict[str, Any]:
        """Key, weights, number type of the model and prompts, which a network that is found in this stream keeps."""
        origin = {"recording": self.key, "weights": self.about["fields"]["weights"]}
        return {**origin, **model_dtype_of(self.about), "prompts": list(self.about["prompts"])}

    @property
    def outgoing_norms(self) -> Float[np.ndarray, " unit"] | None:
        """(unit,) norms of the outgoing weights of the units, as :attr:`tl_fbn.Recording.outgoing_norms` has them."""
        return stated_norms(self.about, self.space)

    def sums(
        self,
        functionals: Iterable[Any],
        *,
        shifted: Iterable[bool] | None = None,
        loadings: Float[np.ndarray, "unit component"] | None = None,
    ) -> Iterator[RowSums]:
        """Read the runs, one after the other, and yield the sums of each.

        Args:
            functionals: For every run its row vectors W, (functional, row), a dense or a sparse array. An iterator is
                asked for those of a run when its turn comes (where the model writes, for those of a few runs that are
                decoded together), so that they need not be in memory together.
            shifted: For every run, whether a value near each unit's mean is taken off activations before they are
                multiplied; None takes it off in all runs.
            loadings: Unit vectors P for the sketch; None makes no sketch.

        Yields:
            The sums of one run.

        Raises:
            InputError: The number of sets of row vectors is not that of runs, other interventions are in force or the
                model is another than when the stream was made, a hook of the user's changes activations, or an
                activation is not finite.
        """
        if isinstance(functionals, Sized) and len(functionals) != len(self.contexts):
            raise InputError(f"{len(functionals)} sets of row vectors for {len(self.contexts)} runs; give one a run")
        model = self.passes.model
        # the key says under which interventions the model is read
        in_force = host.active_edits(model)
        in_key = self.about["fields"]["interventions"]
        if in_force != in_key:
            raise InputError(
                f"this stream was made under {len(in_key)} edits of interventions, and {len(in_force)} are in force "
                "now; make it, and fit it, inside the same `with` block"
            )
        if self.state is not None:
            self.state.require_unchanged(seconds=np.inf)  # any time may have passed
        with tqdm(total=self.n_rows, desc="stream", unit="row", disable=not self.progress) as bar:
            flags = repeat(True, len(self)) if shifted is None else shifted
            runs = zip(self.contexts, functionals, flags, strict=True)
            for group in self.passes.groups(self.contexts):
                sinks: list[_SummingSink] = []
                readings: list[Reading] = []
                for number, (contexts, vectors, is_shifted) in zip(group, islice(runs, len(group)), strict=True):
                    sinks.append(_SummingSink(self.space, vectors, is_shifted, loadings))
                    words = Words.of(contexts, carry=self.passes.carry)
                    readings.append(Reading(number, contexts, words, sinks[-1]))
                started = time.monotonic()
                with watching(model, allowed=self.hooks_allowed) as watch:
                    self.passes.after_batch = watch.check
                    self.passes.read(readings, bar)
                if self.state is not None:
                    self.state.require_unchanged(time.monotonic() - started)
                for sink in sinks:
                    yield sink.result()

    def __getitem__(self, index: int) -> StreamRun:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What is known of a run; its table is made anew at every access, so that a million rows need not be held."""
        if not -len(self) <= whole_number(index, "run") < len(self):
            raise InputIndexError(f"run {index} is not in this stream; runs: 0 to {len(self) - 1}")
        number = range(len(self))[index]  # negative numbers count from the end
        contexts = self.contexts[number]
        words = Words.of(contexts, carry=self.passes.carry)
        table = row_table(contexts, words, self.tokenizer, self._first_prompts[number], False)
        return StreamRun(self.space, self.design.events(number), table)

    def __len__(self) -> int:
        return len(self.contexts)

    def __repr__(self) -> str:
        known = model_dtype_of(self.about).get("model_dtype")
        units = self.space.describe() + (f" in {known}" if known else "")
        return f"Stream: {len(self)} runs, {self.n_rows:,} rows, {units}; nothing is stored"


class _SummingSink:
    """A sink that adds up the activations of one run."""

    def __init__(
        self,
        space: UnitSpace,
        vectors: Any,
        shifted: bool,
        loadings: Float[np.ndarray, "unit component"] | None,
    ) -> None:
        self._space = space
        self._shifted = shifted
        self._vectors = sparse.csc_array(vectors)  # by columns: those of a batch's rows are picked at every batch
        # the chunk of which vectors were picked last, and what was found
        self._picked_vectors: tuple[Chunk, torch.Tensor, torch.Tensor] | None = None
        self._loadings = None if loadings is None else torch.from_numpy(np.ascontiguousarray(loadings, np.float32))
        n = vectors.shape[0]
        # of every layer that has units; in float64, moved to the layer's device with its first batch
        self._products = {layer: torch.zeros(n, w, dtype=torch.float64) for layer, w in enumerate(space.widths) if w}
        # rows: squares, lagged, ends
        self._squares = {layer: torch.zeros(3, w, dtype=torch.float64) for layer, w in enumerate(space.widths) if w}
        self._shift: dict[int, torch.Tensor] = {}
        self._sketch = None if loadings is None else np.zeros((vectors.shape[1], loadings.shape[1]))

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None:
        """Add the activations of one batch at one layer.

        Args:
            chunk: The contexts, and the rows that the activations belong to.
            tap: Site and layer of the activations.
            values: (row, unit) activations; they may be changed.

        Raises:
            InputError: An activation is NaN or infinite.
        """
        y = values.float()
        layer = tap.layer
        # the sum is not finite if a number is not; it may also overflow, so only the numbers themselves decide
        if not bool(torch.isfinite(y.sum())):
            is_finite = torch.isfinite(y).all(1)
            if not bool(is_finite.all()):
                row = int(chunk.rows[~is_finite.cpu().numpy()].min())
                raise InputError(
                    f"layer {layer}, row {row} of a run has NaN or infinite activations; check the model's weights "
                    "and dtype"
                )
        # Y P is a sum over layers, each with its own rows of P; before the shift is taken off
        if self._loadings is not None and self._sketch is not None:
            part = self._loadings[self._space.layer_slice(layer)].to(y.device)
            self._sketch[chunk.rows] += (y @ part).double().cpu().numpy()
        # the first batch decides the shift: any constant is right, and one near the mean keeps most digits
        if layer not in self._shift:
            self._shift[layer] = y.mean(0) if self._shifted else torch.zeros_like(y[0])
            self._products[layer] = self._products[layer].to(y.device)
            self._squares[layer] = self._squares[layer].to(y.device)
        y = y.sub_(self._shift[layer])  # Z, in place: the copy belongs to the sink
        # W Z of the rows of this batch; only vectors that are not zero there
        active, vectors = self._vectors_at(chunk)
        self._products[layer][active.to(y.device)] += (vectors.to(y.device) @ y).double()
        self._add_squares(y, chunk.lengths, self._squares[layer])

    def _vectors_at(self, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the row vectors that are not zero at all rows of a chunk, and their values (vector, row) there."""
        # picked once for all layers of a batch
        if self._picked_vectors is None or self._picked_vectors[0] is not chunk:
            columns = self._vectors[:, chunk.rows]
            active = np.unique(columns.indices)  # an indicator of blocks is zero in all blocks but its own
            dense = torch.from_numpy(columns.tocsr()[active].toarray()).float()
            self._picked_vectors = chunk, torch.from_numpy(active.astype(np.int64)), dense
        return self._picked_vectors[1:]

    def _add_squares(self, y: torch.Tensor, lengths: list[int], into: torch.Tensor) -> None:
        """Add squares, lagged products and ends, context by context, so that what is multiplied is still in cache."""
        for part in y.split(lengths):
            # no product reaches from one context into the next
            into[0] += part.square().sum(0)
            into[1] += (part[1:] * part[:-1]).sum(0)
            into[2] += part[0].square() + part[-1].square()

    def result(self) -> RowSums:
        """The sums of the run, of all layers side by side."""

        def joined(parts: Mapping[int, torch.Tensor]) -> np.ndarray:
            return torch.cat([parts[layer].double().cpu() for layer in sorted(parts)], dim=-1).numpy()

        squares = joined(self._squares)
        return RowSums(joined(self._products), squares[0], squares[1], squares[2], joined(self._shift), self._sketch)
