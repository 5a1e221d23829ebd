"""Files of text that a user hands in: what a line is, and which line is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tl_fbn.errors import InputError
from tl_fbn.text_files import (
    delimited_rows,
    json_file,
    json_lines,
    json_value,
    read_text,
    text_lines,
    with_line_breaks,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.tsv"


def test_lines_end_at_line_feeds_only_and_keep_their_numbers(file: Path) -> None:
    held = "a\u2028b\x0cc\x85d"
    file.write_text(f"\ufeff{held}\n\n  \nlast", encoding="utf-8")
    assert list(text_lines(file)) == [(1, held), (4, "last")]


def test_json_lines_hold_any_text_and_name_the_bad_one(file: Path) -> None:
    values = [{"text": "a\u2028b"}, [1, 2], "x"]
    file.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in values), encoding="utf-8")
    assert list(json_lines(file, "")) == list(enumerate(values, start=1))
    file.write_text('"x"\n\n{"text"')
    with pytest.raises(InputError, match=r"some\.tsv, line 3 is no JSON \(.*\); a line is a text"):
        list(json_lines(file, "a line is a text"))


def test_cells_hold_delimiters_and_line_breaks_where_they_are_quoted(file: Path) -> None:
    file.write_text('\ufeffa\tb\tmore\n1\t"x\ty"\t\n2\t"p\nq"\tz\n', encoding="utf-8")
    assert list(delimited_rows(file, ("a", "b"))) == [
        (2, {"a": "1", "b": "x\ty", "more": ""}),
        (3, {"a": "2", "b": "p\nq", "more": "z"}),
    ]
    commas = file.with_suffix(".CSV")
    commas.write_text('a,b\n1,"x,y"\n')
    assert list(delimited_rows(commas, ("b",))) == [(2, {"a": "1", "b": "x,y"})]


def test_tables_without_their_columns_and_files_that_are_no_text(file: Path) -> None:
    file.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"has the columns a,b; it needs a and b"):
        list(delimited_rows(file, ("a", "b")))
    file.write_text("")
    with pytest.raises(InputError, match=r"has the columns none; it needs a"):
        list(delimited_rows(file, ("a",)))
    file.write_bytes(b"a\tb\n\xff\xfe")
    for read in (lambda: text_lines(file), lambda: json_lines(file, ""), lambda: delimited_rows(file, ("a",))):
        with pytest.raises(InputError, match=r"some\.tsv is no text in UTF-8"):
            list(read())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_line_ends_of_every_system_are_read_alike(file: Path, mark: str, end: str) -> None:
    file.write_bytes((mark + 'a\tb\n1\t"x\ny\u2028z"\n\n2\té\n').replace("\n", end).encode())
    assert list(delimited_rows(file, ("a",))) == [(2, {"a": "1", "b": "x\ny\u2028z"}), (5, {"a": "2", "b": "é"})]
    file.write_bytes((mark + '"x"\n\n"y\u2028z"\n').replace("\n", end).encode())
    assert list(json_lines(file, "")) == [(1, "x"), (3, "y\u2028z")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\tb\n1\té".encode("utf-16"), r"but in UTF-16, as its first bytes say; save it as UTF-8"),
        ("a\tb\n1\té".encode("utf-32"), r"but in UTF-32, as its first bytes say"),
        ("a\tb\n1\t2".encode("utf-16-le"), r"line 1 holds the character NUL; .*it may be UTF-16"),
        ("a\tb\r\n1\té\r\n".encode("latin-1"), r"line 2 holds the byte 0xe9 \('é' in Windows-1252 or Latin-1\)"),
        ("a\tb\r1\té".encode("latin-1"), r"line 2 holds the byte 0xe9"),
        ("\ufeffa\tb\n1\té".encode() + "é".encode("latin-1"), r"line 2 holds the byte 0xe9"),
        (b"a\tb\n\x81", r"line 2 holds the byte 0x81; save"),
        ("a\tb\n1\t\ud800".encode("utf-8", "surrogatepass"), r"line 2 holds the byte 0xed"),
    ],
)
def test_other_encodings_are_named_with_the_line(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"some\.tsv is no text in UTF-8.*" + message):
        read_text(file)


def test_files_that_were_put_together_are_seen_by_their_second_mark(file: Path) -> None:
    file.write_text("\ufeffa\tb\n1\t2\n\ufeffa\tb\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"some\.tsv, line 3 begins with a byte order mark"):
        read_text(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,Hello, world\n", r"line 2 has 3 cells, the header 2; cells are separated by commas"),
        ("a,b\n1,x\n2\n", r"line 3 has 1 cells, the header 2"),
        ('a,b\n1,x\n2,"y\n3,z\n', r"line 3: a quotation mark opens a cell and is never closed"),
        ('a,b\n1,"y\n2,"z"\n', r"line 2: text follows the quotation mark that closes a cell \(up to line 3\)"),
        ('a,b\n1,"y" z\n', r"line 2: text follows the quotation mark"),
        ('a,b\n1,"' + "y" * 140_000 + '"\n', r"line 2: a cell has more than 131,072 characters"),
        ("a,b,a\n1,2,3\n", r"has two columns of the name 'a'; rename or delete one"),
        ("a,b,\n1,x, y\n", r"line 2 has ' y' in column 3, which has no name"),
        (
            "a;b\n1;2\n",
            r"has the columns a;b; it needs a and b, and lacks a, b \(its cells should be separated by commas, not by semi",
        ),
    ],
)
def test_a_table_that_would_lose_text_is_refused(file: Path, text: str, message: str) -> None:
    path = file.with_suffix(".csv")
    path.write_text(text)
    with pytest.raises(InputError, match=r"some\.csv(, | )" + message):
        list(delimited_rows(path, ("a", "b")))


def test_a_quoted_cell_over_what_reads_as_rows_is_refused(file: Path) -> None:
    file.write_text('a\tb\n1\t"one\n2\ttwo\n3\tthree"\n4\tfour\n')
    with pytest.raises(InputError, match=r"some\.tsv, line 2: a quoted cell goes on over lines that read as rows"):
        list(delimited_rows(file, ("a", "b")))


def test_columns_without_a_name_are_left_out_where_nothing_is_lost(file: Path) -> None:
    path = file.with_suffix(".csv")
    path.write_text(",a,b,,\n0,1,x,,\n1,2,y,,\n")  # row numbers of pandas, and empty cells of a spreadsheet
    assert list(delimited_rows(path, ("a", "b"))) == [(2, {"a": "1", "b": "x"}), (3, {"a": "2", "b": "y"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 3}}', "the name 'c' comes twice in one object"),
        ('{"a": NaN}', "NaN is no number of JSON; write null"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("[1e999]", "the number 1e999 is too large"),
        ("1" * 5000, "a number has thousands of digits"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested more than 100 deep"),
        (r'{"a": ["x\ud83d"]}', r"a text holds '\\ud83d', half of a surrogate pair"),
        (r'{"\udc00": 1}', "half of a surrogate pair"),
        ("{'a': 1}", "Expecting property name"),
        ("", "Expecting value"),
    ],
    ids=range(12),
)
def test_json_that_python_would_take_and_i_json_does_not(file: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        json_value(text)
    file.write_text(f"1\n{text or 'x'}\n")
    with pytest.raises(InputError, match=r"some\.tsv, line 2 is no JSON \(.*\); a line is a number"):
        list(json_lines(file, "a line is a number"))
    file.write_text(text)
    with pytest.raises(InputError, match=rf"some\.tsv is no JSON \(.*{message}.*\); give numbers"):
        json_file(file, "give numbers")


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "😀é\u2028"]}, [], "x", 1e300, -0.0])
def test_values_of_json_are_read_as_they_are(file: Path, value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert json_value(text) == value
        file.write_text(f"\ufeff{text}\r\n", encoding="utf-8")
        assert json_file(file, "") == value
    deepest: Any = json_value("[" * 100 + "]" * 100)
    assert isinstance(deepest, list)


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        (r"one\ntwo", "one\ntwo"),
        (r"\n\n", "\n\n"),
        (r"one\r\ntwo", "one\ntwo"),
        (r"Q:\nWhat?\nA:", "Q:\nWhat?\nA:"),
        (r"one\not two", None),  # may be LaTeX's \not
        (r"one\nothing", "one\nothing"),
        (r"\nabla f", None),
        (r"$x \neq y$\n", None),
        (r"\alpha\nbeta", None),
        (r"C:\new", None),
        (r"D:\data\new", None),
        (r"\\server\new", None),
        (r"a\tb\nc", None),
    ],
)
def test_a_written_line_break_is_one_unless_other_commands_stand_beside_it(
    file: Path, cell: str, read: str | None
) -> None:
    said = "left as it is" if read is None else r"in 1 of its cells \(the first in line 2\) it is read as a line break"
    with pytest.warns(UserWarning, match=said) as warned:
        (found,) = with_line_breaks(file, [(2, {"text": cell, "other": cell})], ("text", "missing"))
    assert found == (2, {"text": cell if read is None else read, "other": cell})
    assert len(warned) == 1 and str(file) in str(warned[0].message)


def test_without_a_written_line_break_nothing_is_said(file: Path) -> None:
    rows = [(2, {"text": "one\ntwo"}), (3, {"text": r"\alpha C:\data"})]
    assert with_line_breaks(file, rows, ("text",)) == rows
