"""Where one space belongs between two texts: by hand, for ends of many kinds and scripts."""

from __future__ import annotations

import inspect

import pytest

from tl_fbn.acquisition.design.text_joining import checked_delimiter, joined

SPACED = ["a", "A:", "5", "1.", "so…", "(a)", "[a]", "{a}", "”", "»", 'He said "no"', "`x`", "the boys'", "cafe\u0301", "да", "한국어", "ab,", "50%", "5‰"]  # fmt: skip
BARE = ["", " ", "a ", "a\n", "a\t", "a\u3000", "a\u00a0", "“", "«", 'said "', "`", "(", "[", "{", "a-", "—", "/", "\\", "_", "=", "+", "<", ">", "|", "#", "$", "天", "。", "」", "』", "】", "》", "、", "ｶ", "の", "ー", "ไทย", "ລາວ", "မြန်မာ", "ខ្មែរ", "བོད"]  # fmt: skip


@pytest.mark.parametrize("prompt", SPACED)
def test_one_space_behind_letters_digits_and_closing_marks(prompt):
    assert joined(prompt, "b") == f"{prompt} b"
    for white in (" ", "\n", "\t", "\u3000"):
        assert joined(prompt, f"{white}b") == f"{prompt}{white}b"


@pytest.mark.parametrize("prompt", BARE)
def test_nothing_is_put_elsewhere(prompt):
    assert joined(prompt, "b") == f"{prompt}b"


@pytest.mark.parametrize("prompt", [*SPACED, *BARE])
def test_neither_text_is_changed(prompt):
    for answer in ("b", " b ", "\n", ""):
        whole = joined(prompt, answer)
        assert whole.startswith(prompt) and whole.endswith(answer) and len(whole) - len(prompt + answer) in (0, 1)
        assert joined(prompt, answer, "") == prompt + answer


def test_quotation_marks_are_paired_by_line():
    assert joined('"a"\n"', "c") == '"a"\n"c'
    assert joined('"a\nb"', "c") == '"a\nb"c'  # the mark of the line before is not looked at
    assert joined('"a" "', "c") == '"a" "c' and joined('"a"', "c") == '"a" c'
    assert joined("say '", "c") == "say 'c" and joined("it.'", "c") == "it.' c"


def test_a_delimiter_goes_between_whatever_they_are():
    assert joined("a ", " b", " -> ") == "a  ->  b"
    assert joined("", "b", " ") == "b"  # nothing stands before a text without a prompt
    with pytest.raises(ValueError, match=r"delimiter=3 must be a string .*, or None"):
        inspect.unwrap(checked_delimiter)(3)
