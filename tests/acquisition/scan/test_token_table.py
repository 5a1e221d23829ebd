"""The row table: tokens, places and flags of prompts, generated rows and prompts that were cut."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.scan.forward_passes import Words
from tl_fbn.acquisition.scan.token_table import row_table

TOKENIZER = SimpleNamespace(bos_token_id=0, all_special_ids=[0, 9], convert_ids_to_tokens=lambda token: f"<{token}>")


def test_prompts() -> None:
    contexts = [Context((0, 4, 9), "a", 0, 0, ()), Context((0, 5), "b", 1, 3, (), cut=True)]
    table = row_table(contexts, Words.of(contexts), TOKENIZER, 10, False)
    assert list(table.columns) == [
        "prompt",
        "block",
        "position",
        "token_id",
        "token",
        "trial_type",
        "surprisal",
        "flags",
    ]
    assert table["prompt"].tolist() == [10, 10, 10, 11, 11]
    assert table["block"].tolist() == [0, 0, 0, 1, 1]
    assert table["position"].tolist() == [0, 1, 2, 0, 1]
    assert table["token"].tolist() == ["<0>", "<4>", "<9>", "<0>", "<5>"]
    assert table["trial_type"].tolist() == ["a"] * 3 + ["b"] * 2
    assert table["flags"].tolist() == ["bos", "", "special", "bos", "cut"]


def test_generated_rows_are_the_tokens_written() -> None:
    contexts = [Context((0, 4, 4), "a", 0, 0, (), new=2)]
    words = Words.of(contexts)
    assert words.ids.tolist() == [-1, -1]  # not known before
    words.ids[:], words.position[:], words.entropy[:] = [7, 9], [3, 4], [0.5, 0.25]
    table = row_table(contexts, words, TOKENIZER, 0, True)
    assert table["token_id"].tolist() == [7, 9]
    assert table["position"].tolist() == [3, 4]
    assert table["flags"].tolist() == ["generated", "special generated"]
    np.testing.assert_array_equal(table["entropy"], [0.5, 0.25])


def test_without_a_tokenizer_tokens_are_numbers() -> None:
    contexts = [Context((3, 4), "a", 0, 0, ())]
    table = row_table(contexts, Words.of(contexts), None, 0, False)
    assert table["token"].tolist() == ["3", "4"]
    assert table["flags"].tolist() == ["", ""]
