"""Sequences in batches: what is read once for many of them, and what is read for each.

Sequences that begin with the same tokens (the worked examples of a prompt, a system message, the question before its
alternatives) share the reading of that beginning where the model can
(:mod:`tl_fbn.acquisition.model.shared_beginnings`). Beginnings are found among tokens, not in text: sequences in the
order of their tokens form a tree, whose branches are what some of them share. A branch is read by itself where that
spares more tokens than a pass of its own costs (:data:`PASS_IN_TOKENS`); what is left of each sequence is read in
batches behind it, and always holds the token before the first scored one, whose logits are wanted.

A batch holds at most ``batch_tokens`` tokens, padding counted (:mod:`tl_fbn.acquisition.model.token_batches`). Memory
follows from that number, and from the scored tokens of a batch, of which there is a largest number too: at each
stands a probability for every word of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.token_batches import require_fit, token_batches
from tl_fbn.intervention.behaviour.item_tokens import Layout, ScoredSequence
from tl_fbn.intervention.behaviour.tasks import Task

MAX_NESTED = 8  # beginnings one behind the other; keys and values of all of them are held while the last is read
PASS_IN_TOKENS = 64  # a pass costs about as much as so many tokens in it, beside its own (our choice)


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Sequences of similar length, or the rests of some that begin alike, and which of their tokens are scored.

    Args:
        sequences: (batch,) numbers of these sequences among all sequences of the battery.
        ids: (batch, pos) token ids, padded on the right; without those of a beginning that is read before.
        starts: (batch,) position of the first scored token of each sequence, the beginning counted.
        rows: (scored,) row of ``ids`` that each scored token stands in.
        before: (scored,) column of ``ids`` before the token, whose logits predict it.
        targets: (scored,) id of the token.
        slots: (scored,) number of the token among all scored tokens of the battery.
    """

    sequences: list[int]
    ids: Int[torch.Tensor, "batch pos"]
    starts: Int[torch.Tensor, " batch"]
    rows: Int[torch.Tensor, " scored"]
    before: Int[torch.Tensor, " scored"]
    targets: Int[torch.Tensor, " scored"]
    slots: Int[np.ndarray, " scored"]

    @classmethod
    def of(
        cls, sequences: Sequence[ScoredSequence], chosen: list[int], offsets: Int[np.ndarray, " all"], past: int = 0
    ) -> SequenceBatch:
        """The batch of some sequences.

        Args:
            sequences: All sequences of the battery.
            chosen: Numbers of those in the batch.
            offsets: (sequence,) number of the first scored token of every sequence of the battery.
            past: Number of tokens at their beginning that are read before.
        """
        ids, _, _ = host.pad_batch([sequences[index][0][past:] for index in chosen], torch.device("cpu"))
        starts = [sequences[index][1] for index in chosen]
        # (row, column) of every scored token, in the order of the sequences, as slots are
        places = [(row, at - past) for row, i in enumerate(chosen) for at in range(starts[row], len(sequences[i][0]))]
        rows, columns = torch.tensor(places).unbind(1)
        slots = np.concatenate([offsets[i] + np.arange(len(sequences[i][0]) - sequences[i][1]) for i in chosen])
        return cls(chosen, ids, torch.tensor(starts), rows, columns - 1, ids[rows, columns], slots)


@dataclass(frozen=True, eq=False)
class Branch:
    """Sequences that begin alike: the tokens that they share, and what is read behind them.

    Args:
        ids: (1, pos) token ids of the beginning, without those of the branch that this one grows from.
        rests: Batches of the sequences' rests.
        branches: Branches that go on from this beginning.
    """

    ids: Int[torch.Tensor, "one pos"]
    rests: list[SequenceBatch]
    branches: list[Branch]

    def sizes(self) -> Iterator[int]:
        """Number of tokens, padding included, of every pass of this branch and of those that grow from it."""
        if self.ids.numel():
            yield self.ids.numel()
        yield from (batch.ids.numel() for batch in self.rests)
        for branch in self.branches:
            yield from branch.sizes()


@dataclass(frozen=True, eq=False)
class PreparedSequences:
    """Everything about a battery's sequences that does not depend on activations.

    Args:
        counts: (sequence,) number of scored tokens.
        layouts: Name of a task to where its sequences stand among all.
        sequences: Token ids and index of the first scored token of each.
        batch_tokens: Largest number of tokens in a batch of several sequences, padding counted.
        max_scored: Largest number of scored tokens in a batch of several sequences.
    """

    counts: Int[np.ndarray, " sequence"]
    layouts: dict[str, Layout]
    sequences: Sequence[ScoredSequence]
    batch_tokens: int
    max_scored: int
    _offsets: Int[np.ndarray, " sequence"] = field(repr=False)

    @classmethod
    def of(
        cls,
        tasks: Mapping[str, Task],
        sequences: Sequence[ScoredSequence],
        batch_tokens: int,
        max_scored: int,
        *,
        at_once: int | None = None,
    ) -> PreparedSequences:
        """Layouts of a battery; batches are made when they are asked for.

        Args:
            tasks: The tasks by name.
            sequences: The sequences of all their items, in the order of tasks, items and alternatives.
            batch_tokens: Largest number of tokens in a pass, padding counted.
            max_scored: Largest number of scored tokens in a batch of several sequences: memory is taken for the
                probabilities of a whole vocabulary at each.
            at_once: Largest number of tokens of a batch of several sequences; None for ``batch_tokens``.

        Raises:
            InputError: A sequence is longer than a pass may be.
        """
        require_fit((len(ids) for ids, _ in sequences), batch_tokens)
        counts = np.array([len(ids) - start for ids, start in sequences])
        # scored tokens are numbered through the battery: those of a sequence begin at its offset
        offsets = np.cumsum(counts) - counts
        layouts = {}
        cursor = 0
        for name, task in tasks.items():
            layouts[name] = Layout.of(task, sequences, cursor, int(offsets[cursor]))
            cursor = layouts[name].span.stop
        return cls(counts, layouts, sequences, at_once or batch_tokens, max_scored, offsets)

    @cached_property
    def longest(self) -> int:
        """Number of tokens of the longest sequence."""
        return max(len(ids) for ids, _ in self.sequences)

    @cached_property
    def whole(self) -> Branch:
        """Every sequence read from its first token on: one branch without a beginning."""
        return Branch(_row(()), self._batches(range(len(self.sequences)), 0), [])

    @cached_property
    def shared(self) -> Branch:
        """The sequences as a tree of beginnings, each of which is read once."""
        by_tokens = sorted(range(len(self.sequences)), key=lambda index: self.sequences[index][0])
        root = Branch(_row(()), [], [])
        # sequences of one branch (in the order of their tokens), up to which column they are known to be equal, and how
        # many beginnings are read before
        pending: list[tuple[Branch, int, list[int], int, int]] = [(root, 0, by_tokens, 0, 0)]
        alone: dict[int, tuple[Branch, int, list[int]]] = {}  # of each branch what is left of its sequences
        while pending:
            branch, past, members, depth, nested = pending.pop()
            left = alone.setdefault(id(branch), (branch, past, []))[2]
            if nested == MAX_NESTED:
                left.extend(members)
                continue
            for run in self._runs(members, depth, left):
                shared = self._shared_by(run)
                if (len(run) - 1) * (shared - past) <= PASS_IN_TOKENS:
                    pending.append((branch, past, run, shared, nested))
                    continue
                grown = Branch(_row(self.sequences[run[0]][0][past:shared]), [], [])
                branch.branches.append(grown)
                pending.append((grown, shared, run, shared, nested + 1))
        for branch, past, left in alone.values():
            branch.rests.extend(self._batches(left, past))
        return root

    def _runs(self, members: list[int], depth: int, left: list[int]) -> Iterator[list[int]]:
        """Members that have the same token at a column, two at least; the others are added to what is left."""
        runs: list[list[int]] = []
        for index in members:
            # what may be shared of a sequence ends before the token whose logits predict the first scored one
            if self.sequences[index][1] - 1 <= depth:
                left.append(index)
            elif runs and self.sequences[runs[-1][0]][0][depth] == self.sequences[index][0][depth]:
                runs[-1].append(index)
            else:
                runs.append([index])
        for run in runs:
            if len(run) > 1:
                yield run
            else:
                left.extend(run)

    def _shared_by(self, run: list[int]) -> int:
        """Number of tokens at the beginning that all sequences of a run share, none of them needed for its logits."""
        first, last = (self.sequences[index][0] for index in (run[0], run[-1]))
        # in the order of tokens, what the first and the last share is shared by all between them
        bound = min(self.sequences[index][1] - 1 for index in run)
        return next((at for at, (one, other) in enumerate(zip(first, last)) if one != other or at == bound), bound)

    def _batches(self, chosen: Sequence[int], past: int) -> list[SequenceBatch]:
        """Some sequences in batches, without the tokens that are read before."""
        rests = [len(self.sequences[index][0]) - past for index in chosen]
        scored = [int(self.counts[index]) for index in chosen]
        groups = token_batches(rests, self.batch_tokens, costs=scored, most=self.max_scored)
        return [
            SequenceBatch.of(self.sequences, [chosen[place] for place in group], self._offsets, past)
            for group in groups
        ]


def _row(ids: Sequence[int]) -> Int[torch.Tensor, "one pos"]:
    return torch.tensor([list(ids)], dtype=torch.long)
