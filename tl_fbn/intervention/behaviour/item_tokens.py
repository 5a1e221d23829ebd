"""Items as token ids: what is read, what is scored, and by which digests an item is known.

A *sequence* is one thing to score: an item's prompt followed by one of its alternatives, as they were given, with one
space between them at most (:mod:`tl_fbn.acquisition.design.text_joining`). Where the tokenizer merges the end of the
prompt and the beginning of the answer into one token, that token belongs to the answer. A sentence without a prompt is
scored from its second token on, for a model predicts no first token; where a beginning-of-text token is put before
strings, that is the first.

A battery scores the sequences of all its tasks together (:mod:`.sequence_batches`). A :class:`Layout` knows where the
sequences of one task stand among all, and turns sums over sequences back into results of items, without a loop over
items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.design.text_joining import joined
from tl_fbn.acquisition.model.contexts import encode
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.tasks import Scores, Task, TaskKind, Text

# token ids, and the index of the first scored token; all tokens behind it are scored, too
ScoredSequence = tuple[tuple[int, ...], int]


@dataclass(frozen=True, eq=False)
class Layout:
    """One task's sequences among those of a battery.

    Args:
        kind: Kind of the task: ``"answer"``, ``"choice"`` or ``"text"``.
        span: The task's sequences among all sequences of the battery; those of an item stand together.
        firsts: (item,) number of each item's first sequence, counted within the span.
        owner: (sequence,) number of the item that each sequence belongs to.
        tokens: (sequence, token) number of each scored token among all scored tokens of the battery; -1 behind the
            last.
        answers: (answer, token) token ids of the task's different answers, -1 behind the last; empty for choices and
            texts.
        characters: (sequence,) number of characters of each alternative; NaN for token ids.
    """

    kind: TaskKind
    span: slice
    firsts: Int[np.ndarray, " item"]
    owner: Int[np.ndarray, " sequence"]
    tokens: Int[np.ndarray, "sequence token"]
    answers: Int[np.ndarray, "answer place"]
    characters: Float[np.ndarray, " sequence"]

    @classmethod
    def of(cls, task: Task, sequences: Sequence[ScoredSequence], first: int, offset: int) -> Layout:
        """The layout of a task.

        Args:
            task: The task.
            sequences: All sequences of the battery.
            first: Number of the task's first sequence among them.
            offset: Number of the task's first scored token among all scored tokens of the battery.
        """
        sizes = np.array([len(item.alternatives) for item in task.items])
        own = sequences[first : first + int(sizes.sum())]
        lengths = np.array([len(ids) - start for ids, start in own])
        columns = np.arange(lengths.max())
        # scored tokens are numbered through: those of a sequence are end - length to end - 1
        ends = offset + np.cumsum(lengths)
        tokens = np.where(columns < lengths[:, None], (ends - lengths)[:, None] + columns, -1)
        different = dict.fromkeys(ids[start:] for ids, start in own) if task.kind == "answer" else {}
        return cls(
            task.kind,
            slice(first, first + len(own)),
            np.cumsum(sizes) - sizes,
            np.repeat(np.arange(len(sizes)), sizes),
            tokens,
            padded(list(different)),
            np.array(
                [len(one) if isinstance(one, str) else np.nan for i in task.items for one in i.alternatives],
                dtype=np.float64,
            ),
        )

    def scores(
        self,
        hits: Bool[np.ndarray, " all"],
        sums: Float[np.ndarray, " all"],
        counts: Int[np.ndarray, " all"],
        said: Int[np.ndarray, " flat"],
    ) -> Scores:
        """Results of the task's items, from results of all sequences of the battery.

        Args:
            hits: (sequence,) whether every scored token was the most probable one.
            sums: (sequence,) log-probability of the scored tokens together, in nats.
            counts: (sequence,) number of scored tokens.
            said: (token,) id of the most probable token at every scored place of the battery, and one -1 at the end, to
                which an index of -1 points.
        """
        hits = hits[self.span]
        sums = sums[self.span]
        counts = counts[self.span]
        means = sums / counts
        if self.kind == "choice":
            exact, winner = self._chosen(sums)
            by_item = (self._by_item(sums, -np.inf), self._by_item(counts, 1.0), self._by_item(self.characters, 1.0))
            return Scores(exact, means[self.firsts], winner[:, None].astype(np.int32), self.answers, *by_item)
        if len(self.firsts) == len(sums):  # one sequence an item
            exact = hits if self.kind == "answer" else np.zeros(0, dtype=bool)
            return Scores(exact, means, said[self.tokens], self.answers)
        # several accepted answers: right if any matched; its outputs are shown, else those at the first answer's places
        matched = self._first_sequence_where(hits)
        shown = np.where(matched < len(hits), matched, self.firsts)
        best = np.maximum.reduceat(means, self.firsts)
        return Scores(matched < len(hits), best, said[self.tokens[shown]], self.answers)

    def _chosen(self, sums: Float[np.ndarray, " own"]) -> tuple[Bool[np.ndarray, " item"], Int[np.ndarray, " item"]]:
        """Whether the right alternative won, and the number of the one that did; a tie is lost, to the other."""
        rivals = sums.copy()
        rivals[self.firsts] = -np.inf
        # each item's sequences stand together, so reduceat from `firsts` is a maximum within each item
        best = np.maximum.reduceat(rivals, self.firsts)
        exact = sums[self.firsts] > best
        winner = self._first_sequence_where(rivals == best[self.owner]) - self.firsts
        # a likelihood that is not a number makes the item undecided: no exact match, winner -1
        defined = ~np.isnan(sums[self.firsts] + best)
        return exact, np.where(exact, 0, np.where(defined, winner, -1))

    def _by_item(self, values: np.ndarray, behind: float) -> Float[np.ndarray, "choice alternative"]:
        """A value of each sequence as (item, alternative), with ``behind`` where an item has no such alternative."""
        places = np.arange(len(values)) - self.firsts[self.owner]
        found = np.full((len(self.firsts), places.max() + 1), behind, dtype=np.float64)
        found[self.owner, places] = values
        return found

    def _first_sequence_where(self, true: Bool[np.ndarray, " own"]) -> Int[np.ndarray, " item"]:
        """Number of each item's first sequence for which that is true; beyond the last sequence where there is none."""
        return np.minimum.reduceat(np.where(true, np.arange(len(true)), len(true)), self.firsts)


def tokenizer_state(tokenizer: Any) -> list[Any]:
    """What decides how a tokenizer splits texts, but for its vocabulary, of which only the size is here.

    Args:
        tokenizer: A Hugging Face tokenizer; None where there is none.
    """
    if tokenizer is None:
        return []
    flags = [getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token", "add_prefix_space")]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [getattr(backend, name, None) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    states = [part.__getstate__() if part is not None else None for part in parts]
    return [len(tokenizer), sorted(map(str, tokenizer.special_tokens_map.items())), flags, states]


def padded(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "row place"]:
    """Rows of several lengths as one array.

    Args:
        rows: Token ids, or other numbers from 0.

    Returns:
        (row, place) the numbers, -1 behind the end of each row.
    """
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int32).reshape(len(rows), width)


def encode_tasks(
    tasks: Mapping[str, Task], tokenizer: Any, *, n_ctx: int | None, d_vocab: int | None, prepend_bos: bool
) -> list[ScoredSequence]:
    """The sequences of all items, in the order of tasks, items and alternatives, checked against the model.

    Args:
        tasks: The tasks by name.
        tokenizer: The model's tokenizer; None where all items are token ids.
        n_ctx: Number of tokens that the model's context holds; None where it has no limit.
        d_vocab: Size of the model's vocabulary; None if unknown.
        prepend_bos: Whether a beginning-of-text token is put before items that are strings.

    Raises:
        InputError: An item that is longer than the context, has a token outside the vocabulary or nothing to score, or
            mixes strings and token ids; the message names task and item.
    """
    found = []
    for name, task in tasks.items():
        for number, item in enumerate(task.items):
            where = f"item {number} of task {name!r}"
            for alternative in item.alternatives:
                try:
                    ids, start = encode_item(
                        tokenizer, item.prompt, alternative, d_vocab, prepend_bos=prepend_bos, delimiter=item.delimiter
                    )
                except InputError as error:
                    raise InputError(f"{where}: {error}") from error
                check_ids(ids, where, n_ctx, d_vocab)
                found.append((ids, start))
    return found


def check_ids(ids: Sequence[int], where: str, n_ctx: int | None, d_vocab: int | None, n_new: int = 0) -> None:
    """Raise an error unless token ids fit a model's context and vocabulary.

    Args:
        ids: The token ids.
        where: What they are called in messages, such as ``"item 3 of task 'sort'"``.
        n_ctx: Number of tokens that the model's context holds; None where it has no limit.
        d_vocab: Size of the model's vocabulary; None if unknown.
        n_new: Number of tokens that are written behind them.
    """
    if n_ctx is not None and len(ids) + n_new > n_ctx:
        written = f" and {n_new} to write" if n_new else ""
        remedy = ", or give fewer max_new_tokens" if n_new else ""
        raise InputError(
            f"{where} has {len(ids)} tokens{written}, the model's context holds {n_ctx}; shorten or drop it{remedy}"
        )
    if d_vocab is not None and ids and not 0 <= min(ids) <= max(ids) < d_vocab:
        raise InputError(
            f"{where} has token ids {min(ids)} to {max(ids)}, the vocabulary is 0 to {d_vocab - 1}; give ids of this "
            "model's own tokenizer"
        )


def encode_item(
    tokenizer: Any,
    prompt: Text,
    alternative: Text,
    d_vocab: int | None = None,
    *,
    prepend_bos: bool = True,
    delimiter: str | None = None,
) -> ScoredSequence:
    """Token ids of prompt and alternative together, and the index of the first token that is scored.

    The first token of all is never scored, for a model predicts none.

    Args:
        tokenizer: The model's tokenizer; None where prompt and alternative are token ids.
        prompt: What is read; empty for sentences and passages.
        alternative: What is scored behind it.
        d_vocab: Size of the model's vocabulary; a beginning-of-text token beyond it is not put in front. None where
            it is not known.
        prepend_bos: Whether a beginning-of-text token is put in front of strings.
        delimiter: What stands between the two; None follows :mod:`tl_fbn.acquisition.design.text_joining`.

    Raises:
        InputError: One of the two is a string and the other is token ids, the alternative adds no token to score, or
            the first token of all holds its beginning.
    """
    if isinstance(alternative, str) != isinstance(prompt, str) and prompt:
        raise InputError(f"prompt {prompt!r} and answer {alternative!r} must both be strings or both be token ids")
    if not isinstance(alternative, str):
        before = tuple(int(token) for token in prompt)
        return _checked_sequence((*before, *alternative), max(len(before), 1), alternative)
    settings = {"d_vocab": d_vocab, "prepend_bos": prepend_bos}
    if not prompt:
        return _checked_sequence(encode(tokenizer, alternative, **settings), 1, alternative)
    assert isinstance(prompt, str)
    before = encode(tokenizer, prompt, **settings)
    ids = encode(tokenizer, joined(prompt, alternative, delimiter), **settings)
    # the answer begins where the whole first differs from the prompt alone: a merge across the boundary belongs to it
    shared = 0
    while shared < min(len(before), len(ids)) and before[shared] == ids[shared]:
        shared += 1
    if before and not shared and ids:
        raise InputError(
            f"prompt {prompt!r} and answer {alternative!r} merge into the first token of all, which nothing predicts; "
            "give a longer prompt, another delimiter=, or prepend_bos=True"
        )
    return _checked_sequence(ids, max(shared, 1), alternative)


def _checked_sequence(ids: tuple[int, ...], start: int, alternative: Text) -> ScoredSequence:
    """The sequence, unless no token of it would be scored."""
    if start >= len(ids):
        raise InputError(
            f"an item has nothing to score: {alternative!r} adds no token that something precedes; give a longer one"
        )
    return ids, start
