"""Tables of runs: whatever stands in them comes back, a line a row for every reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tl_fbn.acquisition.recording.run_tables import read_table, write_table

HOSTILE = [
    "plain",
    "",
    " ",
    "\t",
    "a\nb",
    "\r\n",
    '"quoted"',
    "'",
    "\\",
    "\\n",
    "n/a",
    "n\\/a",
    "nan",
    "None",
    "\u2028line\u2029separators\x85\x0b\x0c\x1c",
    "Ġthe",
    "▁größe",
    "\ufeff",
    "\x00",
    "\x7f",
    "🧠",
    "1e5",
    "a,b;c",
]


@settings(max_examples=60, deadline=None)
@example(texts=HOSTILE, numbers=[0.1])
@given(
    texts=st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), min_size=1, max_size=8),
    numbers=st.lists(st.floats(), min_size=1, max_size=8),
)
def test_any_table_comes_back_exactly(
    texts: list[str], numbers: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    length = len(texts)
    table = pd.DataFrame(
        {
            "token": pd.Series(texts, dtype=object),
            "flags": pd.Series(texts[::-1], dtype=object),
            "trial_type": pd.Series([""] * length, dtype=object),
            "note": pd.Series(texts, dtype=object),
            "surprisal": (numbers * length)[:length],
            "position": range(length),
            "token_id": [2**62 + i for i in range(length)],
            "correct": [i % 2 == 0 for i in range(length)],
        }
    )
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    write_table(path, table)
    back = read_table(path)
    assert list(back) == list(table)
    for name in ("token", "flags", "trial_type", "note"):
        assert back[name].tolist() == table[name].tolist()
    for name in ("surprisal", "position", "token_id", "correct"):
        assert back[name].dtype == table[name].dtype
        np.testing.assert_array_equal(back[name], table[name])


def test_a_table_is_one_line_a_row_for_every_reader(tmp_path: Path) -> None:
    table = pd.DataFrame({"position": range(len(HOSTILE)), "token": pd.Series(HOSTILE, dtype=object)})
    write_table(tmp_path / "a.tsv", table)
    lines = (tmp_path / "a.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(HOSTILE)
    assert all(line.count("\t") == 1 for line in lines)
    assert lines[1] == "0\tplain"
    assert lines[1 + HOSTILE.index("Ġthe")].endswith("\tĠthe")


def test_missing_cells_are_n_a(tmp_path: Path) -> None:
    table = pd.DataFrame({"token": ["a", None, "n/a"], "note": [None, "n/a", "x"], "surprisal": [np.nan, np.inf, 0.5]})
    write_table(tmp_path / "a.tsv", table)
    lines = [line.split("\t") for line in (tmp_path / "a.tsv").read_text(encoding="utf-8").split("\n")]
    assert lines[1] == ["a", "n/a", "n/a"]
    assert lines[2][0] == "n/a"
    assert "n/a" not in lines[3]  # what only looks like it is escaped
    back = read_table(tmp_path / "a.tsv")
    assert back.isna().to_numpy().tolist() == [[False, True, True], [True, False, False], [False, False, False]]
    assert back["token"][2] == "n/a"
    assert back["note"][1] == "n/a"


def test_a_table_without_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "a.tsv", pd.DataFrame({"onset": [], "trial_type": []}))
    back = read_table(tmp_path / "a.tsv")
    assert list(back) == ["onset", "trial_type"]
    assert len(back) == 0
