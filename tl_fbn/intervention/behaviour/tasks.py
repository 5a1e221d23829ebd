"""Items, tasks and their scores: the nouns of a test battery, and what an exact match must beat.

Three kinds of task:

- ``"answer"``  a prompt and the answer that must follow it. Where several answers are accepted, any of them will do.
- ``"choice"``  alternatives, the first of which is right.
- ``"text"``    a passage; only its likelihood is defined.

Two rates need no model, and an exact match means something only above both:

- *Chance* is the expected exact match when the task's own right answers are dealt out to its items at random; for
  choices it is the mean of 1 / (number of alternatives).
- *Majority* is the exact match of the best constant answer. For answers that is the commonest accepted answer. For
  choices it is the commonest right label, where every item offers the same labels, or the commonest place of the right
  alternative in its source, whichever is more.

A task has a *closed* set of answers if each answer occurs four times on average or more (``OCCURRENCES``, our
choice); for choices, if every item offers the same alternatives. Yes and no, or the names of topics, are closed; sums
and translations are open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.design.prompt_forms import checked_ids, checked_text
from tl_fbn.acquisition.design.text_joining import checked_delimiter, joined
from tl_fbn.errors import InputError

Text = str | tuple[int, ...]
TaskKind = Literal["answer", "choice", "text"]
PER_LENGTH = ("exact_match_per_token", "exact_match_per_character")  # metrics of choices, beside exact_match
OCCURRENCES = 4  # items an answer, on average, from which a task's set of answers counts as closed


@dataclass(frozen=True)
class BatteryItem:
    """One question of a battery: a prompt and what may follow it, as strings or as token ids.

    Args:
        prompt: What the model reads first; empty for sentences and passages.
        alternatives: What may follow. Of a choice, the right alternative first; of an answer, all that are accepted.
        texts: Further texts that a network must not have been found on, such as the question inside a chat.
        place: Place (from 0) at which the source of a choice lists the right alternative; None where order means
            nothing, as for minimal pairs.
        delimiter: What stands between prompt and alternative, both strings; None puts one space there where the prompt
            ends in a letter, a digit or a closing mark and neither brings white space.

    Raises:
        InputError: A prompt or alternative that is neither a string nor token ids.
    """

    prompt: Text
    alternatives: tuple[Text, ...]
    texts: tuple[str, ...] = ()
    place: int | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        # frozen: what is set here is the same value in the one form in which it is kept
        object.__setattr__(self, "prompt", checked_part(self.prompt, "the prompt"))
        alternatives = tuple(checked_part(one, "an answer or alternative") for one in self.alternatives)
        object.__setattr__(self, "alternatives", alternatives)
        checked_delimiter(self.delimiter)

    def whole(self, alternative: Text) -> Text:
        """The text, or the token ids, of the prompt and one of the alternatives together: what is scored.

        Args:
            alternative: The alternative, of the same form as the prompt.
        """
        if isinstance(alternative, str):
            return joined(str(self.prompt), alternative, self.delimiter) if self.prompt else alternative
        return (*(int(token) for token in self.prompt), *alternative)

    def place_of(self, number: int) -> int | None:
        """The place at which the source lists an alternative; None where order means nothing.

        Args:
            number: Number of the alternative in ``alternatives``, where the right one is 0.
        """
        # the right one was moved to the front, so those listed before it have moved back by one
        if self.place is None or number == 0:
            return self.place
        return number - 1 if number <= self.place else number


@dataclass(frozen=True)
class Task:
    """Items of one kind under one name.

    Args:
        name: Name of the task; a line of every table carries it.
        kind: ``"answer"``, ``"choice"`` or ``"text"``; the top of this file says what they are.
        items: The items, at least one.
    """

    name: str
    kind: TaskKind
    items: tuple[BatteryItem, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError(f"task {self.name!r} has no items; give at least one")

    @cached_property
    def chance(self) -> float:
        """Expected exact match of answers dealt out at random, in [0, 1]; NaN for passages."""
        if self.kind == "text":
            return float("nan")
        if self.kind == "choice":
            return float(np.mean([1 / len(item.alternatives) for item in self.items]))
        # an item is dealt answer a with probability count(a) / n, and is right if it accepts a; mean over items
        dealt = Counter(item.alternatives[0] for item in self.items)
        right = sum(dealt[answer] for item in self.items for answer in set(item.alternatives))
        return right / len(self.items) ** 2

    @cached_property
    def majority(self) -> float:
        """Exact match of the best constant answer, in [0, 1]; NaN for passages."""
        if self.kind == "text":
            return float("nan")
        n = len(self.items)
        if self.kind == "answer":
            # an item counts for every answer it accepts, once each
            accepted = Counter(answer for item in self.items for answer in set(item.alternatives))
            return max(accepted.values()) / n
        labels = Counter(item.alternatives[0] for item in self.items) if self.labels else Counter()
        places = Counter(item.place for item in self.items if item.place is not None)
        # an item without a place is right by chance under any constant place
        unplaced = sum(1 / len(item.alternatives) for item in self.items if item.place is None)
        best = max([*(count + unplaced for count in places.values()), *labels.values(), 0])
        return max(best / n, self.chance)

    @cached_property
    def labels(self) -> tuple[Text, ...]:
        """The closed set of answers, in order of appearance; empty where answers are open, and for passages."""
        if self.kind == "text":
            return ()
        different = tuple(dict.fromkeys(answer for item in self.items for answer in item.alternatives))
        if self.kind == "choice":
            same = len(self.items) > 1 and all(set(item.alternatives) == set(different) for item in self.items)
            return different if same else ()
        return different if len(different) * OCCURRENCES <= len(self.items) else ()


def checked_part(given: Any, what: str) -> Text:
    """A prompt or alternative as a string, or as a tuple of token ids; either may be empty.

    Args:
        given: What was given as one.
        what: What it is called in messages.

    Raises:
        InputError: It is neither.
    """
    if isinstance(given, (str, list, tuple)) and not given:
        return "" if isinstance(given, str) else ()
    return checked_text(given, what) if isinstance(given, str) else checked_ids(given, what)


def _no_tokens() -> np.ndarray:
    return np.zeros((0, 0), dtype=np.int32)


def _no_numbers() -> np.ndarray:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class Scores:
    """Item by item results of one task.

    Args:
        exact_match: (item,) whether the item was answered right; empty for passages.
        log_likelihood: (item,) mean log-probability of a scored token, in nats.
        outputs: (item, token) what the model gave, -1 behind the end of each. For answers and passages: the id of the
            most probable token at each scored place, given the true tokens before it (where several answers are
            accepted, at the places of the one that matched, else of the first). For choices: one column, the number
            of the alternative that won, 0 for the right one, -1 where a likelihood is not a number.
        answers: (answer, token) ids of the task's different answers, -1 behind the end of each; empty for choices and
            passages.
        sums: (choice, alternative) log-probability of each alternative of a choice, the right one first, summed over
            its tokens, in nats; minus infinity behind the last. Empty for other tasks, as the next two are.
        n_tokens: (choice, alternative) number of tokens of each alternative; 1 behind the last.
        n_characters: (choice, alternative) number of characters of each alternative, as it was given; NaN where it was
            given as token ids, and 1 behind the last.
    """

    exact_match: Bool[np.ndarray, " scored"]
    log_likelihood: Float[np.ndarray, " item"]
    outputs: Int[np.ndarray, "output token"] = field(default_factory=_no_tokens)
    answers: Int[np.ndarray, "answer place"] = field(default_factory=_no_tokens)
    sums: Float[np.ndarray, "choice alternative"] = field(default_factory=_no_numbers)
    n_tokens: Float[np.ndarray, "choice alternative"] = field(default_factory=_no_numbers)
    n_characters: Float[np.ndarray, "choice alternative"] = field(default_factory=_no_numbers)

    @property
    def exact_match_per_token(self) -> np.ndarray:
        """(choice,) whether the right alternative has the highest mean log-probability a token; empty if no choice."""
        return _right_wins(self.sums / self.n_tokens)

    @property
    def exact_match_per_character(self) -> np.ndarray:
        """(choice,) whether the right alternative has the highest log-probability a character: acc_norm of lm-eval.

        It does not depend on the tokenizer, and longer alternatives do not lose by their length alone. NaN for all
        where an alternative was given as token ids, whose characters are not known; empty if the task is no choice.
        """
        unknown = np.isnan(self.n_characters).any()
        return np.full(len(self.sums), np.nan) if unknown else _right_wins(self.sums / self.n_characters)

    def of(self, metric: str) -> float:
        """The task's mean of a metric; NaN where it is not defined.

        Args:
            metric: ``"exact_match"``, ``"log_likelihood"`` (nats a token), ``"perplexity"``, or, of choices,
                ``"exact_match_per_token"`` or ``"exact_match_per_character"``.
        """
        values = getattr(self, metric)
        if isinstance(values, float):
            return values
        return float(np.mean(values)) if len(values) else float("nan")

    @property
    def perplexity(self) -> float:
        """Perplexity of the passages of a text task; NaN for other tasks.

        exp of minus the mean log-probability of a token, every token counted once; ``exp(-of("log_likelihood"))``
        differs in that each passage counts once.
        """
        if len(self.exact_match) or not len(self.outputs):
            return float("nan")
        tokens = (self.outputs >= 0).sum(1)
        # log_likelihood is a mean over the passage's tokens: times their number it is the sum
        return float(np.exp(-(self.log_likelihood * tokens).sum() / tokens.sum()))


def _right_wins(values: Float[np.ndarray, "choice alternative"]) -> Bool[np.ndarray, " choice"]:
    """Whether the first value of a line is above all others; a tie is lost, and a NaN wins nothing."""
    if not values.size:
        return np.zeros(0, dtype=bool)
    return np.asarray((values[:, :1] > values[:, 1:]).all(1) & ~np.isnan(values).any(1))
