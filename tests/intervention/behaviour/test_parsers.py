"""Parsers: known texts, what is unparsable, and the replica of S0's with its trap."""

from __future__ import annotations

import pytest

from tl_fbn.intervention.behaviour import parsers

COLA = ["acceptable", "unacceptable"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("unacceptable", "unacceptable"),
        ("Acceptable.", "acceptable"),
        ("The sentence is **UNACCEPTABLE**, since ...", "unacceptable"),
        ("acceptable. acceptable.", "acceptable"),
        ("acceptable or unacceptable", None),
        ("not acceptable", None),
        ("un-acceptable", None),
        ("acceptably", None),
        ("", None),
    ],
)
def test_words_of_their_own(text, label):
    assert parsers.words(COLA)(text) == label


def test_a_longer_label_goes_first():
    parse = parsers.words(["entailment", "not entailment"])
    assert parse("Not  Entailment!") == "not entailment"
    assert parse("entailment") == "entailment"
    assert parsers.words(["World", "Sci/Tech"])("it is sci/tech") == "Sci/Tech"
    assert parsers.words(["yes", "no"])("I do not know") is None


def test_s0_finds_the_first_label_anywhere():
    parse = parsers.s0_substring(parsers.S0_LABELS["cola"])
    assert parse("unacceptable") == parse("acceptable") == "acceptable"
    assert parse("fine") is None
    assert parsers.s0_substring(parsers.S0_LABELS["mrpc"])("I do not know") == "no"
    assert parsers.s0_substring(parsers.S0_LABELS["qnli"])("Not Entailment") == "not entailment"


@pytest.mark.parametrize("labels", [[], ["a", "A "], ["a", ""]])
def test_labels_must_differ(labels):
    for make in (parsers.words, parsers.s0_substring):
        with pytest.raises(ValueError, match="cannot be told apart"):
            make(labels)
