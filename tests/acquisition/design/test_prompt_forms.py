"""What is taken for a prompt, and what is refused, at every door."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tl_fbn.acquisition.design.prompt_forms import checked_chat, checked_ids, checked_prompt, checked_prompts, is_chat

ASKED = {"role": "user", "content": "a"}
REFUSED = [
    (None, "of type NoneType"),
    (3, "of type int"),
    (3.5, "of type float"),
    (True, "of type bool"),
    (b"ab", "of type bytes"),
    (bytearray(b"ab"), "of type bytearray"),
    ({1, 2}, "of type set"),
    (frozenset({1}), "of type frozenset"),
    (range(0), "empty"),
    ("", "empty"),
    ([], "empty"),
    ([1, 2.0], r"has 2\.0 .* at place 1"),
    ([3.7], r"has 3\.7 .* at place 0, where a token id \(a whole number\) stands"),
    ([True, False], "has True .* at place 0"),
    (np.array([True, False]), "has True"),
    (np.array([1.0, 2.0]), r"has 1\.0"),
    (np.array(3), "is array"),
    (torch.tensor([1.0]), r"has 1\.0"),
    (torch.tensor([[1, 2], [3, 4]]), "give one list a prompt"),
    ([None], "has None"),
    (["a", "b"], "has 'a'"),
    ({"input_ids": [1, 2], "attention_mask": [1, 1]}, r'of a tokenizer\'s output, give \["input_ids"\]'),
    ({"role": "user", "content": "a"}, "of type dict"),
    (iter([1]), "of type list_iterator"),
    (datetime.date(2020, 1, 1), "of type date"),
    ("a\ud800b", r"lone surrogate \('\\ud800' at character 1\)"),
    ([{"role": "user"}], "message 0 of .* needs a role and a content"),
    ([{"content": "a"}], "needs a role and a content"),
    ([{**ASKED, "content": None}], "content None"),
    ([{**ASKED, "content": 3}], "content 3"),
    ([{**ASKED, "content": [{"type": "image", "url": "x"}]}], "a part of its content, {'type': 'image'"),
    ([{**ASKED, "content": ["a", None]}], "a part of its content, None"),
    ([{**ASKED, "role": None}], "the role None"),
    ([{**ASKED, "role": ""}], "the role ''"),
    ([{**ASKED, "tool_calls": [{"name": "f"}]}], "has tool_calls, which would not be shown"),
    ([ASKED, "b"], "message 1 of"),
    ([("user", "a", "b")], "message 0 of"),
    ([{**ASKED, "content": "\udfff"}], "lone surrogate"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_prompt_is_refused_and_named(given, message):
    with pytest.raises(
        fbn.errors.InputError, match=f"^(message . of )?(the content of message 0 of )?it .*{message}|^{message}"
    ):
        checked_prompt(given, "it")


@pytest.mark.parametrize(
    "given", [[1, 2], (1, 2), np.array([1, 2]), torch.tensor([1, 2]), [np.int32(1), np.uint8(2)], range(1, 3)]
)
def test_token_ids_in_any_form_are_one_form(given):
    found = checked_ids(given, "it")
    assert found == (1, 2) and {type(one) for one in found} == {int} and not is_chat(found)


def test_parts_of_a_message_are_joined():
    parts = [{"type": "text", "text": "a "}, "b", {"type": "text", "text": ""}]
    expected = (("user", "a b"), ("assistant", ""))
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": ""}]
    assert checked_chat(messages, "it") == checked_prompt(messages, "it") == expected
    assert checked_prompt(expected, "it") == expected and is_chat(expected)
    # what templates do not read, and what is empty, does no harm
    assert checked_chat([{**ASKED, "name": "x", "tool_calls": []}], "it") == (("user", "a"),)


def test_a_string_of_numpys_is_a_string():
    assert type(checked_prompt(np.str_("ab"), "it")) is str


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ab", "one string"),
        ({"a", "b"}, "a set, whose order differs between processes"),
        ({"a": 1}, "of type dict"),
        (3, "of type int"),
        (None, "of type NoneType"),
    ],
)
def test_what_is_no_list_of_prompts(given, message):
    with pytest.raises(fbn.errors.InputError, match=f"it is .*{message}"):
        checked_prompts(given, "it")
    with pytest.raises(fbn.errors.InputError, match=f"condition 'a' is .*{message}"):
        fbn.block_design({"a": given, "b": ["x"]}, seed=0, tokens_per_block=4)
    with pytest.raises(fbn.errors.InputError, match=f"task 'a' is .*{message}"):
        fbn.Battery.from_texts({"a": given})
    with pytest.raises(fbn.errors.InputError, match=f"task 'a' is .*{message}"):
        fbn.Battery.from_pairs({"a": given})


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_every_door_has_this_check(given, message, demo_model):
    doors = [
        lambda: fbn.block_design({"a": [given], "b": ["x"]}, seed=0, tokens_per_block=4),
        lambda: fbn.token_layout(demo_model, given),
        lambda: fbn.cgvst(demo_model, [given], progress=False),
        lambda: fbn.Battery.from_texts({"a": [given]}).score(demo_model),
        lambda: fbn.Battery.from_pairs({"a": [(given, "b")]}).score(demo_model),
        lambda: fbn.Battery.from_pairs({"a": [("b", given)]}).score(demo_model),
        lambda: fbn.Battery.from_choices({"a": [(given, ["b", "c"], 0)]}).score(demo_model),
        lambda: fbn.Battery.from_chats({"a": [given]}, demo_model),
        lambda: fbn.attribution.attribution_patching(demo_model, [given], ["b"], [("a", "b")], progress=False),
        lambda: fbn.prune(
            demo_model,
            remove=fbn.attribution.random_scores(demo_model, seed=0).top(3),
            compensate=[given],
            progress=False,
        ),
    ]
    for number, door in enumerate(doors):
        if number == 4 and isinstance(given, (str, list, range)) and not len(given):
            continue  # an empty prompt of a battery is an item without a prompt
        with pytest.raises(fbn.errors.InputError):
            door()
