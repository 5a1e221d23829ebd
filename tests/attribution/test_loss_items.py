"""From what a user gives to what is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.tokenizer_families import learned, pair
from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.attribution.loss_items import Prepared, prepare
from tl_fbn.units.score_prose import describe

OPTIONS: dict[str, Any] = {
    "tokens": "special",
    "groups": "turns",
    "weight": 1.0,
    "spans": None,
    "bos_eos": True,
    "max_tokens": None,
    "seed": None,
}


def prepared(model: Any, items: Any, positions: Any = None, **options: Any) -> Prepared:
    return prepare(model, items, positions, **OPTIONS | options)


def test_the_first_group_is_weighted_and_a_single_one_is_not() -> None:
    ids = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    found = prepared(tiny_model(), ids, [[[1, 2], [4]], [3, 4]], weight=0.25)
    assert found.items[0].weights == (0.125, 0.125, 1.0) and found.items[0].at == (0, 1, 3)
    assert found.items[1].weights == (0.5, 0.5)
    assert found.provenance["scored_positions"] == 5 and found.kept == [0, 1]


def test_tensors_and_arrays_are_lists() -> None:
    ids = [[1, 2, 3, 4], [5, 6, 7, 8]]
    plain = prepared(tiny_model(), ids, [[1, 2], [[1], [3]]])
    for given, positions in (
        (torch.tensor(ids), [torch.tensor([1, 2]), [np.array([1]), np.array([3])]]),
        ([np.array(one) for one in ids], [np.array([1, 2]), np.array([[1], [3]])]),
        ([torch.tensor(one) for one in ids], [(1, 2), ((1,), (3,))]),
    ):
        assert prepared(tiny_model(), given, positions).items == plain.items


def test_all_tokens_of_ids_need_no_positions() -> None:
    found = prepared(tiny_model(), [[1, 2, 3]], tokens="all")
    assert found.items[0].targets == (2, 3)


def test_digests_know_the_whole_and_every_message(demo_model: Any) -> None:
    chat = fbn.chats("sort", n=1)[0]
    text = fbn.prompts("sort", n=1)[0]
    digests = prepared(demo_model, [chat]).provenance["prompts"]
    assert {prompt_digest(message["content"]) for message in chat} <= set(digests)
    as_text = prepared(demo_model, [text]).provenance["prompts"]
    assert prompt_digest(text) in as_text
    assert set(digests) & set(as_text)  # the same tokens


def test_a_given_group_may_be_empty_but_not_both() -> None:
    found = prepared(tiny_model(), [[1, 2, 3]], [[[], [2]]])
    assert found.items[0].at == (1,)
    with pytest.raises(ValueError, match="no position behind its first token"):
        prepared(tiny_model(), [[1, 2, 3]], [[[], [0]]])


def test_errors_name_the_item(demo_model: Any) -> None:
    chats = [*fbn.chats("sort", n=2), [{"role": "user", "content": "sort : a b"}]]
    with pytest.raises(ValueError, match=r"item 2: .* has no answer tokens"):
        prepared(demo_model, chats, tokens="answer")
    with pytest.raises(ValueError, match="item 1 is ''"):
        prepared(demo_model, ["a b", ""])


def test_a_tensor_of_ids_is_as_good_as_a_list() -> None:
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    options: dict[str, Any] = {"variant": "grad", "progress": False}
    found = fbn.cgvst(tiny_model(), ids, tokens="all", **options).values
    assert np.array_equal(found, fbn.cgvst(tiny_model(), ids.tolist(), tokens="all", **options).values)
    by_row = fbn.cgvst(tiny_model(), list(ids), positions=[[1, 2, 3]] * 2, groups=None, **options).values
    assert np.allclose(by_row, fbn.cgvst(tiny_model(), ids, tokens="all", groups=None, **options).values)


def test_positions_are_whole_numbers_and_not_cast() -> None:
    for given in (
        [1.7, 2],
        [True, False, True],
        np.array([False, True, True]),
        torch.tensor([1.0]),
        ["1"],
        [[1], [2.5]],
    ):
        with pytest.raises(ValueError, match=r"positions of item 0 hold .*; positions are integers"):
            prepared(tiny_model(), [[1, 2, 3]], [given])


def test_the_share_of_what_a_template_says_by_itself_is_told(demo_model: Any) -> None:
    assert "preamble_share" not in prepared(demo_model, fbn.chats("sort", n=2)).provenance
    tokenizer = learned("bytes", ["hello"])  # its template has a default system prompt
    model = pair(tokenizer, "llama").bridge
    chat = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]
    found = prepared(model, [chat])
    layout = fbn.token_layout(model, chat)
    share = layout.kinds.count("preamble") / len(layout.ids)
    assert found.provenance["preamble_share"] == round(share, 4) and share > 0.3
    said = fbn.cgvst(model, [chat], progress=False).provenance
    assert f"{share:.0%} of all tokens are what the chat template says by itself" in str(describe(said))
    # given as a system message the same words are content, and the loss is that of the same positions
    spelled = [{"role": "system", "content": "You are a kind and helpful assistant."}, *chat]
    assert prepared(model, [spelled]).items == found.items
