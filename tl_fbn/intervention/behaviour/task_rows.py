"""Rows of tasks, each an input and the right output, dealt into a half to find neurons on and a half to test them on.

The half of a row is a bit of a hash of what it asks, without regard to case and white space:

- a row is in the same half whatever else is in its file and in whichever order, and also in another task that asks the
  same, so that a word that one task's network was found on is in no task's test;
- rows that ask the same are together, so that no question is in both halves.

Within a half rows are in the order of another part of the hash, so that the first n of them are a random sample of it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_fbn.acquisition.design.prompt_forms import checked_prompts
from tl_fbn.attribution.few_shot import Example, example_of, read_examples
from tl_fbn.errors import InputError
from tl_fbn.kinds import shown

HALVES = ("discovery", "evaluation")
ALLOWED_TASKS = (
    "tasks are files (.json, .jsonl, .csv or .tsv), a list of them, or a mapping of names to files or to rows of input "
    "and output"
)


@dataclass(frozen=True)
class Half:
    """One half of the rows of a task.

    Args:
        rows: The rows, each question with each of its outputs once.
        repeated: Number of rows that were left out because another has the same question and output.
        too_long: Number of rows that were left out because their output has more words than was asked for.
    """

    rows: tuple[Example, ...]
    repeated: int = 0
    too_long: int = 0


def named_rows(given: Any, instruction: str | None) -> dict[str, list[Example]]:
    """The rows of every task by its name, from files or from memory.

    Args:
        given: Files, or names with files or rows.
        instruction: Instruction of all rows; None takes those that they have.

    Raises:
        FileNotFoundError: There is no file at a path.
        InputError: Something that is no task, two tasks of one name (or whose names differ in case only), or no tasks.
    """
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    if not isinstance(given, Mapping):
        paths = checked_prompts(given, "tasks")
        if wrong := [one for one in paths if not isinstance(one, (str, os.PathLike))]:
            raise InputError(f"tasks holds {shown(wrong[0])}; {ALLOWED_TASKS}")
        names = [Path(one).stem for one in paths]
        check_names(names, "a task is called by the name of its file")
        given = dict(zip(names, paths, strict=True))
    if not given:
        raise InputError(f"no tasks; {ALLOWED_TASKS}")
    check_names(list(given), "names are told apart without regard to case")
    found = {}
    for name, source in given.items():
        if isinstance(source, (str, os.PathLike)):
            found[name] = read_examples(source, instruction=instruction)
            continue
        rows = [
            # a pair has no instruction
            example_of(("", *row) if _is_pair(row) else row, f"row {number} of task {name!r}")
            for number, row in enumerate(checked_prompts(source, f"task {name!r}"))
        ]
        found[name] = rows if instruction is None else [Example(instruction, row.input, row.output) for row in rows]
    return found


def _is_pair(row: Any) -> bool:
    """Whether a row is an input and an output."""
    return isinstance(row, (tuple, list)) and len(row) == 2 and all(isinstance(part, str) for part in row)


def check_names(names: Sequence[Any], why: str) -> None:
    """Raise an error unless names are texts that differ in more than case.

    Args:
        names: Names of tasks.
        why: What names come from or how they are told apart; it ends the message.

    Raises:
        InputError: A name that is no text or empty, or two that are alike.
    """
    if wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise InputError(f"{wrong[0]!r} is no name of a task; names are texts that are not empty")
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name or names.count(name) > 1:
            raise InputError(f"two tasks are called {other!r} and {name!r}; {why}, so give one of them another name")


def key_of(row: Example) -> str:
    """What a row asks, without regard to case and white space: its half depends on nothing else.

    Args:
        row: A row of a task.
    """
    return _plain(row.input)


def dealt(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The rows of the half to discover on and of the half to evaluate on.

    Args:
        rows: The rows of a task.
    """
    halves: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        halves[hashed(key_of(row)) & 1].append(row)
    return halves


def hashed(*parts: str) -> int:
    """A number of 64 bits that depends on texts, the same in every process and on every machine.

    Args:
        *parts: The texts.
    """
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def sifted(rows: Sequence[Example], max_words: int | None) -> Half:
    """A half without rows that come again or whose output is too long, in an order that is random but always the same.

    Args:
        rows: Rows of one half.
        max_words: Largest number of words of an output; None keeps outputs of any length.
    """
    short = [row for row in rows if max_words is None or len(row.output.split()) <= max_words]
    once = list({(key_of(row), row.output.strip()): row for row in reversed(short)}.values())
    once.sort(key=lambda row: hashed(key_of(row), "order"))
    return Half(tuple(once), repeated=len(short) - len(once), too_long=len(rows) - len(short))


def counts_of(halves: Mapping[str, Half]) -> dict[str, int]:
    """What there is to say of a task's rows before they are used: the columns of :meth:`Tasks.checks`.

    Args:
        halves: Half of the rows by name, "discovery" and "evaluation".
    """
    found, tested = (halves[name].rows for name in HALVES)
    answers: dict[str, set[str]] = {}
    for row in (*found, *tested):
        answers.setdefault(key_of(row), set()).add(row.output.strip())
    # an antonym asked both ways: who has learnt one row of the pair knows the other
    pairs = {(_plain(row.output), key_of(row)) for row in found}
    return {
        "discovery": len(found),
        "evaluation": len(tested),
        "answers": len({row.output.strip() for row in (*found, *tested)}),
        "repeated": sum(half.repeated for half in halves.values()),
        "too_long": sum(half.too_long for half in halves.values()),
        "conflicting": sum(len(outputs) > 1 for outputs in answers.values()),
        "mirrored": sum((key_of(row), _plain(row.output)) in pairs for row in tested),
    }


def warnings_of(name: str, counts: Mapping[str, int]) -> list[str]:
    """What a user should know of a task's rows, a sentence each; none where all is well.

    Args:
        name: Name of the task.
        counts: What :func:`counts_of` counts.
    """
    n = counts["discovery"] + counts["evaluation"]
    said = []
    if counts["answers"] == 1:
        said.append(f"all {n} outputs of {name} are the same: a constant answer scores everything")
    if counts["conflicting"]:
        said.append(
            f"{counts['conflicting']} inputs of {name} have several outputs; each is scored as if only it were right"
        )
    if counts["mirrored"]:
        said.append(
            f"{counts['mirrored']} rows of {name} for evaluation are rows for discovery with input and output exchanged"
        )
    return said


def refuse_shared(name: str, found: Sequence[Example], tested: Sequence[Example]) -> None:
    """Raise an error where one question is in both halves, which a user has given.

    Args:
        name: Name of the task.
        found: Rows of the half to discover on.
        tested: Rows of the half to evaluate on.

    Raises:
        InputError: A question is in both.
    """
    known = Counter(map(key_of, found))
    if shared := [row for row in tested if key_of(row) in known]:
        raise InputError(
            f"{len(shared)} rows of task {name!r} are in both halves, such as {shared[0].input[:60]!r}; take them out "
            "of one, or leave out evaluation= and have the halves dealt"
        )


def _plain(text: str) -> str:
    """A text without regard to case and white space."""
    return " ".join(text.casefold().split())
