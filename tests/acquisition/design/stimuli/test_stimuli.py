"""Prompt banks: answers are right, splits never meet, supplies are distinct and seeded."""

from __future__ import annotations

import random

import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import fields, formal, prompt_names, topics

# Supplies


@pytest.mark.parametrize("name", [*formal.TASKS, *formal.NEUTRAL])
@pytest.mark.usefixtures("unchecked")
def test_500_distinct_prompts_and_more(name: str) -> None:
    first = fbn.prompts(name)
    assert len(first) == len(set(first)) == 500
    more = fbn.prompts(name, n=700)
    assert len(set(more)) == 700
    assert more[:500] == first  # more of the same stream
    assert fbn.prompts(name, n=20) == first[:20]
    assert fbn.prompts(name, seed=1) != first
    assert fbn.prompts(name, seed=1) == fbn.prompts(name, seed=1)


@pytest.mark.usefixtures("unchecked")
def test_the_global_generator_has_no_say() -> None:
    random.seed(1)
    state = random.getstate()
    first = fbn.prompts("sort", n=10)
    assert random.getstate() == state
    random.seed(2)
    assert fbn.prompts("sort", n=10) == first


# Chats


@pytest.mark.parametrize("task", formal.TASKS)
def test_chats_are_the_prompts_as_turns(task: str) -> None:
    chats = fbn.chats(task, n=50, seed=2)
    for chat, text in zip(chats, fbn.prompts(task, n=50, seed=2), strict=True):
        assert [sorted(message) for message in chat] == [["content", "role"]] * 2
        assert [message["role"] for message in chat] == ["user", "assistant"]
        assert f"[INST] {chat[0]['content']} [/INST] {chat[1]['content']}" == text


# Topics


def test_topics_are_sixty_distinct_passages_each() -> None:
    bank = topics()
    assert "rest" in bank
    assert len(bank) >= 4
    assert {len(passages) for passages in bank.values()} == {60}
    together = [" ".join(text.split()) for passages in bank.values() for text in passages]
    assert len(set(together)) == len(together)
    assert all(20 <= len(text.split()) <= 45 for text in together)
    assert all(text == text.strip() and text[-1] in '.!?"' for text in together)
    assert all(text.isascii() for text in together)


def test_topics_are_served_by_name() -> None:
    for name, texts in topics().items():
        assert fbn.prompts(f"topic/{name}") == list(texts)
        assert fbn.prompts(f"topic/{name}", n=7) == list(texts[:7])
    banks = [*(f"topic/{name}" for name in topics()), *(f"s2/{name}" for name in fields())]
    assert prompt_names() == [*formal.TASKS, "rest", "random", *banks]


# Refusals


@pytest.mark.parametrize("name", ["sorted", "topic/none", "topic/", ""])
def test_unknown_prompts(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"no prompts are called {name!r}; names: copy, .*, rest, random, topic/animals"
    ):
        fbn.prompts(name)


@pytest.mark.parametrize("name", ["rest", "random", "topic/animals", "x"])
def test_unknown_chats(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"no chats are called '{name}'; names: copy, reverse, sort, shift, upper, count, add$"
    ):
        fbn.chats(name)


@pytest.mark.parametrize("n", [0, -1])
def test_no_prompts_at_all(n: int) -> None:
    with pytest.raises(
        ValueError, match=rf"prompts\('sort', n={n}\) asks for no prompt; n is at least 1|n={n} is out of"
    ):
        fbn.prompts("sort", n=n)
    with pytest.raises(ValueError, match=rf"chats\('sort', n={n}\) asks for no chat; n is at least 1|n={n} is out of"):
        fbn.chats("sort", n=n)


def test_s2_has_its_six_conditions_and_rest_about_none_of_them() -> None:
    banks = fields()
    tasks = ["political science", "medical imaging", "paleontology", "archeology", "pathology", "random strings"]
    assert sorted(banks) == sorted([*tasks, "rest"])
    assert all(len(set(banks[name])) == 40 for name in tasks)
    assert len(set(banks["rest"])) == 90
    everything = [text for bank in banks.values() for text in bank]
    assert len(set(everything)) == len(everything)
    assert fbn.prompts("s2/pathology", n=3) == list(banks["pathology"][:3])
    common = {word.lower() for text in banks["rest"] for word in text.split()}
    terms = {
        "fossil",
        "tumour",
        "election",
        "scan",
        "excavators",
        "government",
        "biopsy",
        "radiologist",
        "burial",
        "voters",
    }
    assert not terms & common
    assert not {text.split()[0] for text in banks["random strings"]} & common
