"""Prompt banks: complete worked examples of the embedded model's tasks, neutral text, noise, and story topics.

``prompts(name)`` serves the tasks of the formal language (:mod:`.formal`), the passages of ``topics.json``, short children's
stories, and the openings of ``s2.json``, sentences to be continued in the five fields of Nencka et al. (2023); all were
written for this package. What it serves of a task is never what the demo battery scores.
"""

from __future__ import annotations

import json
import random
from functools import cache
from importlib import resources

from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.errors import InputError

Chat = list[dict[str, str]]


@cache
def topics() -> dict[str, tuple[str, ...]]:
    """Story topics by name, and the neutral ``rest``: short plain-English passages, each of about 30 words."""
    bank = json.loads(
        resources.files("tl_fbn.acquisition.design.stimuli").joinpath("topics.json").read_text(encoding="utf-8")
    )
    return {name: tuple(passages) for name, passages in bank["topics"].items()}


@cache
def fields() -> dict[str, tuple[str, ...]]:
    """The conditions of Nencka et al. (2023) by name: five fields of 40 sentence openings each, ``random strings`` of as
    many words, and ``rest``, 90 openings about none of these."""
    bank = json.loads(
        resources.files("tl_fbn.acquisition.design.stimuli").joinpath("s2.json").read_text(encoding="utf-8")
    )
    rng = random.Random("random strings")
    strings = []
    for opening in bank["archeology"]:
        lengths = map(len, opening.split())
        strings.append(" ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n)) for n in lengths))
    return {name: tuple(found) for name, found in {**bank, "random strings": strings}.items()}


def prompt_names() -> list[str]:
    """Every name :func:`prompts` knows: formal tasks, neutral text, ``topic/NAME``, ``s2/NAME``."""
    banks = [*(f"topic/{name}" for name in topics()), *(f"s2/{name}" for name in fields())]
    return [*formal.TASKS, *formal.NEUTRAL, *banks]


def prompts(name: str, *, n: int = 500, seed: int = 0) -> list[str]:
    """Prompts of one task, complete worked examples with their answers.

    >>> prompts("sort", n=2)[0].startswith("[INST] sort : ")
    True

    Args:
        name: A task of the demo model (``copy``, ``reverse``, ``sort``, ``shift``, ``upper``, ``count``, ``add``),
            ``rest`` (neutral text), ``random`` (random words), ``topic/NAME`` for a bank of English passages, or
            ``s2/NAME`` for one of sentence openings.
        n: How many; a topic has 60 passages, a field 40 openings, and serves at most those.
        seed: Another seed gives another draw from the same endless supply.

    Returns:
        ``n`` distinct strings (fewer for a topic or field), disjoint from the items of :func:`tl_fbn.demo.battery`.

    Raises:
        InputError: An unknown name, or fewer than one prompt asked for.
    """
    if n < 1:
        raise InputError(f"prompts({name!r}, n={n}) asks for no prompt; n is at least 1")
    if name in formal.TASKS:
        stream = formal.items(name, "prompts", seed)
        return [next(stream).text for _ in range(n)]
    if name in formal.NEUTRAL:
        texts = formal.passages(name, "prompts", seed)
        return [next(texts) for _ in range(n)]
    if name.startswith("topic/") and name.removeprefix("topic/") in topics():
        return list(topics()[name.removeprefix("topic/")][:n])
    if name.startswith("s2/") and name.removeprefix("s2/") in fields():
        return list(fields()[name.removeprefix("s2/")][:n])
    raise InputError(f"no prompts are called {name!r}; names: {', '.join(prompt_names())}")


def chats(name: str, *, n: int = 500, seed: int = 0) -> list[Chat]:
    """The worked examples of a task as chats: a user turn with the question, an assistant turn with the answer.

    >>> [message["role"] for message in chats("sort", n=1)[0]]
    ['user', 'assistant']

    Args:
        name: A task of the demo model, as for :func:`prompts`; no topics and no fields.
        n: How many.
        seed: Another seed gives another draw from the same endless supply.

    Returns:
        ``n`` chats, each a list of messages with the keys ``role`` and ``content``; the items that :func:`prompts` serves as strings.

    Raises:
        InputError: There is no task of that name, or ``n`` is less than 1.
    """
    if n < 1:
        raise InputError(f"chats({name!r}, n={n}) asks for no chat; n is at least 1")
    if name not in formal.TASKS:
        raise InputError(f"no chats are called {name!r}; names: {', '.join(formal.TASKS)}")
    stream = formal.items(name, "prompts", seed)
    return [
        [{"role": "user", "content": item.question}, {"role": "assistant", "content": item.answer}]
        for item in (next(stream) for _ in range(n))
    ]
