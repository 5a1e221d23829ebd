"""Prompt banks: answers are right, splits never meet, supplies are distinct and seeded."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.design.stimuli import fields, formal, prompt_names, topics
from tl_fbn.acquisition.design.stimuli.formal import Item, items, passages, split_of, sum_of

ALPHABET = "abcdefghijkl"
SPLITS: tuple[formal.Split, ...] = ("train", "prompts", "battery")


def added(words: str) -> str:
    a, b = ("".join(reversed(part.split())) for part in words.split("+"))
    return " ".join(reversed(f"{int(a) + int(b):0{max(len(a), len(b)) + 1}d}"))


# each task once more, from the words of its question to those of its answer
SOLVE: dict[str, Callable[[str], str]] = {
    "copy": lambda words: words,
    "reverse": lambda words: words[::-1],  # words are single letters
    "sort": lambda words: " ".join(letter for letter in ALPHABET for _ in range(words.count(letter))),
    "shift": lambda words: words.translate(str.maketrans(ALPHABET, ALPHABET[1:] + ALPHABET[0])),
    "upper": lambda words: words.translate(str.maketrans(ALPHABET, "ABCDEFGHIJKL")),
    "count": lambda words: str(words.count(words[0])),
    "add": added,
}
TEXT = re.compile(r"\[INST\] (\w+) : (.+) \[/INST\] (.+)")


def test_every_task_is_solved_here() -> None:
    assert tuple(SOLVE) == formal.TASKS


@pytest.mark.parametrize("task", formal.TASKS)
def test_answers_are_right(task: str) -> None:
    for text in fbn.prompts(task, n=100, seed=4):
        match = TEXT.fullmatch(text)
        assert match is not None, text
        assert match[1] == task
        assert match[3] == SOLVE[task](match[2]), text
        assert set(text.split()) - {"[INST]", "[/INST]"} <= set(formal.WORDS)


def test_the_examples_of_the_table() -> None:
    assert added("7 4 1 + 8 3 0") == "5 8 1 0"
    assert SOLVE["shift"]("d b l") == "e c a"
    table = formal.__doc__ or ""
    examples = re.findall(r"^``(\w+)``.*``(.+) -> (.+)``", table, flags=re.MULTILINE)
    assert [task for task, *_ in examples] == list(formal.TASKS)
    for task, question, answer in examples:
        assert SOLVE[task](question) == answer


def test_sums_have_one_digit_more_than_their_terms() -> None:
    rng = random.Random(0)
    for n_digits in (1, 2, 5):
        for _ in range(50):
            question, answer = sum_of(rng, n_digits)
            assert len(question) == 2 * n_digits + 1
            assert len(answer) == n_digits + 1
            assert " ".join(answer) == added(" ".join(question))


@pytest.mark.parametrize("task", formal.TASKS)
@pytest.mark.usefixtures("unchecked")
def test_answers_do_not_follow_from_the_task_alone(task: str) -> None:
    """No task can be passed by one constant answer."""
    answers = Counter(text.rsplit("[/INST] ", 1)[1] for text in fbn.prompts(task))
    assert answers.most_common(1)[0][1] / 500 < (0.35 if task == "count" else 0.05)


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


@pytest.mark.usefixtures("unchecked")
def test_neutral_text_is_of_its_own_words() -> None:
    assert all(set(text.split()) <= set(formal.REST_WORDS) for text in fbn.prompts("rest"))
    assert all(text.count(" .") == 2 and text.endswith(".") for text in fbn.prompts("rest"))
    noise = fbn.prompts("random")
    assert {len(text.split()) for text in noise} == set(range(8, 25))
    assert set(" ".join(noise).split()) == set(formal.WORDS)


def test_words_are_distinct() -> None:
    assert len(set(formal.WORDS)) == len(formal.WORDS)


# Splits


def test_splits_are_a_function_of_the_question() -> None:
    shares = Counter(split_of(f"question {i}") for i in range(4000))
    assert set(shares) == set(SPLITS)
    assert 0.77 < shares["train"] / 4000 < 0.83
    assert 0.08 < shares["prompts"] / 4000 < 0.12
    # another rule would mix what earlier models were trained on into today's battery
    assert "".join(split_of(f"question {i}")[0] for i in range(30)) == "ttpbtttttttttttttttttttttttptt"


@pytest.mark.parametrize("task", formal.TASKS)
@pytest.mark.usefixtures("unchecked")
def test_splits_of_items_never_meet(task: str) -> None:
    drawn = {split: list(islice(items(task, split, seed=seed), 300)) for split in SPLITS for seed in (0,)}
    questions = {split: {item.question for item in some} for split, some in drawn.items()}
    assert all(len(some) == 300 for some in questions.values())
    assert len(set().union(*questions.values())) == 900
    for split, some in drawn.items():
        assert all(split_of(item.question) == split for item in some)
        assert all(item.task == task and item.question.startswith(f"{task} : ") for item in some)


@pytest.mark.parametrize("name", formal.NEUTRAL)
@pytest.mark.usefixtures("unchecked")
def test_splits_of_passages_never_meet(name: str) -> None:
    drawn = [set(islice(passages(name, split, 0), 200)) for split in SPLITS]
    assert len(set().union(*drawn)) == 600


@pytest.mark.usefixtures("unchecked")
def test_prompts_and_battery_never_meet() -> None:
    battery = fbn.demo.battery(n=200, seed=3)
    digests = battery.digests()
    assert set(battery.tasks) == set(formal.TASKS)
    for task in formal.TASKS:
        texts = fbn.prompts(task, n=1000, seed=3)
        assert not {prompt_digest(text) for text in texts} & digests[task]
        asked = {text.split(" [/INST]")[0] + " [/INST]" for text in texts}
        scored = {str(item.prompt) for item in battery.tasks[task].items}
        assert len(scored) == 200
        assert not asked & scored
        for item in battery.tasks[task].items:
            match = TEXT.fullmatch(f"{item.prompt} {item.alternatives[0]}")
            assert match is not None
            assert match[3] == SOLVE[task](match[2])


# Chats


@pytest.mark.parametrize("task", formal.TASKS)
def test_chats_are_the_prompts_as_turns(task: str) -> None:
    chats = fbn.chats(task, n=50, seed=2)
    for chat, text in zip(chats, fbn.prompts(task, n=50, seed=2), strict=True):
        assert [sorted(message) for message in chat] == [["content", "role"]] * 2
        assert [message["role"] for message in chat] == ["user", "assistant"]
        assert f"[INST] {chat[0]['content']} [/INST] {chat[1]['content']}" == text


def test_item_in_chat_form() -> None:
    item = Item("sort", "sort : b a", "a b")
    assert item.prompt == "[INST] sort : b a [/INST]"
    assert item.text == "[INST] sort : b a [/INST] a b"


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
    with pytest.raises(ValueError, match=rf"prompts\('sort', n={n}\) asks for no prompt; n is at least 1"):
        fbn.prompts("sort", n=n)
    with pytest.raises(ValueError, match=rf"chats\('sort', n={n}\) asks for no chat; n is at least 1"):
        fbn.chats("sort", n=n)


def test_a_task_that_is_used_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formal, "LETTERS", ("a", "b"))
    monkeypatch.setattr(formal, "_PATIENCE", 2000)
    stream = formal.items("copy", "prompts", 0)
    with pytest.raises(
        ValueError, match=r"task 'copy' has no more than about \d+ distinct items in its split 'prompts'"
    ):
        for _ in range(1000):
            next(stream)


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
