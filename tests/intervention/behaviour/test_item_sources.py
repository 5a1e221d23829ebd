"""Tasks from what is in memory: taken as given, and named where they are none."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN, TWO
from tests.oracle.templates import CHATML, character_tokenizer
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.intervention.behaviour.item_sources import chat_tasks, pair_tasks, text_tasks, with_delimiter


def test_texts_are_taken_as_they_are():
    (item,) = pair_tasks({"t": [("a \n", [" b ", "c", " b "])]}, None)["t"].items
    assert item.prompt == "a \n" and item.alternatives == (" b ", "c")  # what is given twice counts once
    assert item.whole(" b ") == "a \n b " and item.whole("c") == "a \nc"
    (passage,) = text_tasks({"t": ["\ta  "]})["t"].items
    assert (passage.prompt, passage.alternatives) == ("", ("\ta  ",))
    (ids,) = pair_tasks({"t": [(np.array([1, 2]), (3,))]}, None)["t"].items
    assert (ids.prompt, ids.alternatives, ids.whole((3,))) == ((1, 2), ((3,),), (1, 2, 3))


def test_a_delimiter_belongs_to_the_item():
    tasks = pair_tasks({"t": [("a", "b")]}, None)
    (item,) = with_delimiter(tasks, "\n")["t"].items
    assert item.whole("b") == "a\nb" and tasks["t"].items[0].whole("b") == "a b"
    assert fbn.Battery.from_pairs({"t": [("a", "b")]}, delimiter="").tasks["t"].items[0].whole("b") == "ab"


def test_the_answer_of_a_chat_is_that_of_its_last_turn():
    tokenizer = character_tokenizer(CHATML)
    (item,) = chat_tasks({"t": [TWO]}, Layouts(tokenizer))["t"].items
    assert "".join(tokenizer.convert_ids_to_tokens(item.alternatives[0])) == "fgh" and item.texts == ("de",)
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, TURN[1]]
    joined = chat_tasks({"t": [parts, TURN]}, Layouts(tokenizer))["t"].items
    assert joined[0] == joined[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["ab"], "item 0 of task 't' is 'ab'; give pairs"),
        ([("a", "b"), ("a",)], "item 1 of task 't' is"),
        ([("a", [])], "has a prompt without an answer"),
        ([("a", None)], r"item 0 of task 't': an answer or alternative is None"),
        ([("a", 4)], r"item 0 of task 't': an answer or alternative is 4"),
        ([("a", [4.0])], r"an answer or alternative is 4\.0"),
        ([(None, "a")], "the prompt is None"),
        ([((1, 2.5), (3,))], r"the prompt has 2\.5"),
        ([({"input_ids": [1]}, (3,))], r'the prompt is .*give \["input_ids"\]'),
    ],
)
def test_pairs_that_are_none(given, message):
    with pytest.raises(fbn.errors.InputError, match=message):
        pair_tasks({"t": given}, None)
