"""Items as token ids: what is read, what is scored, and which prompts they are known by.

An answer is scored behind its prompt, joined by one space; a merge across the boundary belongs to the answer. A sentence without a prompt is scored from its
second token on, the first being the beginning-of-text token where the tokenizer has one.

A :class:`Layout` knows where a task's sequences stand among all, and turns their sums back into results of items without a loop over items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.model.contexts import beginning, digests_of, encode
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Scores, Task, TaskKind, Text

Sequence_ = tuple[tuple[int, ...], int]  # token ids, and the index of the first scored one


@dataclass(frozen=True, eq=False)
class Layout:
    """One task's sequences among those of a battery.

    Args:
        kind: Of the task.
        span: Its sequences.
        firsts: (item,) the first sequence of each item, counted within the span.
        owner: (sequence,) the item of each.
        tokens: (sequence, token) where each scored token stands among all scored tokens; -1 behind the last.
        answers: (answer, token) ids of the task's different answers; -1 behind the last.
    """

    kind: TaskKind
    span: slice
    firsts: Int[np.ndarray, " item"]
    owner: Int[np.ndarray, " sequence"]
    tokens: Int[np.ndarray, "sequence token"]
    answers: Int[np.ndarray, "answer place"]

    @classmethod
    def of(cls, task: Task, sequences: Sequence[Sequence_], first: int, offset: int) -> Layout:
        """Of a task whose sequences begin at number ``first``, and whose scored tokens at ``offset``."""
        sizes = np.array([len(item.alternatives) for item in task.items])
        own = sequences[first : first + int(sizes.sum())]
        lengths = np.array([len(ids) - start for ids, start in own])
        columns = np.arange(lengths.max())
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
        )

    def scores(
        self,
        hits: Bool[np.ndarray, " all"],
        sums: Float[np.ndarray, " all"],
        counts: Int[np.ndarray, " all"],
        said: Int[np.ndarray, " flat"],
    ) -> Scores:
        """Results of items.

        Args:
            hits: (sequence,) every scored token was the most probable one.
            sums: (sequence,) log-probability of the scored tokens.
            counts: (sequence,) how many they are.
            said: (token,) the most probable token at every scored place of the battery, and -1 at the end.
        """
        hits, sums, counts = hits[self.span], sums[self.span], counts[self.span]
        means = sums / counts
        if self.kind == "choice":
            exact, winner = self._chosen(sums)
            return Scores(exact, means[self.firsts], winner[:, None].astype(np.int32), self.answers)
        if len(self.firsts) == len(sums):  # one sequence an item
            exact = hits if self.kind == "answer" else np.zeros(0, dtype=bool)
            return Scores(exact, means, said[self.tokens], self.answers)
        matched = self._first_where(hits)
        shown = np.where(matched < len(hits), matched, self.firsts)
        best = np.maximum.reduceat(means, self.firsts)
        return Scores(matched < len(hits), best, said[self.tokens[shown]], self.answers)

    def _chosen(self, sums: Float[np.ndarray, " own"]) -> tuple[Bool[np.ndarray, " item"], Int[np.ndarray, " item"]]:
        """Whether the right alternative won, and which did; a tie is lost, to the other."""
        rivals = sums.copy()
        rivals[self.firsts] = -np.inf
        best = np.maximum.reduceat(rivals, self.firsts)
        exact = sums[self.firsts] > best
        winner = self._first_where(rivals == best[self.owner]) - self.firsts
        defined = ~np.isnan(sums[self.firsts] + best)
        return exact, np.where(exact, 0, np.where(defined, winner, -1))

    def _first_where(self, true: Bool[np.ndarray, " own"]) -> Int[np.ndarray, " item"]:
        """The first sequence of each item where that holds; beyond the end where none."""
        return np.minimum.reduceat(np.where(true, np.arange(len(true)), len(true)), self.firsts)


def padded(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "row place"]:
    """Rows of several lengths as one array, -1 behind their end."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int32).reshape(len(rows), width)


def encode_item(tokenizer: Any, prompt: Text, alternative: Text, d_vocab: int | None = None) -> Sequence_:
    """Token ids of prompt and alternative together, and the index of the first scored token (never the first of all)."""
    if isinstance(alternative, str) != isinstance(prompt, str) and prompt:
        raise InputError(f"prompt {prompt!r} and answer {alternative!r} must both be strings or both be token ids")
    if not isinstance(alternative, str):
        before = () if not prompt else tuple(int(token) for token in prompt)
        ids = (*before, *(int(token) for token in alternative))
        return _scored(ids, max(len(before), 1), alternative)
    if not prompt:
        return _scored(encode(tokenizer, alternative, d_vocab=d_vocab), 1, alternative)
    assert isinstance(prompt, str)
    before = encode(tokenizer, prompt, d_vocab=d_vocab)
    ids = encode(tokenizer, f"{prompt.rstrip()} {alternative.lstrip()}", d_vocab=d_vocab)
    shared = 0
    while shared < min(len(before), len(ids)) and before[shared] == ids[shared]:
        shared += 1  # a merge across the boundary belongs to the answer
    return _scored(ids, max(shared, 1), alternative)


def _scored(ids: tuple[int, ...], start: int, alternative: Text) -> Sequence_:
    if start >= len(ids):
        raise InputError(
            f"an item has nothing to score: {alternative!r} adds no token that something precedes; give a longer one"
        )
    return ids, start


def item_digests(item: BatteryItem, tokenizer: Any) -> set[str]:
    """Digests of an item's prompt, answers and both together."""
    found = {prompt_digest(text) for text in item.texts}
    for alternative in item.alternatives:
        whole: list[Text] = [item.prompt] if item.prompt else []
        if isinstance(alternative, str):
            whole.append(f"{item.prompt} {alternative}" if item.prompt else alternative)
        else:
            whole.append((*(int(token) for token in item.prompt), *alternative) if item.prompt else alternative)
        for text in whole:
            found.add(prompt_digest(text))
            if tokenizer is not None or not isinstance(text, str):
                found.update(digests_of(text, encode(tokenizer, text), beginning(tokenizer)))
    return found
