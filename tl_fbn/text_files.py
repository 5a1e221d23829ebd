"""Text files that a user hands in: lines of JSON, and delimited tables with a header line.

Every reader skips empty lines, accepts a byte order mark (which spreadsheets write at the beginning of a file), and
gives the number of each line, counted from 1, so that an error message can name the line that is wrong.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not empty.

    Lines end at a line feed only: a JSON string may hold other characters at which ``str.splitlines`` would split.

    Args:
        path: A text file in UTF-8.

    Raises:
        InputError: The bytes are no UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # -sig drops a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():  # numbers count empty lines too, as editors do
            yield number, line


def json_lines(path: Path, allowed: str) -> Iterator[tuple[int, Any]]:
    """Number and value of every line of a file with one JSON value a line.

    Args:
        path: A ``.jsonl`` file in UTF-8.
        allowed: What a line may hold, in words; it ends the message of an error.

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
    """Line number and cells by column of every row of a table.

    A quoted cell may hold line breaks; the number is that of the row's last line.

    Args:
        path: A table in UTF-8 with a header line: cells of a ``.csv`` file are separated by commas, those of any
            other file by tabs.
        needed: Names of columns that the table must have; others are passed on too.

    Raises:
        InputError: The bytes are no UTF-8, the quoting is broken, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # csv handles line ends itself
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
