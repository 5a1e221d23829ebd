"""Text files that a user hands in: JSON, lines of JSON, and delimited tables with a header line.

All are in UTF-8, with or without a byte order mark. Lines end at a line feed, at a carriage return or at both, and
nowhere else: a text may hold the other characters at which ``str.splitlines`` would split. Empty lines are skipped but
counted: the number of a line is the one that editors show.

Nothing is guessed and nothing is dropped: another encoding is named, a name that comes twice in one object or header is
refused, and so is a row with more or fewer cells than the header, which is what text behind an unquoted delimiter makes
of it, or a quotation mark that is never closed. JSON is what I-JSON (RFC 7493) allows: names of an object differ, texts
are Unicode, numbers are finite. A message names the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError

_LINE_END = re.compile(rb"\r\n?|\n")
# UTF-32 first: its mark begins like that of UTF-16
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_BYTE_ORDER_MARK = "\ufeff"
_MAX_DEPTH = 100  # lists and objects in one another; Python itself ends at about a thousand
_WRITTEN_BREAK = re.compile(r"(?:\\r)?\\n")
# commands of LaTeX that begin with n
_LATEX = (
    *("nabla", "natural", "ne", "nearrow", "neg", "neq", "newcommand", "newline", "nexists", "ngeq", "nleq", "nmid"),
    *("noindent", "nolimits", "nonumber", "normalsize", r"not(?:in)?", "nparallel", "nsim", "nu", "nwarrow"),
)
# a backslash before another letter or backslash, such a command, or the beginning of a path behind its drive
_OTHER_COMMAND = re.compile(rf"\\[A-Za-mo-z\\]|\\(?:{'|'.join(_LATEX)})(?![A-Za-z])|(?<!\w)[C-Hc-h]:\\n\w")
_DELIMITER_WORDS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark, and with a line feed at the end of every line.

    Args:
        path: A text file in UTF-8.

    Raises:
        InputError: The bytes are no UTF-8, or none of a text; the message names the line and, where it can be told, the
            encoding.
    """
    data = path.read_bytes()
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise InputError(f"{path} is no text in UTF-8 but in {name}, as its first bytes say; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # -sig drops the mark that spreadsheets put first
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(error.object[: error.start])) + 1
        wrong = error.object[error.start : error.start + 1]
        raise InputError(
            f"{path} is no text in UTF-8: line {line} holds the byte 0x{wrong.hex()}"
            f"{_guessed_encoding(wrong)}; save it as UTF-8"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # English in UTF-16 without a mark is UTF-8 too: every second byte is 0
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise InputError(
            f"{path} is no text in UTF-8: line {line} holds the character NUL; save it as UTF-8 (it may be UTF-16, or "
            "no text at all)"
        )
    # a mark inside comes from files that were put together, and would become part of a name
    if (at := f"\n{text}".find(f"\n{_BYTE_ORDER_MARK}")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise InputError(f"{path}, line {line} begins with a byte order mark, which is invisible; delete it")
    return text


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not empty.

    Args:
        path: A text file in UTF-8.

    Raises:
        InputError: The bytes are no UTF-8.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():  # numbers count empty lines too, as editors do
            yield number, line


def json_value(text: str) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.

    Raises:
        InputError: It is no JSON, an object has two values of one name, a number is not finite, a text holds half of a
            surrogate pair, or lists and objects stand more than 100 deep in one another. The message is the reason
            alone: the caller knows the file.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_object_of_pairs, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        raise InputError(f"it is nested more than {_MAX_DEPTH} deep") from None
    except (json.JSONDecodeError, InputError) as error:  # no JSON, or what the hooks refuse
        raise InputError(str(error)) from error
    except ValueError as error:  # Python reads no integers of thousands of digits
        raise InputError("a number has thousands of digits") from error
    if text.count("[") + text.count("{") > _MAX_DEPTH:  # no value is deeper than it has brackets
        _refuse_depth(value)
    if re.search(r"\\u[dD][89a-fA-F]", text):  # the two halves of a character become one, a half alone stays
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise InputError(f"a text holds {half!r}, half of a surrogate pair, which is no character") from error
    return value


def json_file(path: Path, allowed: str) -> Any:
    """The value of a file with one JSON value.

    Args:
        path: A ``.json`` file in UTF-8.
        allowed: What the file may hold or what to do, in words; it ends the message of an error.

    Raises:
        InputError: The bytes are no UTF-8, or the text is no JSON.
    """
    text = read_text(path)
    try:
        return json_value(text)
    except InputError as error:
        raise InputError(f"{path} is no JSON ({error}); {allowed}") from error


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
            value = json_value(line)
        except InputError as error:
            raise InputError(f"{path}, line {number} is no JSON ({error}); {allowed}") from error
        yield number, value


def delimiter_of(path: Path) -> str:
    """What separates the cells of a table: a comma in a ``.csv`` file, a tab in any other.

    Args:
        path: The file; it need not be there.
    """
    return "," if path.suffix.lower() == ".csv" else "\t"


def delimited_table(
    path: Path, needed: Sequence[str], *, delimiter: str | None = None
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of a table's columns, and for every row the number of its first line and its cells.

    A quoted cell may hold delimiters, quotation marks (doubled) and line breaks, which become line feeds. A column
    without a name is left out: the first, which holds row numbers in tables that pandas wrote, and others if they are
    empty.

    Args:
        path: A table in UTF-8 with a header line, whose cells :func:`delimiter_of` separates.
        needed: Names of columns that the table must have; others are passed on too.
        delimiter: What separates cells; None leaves that to :func:`delimiter_of`.

    Raises:
        InputError: The bytes are no UTF-8, a column is missing or named twice, a row has another number of cells than
            the header, or the quoting is broken. The message names the line.
    """
    delimiter = delimiter or delimiter_of(path)
    rows = list(_raw_rows(path, delimiter))
    columns = [name for _, cells in rows[:1] for name in cells]
    _check_header(path, columns, needed, delimiter)
    named = [place for place, name in enumerate(columns) if name]
    table = []
    for number, cells in rows[1:]:
        if len(cells) != len(columns):
            raise InputError(
                f"{path}, line {number} has {len(cells)} cells, the header {len(columns)}; cells are separated by "
                f"{_DELIMITER_WORDS[delimiter]}s, and a text that holds one stands in quotation marks"
            )
        for place, cell in enumerate(cells):
            if cell and place and not columns[place]:
                raise InputError(
                    f"{path}, line {number} has {cell[:60]!r} in column {place + 1}, which has no name; name the "
                    f"column, or put a text that holds a {_DELIMITER_WORDS[delimiter]} in quotation marks"
                )
            # rows between two quotation marks: tabs are rare in a text, a line of it with those of a row is a row
            if delimiter == "\t" and any(line.count("\t") >= len(columns) - 1 > 0 for line in cell.split("\n")[1:]):
                raise swallowed_rows(path, number)
        table.append((number, [cells[place] for place in named]))
    return [columns[place] for place in named], table


def swallowed_rows(path: Path, number: int) -> InputError:
    """The error for a quoted cell that goes on over what reads as further rows.

    Args:
        path: The table.
        number: The line on which the cell begins.
    """
    return InputError(
        f"{path}, line {number}: a quoted cell goes on over lines that read as rows of the table; close its quotation "
        "mark, or double it if it is part of the text"
    )


def delimited_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the first line and cells by column of every row of a table.

    Args:
        path: A table in UTF-8 with a header line: cells of a ``.csv`` file are separated by commas, those of any
            other file by tabs.
        needed: Names of columns that the table must have; others are passed on too.

    Raises:
        InputError: The file is no such table, as :func:`delimited_table` says.
    """
    columns, rows = delimited_table(path, needed)
    for number, cells in rows:
        yield number, dict(zip(columns, cells, strict=True))


def with_line_breaks(
    path: Path, rows: Iterable[tuple[int, dict[str, str]]], columns: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
    r"""Rows of a table, with a line break where a cell has a backslash and an n, which is how spreadsheets export one.

    A cell that holds other commands with a backslash, such as ``\alpha`` or ``C:\new``, is LaTeX or a path, and is left
    as it is. One warning says how many cells were read so and how many were left.

    Args:
        path: The table, for the warning.
        rows: Number of the first line and cells by column, as :func:`delimited_rows` gives them.
        columns: Names of the columns of texts that a model reads; the file may lack some.
    """
    table = [(number, dict(cells)) for number, cells in rows]
    read: list[int] = []  # lines of the cells
    left: list[int] = []
    for number, cells in table:
        for name in columns:
            cell = cells.get(name, "")
            if r"\n" not in cell:
                continue
            if _OTHER_COMMAND.search(cell.replace(r"\r\n", r"\n")):
                left.append(number)
            else:
                cells[name] = _WRITTEN_BREAK.sub("\n", cell)
                read.append(number)
    said = [f"in {len(read)} of its cells (the first in line {read[0]}) it is read as a line break"] if read else []
    if left:
        said.append(
            f"in {len(left)} (the first in line {left[0]}) it is left as it is, as other commands with a backslash "
            "stand beside it"
        )
    if said:
        warnings.warn(
            rf"{path} holds \n as two characters: {', and '.join(said)}. Break the lines of quoted cells to say which",
            stacklevel=4,
        )
    return table


def _raw_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and cells of every row, the header included; rows may differ in length."""
    reader = csv.reader(io.StringIO(read_text(path)), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1  # the row's first line: the reader counts those that it has finished
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}, line {number}: {_quoting_trouble(f'{error}', reader.line_num)}") from error
        if cells is None:
            return
        if len(cells) > 1 or any(cell.strip() for cell in cells):  # not an empty line
            yield number, cells


def _quoting_trouble(error: str, last: int) -> str:
    """What is wrong and what to do, from the message of csv; ``last`` is the line at which it gave up."""
    if "unexpected end" in error:
        return "a quotation mark opens a cell and is never closed; close it, or double it if it is part of the text"
    if "field limit" in error:
        return (
            f"a cell has more than {csv.field_size_limit():,} characters up to line {last}; close its quotation mark, "
            "or give so long a text in another way"
        )
    return (
        f"text follows the quotation mark that closes a cell (up to line {last}); a quoted cell ends with its "
        "quotation mark, and quotation marks of the text are doubled"
    )


def _check_header(path: Path, columns: list[str], needed: Sequence[str], delimiter: str) -> None:
    """Raise an error unless the header names each needed column, and none twice."""
    needed_words = " and ".join([", ".join(needed[:-1]), needed[-1]] if len(needed) > 1 else needed)
    if missing := [name for name in needed if name not in columns]:
        # a table with another delimiter is one column
        other = next((one for one in _DELIMITER_WORDS if len(columns) == 1 and one in columns[0]), None)
        hint = (
            f" (its cells should be separated by {_DELIMITER_WORDS[delimiter]}s, not by {_DELIMITER_WORDS[other]}s)"
            if other
            else ""
        )
        raise InputError(
            f"{path} has the columns {', '.join(columns)[:200] or 'none'}; it needs {needed_words}, and lacks "
            f"{', '.join(missing)}{hint}"
        )
    if doubled := [name for place, name in enumerate(columns) if name and name in columns[:place]]:
        raise InputError(f"{path} has two columns of the name {doubled[0]!r}; rename or delete one of them")


def _guessed_encoding(byte: bytes) -> str:
    """What Windows-1252, the commonest other encoding of one byte a letter, reads at the first byte that is wrong."""
    try:
        letter = byte.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return f" ({letter!r} in Windows-1252 or Latin-1)"


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of whose names none comes twice: Python would keep the last value of each."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError(f"the name {doubled!r} comes twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    """NaN and Infinity, which Python's own writer of JSON writes and JSON does not have."""
    raise InputError(f"{name} is no number of JSON; write null")


def _finite(digits: str) -> float:
    """A number with a point or an exponent; 1e999 is none that Python can hold."""
    number = float(digits)
    if math.isinf(number):
        raise InputError(f"the number {digits[:40]} is too large")
    return number


def _refuse_depth(value: Any) -> None:
    """Raise an error where lists and objects stand too deep in one another."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        # what is inside the lists and objects of this level
        parts = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [one for part in parts for one in part]
    if any(isinstance(one, (dict, list)) for one in level):
        raise InputError(f"it is nested more than {_MAX_DEPTH} deep")
