"""From designs to token ids: blocks filled exactly, one context a prompt, no prompt in two runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tl_fbn as fbn
from tl_fbn.acquisition.design.block_design import BlockDesign, prompt_digest
from tl_fbn.acquisition.model.contexts import Context, digests_of, encode, present

QUICK = settings(max_examples=40, deadline=None)


class Letters:
    """A tokenizer of single letters: a is 1, b is 2 ...; blanks are nothing; ^ is the beginning of text, 0."""

    def __init__(self, bos: int | None = 0) -> None:
        self.bos_token_id = bos

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert add_special_tokens is False  # what a tokenizer adds by itself differs by model
        return {"input_ids": [0 if letter == "^" else ord(letter) - 96 for letter in text if letter != " "]}


def ids_design(lengths: dict[str, list[int]], **options: Any) -> BlockDesign:
    """A design of token-id prompts of these lengths; each prompt repeats a number of its own."""
    numbers = iter(range(1, 10**6))
    conditions = {name: [[next(numbers)] * length for length in some] for name, some in lengths.items()}
    return fbn.block_design(conditions, **{"seed": 0, "n_runs": 1, "n_cycles": 1, **options})


def rows_of(contexts: list[Context]) -> list[tuple[int, str, int]]:
    """(row, condition, block) of every row."""
    return [(c.first_row + at, c.condition, c.block) for c in contexts for at in range(len(c.ids))]


# Strings and ids


def test_beginning_of_text_is_prepended_once() -> None:
    assert encode(Letters(), "ab") == (0, 1, 2)
    assert encode(Letters(), "^ab") == (0, 1, 2)
    assert encode(Letters(), "a^b") == (0, 1, 0, 2)
    assert encode(Letters(bos=None), "ab") == (1, 2)
    assert encode(Letters(), [1, 2]) == (1, 2)  # ids are taken as they are
    assert encode(None, (5, 6)) == (5, 6)


def test_strings_need_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="no tokenizer, so prompts must be lists of token ids; got a string"):
        encode(None, "ab")


def test_the_embedded_tokenizer(demo_model: Any) -> None:
    tokenizer = demo_model.tokenizer
    ids = encode(tokenizer, "[INST] sort : d b a [/INST] a b d")
    assert " ".join(tokenizer.convert_ids_to_tokens(list(ids))) == "<bos> [INST] sort : d b a [/INST] a b d"
    assert encode(tokenizer, "<bos> sort") == encode(tokenizer, "sort")


def test_digests_know_a_prompt_by_text_and_by_ids() -> None:
    text = digests_of("ab", (0, 1, 2), 0)
    assert text == (prompt_digest("ab"), prompt_digest([1, 2]))
    assert digests_of([1, 2], (1, 2), 0) == (text[1],)
    assert digests_of([0, 1, 2], (0, 1, 2), 0) == (text[1],)  # with or without the beginning of text
    assert digests_of([0, 1, 2], (0, 1, 2), None) == (prompt_digest([0, 1, 2]),)


# Blocks


def test_blocks_known_answer() -> None:
    design = BlockDesign(
        {"a": ("abc", "de", "fghi", "j"), "b": ("kl", "mnopqr")}, (("a", "b", "a"),), 5, "alternate", 0
    )
    (run,) = present(design, Letters(), n_ctx=8)
    shown = [(c.condition, c.block, c.first_row, c.ids) for c in run]
    assert shown == [
        ("a", 0, 0, (0, 1, 2, 3)),
        ("a", 0, 4, (0,)),  # the last prompt of a block is cut, and the next block starts with another
        ("b", 1, 5, (0, 11, 12)),
        ("b", 1, 8, (0, 13)),
        ("a", 2, 10, (0, 6, 7, 8, 9)),
    ]
    assert run[1].digests == (prompt_digest("de"), prompt_digest([4, 5]))  # of the whole prompt, cut or not


@QUICK
@given(
    lengths=st.lists(st.integers(1, 9), min_size=60, max_size=60),
    tokens=st.integers(1, 12),
    order=st.sampled_from(["alternate", "off/on/off", "random"]),
    n_runs=st.integers(1, 2),
)
def test_blocks_are_filled_exactly(lengths: list[int], tokens: int, order: str, n_runs: int) -> None:
    # no block takes more prompts than it has rows
    plenty = {"a": lengths * 2, "b": lengths[::-1] * 2, "c": [3] * 120}
    design = ids_design(plenty, tokens_per_block=tokens, order=order, n_runs=n_runs, n_cycles=2)
    runs = present(design, None, n_ctx=9)
    assert len(runs) == n_runs
    used: Counter[tuple[int, ...]] = Counter()
    for number, (run, blocks) in enumerate(zip(runs, design.schedule, strict=True)):
        expected = [(row, blocks[row // tokens], row // tokens) for row in range(len(blocks) * tokens)]
        assert rows_of(run) == expected
        assert len(expected) == design.events(number)["duration"].sum()
        used.update(context.digests for context in run)
        for context, after in zip(run, [*run[1:], None], strict=True):
            (prompt,) = [p for p in design.conditions[context.condition] if p[0] == context.ids[0]]
            cut = len(context.ids) < len(prompt)
            assert context.ids == prompt[: len(context.ids)]
            assert not cut or after is None or after.block == context.block + 1
    assert max(used.values()) == 1  # no prompt twice


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("n_runs", [2, 3, 4])
def test_no_prompt_is_in_two_runs(n_runs: int, reuse: bool) -> None:
    n_prompts = 11 if reuse else 90
    options = {"n_runs": n_runs, "n_cycles": 4, "tokens_per_block": 7, "order": "random", "reuse": reuse}
    runs = present(ids_design({"a": [2] * n_prompts, "b": [3] * n_prompts}, **options), None, n_ctx=None)
    seen = [{context.digests for context in run} for run in runs]
    assert len(set().union(*seen)) == sum(map(len, seen))
    counts = Counter(context.digests for run in runs for context in run)
    assert (max(counts.values()) > 1) == reuse


def test_reuse_starts_over_only_when_all_were_shown() -> None:
    design = ids_design({"a": [1] * 6, "b": [1] * 6}, n_runs=2, n_cycles=1, tokens_per_block=7, reuse=True)
    for run in present(design, None, n_ctx=None):
        for condition in "ab":
            shown = [context.ids for context in run if context.condition == condition]
            assert len(set(shown[:3])) == 3
            assert shown == (shown[:3] * 3)[:7]


def test_prompts_follow_the_seed() -> None:
    def shown(seed: int) -> list[tuple[int, ...]]:
        design = ids_design({"a": [2] * 40, "b": [2] * 40}, n_cycles=3, tokens_per_block=6, seed=seed)
        return [context.ids for run in present(design, None, n_ctx=None) for context in run]

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)


# Refusals


def test_prompts_that_run_out_are_counted() -> None:
    design = ids_design({"a": [5] * 20, "b": [2] * 7}, n_runs=2, n_cycles=3, tokens_per_block=4)
    with pytest.raises(
        ValueError,
        match=r"^condition 'b' has 7 distinct prompts, but about 15 are needed for 2 runs; give more prompts, shorter blocks, fewer runs or "
        r"cycles, or let prompts come back within a run .*reuse=True.* \(they filled 3 of its 6 blocks of 4 rows\)$",
    ):
        present(design, None, n_ctx=None)
    enough = ids_design({"a": [5] * 20, "b": [2] * 12}, n_runs=2, n_cycles=3, tokens_per_block=4)
    assert [len(rows_of(run)) for run in present(enough, None, n_ctx=None)] == [24, 24]


def test_prompts_that_do_not_fill_the_first_block() -> None:
    design = ids_design({"a": [1], "b": [50]}, tokens_per_block=9)
    with pytest.raises(
        ValueError, match=r"'a' has 1 distinct prompts, but more than 1 are needed.*filled 0 of its 1 blocks"
    ):
        present(design, None, n_ctx=None)


def test_prompt_longer_than_the_context() -> None:
    design = ids_design({"a": [3], "b": [9]}, tokens_per_block=3)
    assert len(present(design, None, n_ctx=9)[0]) == 2
    with pytest.raises(
        ValueError, match=r"of condition 'b' has 9 tokens, the model's context holds 8; shorten or split"
    ):
        present(design, None, n_ctx=8)
    words = BlockDesign({"a": ("abcd",), "b": ("e",)}, (("a", "b"),), 2, "alternate", 0)
    with pytest.raises(ValueError, match=r"the prompt 'abcd' of condition 'a' has 5 tokens"):  # with beginning of text
        present(words, Letters(), n_ctx=4)


@pytest.mark.parametrize(("ids", "span"), [([1, 50], "1 to 50"), ([-1, 3], "-1 to 3")])
def test_token_outside_the_vocabulary(ids: list[int], span: str) -> None:
    message = rf"has token ids {span}, the vocabulary is 0 to 49|has -1 at place 0; token ids are whole numbers from"
    with pytest.raises(ValueError, match=message):
        design = fbn.block_design({"a": [ids], "b": [[49, 0]]}, n_runs=1, n_cycles=1, tokens_per_block=2, seed=0)
        present(design, None, n_ctx=None, d_vocab=50)


def test_prompt_without_tokens() -> None:
    design = BlockDesign({"a": (" ",), "b": ("e",)}, (("a", "b"),), 2, "alternate", 0)
    with pytest.raises(
        ValueError, match=r"the prompt ' ' of condition 'a' has no tokens; every prompt needs at least one"
    ):
        present(design, Letters(bos=None), n_ctx=None)


def test_strings_for_a_model_without_a_tokenizer() -> None:
    design = fbn.block_design({"a": ["x"], "b": [[1]]}, n_runs=1, n_cycles=1, tokens_per_block=1, seed=0)
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        present(design, None, n_ctx=None)
