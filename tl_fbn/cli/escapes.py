r"""Line breaks and tabs in an argument: what ``\n`` in a shell's quotation marks is meant to be.

A shell hands ``"Q: {question}\nA:"`` on with a backslash and the letter n in it. In an argument that is part of a text
for a model, three pairs of characters are read as one: ``\n`` as a line break, ``\t`` as a tab, and ``\\`` as a
backslash, so that a literal ``\n`` is written ``\\n``. Any other backslash stays as it is.
"""

from __future__ import annotations

import re

_READ_AS = {"n": "\n", "t": "\t", "\\": "\\"}
EXPLAINED = r"\n is read as a line break, \t as a tab, \\ as a backslash"  # for the help of an option


def unescaped(text: str) -> str:
    r"""The text that an argument stands for.

    >>> unescaped(r"Q: {question}\nA:"), unescaped(r"\\n and \d")
    ('Q: {question}\nA:', '\\n and \\d')

    Args:
        text: The argument as the shell hands it on.
    """
    return re.sub(r"\\([nt\\])", lambda match: _READ_AS[match[1]], text)
