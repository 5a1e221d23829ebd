"""Batteries of questions, from objects in memory or from a file: what ``Battery.from_choices`` and its siblings are.

They are functions here and class methods of :class:`tl_fbn.Battery`. The fields that an item may have, as a mapping in
memory or as a line of a file, are listed in :mod:`.item_files`; pairs, passages and chats, which have no fields, are in
:mod:`.item_sources`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.intervention.behaviour.item_files import ItemFormat, ScoredText, choice_tasks, qa_tasks, read_jsonl
from tl_fbn.intervention.behaviour.item_sources import with_delimiter
from tl_fbn.signatures import checked

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.battery import Battery


@checked
def from_choices(
    cls: type[Battery],
    tasks: Mapping[str, Sequence[Mapping[str, Any] | tuple[Any, ...]]],
    *,
    template: str | None = None,
    scored: ScoredText = "text",
    delimiter: str | None = None,
    prepend_bos: bool | None = None,
) -> Battery:
    """A battery of multiple choice, from objects in memory.

    >>> snow = {"question": "Is snow white?", "choices": ["no", "yes"], "answer": "yes"}
    >>> fbn.Battery.from_choices({"snow": [snow]}).tasks["snow"].items[0].alternatives
    ('yes', 'no')

    Args:
        tasks: Name to items. An item is a mapping with the fields of a multiple choice in a file
            (:mod:`.item_files` lists them), or a tuple of a prompt, its alternatives and the right one (by place
            from 0, text or letter); in tuples, prompt and alternatives may be token ids.
        template: Prompt of a mapping, with its fields in braces: ``{question}``, or ``{choices}`` for all
            alternatives, each on a line behind its letter. None takes the bare question; where labels are scored,
            question, lettered alternatives and "Answer:". Tuples have their prompt already.
        scored: What is scored of a mapping's alternatives: their ``"text"``, or their ``"label"`` (A, B ...).
        delimiter: What stands between prompt and alternative; None for one space where a writer would put it.
        prepend_bos: Whether a beginning-of-text token is put before strings; None does as the host does.

    Raises:
        InputError: An item that is no multiple choice; the message has its number, what is wrong and what is
            allowed.
    """
    made = choice_tasks(tasks, template=template, scored=scored)
    return cls(with_delimiter(made, delimiter), prepend_bos=prepend_bos)


@checked
def from_qa(
    cls: type[Battery],
    tasks: Mapping[str, Sequence[Mapping[str, Any] | Sequence[Any]]],
    *,
    template: str = "Q: {question}\nA:",
    delimiter: str | None = None,
    prepend_bos: bool | None = None,
) -> Battery:
    """A battery of questions with answers, from objects in memory; the answers are open.

    >>> snow = [("What colour is snow?", "white"), {"question": "Is snow cold?", "answers": ["yes", "Yes"]}]
    >>> battery = fbn.Battery.from_qa({"snow": snow})
    >>> battery.tasks["snow"].items[0].whole("white"), battery.tasks["snow"].items[1].alternatives
    ('Q: What colour is snow?\\nA: white', ('yes', 'Yes'))

    Args:
        tasks: Name to items. An item is a pair of a question and its answer or list of answers, any of which will do,
            or a mapping with the fields of such a question in a file (:mod:`.item_files` lists them).
        template: Prompt of an item, with its fields in braces: ``{question}``, or any other field of a mapping.
        delimiter: What stands between prompt and answer; None for one space where a writer would put it.
        prepend_bos: Whether a beginning-of-text token is put before strings; None does as the host does.

    Raises:
        InputError: An item that is no question with an answer; the message has its number, what is wrong and what is
            allowed.
    """
    return cls(with_delimiter(qa_tasks(tasks, template=template), delimiter), prepend_bos=prepend_bos)


@checked
def from_jsonl(
    cls: type[Battery],
    path: str | os.PathLike,
    *,
    format: ItemFormat = "auto",
    name: str | None = None,
    n: int | None = None,
    template: str | None = None,
    scored: ScoredText = "text",
    delimiter: str | None = None,
    prepend_bos: bool | None = None,
) -> Battery:
    """A battery from a file with one JSON object a line: minimal pairs, multiple choice, or questions with answers.

    Args:
        path: The file.
        format: What the lines are: ``"pairs"`` (minimal pairs, as BLiMP's), ``"choices"`` or ``"qa"`` (questions
            with answers); :mod:`.item_files` lists the fields of each. ``"auto"`` goes by the first line.
        name: Name of the task; None takes the ``UID`` of minimal pairs, else the file's name without its ending.
        n: Number of items to read from the beginning of the file; None reads all.
        template: Prompt of a question, with fields of the line in braces: ``{question}``, or ``{choices}`` for all
            alternatives, each on a line behind its letter. None takes the bare question; where labels are scored,
            question, lettered alternatives and "Answer:".
        scored: What is scored of the alternatives of choices: their ``"text"``, or their ``"label"`` (A, B ...).
        delimiter: What stands between prompt and answer; None for one space where a writer would put it.
        prepend_bos: Whether a beginning-of-text token is put before texts; None does as the host does.

    Raises:
        InputError: A line that is no such item; the message has its number, what was found and what is allowed.
    """
    made = read_jsonl(Path(path), format=format, name=name, n=n, template=template, scored=scored)
    return cls(with_delimiter(made, delimiter), prepend_bos=prepend_bos)
