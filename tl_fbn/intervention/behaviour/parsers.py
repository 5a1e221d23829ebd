"""Parsers: from what a model writes to the label that it means.

A parser takes a text and gives one of its labels, or None. None means *unparsable*; such texts are counted by
themselves and never as a class.

:func:`words` is our own: a label counts where it stands as words of its own. :func:`s0_substring` is a **replica** of
what Liu et al. (2025) released, kept to show what it does: it looks for substrings in a fixed order. Of the labels of
CoLA the first, "acceptable", is found in "unacceptable" too, so every parsed answer is class 1, and the accuracy is
the majority rate whatever the model says.
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

    >>> parse = words(["acceptable", "unacceptable"])
    >>> parse("It is UNACCEPTABLE."), parse("acceptable or unacceptable"), parse("fine")
    ('unacceptable', None, None)

    Case and spacing do not matter. A label does not count inside a longer one ("entailment" in "not entailment"),
    inside a word or a hyphenated word, or directly behind an English "not". A text that names two labels, or none, is
    unparsable.

    Args:
        labels: The labels that may be meant; the parser returns them as they are spelled here.

    Raises:
        InputError: No labels, an empty one, or two that differ in case and spacing only.
    """
    known = _labels_by_plain_text(labels)
    # longest first, for a regular expression takes the first that fits: "not entailment" before "entailment"
    longest_first = sorted(known, key=len, reverse=True)
    # (no word character, no hyphenated word, no "not ") label (no word character, no hyphenated word)
    pattern = re.compile(rf"(?<!\w)(?<!\w-)(?<!\bnot )({'|'.join(map(re.escape, longest_first))})(?!\w)(?!-\w)")

    def parse(text: str) -> str | None:
        named = set(pattern.findall(_plain(text)))  # leftmost and longest, without overlaps
        return known[named.pop()] if len(named) == 1 else None

    return parse


def s0_substring(labels: Sequence[str]) -> Parser:
    """The released parser of Liu et al. (2025), a replica: the first label that occurs anywhere in the text.

    >>> s0_substring(["acceptable", "unacceptable"])("unacceptable")
    'acceptable'

    Do not use it to measure anything; :data:`S0_LABELS` has the labels and orders it was used with.

    Args:
        labels: The labels, in the order in which they are looked for.

    Raises:
        InputError: No labels, an empty one, or two that differ in case and spacing only.
    """
    known = _labels_by_plain_text(labels)

    def parse(text: str) -> str | None:
        # as released: substrings, not words, and the order of the labels decides
        return next((label for plain, label in known.items() if plain in text.lower()), None)

    return parse


def _labels_by_plain_text(labels: Sequence[str]) -> dict[str, str]:
    known = {_plain(label): label for label in labels}
    if not known or "" in known or len(known) < len(labels):
        raise InputError(f"labels {list(labels)} cannot be told apart; give different words")
    return known


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
