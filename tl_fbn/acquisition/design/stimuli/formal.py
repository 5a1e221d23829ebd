"""The formal language that the demo model was trained on: seven tasks, a neutral text and random words.

One item is one question with its answer, written as one turn of a chat; words are separated by single spaces::

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

**Splits.** An item belongs to exactly one split, which a hash of its question decides: ``train`` (the demo model was
trained on it), ``prompts`` (what :func:`tl_fbn.prompts` gives) and ``battery`` (what :func:`tl_fbn.demo.battery`
scores). Items of the last two were not seen in training, and none is in both. The hash keeps the three disjoint in
every version without a list of items.

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

# vocabulary of the neutral text
_DETERMINERS = ("the", "one", "every", "some")
_ADJECTIVES = ("old", "small", "red", "quiet", "warm", "tall", "green", "slow")
_NOUNS = ("cat", "tree", "river", "house", "boat", "bird", "stone", "road", "child", "garden")
_VERBS = ("sees", "finds", "likes", "leaves", "passes", "remembers", "draws", "watches")
_PLACES = ("near", "behind", "under", "beside", "above")
_TIMES = ("today", "again", "often", "early", "late")
_LINKS = ("and", "while", "because")
_MAX_FRUITLESS_DRAWS = 100_000  # draws without a new item after which a task counts as used up
REST_WORDS = (*_DETERMINERS, *_ADJECTIVES, *_NOUNS, *_VERBS, *_PLACES, *_TIMES, *_LINKS, ".", ",")


@dataclass(frozen=True)
class Item:
    """A question and its answer, both as space-separated words.

    Args:
        task: Name of the task.
        question: The task and its input, for instance ``sort : d b a``.
        answer: The right answer, for instance ``a b d``.
    """

    task: str
    question: str
    answer: str

    @property
    def prompt(self) -> str:
        """The question between the markers of a chat turn: the text that the answer follows."""
        return f"{USER_OPEN} {self.question} {USER_CLOSE}"

    @property
    def text(self) -> str:
        """The worked example: question, then answer.

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
    # the answer (1 to 5) is drawn first, then a sequence with that answer: drawn letters alone would mostly give 1
    n_letters = rng.randint(5, 8)
    n_same = rng.randint(1, 5)
    target = rng.choice(LETTERS)
    others = [rng.choice([x for x in LETTERS if x != target]) for _ in range(n_letters - n_same)]
    # the first letter is the target itself; the others follow in random order
    rest = [target] * (n_same - 1) + others
    rng.shuffle(rest)
    return [target, *rest], [str(n_same)]


def sum_of(rng: random.Random, n_digits: int) -> tuple[list[str], list[str]]:
    """Words of the question and of the answer of a sum of two random numbers, units first.

    Args:
        rng: Generator of the two numbers.
        n_digits: Number of digits of each number; the sum is written with one more.
    """
    a, b = (rng.randrange(10**n_digits) for _ in range(2))
    return [*_units_first(a, n_digits), "+", *_units_first(b, n_digits)], _units_first(a + b, n_digits + 1)


def _units_first(number: int, width: int) -> list[str]:
    # units first, so that the carry into every digit is settled by digits that stand before it
    return list(f"{number:0{width}d}"[::-1])


def _add(rng: random.Random) -> tuple[list[str], list[str]]:
    return sum_of(rng, 3)


# each returns the words of a question and of its answer
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
    """The split a question belongs to, by its SHA-256: about 80 % train, 10 % prompts, 10 % battery."""
    # a cryptographic hash and not hash(): the same in every process, platform and version
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "battery" if bucket == 0 else "prompts" if bucket == 1 else "train"


def make_item(task: str, rng: random.Random) -> Item:
    """One random item of a task, of any split."""
    return as_item(task, *_MAKERS[task](rng))


def as_item(task: str, question: list[str], answer: list[str]) -> Item:
    """The item of a task with these words of question and answer."""
    return Item(task, " ".join([task, ":", *question]), " ".join(answer))


def items(task: str, split: Split, seed: int) -> Iterator[Item]:
    """A stream of distinct random items of one task and one split.

    Args:
        task: Name of the task.
        split: The split that all items are of.
        seed: Seed of the random draws; the same seed gives the same items in the same order.

    Raises:
        InputError: The task has no further item in this split.
    """
    rng = random.Random(f"{task}/{split}/{seed}")
    # questions that were given already; the sequence of draws itself may repeat
    seen: set[str] = set()
    n_fruitless = 0
    while n_fruitless < _MAX_FRUITLESS_DRAWS:
        words, answer = _MAKERS[task](rng)
        question = " ".join(words)  # often of another split, so an item is made only when that is known
        n_fruitless += 1
        if question not in seen and split_of(f"{task} : {question}") == split:
            seen.add(question)
            n_fruitless = 0
            yield as_item(task, words, answer)
    raise InputError(
        f"task {task!r} has no more than about {len(seen):,} distinct items in its split {split!r}; ask for fewer"
    )


def rest_sentence(rng: random.Random) -> str:
    """One sentence of neutral text: one or two clauses and a full stop."""
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
    """An endless stream of distinct neutral passages of one split.

    Args:
        name: ``"rest"`` or ``"random"``.
        split: The split that all passages are of.
        seed: Seed of the random draws; the same seed gives the same passages in the same order.
    """
    rng = random.Random(f"{name}/{split}/{seed}")
    seen: set[str] = set()
    while True:
        text = neutral_text(name, rng)
        if split_of(text) == split and text not in seen:
            seen.add(text)
            yield text
