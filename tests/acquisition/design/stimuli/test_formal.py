"""The formal language: every task solved once more, and splits that never meet."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.design.stimuli import formal
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


@pytest.mark.usefixtures("unchecked")
def test_neutral_text_is_of_its_own_words() -> None:
    assert all(set(text.split()) <= set(formal.REST_WORDS) for text in fbn.prompts("rest"))
    assert all(text.count(" .") == 2 and text.endswith(".") for text in fbn.prompts("rest"))
    noise = fbn.prompts("random")
    assert {len(text.split()) for text in noise} == set(range(8, 25))
    assert set(" ".join(noise).split()) == set(formal.WORDS)


def test_words_are_distinct() -> None:
    assert len(set(formal.WORDS)) == len(formal.WORDS)


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


def test_item_in_chat_form() -> None:
    item = Item("sort", "sort : b a", "a b")
    assert item.prompt == "[INST] sort : b a [/INST]"
    assert item.text == "[INST] sort : b a [/INST] a b"


def test_a_task_that_is_used_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formal, "LETTERS", ("a", "b"))
    monkeypatch.setattr(formal, "_MAX_FRUITLESS_DRAWS", 2000)
    stream = formal.items("copy", "prompts", 0)
    with pytest.raises(
        ValueError, match=r"task 'copy' has no more than about \d+ distinct items in its split 'prompts'"
    ):
        for _ in range(1000):
            next(stream)
