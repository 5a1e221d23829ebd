"""Tasks from what is in memory: pairs of prompt and answer, passages, chats that end with an answer.

Every text is taken as it is. What is neither a string nor token ids is an error that names the task and the number of
the item, from 0. Multiple choice and files are in :mod:`.item_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tl_fbn.acquisition.design.prompt_forms import checked_chat, checked_prompts
from tl_fbn.acquisition.design.text_joining import checked_delimiter
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, checked_part


def pair_tasks(tasks: Mapping[str, Sequence[Any]], delimiter: str | None) -> dict[str, Task]:
    """Tasks with answers: what :meth:`tl_fbn.Battery.from_pairs` takes.

    Args:
        tasks: Name to pairs of a prompt and its answer or list of answers.
        delimiter: What stands between prompt and answer; None for one space where a writer would put it.

    Raises:
        InputError: A prompt without an answer, or a prompt or answer that is neither string nor token ids.
    """
    made = {}
    for name, given in tasks.items():
        items = []
        for number, pair in enumerate(checked_prompts(given, f"task {name!r}")):
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise InputError(
                    f"item {number} of task {name!r} is {str(pair)[:60]!r}; give pairs of a prompt and its answer, or "
                    "its list of answers"
                )
            prompt, answer = pair
            item = _item(name, number, prompt, answer if isinstance(answer, list) else [answer], delimiter)
            if not item.alternatives:
                raise InputError(f"task {name!r} has a prompt without an answer; give at least one answer each")
            # an answer that is given twice counts once
            items.append(replace(item, alternatives=tuple(dict.fromkeys(item.alternatives))))
        made[name] = Task(name, "answer", tuple(items))
    return made


def text_tasks(tasks: Mapping[str, Sequence[Any]]) -> dict[str, Task]:
    """Tasks of passages: what :meth:`tl_fbn.Battery.from_texts` takes.

    Args:
        tasks: Name to passages, as strings or token ids.

    Raises:
        InputError: A passage that is neither.
    """
    made = {}
    for name, given in tasks.items():
        passages = enumerate(checked_prompts(given, f"task {name!r}"))
        made[name] = Task(name, "text", tuple(_item(name, number, "", [text], None) for number, text in passages))
    return made


def chat_tasks(tasks: Mapping[str, Sequence[Any]], layouts: Layouts) -> dict[str, Task]:
    """Tasks of chats that end with the right answer: what :meth:`tl_fbn.Battery.from_chats` takes.

    Args:
        tasks: Name to chats.
        layouts: Lays out chats as the tokenizer's template writes them.

    Raises:
        InputError: A chat does not end with a message of the assistant's, or there is no chat template.
    """
    made = {}
    for name, chats in tasks.items():
        items = []
        for number, chat in enumerate(checked_prompts(chats, f"task {name!r}")):
            messages = checked_chat(chat, f"chat {number} of task {name!r}")
            if len(messages) < 2 or messages[-1][0] != "assistant":
                raise InputError(
                    f"chat {number} of task {name!r} does not end with a message of the assistant's, the answer"
                )
            layout = layouts.of(messages)
            # answers of earlier turns (worked examples) are part of the prompt
            answer = [at for at in layout.positions("answer") if layout.turns[at] == layout.turns.max()]
            prompt = layout.ids[: answer[0]]  # the tokens that open the assistant's turn included
            scored = layout.ids[answer[0] : answer[-1] + 1]
            # the bare question too is a text that a network must not have been found on
            items.append(BatteryItem(prompt, (scored,), (messages[-2][1],)))
        made[name] = Task(name, "answer", tuple(items))
    return made


def with_delimiter(tasks: Mapping[str, Task], delimiter: str | None) -> dict[str, Task]:
    """The tasks with what stands between prompts and alternatives.

    Args:
        tasks: Name to task.
        delimiter: A string, or None for one space where a writer would put it.
    """
    checked_delimiter(delimiter)
    return {
        name: replace(task, items=tuple(replace(item, delimiter=delimiter) for item in task.items))
        for name, task in tasks.items()
    }


def _item(task: str, number: int, prompt: Any, alternatives: Sequence[Any], delimiter: str | None) -> BatteryItem:
    """An item, or an error that names it."""
    try:
        checked = tuple(checked_part(one, "an answer or alternative") for one in alternatives)
        return BatteryItem(checked_part(prompt, "the prompt"), checked, delimiter=delimiter)
    except InputError as error:
        raise InputError(f"item {number} of task {task!r}: {error}") from error
