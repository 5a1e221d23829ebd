"""Batteries of questions from memory: what an item becomes, and what is none."""

from __future__ import annotations

import json

import pytest

import tl_fbn as fbn

ITEMS = [
    ("Capital of France?", "Paris"),
    {"question": "Capital of Peru?", "answer": "Lima", "context": "Peru is in America."},
    {"prompt": "Two?", "answers": ["2", "two", "2"]},
    ["Three?", ("3", "three")],
]


def test_questions_become_prompts_with_one_space_before_the_answer():
    items = fbn.Battery.from_qa({"t": ITEMS}).tasks["t"].items
    assert items[0].whole("Paris") == "Q: Capital of France?\nA: Paris"
    assert [item.alternatives for item in items] == [("Paris",), ("Lima",), ("2", "two"), ("3", "three")]
    # the bare question too is a text that a network must not have been found on
    assert items[2].texts == ("Two?",)
    bare = fbn.Battery.from_qa({"t": ITEMS[:1]}, template="{question}", delimiter="\n").tasks["t"].items[0]
    assert bare.whole("Paris") == "Capital of France?\nParis" and bare.texts == ()
    other = fbn.Battery.from_qa({"t": ITEMS[1:2]}, template="{context} {question}").tasks["t"].items[0]
    assert other.prompt == "Peru is in America. Capital of Peru?"


def test_memory_and_file_make_the_same_items(tmp_path):
    mappings = [item for item in ITEMS if isinstance(item, dict)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in mappings))
    read = fbn.Battery.from_jsonl(path, template="Q: {question}\nA:", prepend_bos=False)
    made = fbn.Battery.from_qa({"t": mappings}, prepend_bos=False)
    assert read.tasks == made.tasks and read.prepend_bos is made.prepend_bos is False


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("ab", r"it is 'ab'"),
        (("a", "b", "c"), r"it is \('a', 'b', 'c'\)"),
        (("a", None), "its answer is None"),
        (("a", []), r"its answer is \[\]"),
        ((" ", "b"), "its question is ' ', no text"),
        ({"q": "a"}, "it has no question or prompt, only q"),
        ({"question": "a", "answer": "b", "answers": ["c"]}, "its answer and its answers differ"),
    ],
)
def test_what_is_no_question_is_named_with_what_is_allowed(item, why):
    with pytest.raises(fbn.InputError, match=rf"item 1 of task 't' is no question with an answer \({why}") as refused:
        fbn.Battery.from_qa({"t": [ITEMS[0], item]})
    assert str(refused.value).endswith("(a text, or a list of texts any of which will do), or (question, answer)")


def test_a_template_that_cannot_be_filled_is_named():
    with pytest.raises(fbn.InputError, match="the template names 'context'; fields: question, answer"):
        fbn.Battery.from_qa({"t": ITEMS[:1]}, template="{context}")
