"""Tasks as a protocol takes them."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tl_fbn.papers.task_input import read_tasks


def rows(n: int) -> list[tuple[str, str]]:
    return [(f"word{i}", f"words{i}") for i in range(n)]


def test_rows_become_five_shot_tasks():
    made = read_tasks({"a": rows(40), "b": rows(40)}, seed=0, least=2)
    assert made.shots == 5 and made.head == "fixed" and made.names == ("a", "b")
    assert read_tasks(made, seed=0, least=2) is made


def test_too_few_tasks_are_refused():
    with pytest.raises(fbn.InputError, match=r"at least 3 tasks.*got 2: a, b"):
        read_tasks({"a": rows(40), "b": rows(40)}, seed=0, least=3)
