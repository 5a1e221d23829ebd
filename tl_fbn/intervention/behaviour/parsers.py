"""From what a model writes to which label it means; what cannot be told is no label.

A parser takes a text and gives one of its labels, or None: *unparsable*, counted by itself and never as a class.

:func:`words` is ours: a label counts where it stands as words of its own. :func:`s0_substring` is a **replica** of what Liu et al. (2025) released, kept
to show what it does: it looks for substrings in a fixed order, so that of the labels of CoLA the first, "acceptable", is found in "unacceptable" too,
every parsed answer is class 1, and the accuracy is the majority rate whatever the model says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tl_fbn.errors import InputError

Parser = Callable[[str], str | None]

S0_LABELS: dict[str, tuple[str, ...]] = {
    "sst2": ("positive", "negative"),
    "cola": ("acceptable", "unacceptable"),
    "mrpc": ("yes", "no"),
    "mnli": ("entailment", "contradiction", "neutral"),
    "qnli": ("not entailment", "entailment"),
    "agnews": ("world", "sports", "business", "sci/tech"),
    "qqp": ("different", "same"),
}
"""Labels of the released evaluation, in the order in which its parser looks for them."""


def words(labels: Sequence[str]) -> Parser:
    """A parser that finds the one label a text names, as words of their own.

    Case and spacing do not matter. A label inside a longer one ("entailment" in "not entailment"), inside a word or a hyphenated word, or
    directly behind an English "not" does not count. A text that names two labels, or none, is unparsable.

    >>> parse = words(["acceptable", "unacceptable"])
    >>> parse("It is UNACCEPTABLE."), parse("acceptable or unacceptable"), parse("fine")
    ('unacceptable', None, None)

    Args:
        labels: What may be meant.

    Raises:
        InputError: No labels, an empty one, or two that differ in case and spacing only.
    """
    known = _known(labels)
    longest_first = sorted(known, key=len, reverse=True)
    found_by = re.compile(rf"(?<!\w)(?<!\w-)(?<!\bnot )({'|'.join(map(re.escape, longest_first))})(?!\w)(?!-\w)")

    def parse(text: str) -> str | None:
        named = set(found_by.findall(_plain(text)))  # leftmost and longest, without overlaps
        return known[named.pop()] if len(named) == 1 else None

    return parse


def s0_substring(labels: Sequence[str]) -> Parser:
    """S0's released parser, a replica: the first label, in the order given, that occurs anywhere in the text.

    Do not use it to measure anything; :data:`S0_LABELS` has the orders it was used with.

    >>> s0_substring(["acceptable", "unacceptable"])("unacceptable")
    'acceptable'

    Args:
        labels: In the order in which they are looked for.
    """
    known = _known(labels)

    def parse(text: str) -> str | None:
        return next((label for plain, label in known.items() if plain in text.lower()), None)

    return parse


def _known(labels: Sequence[str]) -> dict[str, str]:
    known = {_plain(label): label for label in labels}
    if not known or "" in known or len(known) < len(labels):
        raise InputError(f"labels {list(labels)} cannot be told apart; give different words")
    return known


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
