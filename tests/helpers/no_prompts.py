"""What might pass for a prompt, or for a list of them, and is none; with what the message says."""

from __future__ import annotations

import datetime

import numpy as np
import torch

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
NO_LISTS = [
    ("ab", "one string"),
    (b"ab", "one string"),
    ({"a", "b"}, "a set, whose order differs between processes"),
    ({"a": 1}, "of type dict"),
    (3, "of type int"),
    (None, "of type NoneType"),
]
