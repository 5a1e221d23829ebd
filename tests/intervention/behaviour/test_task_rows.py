"""Rows of tasks: halves that depend on the row alone, and what is told of them."""

from __future__ import annotations

import random

import pytest

import tl_fbn as fbn
from tl_fbn.attribution.few_shot import Example
from tl_fbn.intervention.behaviour.task_rows import counts_of, dealt, key_of, named_rows, sifted, warnings_of

ROWS = [Example("", f"word {number}", f"words {number}") for number in range(400)]


def halves_of(rows: list[Example]) -> dict:
    return {name: sifted(half, None) for name, half in zip(("discovery", "evaluation"), dealt(rows), strict=True)}


def test_the_half_of_a_row_depends_on_no_other_row_and_on_no_order():
    found, tested = dealt(ROWS)
    assert sorted(map(key_of, [*found, *tested])) == sorted(map(key_of, ROWS))
    assert 160 <= len(found) <= 240  # binomial: 200 +- 4 standard deviations
    shuffled = random.Random(0).sample(ROWS, 100)
    some, others = dealt(shuffled)
    assert set(some) <= set(found) and set(others) <= set(tested)
    assert [row.input for row in sifted(found, None).rows] == [
        row.input for row in sifted(random.Random(1).sample(found, len(found)), None).rows
    ]


def test_the_same_question_is_in_the_same_half_of_every_task():
    same = [Example("Count.", row.input.upper() + " ", "2") for row in ROWS]
    for first, second in zip(dealt(ROWS), dealt(same), strict=True):
        assert list(map(key_of, first)) == list(map(key_of, second))


def test_repeated_and_long_rows_are_left_out_and_counted():
    half = sifted([*ROWS[:3], ROWS[0], Example("", "word 9", "one two three")], 2)
    assert {row.input for row in half.rows} == {"word 0", "word 1", "word 2"}
    assert (half.repeated, half.too_long) == (1, 1)


def test_counts_name_what_may_be_wrong():
    found = [Example("", "true", "false"), Example("", "big", "small"), Example("", "big", "little")]
    tested = [Example("", "False", "True"), Example("", "up", "down")]
    counts = counts_of({"discovery": sifted(found, None), "evaluation": sifted(tested, None)})
    assert counts == {
        "discovery": 3,
        "evaluation": 2,
        "answers": 5,
        "repeated": 0,
        "too_long": 0,
        "conflicting": 1,
        "mirrored": 1,
    }
    assert warnings_of("antonym", counts) == [
        "1 inputs of antonym have several outputs; each is scored as if only it were right",
        "1 rows of antonym for evaluation are rows for discovery with input and output exchanged",
    ]
    one = counts_of(halves_of([Example("", f"word {number}", "yes") for number in range(9)]))
    assert warnings_of("yes", one) == ["all 9 outputs of yes are the same: a constant answer scores everything"]


def test_names_come_from_files_and_differ_in_more_than_case(tmp_path):
    (tmp_path / "plural.csv").write_text("input,output\ncat,cats\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "Plural.csv").write_text("input,output\ndog,dogs\n")
    assert named_rows(tmp_path / "plural.csv", "Say the plural.") == {
        "plural": [Example("Say the plural.", "cat", "cats")]
    }
    with pytest.raises(fbn.InputError, match="two tasks are called 'plural' and 'Plural'; a task is called by"):
        named_rows([tmp_path / "plural.csv", tmp_path / "other" / "Plural.csv"], None)
    with pytest.raises(fbn.InputError, match="two tasks are called 'a' and 'A'; names are told apart"):
        named_rows({"a": ROWS, "A": ROWS}, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no tasks; tasks are files"),
        ({}, "no tasks; tasks are files"),
        ([3], "tasks holds 3; tasks are files"),
        ({"a": [("cat", "")]}, "row 0 of task 'a' is .*; an example has"),
        ({"a": ["cat"]}, "row 0 of task 'a' is cat; an example has"),
        ({"a": "cats.xlsx"}, "no file at cats.xlsx"),
        ({" ": ROWS}, "' ' is no name of a task"),
    ],
)
def test_what_is_no_task_is_one_clear_error(given, message):
    with pytest.raises((fbn.InputError, FileNotFoundError), match=message):
        named_rows(given, None)
