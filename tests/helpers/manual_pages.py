"""Python blocks of Markdown pages, run one after the other in one namespace, as a reader would paste them."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A Python block of a page.

    Args:
        line: Number of its first line in the page.
        code: Its text.
        output: What the page says it prints (the ``text`` block that follows at once); None where it says nothing.
    """

    line: int
    code: str
    output: str | None


def python_blocks(page: str) -> list[Block]:
    """The Python blocks of a page, each with the output that the page shows for it."""
    fences = list(_FENCE.finditer(page))
    blocks = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] != "python":
            continue
        shown = following and following[1] == "text" and not page[fence.end() : following.start()].strip()
        blocks.append(
            Block(page[: fence.start()].count("\n") + 2, fence[2], following[2] if following and shown else None)
        )
    return blocks


def run_page(path: Path) -> None:
    """Run every Python block of a page and compare what is printed with what the page shows (``...`` stands for
    anything).
    """
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in python_blocks(path.read_text(encoding="utf-8")):
        where = f"{path.name}, line {block.line}"
        padded = "\n" * (block.line - 1) + block.code  # tracebacks show the page's own line numbers
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(compile(padded, str(path), "exec"), names)
        except Exception as error:
            pytest.fail(f"{where}: {type(error).__name__}: {error}")
        if block.output is not None:
            same = doctest.OutputChecker().check_output(
                block.output, said.getvalue(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            )
            assert same, f"{where} prints\n{said.getvalue()}\nthe page shows\n{block.output}"
