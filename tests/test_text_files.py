"""Files of text that a user hands in: what a line is, and which line is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tl_fbn.errors import InputError
from tl_fbn.text_files import delimited_rows, json_lines, text_lines


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
        (4, {"a": "2", "b": "p\nq", "more": "z"}),
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
