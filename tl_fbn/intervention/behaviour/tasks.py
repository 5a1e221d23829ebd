"""Items, tasks and their scores: the nouns of a test battery, and what an exact match must beat.

Three kinds of task:

- ``"answer"``  a prompt and what must follow. Several accepted answers: any of them will do.
- ``"choice"``  alternatives, the first of which is right.
- ``"text"``    a passage; only its likelihood is defined.

Two rates need no model. *Chance* is the expected exact match of answers dealt out at random among the task's own items (1 / alternatives for choices).
*Majority* is that of the best constant answer: the commonest accepted answer; for choices the commonest right label, where a label is on offer in
every item, or the commonest place of the right alternative in its source, whichever is more. An exact match means something only above both.

A task has a *closed* set of answers if each occurs four times on average or more (choices: if every item offers the same alternatives): yes and no,
the names of topics. Sums and translations are open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError

Text = str | tuple[int, ...]
TaskKind = Literal["answer", "choice", "text"]
OCCURRENCES = 4  # of an answer, on average, in a task with a closed set of them


@dataclass(frozen=True)
class BatteryItem:
    """A prompt and what may follow it. Strings, or token ids.

    Args:
        prompt: What the model reads first; empty for sentences and passages.
        alternatives: Of a choice, the right one first; of an answer, all that are accepted.
        texts: Further texts a network must not have been found on, such as the question inside a chat.
        place: Of a choice, where its source lists the right one (from 0); None where order means nothing.
    """

    prompt: Text
    alternatives: tuple[Text, ...]
    texts: tuple[str, ...] = ()
    place: int | None = None

    def place_of(self, number: int) -> int | None:
        """Where the source lists an alternative that is stored as ``number``."""
        if self.place is None or number == 0:
            return self.place
        return number - 1 if number <= self.place else number


@dataclass(frozen=True)
class Task:
    """Items of one kind under one name."""

    name: str
    kind: TaskKind
    items: tuple[BatteryItem, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError(f"task {self.name!r} has no items; give at least one")

    @cached_property
    def chance(self) -> float:
        """Expected exact match of answers dealt out at random."""
        if self.kind == "text":
            return float("nan")
        if self.kind == "choice":
            return float(np.mean([1 / len(item.alternatives) for item in self.items]))
        dealt = Counter(item.alternatives[0] for item in self.items)
        right = sum(dealt[answer] for item in self.items for answer in set(item.alternatives))
        return right / len(self.items) ** 2

    @cached_property
    def majority(self) -> float:
        """Exact match of the best constant answer."""
        if self.kind == "text":
            return float("nan")
        n = len(self.items)
        if self.kind == "answer":
            accepted = Counter(answer for item in self.items for answer in set(item.alternatives))
            return max(accepted.values()) / n
        labels = Counter(item.alternatives[0] for item in self.items) if self.labels else Counter()
        places = Counter(item.place for item in self.items if item.place is not None)
        unplaced = sum(1 / len(item.alternatives) for item in self.items if item.place is None)
        best = max([*(count + unplaced for count in places.values()), *labels.values(), 0])
        return max(best / n, self.chance)

    @cached_property
    def labels(self) -> tuple[Text, ...]:
        """The closed set of answers, in order of appearance; empty where answers are open."""
        if self.kind == "text":
            return ()
        different = tuple(dict.fromkeys(answer for item in self.items for answer in item.alternatives))
        if self.kind == "choice":
            same = len(self.items) > 1 and all(set(item.alternatives) == set(different) for item in self.items)
            return different if same else ()
        return different if len(different) * OCCURRENCES <= len(self.items) else ()


def _none() -> np.ndarray:
    return np.zeros((0, 0), dtype=np.int32)


@dataclass(frozen=True)
class Scores:
    """Item by item results of one task.

    Args:
        exact_match: (item,) booleans; none for text.
        log_likelihood: (item,) nats a scored token.
        outputs: (item, token) what the model gave, -1 behind its end. Answers and texts: the most probable token at each scored place, the true tokens
            before it given (of several accepted answers, at those of the one that matched, else of the first). Choices: one column, the number of the
            alternative that won, 0 the right one, -1 where a likelihood is not a number.
        answers: (answer, token) token ids of the task's different answers, -1 behind their end; none for choices and texts.
    """

    exact_match: Bool[np.ndarray, " scored"]
    log_likelihood: Float[np.ndarray, " item"]
    outputs: Int[np.ndarray, "output token"] = field(default_factory=_none)
    answers: Int[np.ndarray, "answer place"] = field(default_factory=_none)

    def of(self, metric: str) -> float:
        """The task's mean of a metric; NaN where it is not defined."""
        values = getattr(self, metric)
        if isinstance(values, float):
            return values
        return float(np.mean(values)) if len(values) else float("nan")

    @property
    def perplexity(self) -> float:
        """Of the passages of a text task: exp of minus the mean log-probability of a token, every token counted once.

        NaN for other tasks. ``exp(-of("log_likelihood"))`` differs in that each passage counts once.
        """
        if len(self.exact_match) or not len(self.outputs):
            return float("nan")
        tokens = (self.outputs >= 0).sum(1)
        return float(np.exp(-(self.log_likelihood * tokens).sum() / tokens.sum()))
