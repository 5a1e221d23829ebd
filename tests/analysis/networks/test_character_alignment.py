"""Tokens of several tokenizers: cut where a token of every model ends, by hand; texts that differ are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.common_texts import texts
from tl_fbn.analysis.networks.character_alignment import characters, segments_of
from tl_fbn.errors import InputError


def test_spaces_and_special_tokens_have_no_characters() -> None:
    assert [characters(token) for token in ("\u0120the", "\u2581the", " the", "the\u010a", "<s>", "<|end|>", "")] == [
        *["the"] * 4,
        *[""] * 3,
    ]


def test_a_segment_ends_where_a_token_of_every_model_does() -> None:
    one = ["<s>", "\u0120unhappy", "\u0120dogs", "\u0120run"]
    two = ["un", "happy", "\u2581do", "gs", "\u2581", "run"]
    three = ["unhap", "pydog", "s", " ", "run", "away"]
    found = [own.tolist() for own in segments_of([one, two, three], "text 0")]
    # in the third model "unhappy" and "dogs" are one stretch of characters
    assert found == [[-1, 0, 0, 1], [0, 0, 0, 0, -1, 1], [0, 0, 0, -1, 1, -1]]


def test_equal_tokens_are_segments_special_ones_too() -> None:
    same = ["<s>", "a", "b"]
    assert [own.tolist() for own in segments_of([same, list(same)], "text 0")] == [[0, 1, 2]] * 2


def test_segments_have_the_same_characters_in_every_model() -> None:
    for words, _ in texts(30, 1, seed=3):
        tokens = [[word[i : i + size] for word in words for i in range(0, len(word), size)] for size in (1, 2, 3, 5, 9)]
        found = segments_of(tokens, "text")
        spelled = [
            ["".join(t for t, s in zip(own, segment, strict=True) if s == n) for n in range(segment.max() + 1)]
            for own, segment in zip(tokens, found, strict=True)
        ]
        assert all(one == spelled[0] for one in spelled)
        assert len(spelled[0]) >= len(words) and "".join(spelled[0]) == "".join(words)
        assert all(np.all(np.diff(segment) >= 0) for segment in found)


def test_a_text_that_one_recording_shows_less_of_ends_there() -> None:
    found = segments_of([["ab", "cd", "ef"], ["abc", "d", "e"], ["a", "b", "c", "d", "e", "f"]], "text 0")
    assert [own.tolist() for own in found] == [[0, 0, -1], [0, 0, -1], [0, 0, 0, 0, -1, -1]]
    assert [own.tolist() for own in segments_of([["<s>"], ["a", "b"]], "text 0")] == [[-1], [-1, -1]]


def test_texts_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"text 4 differs between the recordings \('abcd' and 'abxd'\)"):
        segments_of([["ab", "cd"], ["abxd"]], "text 4")
