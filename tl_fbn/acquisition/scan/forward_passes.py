"""Forward passes over the contexts of one run: every recorded activation is handed on once, as the model computes it.

Hooks copy the rows of real tokens out of each batch (pads are dropped there and then, and a later in-place edit cannot
reach what was copied) and give them to a *sink*: a writer of files, or an accumulator of sums. Nothing is kept.

Prompts of similar length share a batch, padded on the right. Tokens that the model writes are caught inside the decoding
loop, at the step that reads them. Where nobody asks for surprisal the pass is left once the last hook has fired: the
unembedding, a third of a small model, is never computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sampling import Chooser, Decoder, DecodingMode
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.errors import InputError


class Enough(Exception):
    """Every hook has fired; the rest of the forward pass is not needed."""


@dataclass(frozen=True)
class Chunk:
    """Contexts read together, one after the other.

    Args:
        contexts: The contexts.
        numbers: (context,) their numbers within the run.
        rows: (row,) row numbers within the run, context by context.
    """

    contexts: tuple[Context, ...]
    numbers: Int[np.ndarray, " context"]
    rows: Int[np.ndarray, " row"]

    @property
    def lengths(self) -> list[int]:
        return [context.n_rows for context in self.contexts]


@runtime_checkable
class Sink(Protocol):
    """Takes the activations of a chunk at one tap: (row, unit), a copy that is the sink's own."""

    def take(self, chunk: Chunk, tap: Tap, values: torch.Tensor) -> None: ...


@dataclass
class Words:
    """What is known of each row's token.

    Args:
        ids: (row,) token ids.
        position: (row,) place in the context.
        surprisal: (row,) in nats; NaN where unknown.
        entropy: (row,) of the distribution that the token was drawn from, in nats; NaN where unknown.
    """

    ids: Int[np.ndarray, " row"]
    position: Int[np.ndarray, " row"]
    surprisal: Float[np.ndarray, " row"]
    entropy: Float[np.ndarray, " row"]

    @classmethod
    def of(cls, contexts: Sequence[Context], *, carry: bool = False) -> Words:
        """Tokens of prompts are known before anything runs; of those to be generated, the place only.

        Args:
            contexts: The contexts of a run.
            carry: Each context continues the one before it.
        """
        n_rows = sum(context.n_rows for context in contexts)
        ids = np.full(n_rows, -1)
        position = np.zeros(n_rows, dtype=np.int64)
        before = 0
        for context in contexts:
            first = before + len(context.ids) if context.new else 0
            position[context.rows] = np.arange(first, first + context.n_rows)
            if not context.new:
                ids[context.rows] = context.ids
            before += len(context.ids) + context.new if carry else 0
        return cls(ids, position, np.full(n_rows, np.nan, np.float32), np.full(n_rows, np.nan, np.float32))


@dataclass
class Passes:
    """How contexts are read.

    Args:
        model: The model.
        taps: What is recorded.
        batch_size: Contexts in a pass.
        surprisal: Score each token; costs the unembedding.
        entropy: And the entropy of each prediction.
        chooser: Chooses generated tokens; None for prompt rows.
        mode: How to decode them.
        carry: A run is one growing context.
    """

    model: HookedModel
    taps: Sequence[Tap]
    batch_size: int
    surprisal: bool = True
    entropy: bool = False
    chooser: Chooser | None = None
    mode: DecodingMode = "reread"
    carry: bool = False
    _caught: dict[Tap, torch.Tensor] = field(default_factory=dict, repr=False)

    @torch.no_grad()
    def read(self, contexts: Sequence[Context], run: int, sink: Sink, words: Words, bar: tqdm) -> None:
        """Read one run: its activations go to the sink, what becomes known of its tokens into ``words``."""
        if self.chooser is None:
            self._read_prompts(contexts, sink, words, bar)
        elif self.carry:
            self._write_on(contexts, run, sink, words, bar)
        else:
            for batch in self._batches(contexts):
                self._continue(contexts, batch, run, sink, words, Decoder(self.model, self.mode))
                bar.update(sum(contexts[number].n_rows for number in batch))

    def _batches(self, contexts: Sequence[Context]) -> Iterator[list[int]]:
        """Contexts that share a pass: of similar length, and writing equally many tokens where they write."""

        def kind(i: int) -> tuple[int, int]:
            return contexts[i].new, len(contexts[i].ids) if self.mode == "equal" else 0

        order = sorted(
            range(len(contexts)), key=lambda i: (contexts[i].new, len(contexts[i].ids), contexts[i].first_row)
        )
        start = 0
        while start < len(order):
            batch = order[start : start + self.batch_size]
            if self.chooser is not None:
                batch = [i for i in batch if kind(i) == kind(batch[0])]
            yield batch
            start += len(batch)

    def _read_prompts(self, contexts: Sequence[Context], sink: Sink, words: Words, bar: tqdm) -> None:
        scored = self.surprisal or self.entropy
        stop = not scored and host.may_stop_early(self.model)
        state: dict[str, Any] = {}

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            seen = state["seen"]
            real = state["real"]
            _fires_once(seen, tap)
            values = tap.read(tensor).flatten(0, 1)
            sink.take(state["chunk"], tap, values.index_select(0, real.to(values.device)))
            if stop and len(seen) == len(self.taps):
                raise Enough

        device = host.model_device(self.model)
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        with self.model.hooks(fwd_hooks=hooks), declared(self.model, None):
            for batch in self._batches(contexts):
                chunk = _chunk(contexts, batch)
                ids, mask, real = host.pad_batch([context.ids for context in chunk.contexts], device)
                state.update(seen=set(), real=real, chunk=chunk)
                try:
                    logits = host.forward(self.model, ids, mask, return_type="logits" if scored else None)
                except Enough:
                    logits = None
                _all_fired(state["seen"], self.taps)
                if logits is not None:
                    for i, context in enumerate(chunk.contexts):
                        self._score_prompt(logits[i, : len(context.ids) - 1], context, words)
                bar.update(len(chunk.rows))

    def _score_prompt(self, logits: Float[torch.Tensor, "pos vocab"], context: Context, words: Words) -> None:
        following = torch.tensor(context.ids[1:], dtype=torch.long, device=logits.device)
        rows = slice(context.first_row + 1, context.first_row + len(context.ids))
        words.surprisal[rows], words.entropy[rows] = self._scores(logits, following)

    def _scores(
        self, logits: Float[torch.Tensor, "pos vocab"], following: Int[torch.Tensor, " pos"]
    ) -> tuple[Float[np.ndarray, " pos"], Float[np.ndarray, " pos"]]:
        """Minus the log-probability of each token given those before it, and the entropy of each prediction, in nats."""
        entropy = np.full(len(following), np.nan, np.float32)
        if not self.entropy:
            # on a CPU a few rows at a time, which stay in its cache
            n_rows = 16 if logits.device.type == "cpu" else max(len(logits), 1)
            parts = zip(logits.split(n_rows), following.split(n_rows), strict=True)
            surprisal = torch.cat(
                [rows.float().logsumexp(-1) - rows.gather(-1, tokens[:, None])[:, 0].float() for rows, tokens in parts]
            )
            return surprisal.cpu().numpy(), entropy
        log_probs = logits.float().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1).cpu().numpy()
        return -log_probs.gather(-1, following[:, None])[:, 0].cpu().numpy(), entropy

    def _write_on(self, contexts: Sequence[Context], run: int, sink: Sink, words: Words, bar: tqdm) -> None:
        """One context after the other, each continuing all that was read before."""
        decoder = Decoder(self.model, self.mode)
        for number, context in enumerate(contexts):
            self._continue(contexts, [number], run, sink, words, decoder)
            bar.update(context.n_rows)

    def _continue(
        self, contexts: Sequence[Context], batch: list[int], run: int, sink: Sink, words: Words, decoder: Decoder
    ) -> None:
        """Show a batch of prompts and let the model write after each; its tokens are caught as they are read."""
        assert self.chooser is not None
        chunk = _chunk(contexts, batch)
        (n_steps,) = set(chunk.lengths)
        draws = np.array([self.chooser.draws(run, number, n_steps) for number in batch])
        steps: Mapping[Tap, list[torch.Tensor]] = {tap: [] for tap in self.taps}

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            steps[tap].append(tap.read(tensor)[:, -1].clone())

        logits = decoder.feed([context.ids for context in chunk.contexts])
        cached = self.mode != "reread"
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps] if cached else []
        with self.model.hooks(fwd_hooks=hooks):
            for step in range(n_steps):
                chosen = self.chooser.choose(logits, draws[:, step])
                self._note(chunk, step, chosen, logits, words)
                logits = decoder.feed([[int(token)] for token in chosen])
        if not cached:
            self._reread(chunk, decoder, sink)
            return
        for tap, caught in steps.items():
            if len(caught) != n_steps:
                raise InputError(_misfired(tap, f"{len(caught)} times in {n_steps} steps"))
            sink.take(chunk, tap, torch.stack(caught, dim=1).flatten(0, 1))

    def _note(
        self,
        chunk: Chunk,
        step: int,
        chosen: Int[np.ndarray, " batch"],
        logits: Float[torch.Tensor, "batch vocab"],
        words: Words,
    ) -> None:
        rows = [context.first_row + step for context in chunk.contexts]
        words.ids[rows] = chosen
        if self.surprisal or self.entropy:
            following = torch.as_tensor(chosen, device=logits.device)
            words.surprisal[rows], words.entropy[rows] = self._scores(logits, following)

    def _reread(self, chunk: Chunk, decoder: Decoder, sink: Sink) -> None:
        """Activations of the tokens written, from one pass over the finished texts."""
        seen: set[Tap] = set()
        longest = max(map(len, decoder.texts))
        wanted = [
            i * longest + len(text) - length + step
            for i, (text, length) in enumerate(zip(decoder.texts, chunk.lengths, strict=True))
            for step in range(length)
        ]

        def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
            _fires_once(seen, tap)
            values = tap.read(tensor).flatten(0, 1)
            sink.take(chunk, tap, values.index_select(0, torch.tensor(wanted, device=values.device)))

        ids, mask, _ = host.pad_batch(decoder.texts, host.model_device(self.model))
        hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in self.taps]
        with self.model.hooks(fwd_hooks=hooks), declared(self.model, decoder.prompt):
            host.forward(self.model, ids, mask)
        _all_fired(seen, self.taps)


def _chunk(contexts: Sequence[Context], batch: list[int]) -> Chunk:
    chosen = tuple(contexts[number] for number in batch)
    rows = np.concatenate([np.arange(context.rows.start, context.rows.stop) for context in chosen])
    return Chunk(chosen, np.array(batch), rows)


def _fires_once(seen: set[Tap], tap: Tap) -> None:
    if tap in seen:
        raise InputError(_misfired(tap, "twice"))
    seen.add(tap)


def _all_fired(seen: set[Tap], taps: Sequence[Tap]) -> None:
    for tap in taps:
        if tap not in seen:
            raise InputError(_misfired(tap, "never"))


def _misfired(tap: Tap, how: str) -> str:
    return (
        f"hook {tap.hook_name!r} fired {how} in one forward pass where once is needed; switch gradient checkpointing off, load the "
        'model with attn_implementation="eager", or record another site'
    )
