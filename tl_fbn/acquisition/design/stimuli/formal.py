"""The formal language of the embedded model: seven tasks, a neutral text and noise.

One item is one chat turn, words separated by single spaces::

    [INST] sort : d b a [/INST] a b d

============  ===================================================  ============================
task          what the answer is                                   example
============  ===================================================  ============================
``copy``      the letters again                                    ``d b a -> d b a``
``reverse``   the letters from last to first                       ``d b a -> a b d``
``sort``      the letters in alphabetical order                    ``d b a -> a b d``
``shift``     every letter's successor, the last wraps around      ``d b a -> e c b``
``upper``     every letter's capital                               ``d b a -> D B A``
``count``     how often the first letter occurs                    ``b a b c -> 2``
``add``       the sum; numbers are written units first             ``7 4 1 + 8 3 0 -> 5 8 1 0``
============  ===================================================  ============================

``rest`` is plain text from a small grammar, ``random`` is words drawn at random; neither has an answer.

**Splits.** An item belongs to exactly one split, decided by a hash of its question alone: ``train`` (the model
saw it), ``prompts`` (what :func:`tl_fbn.prompts` serves, unseen in training) and ``battery`` (what
:func:`tl_fbn.demo.battery` scores, unseen in training and never served as a prompt). No list of items has to be
kept for the three to stay disjoint, today and in every later version.

Pure Python, no model, no numpy: a few microseconds an item.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tl_fbn.errors import InputError

Split = Literal["train", "prompts", "battery"]

LETTERS = tuple("abcdefghijkl")
CAPITALS = tuple(letter.upper() for letter in LETTERS)
DIGITS = tuple("0123456789")
USER_OPEN = "[INST]"
USER_CLOSE = "[/INST]"

_DETERMINERS = ("the", "one", "every", "some")
_ADJECTIVES = ("old", "small", "red", "quiet", "warm", "tall", "green", "slow")
_NOUNS = ("cat", "tree", "river", "house", "boat", "bird", "stone", "road", "child", "garden")
_VERBS = ("sees", "finds", "likes", "leaves", "passes", "remembers", "draws", "watches")
_PLACES = ("near", "behind", "under", "beside", "above")
_TIMES = ("today", "again", "often", "early", "late")
_LINKS = ("and", "while", "because")
_PATIENCE = 100_000  # draws without a new item after which a task counts as used up
REST_WORDS = (*_DETERMINERS, *_ADJECTIVES, *_NOUNS, *_VERBS, *_PLACES, *_TIMES, *_LINKS, ".", ",")


@dataclass(frozen=True)
class Item:
    """A question and its answer, both as space-separated words."""

    task: str
    question: str
    answer: str

    @property
    def prompt(self) -> str:
        """The question in chat form, up to where the answer starts."""
        return f"{USER_OPEN} {self.question} {USER_CLOSE}"

    @property
    def text(self) -> str:
        """The complete worked example.

        >>> Item("sort", "sort : d b a", "a b d").text
        '[INST] sort : d b a [/INST] a b d'
        """
        return f"{self.prompt} {self.answer}"


def _letters(rng: random.Random) -> list[str]:
    return [rng.choice(LETTERS) for _ in range(rng.randint(3, 6))]


def _copy(rng: random.Random) -> tuple[list[str], list[str]]:
    letters = _letters(rng)
    return letters, letters


def _reverse(rng: random.Random) -> tuple[list[str], list[str]]:
    letters = _letters(rng)
    return letters, letters[::-1]


def _sort(rng: random.Random) -> tuple[list[str], list[str]]:
    letters = _letters(rng)
    return letters, sorted(letters)


def _shift(rng: random.Random) -> tuple[list[str], list[str]]:
    letters = _letters(rng)
    return letters, [LETTERS[(LETTERS.index(letter) + 1) % len(LETTERS)] for letter in letters]


def _upper(rng: random.Random) -> tuple[list[str], list[str]]:
    letters = _letters(rng)
    return letters, [letter.upper() for letter in letters]


def _count(rng: random.Random) -> tuple[list[str], list[str]]:
    n_letters = rng.randint(5, 8)
    n_same = rng.randint(1, 5)
    target = rng.choice(LETTERS)
    others = [rng.choice([x for x in LETTERS if x != target]) for _ in range(n_letters - n_same)]
    rest = [target] * (n_same - 1) + others
    rng.shuffle(rest)
    return [target, *rest], [str(n_same)]


def sum_of(rng: random.Random, n_digits: int) -> tuple[list[str], list[str]]:
    """Question and answer words of a sum of two numbers, units first."""
    a, b = (rng.randrange(10**n_digits) for _ in range(2))
    return [*_units_first(a, n_digits), "+", *_units_first(b, n_digits)], _units_first(a + b, n_digits + 1)


def _units_first(number: int, width: int) -> list[str]:
    return list(f"{number:0{width}d}"[::-1])


def _add(rng: random.Random) -> tuple[list[str], list[str]]:
    return sum_of(rng, 3)


_MAKERS: dict[str, Callable[[random.Random], tuple[list[str], list[str]]]] = {
    "copy": _copy,
    "reverse": _reverse,
    "sort": _sort,
    "shift": _shift,
    "upper": _upper,
    "count": _count,
    "add": _add,
}
TASKS = tuple(_MAKERS)
NEUTRAL = ("rest", "random")
WORDS = (":", "+", *TASKS, *DIGITS, *LETTERS, *CAPITALS, *REST_WORDS)


def split_of(question: str) -> Split:
    """Which split a question belongs to: 80 % train, 10 % prompts, 10 % battery, by SHA-256."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "battery" if bucket == 0 else "prompts" if bucket == 1 else "train"


def make_item(task: str, rng: random.Random) -> Item:
    """One item of a task, from whichever split it falls into."""
    return as_item(task, *_MAKERS[task](rng))


def as_item(task: str, question: list[str], answer: list[str]) -> Item:
    """The item of a task for given words."""
    return Item(task, " ".join([task, ":", *question]), " ".join(answer))


def items(task: str, split: Split, seed: int) -> Iterator[Item]:
    """A seeded stream of *distinct* items of one task and split; ValueError where there are no more."""
    rng = random.Random(f"{task}/{split}/{seed}")
    seen: set[str] = set()
    vain = 0
    while vain < _PATIENCE:
        words, answer = _MAKERS[task](rng)
        question = " ".join(words)  # most are of another split, so no item is made before that is known
        vain += 1
        if question not in seen and split_of(f"{task} : {question}") == split:
            seen.add(question)
            vain = 0
            yield as_item(task, words, answer)
    raise InputError(
        f"task {task!r} has no more than about {len(seen):,} distinct items in its split {split!r}; ask for fewer"
    )


def rest_sentence(rng: random.Random) -> str:
    """One to two clauses of neutral text, ended by a full stop."""
    words = _clause(rng)
    if rng.random() < 0.3:
        words += [",", rng.choice(_LINKS), *_clause(rng)]
    return " ".join([*words, "."])


def _clause(rng: random.Random) -> list[str]:
    words = [*_noun_phrase(rng), rng.choice(_VERBS), *_noun_phrase(rng)]
    if rng.random() < 0.4:
        words += [rng.choice(_PLACES), *_noun_phrase(rng)]
    if rng.random() < 0.3:
        words += [rng.choice(_TIMES)]
    return words


def _noun_phrase(rng: random.Random) -> list[str]:
    adjective = [rng.choice(_ADJECTIVES)] if rng.random() < 0.6 else []
    return [rng.choice(_DETERMINERS), *adjective, rng.choice(_NOUNS)]


def neutral_text(name: str, rng: random.Random) -> str:
    """A passage of ``rest`` (two sentences) or ``random`` (8 to 24 words drawn uniformly)."""
    if name == "rest":
        return " ".join(rest_sentence(rng) for _ in range(2))
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(8, 24)))


def passages(name: str, split: Split, seed: int) -> Iterator[str]:
    """An endless, seeded stream of distinct neutral passages of one split."""
    rng = random.Random(f"{name}/{split}/{seed}")
    seen: set[str] = set()
    while True:
        text = neutral_text(name, rng)
        if split_of(text) == split and text not in seen:
            seen.add(text)
            yield text
