"""Positions and groups of a text's tokens, and how they are shown."""

from __future__ import annotations

import inspect

import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN, TWO
from tests.oracle.templates import DEMO, GEMMA, LLAMA_2, character_tokenizer


def test_the_released_cut_of_the_positions() -> None:
    spans = ["[INST]", "[/INST]"]
    layout = fbn.token_layout(character_tokenizer(LLAMA_2), TWO, bos_eos=False, spans=spans)
    literal = [*range(6), *range(10, 17), *range(20, 26), *range(30, 37)]
    assert [0, *layout.positions()] == literal
    first, second = layout.grouped(
        groups=13
    )  # P[1:13] and P[14:]: the first of all and of the second part are not scored
    assert first == literal[1:13] and second == literal[14:]
    assert layout.grouped(groups=None) == [literal[1:]]
    assert layout.kinds[6] == "content"  # the space behind [INST], which the spans do not name


def test_random_positions_are_as_many_in_every_turn_and_depend_on_the_seed_only() -> None:
    layout = fbn.token_layout(character_tokenizer(GEMMA), TWO)
    drawn = layout.grouped("random", seed=1)
    assert [len(group) for group in drawn] == [len(group) for group in layout.grouped()]
    assert drawn == layout.grouped("random", seed=1) != layout.grouped("random", seed=2)
    assert 0 not in layout.positions("random", seed=3)
    with pytest.raises(ValueError, match="needs seed="):
        layout.positions("random")


def test_the_coloured_view_escapes_what_it_shows() -> None:
    layout = fbn.token_layout(character_tokenizer(DEMO), [{"role": "user", "content": "<script>x</script>"}])
    page = layout._repr_html_()
    assert "<script" not in page and "&lt;" in page and "special" in page
    assert layout.used == (tuple(layout.positions()),) and f"{len(layout.positions())} scored tokens are framed" in page
    two = fbn.token_layout(character_tokenizer(DEMO), TWO, tokens="answer")
    assert two.used == ((20,), (40, 41, 42)) and two._repr_html_().count("outline:") == 4
    assert fbn.token_layout(character_tokenizer(None), "abc").used == ()
    assert list(layout.to_dataframe()) == ["position", "token_id", "token", "kind", "turn"]


def test_refusals_say_what_to_do() -> None:
    tokenizer = character_tokenizer(DEMO)
    layout = fbn.token_layout(tokenizer, TURN)
    with pytest.raises(ValueError, match=r"no special tokens in '<s>abc'; give spans="):
        fbn.token_layout(character_tokenizer(None), "abc").positions()
    with pytest.raises(ValueError, match="which of 3 token ids are special"):
        fbn.token_layout(tokenizer, [1, 2, 3]).positions()
    with pytest.raises(
        ValueError, match=r"groups=1 leaves none of 2 positions: they are cut into P\[1:1\] and P\[2:\]"
    ):
        fbn.token_layout(tokenizer, [{"role": "user", "content": "ab"}]).grouped("content", groups=1)
    with pytest.raises(ValueError, match="groups must be 'turns', None or a number of positions from 1; got 0"):
        layout.grouped(groups=0)
    with pytest.raises(
        ValueError, match="tokens must be 'special', 'all', 'answer', 'content' or 'random'; got 'specials'"
    ):
        inspect.unwrap(type(layout).positions)(layout, "specials")
