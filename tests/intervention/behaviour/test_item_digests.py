"""Digests of items: every text that an item shows."""

from __future__ import annotations

import pytest

from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.errors import InputTypeError
from tl_fbn.intervention.behaviour.item_digests import item_digests, task_digests
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task


def test_digests_name_prompt_answers_both_and_further_texts():
    found = item_digests(BatteryItem("a", ("b", "c"), ("d",)), None)
    assert found == {prompt_digest(text) for text in ("a", "a b", "a c", "d")}


def test_of_a_task_they_are_those_of_its_items():
    task = Task("t", "answer", (BatteryItem("a", ("b",)), BatteryItem("c", ("d",))))
    assert task_digests({"t": task}, None) == {"t": {prompt_digest(text) for text in ("a", "a b", "c", "c d")}}
    with pytest.raises(InputTypeError, match="tokenizer must be the model's own, or None; got 3"):
        task_digests({"t": task}, 3)
