"""Tables of prompts: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.design.prompt_tables import read_prompts


@pytest.mark.parametrize(("suffix", "comma"), [(".tsv", "\t"), (".csv", ","), (".CSV", ","), (".txt", "\t")])
def test_read_prompts(tmp_path: Path, suffix: str, comma: str) -> None:
    lines = [
        ("prompt", "note", "condition"),
        ("two words", "", "b"),
        (f'"a{comma}b ""quoted""\nsecond line"', "kept out", "a"),
        ("größe", "", "b"),
    ]
    path = tmp_path / f"design{suffix}"
    path.write_text("\n".join(comma.join(line) for line in lines) + "\n", encoding="utf-8")
    conditions = read_prompts(path)
    assert conditions == {"b": ["two words", "größe"], "a": [f'a{comma}b "quoted"\nsecond line']}
    assert list(conditions) == ["b", "a"]
    design = fbn.block_design(conditions, n_runs=1, n_cycles=1, seed=0)
    assert sorted(design.conditions) == ["a", "b"]


def test_read_prompts_of_a_spreadsheet(tmp_path: Path) -> None:
    """Spreadsheets write a byte order mark and carriage returns."""
    (tmp_path / "a.csv").write_bytes("\ufeffcondition,prompt\r\na,one\r\nb,two\r\n".encode())
    assert read_prompts(str(tmp_path / "a.csv")) == {"a": ["one"], "b": ["two"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none; it needs condition and prompt"),
        ("condition\ttext\na\tb\n", "has the columns condition, text; it needs condition and prompt"),
        ("condition,prompt\na,b\n", "has the columns condition,prompt; it needs"),
        ("condition\tprompt\n", "has a header and no prompt; add lines"),
        ("condition\tprompt\na\tx\n\na\t\n", "line 4: condition or prompt is empty; fill it or delete the line"),
        ('condition\tprompt\na\t"x\ny"\n\tz\n', "line 4: condition or prompt is empty"),
        ("condition\tprompt\na\n", "line 2: condition or prompt is empty"),
    ],
)
def test_read_prompts_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.tsv.*{message}"):
        read_prompts(tmp_path / "bad.tsv")


def test_read_prompts_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*; give a \.tsv or \.csv file with the columns"):
        read_prompts(tmp_path / "none.tsv")
