"""Conditions and their prompts from a table that a user wrote: a ``.tsv`` or ``.csv`` file, one line a prompt.

The file needs a header line with the columns ``condition`` and ``prompt``; further columns are ignored. Text is
UTF-8, with or without a byte order mark, and a quoted cell may hold line breaks. What is written wrongly is an error
with the number of its line, never a prompt less: :mod:`tl_fbn.text_files` says what. A backslash and an n in a prompt
are a line break, as spreadsheets export one, unless other commands with a backslash stand beside them. Chats and token
ids do not fit into a cell: give :func:`~tl_fbn.block_design` those as Python lists.
"""

from __future__ import annotations

import os
from pathlib import Path

from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.text_files import delimited_rows, delimiter_of, swallowed_rows, with_line_breaks


@checked
def read_prompts(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read conditions and prompts from a table with the columns ``condition`` and ``prompt``.

    >>> table = pd.DataFrame({"condition": ["sort", "rest"], "prompt": ["sort : d b a", "the cat sees the tree ."]})
    >>> table.to_csv("prompts.tsv", sep="\\t", index=False)
    >>> fbn.read_prompts("prompts.tsv")
    {'sort': ['sort : d b a'], 'rest': ['the cat sees the tree .']}

    Args:
        path: A ``.csv`` file (cells separated by commas) or any other text file (cells separated by tabs, by custom
            ``.tsv``), in UTF-8 with a header line. Cells may be quoted.

    Returns:
        Condition name to its list of prompts, both in the order of the file: the first argument of
        :func:`tl_fbn.block_design`.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: A column is missing or named twice, a row has more or fewer cells than the header, a quotation mark
            is not closed, a cell of the two columns is empty, two conditions differ by white space or case only
            (messages give the number of the line), the text is no UTF-8, or the file holds no prompt at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .tsv or .csv file with the columns condition and prompt")
    # a dict keeps the order in which conditions first come in the file
    conditions: dict[str, list[str]] = {}
    rows = list(delimited_rows(path, ("condition", "prompt")))
    names = {row["condition"] for _, row in rows}
    alike: dict[str, str] = {}  # a name without white space around it and capitals, to the name as it came first
    for (number, row), (_, read) in zip(rows, with_line_breaks(path, rows, ("prompt",)), strict=True):
        name = row["condition"]
        if not name.strip() or not read["prompt"].strip():
            raise InputError(f"{path}, line {number}: condition or prompt is empty; fill it or delete the line")
        other = alike.setdefault(name.strip().lower(), name)
        if other != name:
            how = "by white space" if other.strip() == name.strip() else "in upper and lower case"
            raise InputError(
                f"{path}, line {number}: the conditions {name!r} and {other!r} differ {how} only; write them alike"
            )
        # between two quotation marks that are too many, rows are lines of a prompt, and name their condition
        for line in row["prompt"].split("\n")[1:]:
            cells = line.split(delimiter_of(path))
            if len(cells) > 1 and names & {cells[0], cells[-1]}:
                raise swallowed_rows(path, number)
        conditions.setdefault(name, []).append(read["prompt"])
    if not conditions:
        raise InputError(f"{path} has a header and no prompt; add lines of condition and prompt")
    return conditions
