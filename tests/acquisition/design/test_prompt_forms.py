"""What is taken for a prompt, and what is refused, at every door."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.no_prompts import ASKED, NO_LISTS, REFUSED
from tl_fbn.acquisition.design.prompt_forms import checked_chat, checked_ids, checked_prompt, checked_prompts, is_chat


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


@pytest.mark.parametrize(("given", "message"), NO_LISTS)
def test_what_is_no_list_of_prompts(given, message):
    with pytest.raises(fbn.errors.InputError, match=f"it is .*{message}"):
        checked_prompts(given, "it")
    assert checked_prompts(["b", "a"], "it") == ["b", "a"]
