"""Lines and tables of text that a user hands in: JSON lines, and delimited tables with a header.

Every reader skips empty lines, takes a byte order mark (spreadsheets put one in front) and numbers lines from 1, so that an error can
name the one that is wrong.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that holds something.

    Lines end at a line feed only: a JSON string may hold the other characters that ``str.splitlines`` would split at.

    Raises:
        InputError: The bytes are no UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line


def json_lines(path: Path, allowed: str) -> Iterator[tuple[int, Any]]:
    """Number and value of every JSON line.

    Args:
        path: A ``.jsonl`` file.
        allowed: What a line may be, in words for the error.

    Raises:
        InputError: The bytes are no UTF-8, or a line is no JSON.
    """
    for number, line in text_lines(path):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number} is no JSON ({error}); {allowed}") from error
        yield number, value


def delimited_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the last line and cells by column, of every row of a ``.csv`` (commas) or any other file (tabs).

    Args:
        path: A table with a header line; cells may be quoted and then hold line breaks.
        needed: Columns it must have; any others are kept.

    Raises:
        InputError: The bytes are no UTF-8, the quoting is broken, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="," if path.suffix.lower() == ".csv" else "\t")
            columns = reader.fieldnames or []
            if not set(needed) <= set(columns):
                raise InputError(
                    f"{path} has the columns {', '.join(columns) or 'none'}; it needs {' and '.join(needed)}"
                )
            for row in reader:
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no text in UTF-8 ({error})") from error
