"""One text as several models read it: which of their tokens stand for the same characters.

Tokenizers cut a text at other places, so that the seventh token of one model is no partner of the seventh of another.
What they have in common are characters. White space does not count, as tokenizers put it before a word, after it, or
nowhere, and special tokens have no characters.

:func:`segments_of` cuts a text where a token of *every* model ends, as nearly all tokenizers do between words: within a
segment each model has one token or several, and every segment has the same characters in all of them. No model's
tokens are the measure of the others.

What it does not do: see through tokenizers that change the text (lower case, normalised accents), or through tokens
that are single bytes of one character; such texts differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from jaxtyping import Int

from tl_fbn.errors import InputError


def characters(token: str) -> str:
    """A token's characters, without what tokenizers put for spaces; special tokens have none.

    >>> characters("\\u0120hello"), characters("<s>")
    ('hello', '')

    Args:
        token: A token, as its tokenizer spells it.
    """
    if token.startswith("<") and token.endswith(">"):
        return ""
    # GPT-2's space and newline, SentencePiece's space, and plain ones
    return token.replace("\u0120", "").replace("\u2581", "").replace("\u010a", "").replace(" ", "").replace("\n", "")


def segments_of(tokens: Sequence[Sequence[str]], where: str) -> list[Int[np.ndarray, " token"]]:
    """For each model the segment that each of its tokens is in.

    >>> [found.tolist() for found in segments_of([["<s>", "un", "do", "it"], ["undo", "i", "t", "now"]], "text 0")]
    [[-1, 0, 0, 1], [0, 1, 1, -1]]

    Args:
        tokens: One text as each model reads it, maybe to another length.
        where: What the text is, for an error message.

    Returns:
        For each model (token,) the number of the segment, from 0; -1 for tokens without characters, and for those
        beyond what all models show. Where all models have the same tokens, each is a segment, special ones too.

    Raises:
        InputError: The characters differ.
    """
    if all(list(own) == list(tokens[0]) for own in tokens):
        return [np.arange(len(own)) for own in tokens]
    spelled = [[characters(token) for token in own] for own in tokens]
    texts = ["".join(own) for own in spelled]
    shown = min(map(len, texts))  # one recording may show less of a text than another, or no more than special tokens
    for text in texts:
        if text[:shown] != texts[0][:shown]:
            raise InputError(
                f"{where} differs between the recordings ({texts[0][:40]!r} and {text[:40]!r}); show all models the "
                "same prompts in the same order"
            )
    # for every token the number of characters of the text up to its end
    ends = [np.cumsum([len(token) for token in own]) for own in spelled]
    common = reduce(np.intersect1d, ends)
    common = common[(common > 0) & (common <= shown)]
    found = []
    for own, end in zip(spelled, ends, strict=True):
        segment = np.searchsorted(common, end, "left")  # the first common end at or after the token's own
        has_characters = np.array([bool(token) for token in own], dtype=bool)
        found.append(np.where(has_characters & (segment < len(common)), segment, -1))
    return found
