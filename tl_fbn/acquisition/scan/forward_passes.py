"""Forward passes over the contexts of runs: every recorded activation is handed on once, as the model computes it.

Hooks copy the rows of real tokens out of each batch and give them to a *sink*: a writer of files, or an accumulator
of sums, one for each run. Padding is dropped at once, and what was copied cannot change when the model edits the
activation in place. Memory is one batch, whatever the length of the run.

Three ways of reading:

- *prompts*: prompts of similar length share a batch, padded on the right. Where nobody asks for surprisal, the pass
  ends once the last hook has run: the unembedding, a third of the work of a small model, is not computed.
- *tokens that the model writes* are recorded inside the decoding loop, at the step in which the model reads them; a
  model that cannot decode with a key-value cache reads its finished texts once more instead. Contexts of several runs
  share a batch (:mod:`.run_groups`).
- *a carried context*: as before, with one prompt after the other, each behind all that was read and written before.

Surprisal of a token is minus the logarithm of the probability that the model gave it, from the logits one position
earlier; the entropy is that of the whole distribution there, -sum p log p. Both are in nats, and of the model's own
probabilities: at temperature 1 and with end of text allowed, also where tokens are sampled otherwise. The first token
of a prompt is not predicted by anything, and has neither. Logits are made and scored a piece at a time
(:mod:`tl_fbn.acquisition.model.unembedding`): those of all positions are never in memory together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.acquisition.model.sampling import Chooser, Decoder, DecodingMode
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.model.unembedding import unembedding_in_pieces, unembedding_of_places
from tl_fbn.acquisition.scan.run_groups import batches, groups_of_runs
from tl_fbn.acquisition.scan.token_scores import PredictedTokens, surprisal_and_entropy
from tl_fbn.errors import InputError


class Enough(Exception):
    """Raised by the last hook that has to run: the rest of the forward pass is not needed."""


@dataclass(frozen=True)
class Chunk:
    """Contexts of one run that share a batch, and the rows that they give.

    Args:
        contexts: The contexts, in the order of the batch.
        numbers: (context,) number of each context within the run, from 0.
        rows: (row,) number of each row within the run, from 0, all rows of one context behind those of another.
    """

    contexts: tuple[Context, ...]
    numbers: Int[np.ndarray, " context"]
    rows: Int[np.ndarray, " row"]

    @property
    def lengths(self) -> list[int]:
        """Number of rows of each context."""
        return [context.n_rows for context in self.contexts]


@runtime_checkable
class Sink(Protocol):
    """Where activations go: anything that takes them batch by batch."""

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None:
        """Take the activations of the contexts of one batch at one tap.

        Args:
            chunk: The contexts, and the rows that the activations belong to.
            tap: Site and layer of the activations.
            values: (row, unit) activations, in the model's dtype and on its device; a copy that the sink may change.
        """


@dataclass
class Words:
    """What is known of the token of each row of a run; passes fill in what only the model can tell.

    Args:
        ids: (row,) token ids; -1 for a token that the model has yet to write.
        position: (row,) number of the token within its context, from 0.
        surprisal: (row,) surprisal of the token, in nats; NaN where unknown.
        entropy: (row,) entropy of the model's prediction of the token, in nats; NaN where unknown.
    """

    ids: Int[np.ndarray, " row"]
    position: Int[np.ndarray, " row"]
    surprisal: Float[np.ndarray, " row"]
    entropy: Float[np.ndarray, " row"]

    @classmethod
    def of(cls, contexts: Sequence[Context], *, carry: bool = False) -> Words:
        """What is known before anything runs: of prompts their tokens, of tokens to be written their positions only.

        Args:
            contexts: The contexts of a run.
            carry: True where each context continues the one before it, so that positions count on.

        Returns:
            Ids and positions; surprisal and entropy are NaN throughout.
        """
        n_rows = sum(context.n_rows for context in contexts)
        ids = np.full(n_rows, -1)
        position = np.zeros(n_rows, dtype=np.int64)
        before = 0  # tokens that the model has read when a context begins; stays 0 where each begins afresh
        for context in contexts:
            # rows are the tokens written, which stand behind the prompt, or the prompt itself
            first = before + len(context.ids) if context.new else 0
            position[context.rows] = np.arange(first, first + context.n_rows)
            if not context.new:
                ids[context.rows] = context.ids
            before += len(context.ids) + context.new if carry else 0
        return cls(ids, position, np.full(n_rows, np.nan, np.float32), np.full(n_rows, np.nan, np.float32))


@dataclass(frozen=True, eq=False)
class Reading:
    """A run that is read: its contexts, and where what is read of them goes.

    Args:
        run: Number of the run, from 0; with it, each run has random numbers of its own.
        contexts: The contexts of the run.
        words: Gets the tokens that are written, and the surprisal and entropy of all, where they are asked for.
        sink: Takes the activations; None where the run is read for the sake of those that share its batches only.
    """

    run: int
    contexts: Sequence[Context]
    words: Words
    sink: Sink | None


@dataclass
class Passes:
    """How contexts are read: which activations are handed on, and whether the model writes.

    Args:
        model: The model.
        taps: The hook points whose activations are handed on.
        batch_size: Largest number of contexts in one forward pass.
        surprisal: True scores each token, which costs the unembedding.
        entropy: True also takes the entropy of the prediction of each token.
        chooser: Chooses the tokens that the model writes, which are then the rows; None where rows are the tokens of
            prompts.
        mode: How written tokens are decoded: ``"padded"``, ``"equal"`` or ``"reread"``.
        carry: True where a run is one growing context; only for tokens that the model writes.
        after_batch: Called behind every batch, to look whether the model is still what it was; None calls nothing.
    """

    model: HookedModel
    taps: Sequence[Tap]
    batch_size: int
    surprisal: bool = True
    entropy: bool = False
    chooser: Chooser | None = None
    mode: DecodingMode = "reread"
    carry: bool = False
    after_batch: Callable[[], None] | None = None

    def groups(self, runs: Sequence[Sequence[Context]]) -> list[range]:
        """Numbers of the runs that are read together, group by group.

        Args:
            runs: For every run of a design its contexts.
        """
        mode = None if self.chooser is None else self.mode
        n_units = sum(tap.width for tap in self.taps)
        return groups_of_runs(runs, batch_size=self.batch_size, mode=mode, carry=self.carry, n_units=n_units)

    @serves_one_thread("a scan")
    @torch.no_grad()
    def read(self, readings: Sequence[Reading], bar: tqdm) -> None:
        """Read runs: contexts of all of them share batches where the model writes, each in a context of its own.

        Args:
            readings: The runs; which runs are read together decides the batches, and so the rounding of what is read.
            bar: Progress bar that counts the rows of runs whose activations are taken.
        """
        if self.chooser is not None and not self.carry:
            owners = [(one, number) for one in readings for number in range(len(one.contexts))]
            for batch in batches([one.contexts[number] for one, number in owners], self.batch_size, self.mode):
                self._write_after_prompts([owners[i] for i in batch], Decoder(self.model, self.mode), bar)
            return
        for one in readings:
            if self.chooser is None:
                self._read_prompts(one, bar)
            else:
                decoder = Decoder(self.model, self.mode)  # one for the run: it holds the growing text
                for number in range(len(one.contexts)):
                    self._write_after_prompts([(one, number)], decoder, bar)

    def _read_prompts(self, reading: Reading, bar: tqdm) -> None:
        """Read prompts whose own tokens are the rows, batch by batch, in one pass each."""
        assert reading.sink is not None  # prompts of one run share no batch with those of another
        contexts, sink = reading.contexts, reading.sink
        scored = self.surprisal or self.entropy
        stops_early = not scored and host.may_stop_early(self.model)
        state: dict[str, Any] = {}  # of the batch that is being read; the hooks are put on once for all batches

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            if state["scoring"]:  # the batch was read: this is for its logits only
                return
            fired, real = state["fired"], state["real"]
            _note_firing(fired, tap)
            # (batch pos, unit), of which only the rows of real tokens are copied
            values = tap.read(tensor).flatten(0, 1)
            sink.take(state["chunk"], tap, values.index_select(0, real.to(values.device)))
            if stops_early and len(fired) == len(self.taps):
                raise Enough

        device = host.model_device(self.model)
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        # declared: all that is read is prompt, for interventions that act on some phases only
        with (
            hooked(self.model, hooks, "a scan"),
            declared(self.model, None),
            unembedding_in_pieces(self.model) as logits_in_pieces,
        ):
            for batch in batches(contexts, self.batch_size):
                chunk = _chunk_of(contexts, batch)
                # real: flat indices of real tokens in (batch pos), in the order of chunk.rows
                ids, mask, real = host.pad_batch([context.ids for context in chunk.contexts], device)
                state.update(fired=set(), real=real, chunk=chunk, scoring=False)
                predicted = PredictedTokens.of(chunk.contexts)
                run = partial(host.forward, self.model, ids, mask)
                if not scored or not len(predicted.rows):
                    with suppress(Enough):
                        place = torch.zeros(1, dtype=torch.long)
                        next(logits_in_pieces(run, place, place))  # of logits that nobody asked for, one position's
                else:
                    start = 0
                    for logits in logits_in_pieces(run, predicted.texts, predicted.positions):
                        state["scoring"] = True
                        some = slice(start, start + len(logits))
                        self._score(logits, predicted.ids[some], reading.words, predicted.rows[some])
                        start = some.stop
                        del logits  # before the next piece is made
                _require_all_fired(state["fired"], self.taps)
                if self.after_batch is not None:
                    self.after_batch()
                bar.update(len(chunk.rows))

    def _score(
        self,
        logits: Float[torch.Tensor, "row vocab"],
        following: Int[torch.Tensor, " row"],
        words: Words,
        rows: Int[np.ndarray, " row"],
    ) -> None:
        """Note how well logits predicted the tokens of some rows."""
        following = following.to(logits.device)
        words.surprisal[rows], words.entropy[rows] = surprisal_and_entropy(logits, following, entropy=self.entropy)

    def _write_after_prompts(self, owners: Sequence[tuple[Reading, int]], decoder: Decoder, bar: tqdm) -> None:
        """Show a batch of prompts and let the model write after each; hand on its tokens' activations.

        Args:
            owners: The contexts of the batch, each as its run and its number within the run.
            decoder: Holds the texts before, of a context that goes on; else it is new.
            bar: Progress bar that counts rows.
        """
        assert self.chooser is not None
        shown = [reading.contexts[number] for reading, number in owners]
        (n_steps,) = {context.n_rows for context in shown}  # all contexts of a batch write equally many tokens
        # (context, step) uniform numbers, decided by run and context: the batch does not matter
        draws = np.array([self.chooser.draws(reading.run, number, n_steps) for reading, number in owners])
        steps: Mapping[Tap, list[torch.Tensor]] = {tap: [] for tap in self.taps}

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            steps[tap].append(tap.read(tensor)[:, -1].clone())  # (context, unit) of the one token that is read

        # the prompts first, without hooks: they give no rows, only the logits of the first token to write
        logits = decoder.feed([context.ids for context in shown])
        cached = self.mode != "reread"
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps] if cached else []
        with hooked(self.model, hooks, "a scan"):
            for step in range(n_steps):
                chosen = self.chooser.choose(logits, draws[:, step])
                self._note_tokens(owners, step, chosen, logits)
                # reading the token gives its activations; the last one is read for them alone
                logits = decoder.feed([[int(token)] for token in chosen])
        if self.after_batch is not None:
            self.after_batch()
        parts = _parts_of_runs(owners)
        if not cached:
            self._reread_texts(parts, n_steps, decoder)
        for tap, caught in steps.items() if cached else ():
            if len(caught) != n_steps:
                raise InputError(_misfire_message(tap, f"{len(caught)} times in {n_steps} steps"))
            _hand_on(parts, tap, torch.stack(caught, dim=1))
        bar.update(sum(len(chunk.rows) for _, chunk, _ in parts))

    def _note_tokens(
        self,
        owners: Sequence[tuple[Reading, int]],
        step: int,
        chosen: Int[np.ndarray, " context"],
        logits: Float[torch.Tensor, "context vocab"],
    ) -> None:
        """Write down the tokens of one step, and how well the model predicted them."""
        scores = None
        if self.surprisal or self.entropy:
            following = torch.as_tensor(chosen, device=logits.device)
            scores = surprisal_and_entropy(logits, following, entropy=self.entropy)
        for i, (reading, number) in enumerate(owners):
            row = reading.contexts[number].first_row + step
            reading.words.ids[row] = chosen[i]
            if scores is not None:
                reading.words.surprisal[row], reading.words.entropy[row] = scores[0][i], scores[1][i]

    def _reread_texts(self, parts: Sequence[Part], n_steps: int, decoder: Decoder) -> None:
        """Hand on the activations of written tokens, from one pass over the finished texts."""
        fired: set[Tap] = set()
        # (context, step) positions: the tokens written are the last ones of each text
        ends = torch.tensor([len(text) for text in decoder.texts])
        positions = ends[:, None] - n_steps + torch.arange(n_steps)

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            _note_firing(fired, tap)
            values = tap.read(tensor)  # (context, pos, unit)
            texts = torch.arange(len(ends), device=values.device)[:, None]
            _hand_on(parts, tap, values[texts, positions.to(values.device)])

        ids, mask, _ = host.pad_batch(decoder.texts, host.model_device(self.model))
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        run = partial(host.forward, self.model, ids, mask)
        with (
            hooked(self.model, hooks, "a scan"),
            declared(self.model, decoder.prompt),
            unembedding_of_places(self.model) as logits_at,
        ):
            logits_at(ids, torch.arange(len(ends)), ends - 1, run)  # all else of the logits was known before
        _require_all_fired(fired, self.taps)


# of a batch the contexts of one run: who takes their activations, the contexts, and their places in the batch
Part = tuple[Sink, Chunk, list[int]]


def _parts_of_runs(owners: Sequence[tuple[Reading, int]]) -> list[Part]:
    """The contexts of a batch run by run; a run whose activations nobody takes is left out."""
    places: dict[int, list[int]] = {}  # number of a run to the places of its contexts in the batch
    for i, (reading, _) in enumerate(owners):
        places.setdefault(reading.run, []).append(i)
    parts = []
    for members in places.values():
        reading = owners[members[0]][0]
        if reading.sink is not None:
            chunk = _chunk_of(reading.contexts, [owners[i][1] for i in members])
            parts.append((reading.sink, chunk, members))
    return parts


def _hand_on(parts: Sequence[Part], tap: Tap, values: Float[torch.Tensor, "context step unit"]) -> None:
    """Give each run its activations, in the order of the rows of its chunk; sinks may change what they are given."""
    for sink, chunk, members in parts:
        # of a batch that is one run's, no copy is made
        is_copied = len(members) < len(values)
        own = values.index_select(0, torch.tensor(members, device=values.device)) if is_copied else values
        sink.take(chunk, tap, own.flatten(0, 1))


def _chunk_of(contexts: Sequence[Context], batch: list[int]) -> Chunk:
    chosen = tuple(contexts[number] for number in batch)
    rows = np.concatenate([np.arange(context.rows.start, context.rows.stop) for context in chosen])
    return Chunk(chosen, np.array(batch), rows)


def _note_firing(fired: set[Tap], tap: Tap) -> None:
    """Add a tap to those whose hook has run in this pass; a second time is an error."""
    if tap in fired:
        raise InputError(_misfire_message(tap, "twice"))
    fired.add(tap)


def _require_all_fired(fired: set[Tap], taps: Sequence[Tap]) -> None:
    """Raise an error if a hook did not run: fused code may pass by the module that it is on."""
    for tap in taps:
        if tap not in fired:
            raise InputError(_misfire_message(tap, "never"))


def _misfire_message(tap: Tap, how: str) -> str:
    return (
        f"hook {tap.hook_name!r} fired {how} in one forward pass where once is needed; switch gradient checkpointing "
        'off, load the model with attn_implementation="eager", or record another site'
    )
