"""Forward passes over the contexts of one run: every recorded activation is handed on once, as the model computes it.

Hooks copy the rows of real tokens out of each batch and give them to a *sink*: a writer of files, or an accumulator
of sums. Padding is dropped at once, and what was copied cannot change when the model edits the activation in
place. Nothing is kept here: memory is one batch, whatever the length of the run.

Three ways of reading:

- *prompts*: prompts of similar length share a batch, padded on the right. Where nobody asks for surprisal, the pass
  ends once the last hook has run: the unembedding, a third of the work of a small model, is not computed.
- *tokens that the model writes* are recorded inside the decoding loop, at the step in which the model reads them; a
  model that cannot decode with a key-value cache reads its finished texts once more instead.
- *a carried context*: as before, with one prompt after the other, each behind all that was read and written before.

Surprisal of a token is minus the logarithm of the probability that the model gave it, from the logits one position
earlier; the entropy is that of the whole distribution there, -sum p log p. Both are in nats, and of the model's own
probabilities: at temperature 1 and with end of text allowed, also where tokens are sampled otherwise. The first token
of a prompt is not predicted by anything, and has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

    @serves_one_thread("a scan")
    @torch.no_grad()
    def read(self, contexts: Sequence[Context], run: int, sink: Sink, words: Words, bar: tqdm) -> None:
        """Read one run.

        Args:
            contexts: The contexts of the run.
            run: Number of the run, from 0; with it, each run has random numbers of its own.
            sink: Takes the activations.
            words: Gets the tokens that are written, and the surprisal and entropy of all, where they are asked for.
            bar: Progress bar that counts rows.
        """
        if self.chooser is None:
            self._read_prompts(contexts, sink, words, bar)
        elif self.carry:
            self._write_into_one_context(contexts, run, sink, words, bar)
        else:
            for batch in self._batches(contexts):
                self._write_after_prompts(contexts, batch, run, sink, words, Decoder(self.model, self.mode))
                bar.update(sum(contexts[number].n_rows for number in batch))

    def _batches(self, contexts: Sequence[Context]) -> Iterator[list[int]]:
        """Numbers of the contexts that share a pass: of similar length, and writing equally many tokens if any."""

        def shared_by_batch(i: int) -> tuple[int, int]:
            """What contexts of one decoding loop have in common: steps, and the prompt's length without a mask."""
            return contexts[i].new, len(contexts[i].ids) if self.mode == "equal" else 0

        # neighbours in this order need the least padding
        order = sorted(
            range(len(contexts)), key=lambda i: (contexts[i].new, len(contexts[i].ids), contexts[i].first_row)
        )
        start = 0
        while start < len(order):
            batch = order[start : start + self.batch_size]
            if self.chooser is not None:
                # sorted, so that those left out are the last ones, and begin the next batch
                batch = [i for i in batch if shared_by_batch(i) == shared_by_batch(batch[0])]
            yield batch
            start += len(batch)

    def _read_prompts(self, contexts: Sequence[Context], sink: Sink, words: Words, bar: tqdm) -> None:
        """Read prompts whose own tokens are the rows, batch by batch, in one pass each."""
        scored = self.surprisal or self.entropy
        stops_early = not scored and host.may_stop_early(self.model)
        state: dict[str, Any] = {}  # of the batch that is being read; the hooks are put on once for all batches

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            fired = state["fired"]
            real = state["real"]
            _note_firing(fired, tap)
            # (batch pos, unit), of which only the rows of real tokens are copied
            values = tap.read(tensor).flatten(0, 1)
            sink.take(state["chunk"], tap, values.index_select(0, real.to(values.device)))
            if stops_early and len(fired) == len(self.taps):
                raise Enough

        device = host.model_device(self.model)
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        # declared: all that is read is prompt, for interventions that act on some phases only
        with hooked(self.model, hooks, "a scan"), declared(self.model, None):
            for batch in self._batches(contexts):
                chunk = _chunk_of(contexts, batch)
                # real: flat indices of real tokens in (batch pos), in the order of chunk.rows
                ids, mask, real = host.pad_batch([context.ids for context in chunk.contexts], device)
                state.update(fired=set(), real=real, chunk=chunk)
                try:
                    logits = host.forward(self.model, ids, mask, return_type="logits" if scored else None)
                except Enough:
                    logits = None
                _require_all_fired(state["fired"], self.taps)
                if self.after_batch is not None:
                    self.after_batch()
                if logits is not None:
                    for i, context in enumerate(chunk.contexts):
                        # the logits behind the last token predict nothing that was read
                        self._score_prompt(logits[i, : len(context.ids) - 1], context, words)
                bar.update(len(chunk.rows))

    def _score_prompt(self, logits: Float[torch.Tensor, "pos vocab"], context: Context, words: Words) -> None:
        """Score the tokens of one prompt from its second on; logits at position t predict token t + 1."""
        following = torch.tensor(context.ids[1:], dtype=torch.long, device=logits.device)
        rows = slice(context.first_row + 1, context.first_row + len(context.ids))
        words.surprisal[rows], words.entropy[rows] = self._surprisal_and_entropy(logits, following)

    def _surprisal_and_entropy(
        self, logits: Float[torch.Tensor, "pos vocab"], following: Int[torch.Tensor, " pos"]
    ) -> tuple[Float[np.ndarray, " pos"], Float[np.ndarray, " pos"]]:
        """Of each position the surprisal of the token that follows, and the entropy of its prediction, in nats."""
        entropy = np.full(len(following), np.nan, np.float32)
        if not self.entropy:
            # -log p(token) = logsumexp(logits) - logit(token), without the array of all log-probabilities;
            # on a CPU a few rows at a time, which stay in its cache
            n_rows = 16 if logits.device.type == "cpu" else max(len(logits), 1)
            parts = zip(logits.split(n_rows), following.split(n_rows), strict=True)
            surprisal = torch.cat(
                [rows.float().logsumexp(-1) - rows.gather(-1, tokens[:, None])[:, 0].float() for rows, tokens in parts]
            )
            return surprisal.cpu().numpy(), entropy
        log_probs = logits.float().log_softmax(-1)
        # H = -sum p log p over the vocabulary; a token that is ruled out (logit -inf) adds 0, where 0 * -inf is NaN
        entropy = torch.special.entr(log_probs.exp()).sum(-1).cpu().numpy()
        return -log_probs.gather(-1, following[:, None])[:, 0].cpu().numpy(), entropy

    def _write_into_one_context(
        self, contexts: Sequence[Context], run: int, sink: Sink, words: Words, bar: tqdm
    ) -> None:
        """Show one prompt after the other, each behind all that was read and written before."""
        decoder = Decoder(self.model, self.mode)  # one for the run: it holds the growing text
        for number, context in enumerate(contexts):
            self._write_after_prompts(contexts, [number], run, sink, words, decoder)
            bar.update(context.n_rows)

    def _write_after_prompts(
        self, contexts: Sequence[Context], batch: list[int], run: int, sink: Sink, words: Words, decoder: Decoder
    ) -> None:
        """Show a batch of prompts and let the model write after each; hand on its tokens' activations."""
        assert self.chooser is not None
        chunk = _chunk_of(contexts, batch)
        (n_steps,) = set(chunk.lengths)  # all contexts of a batch write equally many tokens
        # (context, step) uniform numbers, decided by run and context: the batch does not matter
        draws = np.array([self.chooser.draws(run, number, n_steps) for number in batch])
        steps: Mapping[Tap, list[torch.Tensor]] = {tap: [] for tap in self.taps}

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            steps[tap].append(tap.read(tensor)[:, -1].clone())  # (context, unit) of the one token that is read

        # the prompts first, without hooks: they give no rows, only the logits of the first token to write
        logits = decoder.feed([context.ids for context in chunk.contexts])
        cached = self.mode != "reread"
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps] if cached else []
        with hooked(self.model, hooks, "a scan"):
            for step in range(n_steps):
                chosen = self.chooser.choose(logits, draws[:, step])
                self._note_tokens(chunk, step, chosen, logits, words)
                # reading the token gives its activations; the last one is read for them alone
                logits = decoder.feed([[int(token)] for token in chosen])
        if self.after_batch is not None:
            self.after_batch()
        if not cached:
            self._reread_texts(chunk, decoder, sink)
            return
        for tap, caught in steps.items():
            if len(caught) != n_steps:
                raise InputError(_misfire_message(tap, f"{len(caught)} times in {n_steps} steps"))
            # (context, step, unit), flattened to the order of chunk.rows
            sink.take(chunk, tap, torch.stack(caught, dim=1).flatten(0, 1))

    def _note_tokens(
        self,
        chunk: Chunk,
        step: int,
        chosen: Int[np.ndarray, " batch"],
        logits: Float[torch.Tensor, "batch vocab"],
        words: Words,
    ) -> None:
        """Write down the tokens of one step, and how well the model predicted them."""
        rows = [context.first_row + step for context in chunk.contexts]
        words.ids[rows] = chosen
        if self.surprisal or self.entropy:
            following = torch.as_tensor(chosen, device=logits.device)
            words.surprisal[rows], words.entropy[rows] = self._surprisal_and_entropy(logits, following)

    def _reread_texts(self, chunk: Chunk, decoder: Decoder, sink: Sink) -> None:
        """Hand on the activations of written tokens, from one pass over the finished texts."""
        fired: set[Tap] = set()
        longest = max(map(len, decoder.texts))
        # flat indices in (batch pos): text i begins at i * longest, and the tokens written are its last ones
        written_tokens = [
            i * longest + len(text) - length + step
            for i, (text, length) in enumerate(zip(decoder.texts, chunk.lengths, strict=True))
            for step in range(length)
        ]

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            _note_firing(fired, tap)
            values = tap.read(tensor).flatten(0, 1)
            sink.take(chunk, tap, values.index_select(0, torch.tensor(written_tokens, device=values.device)))

        ids, mask, _ = host.pad_batch(decoder.texts, host.model_device(self.model))
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        with hooked(self.model, hooks, "a scan"), declared(self.model, decoder.prompt):
            host.forward(self.model, ids, mask)
        _require_all_fired(fired, self.taps)


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
