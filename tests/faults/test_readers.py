"""Files that are damaged or in another encoding, through every door that reads text: one error that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tl_fbn as fbn
from tl_fbn.cli.input_files import read_chats, read_conditions
from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, Network

DAMAGED = {
    "Latin-1": "é".encode("latin-1"),
    "UTF-16": '"a"'.encode("utf-16"),
    "UTF-16 without a mark": '"a"'.encode("utf-16-le"),
    "UTF-32": '"a"'.encode("utf-32"),
    "surrogate in UTF-8": "\ud800".encode("utf-8", "surrogatepass"),
    "half a pair": rb'{"condition": "\ud800", "input": "\ud800"}',
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "NaN": b'{"a": NaN}',
    "infinity": b"[1e999]",
    "thousands of digits": b"1" * 5000,
    "name twice": b'{"input": "a", "input": "b", "output": "c"}',
    "nothing": b"",
    "a mark and nothing": b"\xef\xbb\xbf",
    "null": b"null",
    "number": b"3",
}
DOORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "battery": ("x.jsonl", fbn.Battery.from_jsonl),
    "examples of lines": ("x.jsonl", fbn.read_examples),
    "chats": ("x.jsonl", lambda path: read_chats(str(path))),
    "prompts of lines": ("x.jsonl", lambda path: read_conditions(str(path))),
    "examples": ("x.json", fbn.read_examples),
    "network": ("x.json", Network.from_json),
    "atlas": ("x.json", Atlas.from_json),
    "prompts": ("x.tsv", fbn.read_prompts),
    "prompts with commas": ("x.csv", fbn.read_prompts),
    "examples of a table": ("x.tsv", fbn.read_examples),
    "events": ("x_events.tsv", fbn.read_events),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("door", DOORS)
def test_damaged_text_is_one_error_that_names_the_file(tmp_path: Path, door: str, data: bytes) -> None:
    name, read = DOORS[door]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert name in str(caught.value) and len(str(caught.value)) < 900


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_sidecar_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x_events.tsv").write_text("onset\tduration\ttrial_type\n0\t2\ta\n")
    (tmp_path / "x_events.json").write_bytes(data)
    with pytest.raises(InputError, match=r"x_events\.json"):
        fbn.read_events(tmp_path / "x_events.tsv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_line_ends_and_separators_are_read_alike_through_every_door(tmp_path: Path, mark: str, end: str) -> None:
    """U+2028 and U+0085 are letters of a text, a byte order mark is none."""

    def written(name: str, *lines: str) -> Path:
        (tmp_path / name).write_bytes((mark + "".join(line + end for line in lines)).encode())
        return tmp_path / name

    held = "a\u2028b\x85c"
    assert fbn.read_prompts(written("x.tsv", "condition\tprompt", f"p\t{held}")) == {"p": [held]}
    assert fbn.read_prompts(written("x.csv", "condition,prompt", f"p,{held}")) == {"p": [held]}
    (example,) = fbn.read_examples(written("x.csv", "input,output", f"{held},y"))
    assert (example.input, example.output) == (held, "y")
    (example,) = fbn.read_examples(written("x.jsonl", f'{{"input": "{held}", "output": "y"}}'))
    assert example.input == held
    (example,) = fbn.read_examples(
        written("x.json", f'{{"Definition": "d", "Instances": [{{"input": "{held}", "output": "y"}}]}}')
    )
    assert example.input == held
    events = fbn.read_events(written("x_events.tsv", "onset\tduration\ttrial_type", f"0\t2\t{held}"))
    assert events["trial_type"].tolist() == [held]
    assert read_chats(str(written("x.jsonl", f'"{held}"'))) == [held]
    assert read_conditions(str(written("x.jsonl", f'{{"condition": "p", "prompt": "{held}"}}'))) == {"p": [held]}
    battery = fbn.Battery.from_jsonl(written("x.jsonl", f'{{"question": "{held}", "answer": "y"}}'))
    assert battery.tasks["x"].items[0].prompt == held


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2,3\n4,5,6\n", r"line 2 has 3 cells, the header 2"),  # the first column became the index
        ("a,b\n1\n2,3\n", r"line 2 has 1 cells, the header 2"),  # became NaN
        ("a,a\n1,2\n", r"has two columns of the name 'a'"),  # became a and a.1
        ('a,b\n1,"x\n2,y\n', r"line 2: a quotation mark opens a cell and is never closed"),
    ],
)
def test_a_table_that_pandas_would_change_is_not_loaded(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=r"table\.csv.*" + message):
        fbn.load(tmp_path / "table.csv")


def test_names_that_pandas_takes_for_missing_are_names(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("condition,t\nNone,1.5\nNA,\nnull,nan\n")
    table = fbn.load(tmp_path / "table.csv")
    assert table["condition"].tolist() == ["None", "NA", "null"]
    assert table["t"].isna().tolist() == [False, True, True]
