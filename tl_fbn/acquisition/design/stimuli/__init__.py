"""Prompts that come with the package: worked examples of the demo model's tasks, neutral text, noise, story topics.

:func:`prompts` gives them by name; all were written for this package:

- ``sort``, ``reverse`` ... : worked examples of the demo model's seven tasks (:mod:`.formal`), as many as asked for;
- ``rest``, ``random``: neutral text and random words in the demo model's vocabulary, as many as asked for;
- ``topic/NAME``: 60 English passages of about 30 words each (``topics.json``);
- ``s2/NAME``: 40 sentence openings (90 of ``s2/rest``) to be continued by a model, in the fields that Nencka et al.
  (2023) name (``s2.json``).

No prompt of a task is an item of :func:`tl_fbn.demo.battery`: a network found on prompts is tested on other items.
"""

from __future__ import annotations

import json
import random
from functools import cache
from importlib import resources

from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked

Chat = list[dict[str, str]]


@cache
def topics() -> dict[str, tuple[str, ...]]:
    """Story topics by name, and the neutral ``rest``: English passages of about 30 words each."""
    bank = json.loads(
        resources.files("tl_fbn.acquisition.design.stimuli").joinpath("topics.json").read_text(encoding="utf-8")
    )
    return {name: tuple(passages) for name, passages in bank["topics"].items()}


@cache
def fields() -> dict[str, tuple[str, ...]]:
    """The conditions of Nencka et al. (2023) by name, as sentence openings that a model continues.

    Five fields have 40 openings each; ``random strings`` has one for each opening of ``archeology``, made of random
    letters in words of the same lengths; ``rest`` has 90 openings about everyday life.
    """
    bank = json.loads(
        resources.files("tl_fbn.acquisition.design.stimuli").joinpath("s2.json").read_text(encoding="utf-8")
    )
    rng = random.Random("random strings")  # a fixed seed: every process has the same strings
    # random strings of the same shape as real openings: as many words, of the same lengths
    strings = []
    for opening in bank["archeology"]:
        lengths = map(len, opening.split())
        strings.append(" ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n)) for n in lengths))
    return {name: tuple(found) for name, found in {**bank, "random strings": strings}.items()}


def prompt_names() -> list[str]:
    """All names that :func:`prompts` takes: tasks, neutral text, ``topic/NAME``, ``s2/NAME``."""
    banks = [*(f"topic/{name}" for name in topics()), *(f"s2/{name}" for name in fields())]
    return [*formal.TASKS, *formal.NEUTRAL, *banks]


@checked
def prompts(name: str, *, n: int = 500, seed: int = 0) -> list[str]:
    """Prompts of one condition by name; those of a task are worked examples with their answers.

    >>> fbn.prompts("sort", n=2)
    ['[INST] sort : k a e g i [/INST] a e g i k', '[INST] sort : c i d h [/INST] c d h i']

    Args:
        name: A task of the demo model (``copy``, ``reverse``, ``sort``, ``shift``, ``upper``, ``count``, ``add``);
            ``rest`` (neutral text) or ``random`` (random words); ``topic/NAME`` for English passages about a topic;
            ``s2/NAME`` for sentence openings of a field.
        n: Number of prompts. A topic has at most 60 passages and a field at most 40 openings; all are returned if
            ``n`` is larger.
        seed: Seed of the random draw of worked examples and neutral texts; the same seed gives the same prompts. Topics
            and fields are lists, which no seed changes.

    Returns:
        ``n`` distinct strings (fewer of a topic or field), none of them an item of :func:`tl_fbn.demo.battery`.

    Raises:
        InputError: There are no prompts of that name (the message lists all names), or ``n`` is less than 1.
    """
    # 0 would return an empty list, which fails much later and without a reason
    if n < 1:
        raise InputError(f"prompts({name!r}, n={n}) asks for no prompt; n is at least 1")
    if name in formal.TASKS:
        stream = formal.items(name, "prompts", seed)
        return [next(stream).text for _ in range(n)]
    if name in formal.NEUTRAL:
        texts = formal.passages(name, "prompts", seed)
        return [next(texts) for _ in range(n)]
    if name.startswith("topic/") and name.removeprefix("topic/") in topics():
        # banks are lists: their first n passages, whatever the seed
        return list(topics()[name.removeprefix("topic/")][:n])
    if name.startswith("s2/") and name.removeprefix("s2/") in fields():
        return list(fields()[name.removeprefix("s2/")][:n])
    raise InputError(f"no prompts are called {name!r}; names: {', '.join(prompt_names())}")


@checked
def chats(name: str, *, n: int = 500, seed: int = 0) -> list[Chat]:
    """Worked examples of a task as chats: a user's message with the question, an assistant's message with the answer.

    >>> fbn.chats("sort", n=1)
    [[{'role': 'user', 'content': 'sort : k a e g i'}, {'role': 'assistant', 'content': 'a e g i k'}]]

    Args:
        name: A task of the demo model: ``copy``, ``reverse``, ``sort``, ``shift``, ``upper``, ``count`` or ``add``.
        n: Number of chats.
        seed: Seed of the random draw of worked examples; the same seed gives the same chats.

    Returns:
        ``n`` chats, each a list of messages with the keys ``role`` and ``content``. Their questions and answers are
        those that :func:`prompts` gives as strings for the same name and seed.

    Raises:
        InputError: There is no task of that name, or ``n`` is less than 1.
    """
    if n < 1:
        raise InputError(f"chats({name!r}, n={n}) asks for no chat; n is at least 1")
    if name not in formal.TASKS:
        raise InputError(f"no chats are called {name!r}; names: {', '.join(formal.TASKS)}")
    # the same stream as of prompts(), so that chats and strings hold the same items
    stream = formal.items(name, "prompts", seed)
    return [
        [{"role": "user", "content": item.question}, {"role": "assistant", "content": item.answer}]
        for item in (next(stream) for _ in range(n))
    ]
