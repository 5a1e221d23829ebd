"""A prompt and the answer behind it as one text, with nothing of either changed.

White space is part of a text: a model that has read a line break goes on otherwise than behind a space, and behind an
opening quotation mark no space follows. So both are joined as they are given, but for one space that is put between
them where a writer would have put it and neither text brings it: where the prompt ends in a letter, a digit or a
closing mark, such as ``.`` ``:`` ``)`` ``]`` ``”``, and the answer does not begin with white space.

``delimiter=`` says otherwise: it is put between the two whatever they are, also an empty one.

- A straight quotation mark (``"`` or a backtick) closes if its line holds an even number of them; ``'`` closes behind
  a letter, a digit or a mark that ends a sentence.
- Scripts that do not set words apart by spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) get none.

What it does not do: look at how the answer begins, except for white space. ``"The sum is" + "."`` gets a space, as
every other answer behind a letter; ``delimiter=""`` leaves it out.
"""

from __future__ import annotations

import unicodedata

from tl_fbn.errors import InputError

_CLOSING = frozenset(".,:;?!%…‰")
# beginnings of the names of characters of scripts that are written without spaces, beside those of full width
_UNSPACED = ("THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ", "HALFWIDTH KATAKANA ")


def joined(prompt: str, answer: str, delimiter: str | None = None) -> str:
    """Prompt and answer as one text.

    >>> joined("Q: 1 + 1\\nA:", "2"), joined('Tom said, "', "Hello"), joined("Lily was happy.\\n", "She")
    ('Q: 1 + 1\\nA: 2', 'Tom said, "Hello', 'Lily was happy.\\nShe')
    >>> joined("def f(", "x"), joined("天气", "很好"), joined("un", "done", delimiter="")
    ('def f(x', '天气很好', 'undone')

    Args:
        prompt: What stands first; empty where there is nothing.
        answer: What follows it.
        delimiter: What is put between the two; None puts one space there where the rule above asks for it.
    """
    return f"{prompt}{space_between(prompt, answer) if delimiter is None else delimiter}{answer}" if prompt else answer


def space_between(prompt: str, answer: str) -> str:
    """One space where the rule asks for it, else nothing.

    Args:
        prompt: What stands first.
        answer: What follows it.
    """
    if not prompt or prompt[-1].isspace() or answer[:1].isspace():
        return ""
    return " " if _ends_a_word(prompt) else ""


def checked_delimiter(delimiter: str | None) -> str | None:
    """What was given as a delimiter, or an error.

    Args:
        delimiter: A string, or None.

    Raises:
        InputError: It is neither.
    """
    if delimiter is not None and not isinstance(delimiter, str):
        raise InputError(
            f"delimiter={delimiter!r} must be a string that is put between prompt and answer, or None for one space "
            "where neither brings white space"
        )
    return delimiter


def _ends_a_word(text: str) -> bool:
    """Whether a text ends in a letter, a digit or a closing mark of a script that sets words apart by spaces."""
    last = text[-1]
    base = next((one for one in reversed(text) if not unicodedata.combining(one)), last)  # an accent is no letter
    name = unicodedata.name(base, "")
    # Chinese and Japanese characters and marks are of full width; so is Korean, which sets words apart
    wide = unicodedata.east_asian_width(base) in "WF" and not name.startswith("HANGUL ")
    if wide or name.startswith(_UNSPACED):
        return False
    if last in '"`':
        return text.rpartition("\n")[2].count(last) % 2 == 0
    if last == "'":
        return len(text) > 1 and (text[-2].isalnum() or text[-2] in ".,?!…")
    # Pe: closing brackets; Pf: closing quotation marks
    return base.isalnum() or last in _CLOSING or unicodedata.category(last) in ("Pe", "Pf")
