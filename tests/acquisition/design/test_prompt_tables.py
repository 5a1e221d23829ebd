"""Tables of prompts: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.design.prompt_tables import read_prompts
from tl_fbn.errors import InputError


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
        ("condition\tprompt\na\n", "line 2 has 1 cells, the header 2"),
        ("condition\tprompt\na\t \n", "line 2: condition or prompt is empty"),
        ("condition\tprompt\na\tx\nb\ty\na \tz\n", "line 4: the conditions 'a ' and 'a' differ by white space only"),
        (
            "condition\tprompt\nSort\tx\nsort\ty\n",
            "line 3: the conditions 'sort' and 'Sort' differ in upper and lower case",
        ),
        ("condition\tprompt\na\tx\ty\n", "line 2 has 3 cells, the header 2"),
        ("condition\tprompt\tprompt\na\tx\ty\n", "has two columns of the name 'prompt'"),
        ('condition\tprompt\na\t"x\na\ty\nb\tz\n', "line 2: a quotation mark opens a cell and is never closed"),
    ],
)
def test_read_prompts_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.tsv.*{message}"):
        read_prompts(tmp_path / "bad.tsv")


def test_read_prompts_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*; give a \.tsv or \.csv file with the columns"):
        read_prompts(tmp_path / "none.tsv")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("columns", [("condition", "prompt"), ("prompt", "condition")])
def test_rows_between_two_quotation_marks_are_no_prompt(tmp_path: Path, suffix: str, columns: tuple[str, str]) -> None:
    """Of 40 prompts 13 were left, and nothing said so."""
    lines = [{"condition": "ab"[i % 2], "prompt": f"prompt {i}"} for i in range(40)]
    lines[12]["prompt"], lines[39]["prompt"] = '"prompt 12', 'prompt 39"'
    comma = "," if suffix == ".csv" else "\t"
    path = tmp_path / f"bad{suffix}"
    path.write_text("\n".join([comma.join(columns), *(comma.join(line[name] for name in columns) for line in lines)]))
    with pytest.raises(InputError, match=rf"bad\{suffix}, line 14: a quoted cell goes on over lines that read as rows"):
        read_prompts(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_written_line_break_is_one_and_a_warning_counts_the_cells(tmp_path: Path, suffix: str) -> None:
    comma = "," if suffix == ".csv" else "\t"
    prompts = [r"one\ntwo", r"\alpha\n", "plain", r"Q: 1\nA: 2"]
    path = tmp_path / f"a{suffix}"
    path.write_text("\n".join([f"condition{comma}prompt", *(f"a{comma}{one}" for one in prompts)]))
    with pytest.warns(UserWarning, match=r"in 2 of its cells \(the first in line 2\) .* in 1 \(the first in line 3\)"):
        found = read_prompts(path)
    assert found == {"a": ["one\ntwo", r"\alpha\n", "plain", "Q: 1\nA: 2"]}
    path.write_text(rf"condition{comma}prompt" + "\n" + rf"a{comma}\n")
    with pytest.warns(UserWarning, match="as two characters"), pytest.raises(InputError, match=r"line 2: .* is empty"):
        read_prompts(path)


def test_commas_and_lines_of_a_quoted_prompt_are_its_own(tmp_path: Path) -> None:
    prompt = "Say, friend,\nthat a, b, c\nare letters, sort of."
    path = tmp_path / "a.csv"
    pd.DataFrame({"condition": ["sort", "a"], "prompt": [prompt, "x"]}).to_csv(path)
    assert read_prompts(path) == {"sort": [prompt], "a": ["x"]}
