"""Few-shot chats from rows of instruction, input and output.

::

    rows = fbn.read_examples("task195_sentiment140_classification.json")      # Natural Instructions, CSV, TSV or JSONL
    found_on, scored_on = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    chats = fbn.few_shot_chats(found_on, n_shots=5, seed=0, tokenizer=model.tokenizer, max_tokens=1300)
    scores = fbn.cgvst(model, chats, bos_eos=False)
    battery = fbn.Battery.from_chats({"sentiment": fbn.few_shot_chats(scored_on, n_shots=5, seed=1)}, model)

Every row becomes one chat: ``n_shots`` other rows as finished turns, then the row itself. Song et al. (2024) use five
shots, the first half of a task's rows to find neurons and the second to test them, and leave out chats of more than 1300 tokens.
Where the instruction goes is not in the released code; the first turn is our choice. So is the number of turns: with five shots
and the question there are six.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tl_fbn.acquisition.model.chat_template import as_chat
from tl_fbn.acquisition.model.contexts import render
from tl_fbn.errors import InputError, one_of
from tl_fbn.text_files import delimited_rows, json_lines
from tl_fbn.units import html_table

InstructionPlace = Literal["first", "every", "system"]
Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """One row of a task.

    Args:
        instruction: What is to be done; may be empty.
        input: To what.
        output: The right answer.
    """

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, eq=False)
class Chats(Sequence[list[Message]]):
    """Chats and how they were made; a sequence like any list of chats.

    Args:
        chats: The chats, each ending with the right answer.
        about: Shots, seed, and how many chats were left out as too long.
    """

    chats: tuple[list[Message], ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chats)

    def __getitem__(self, index: Any) -> Any:
        return self.chats[index]

    def __iter__(self) -> Iterator[list[Message]]:
        return iter(self.chats)

    def __repr__(self) -> str:
        skipped = self.about["skipped_as_too_long"]
        left_out = f"; {skipped} left out, longer than {self.about['max_tokens']} tokens" if skipped else ""
        return f"{len(self)} chats of {self.about['n_shots']} shots and a question{left_out}"

    def _repr_html_(self) -> str:
        rows = [(message["role"], message["content"]) for message in self.chats[0]] if self.chats else []
        return html_table(f"{self!r}. The first:", ("role", "content"), rows)


def read_examples(path: str | os.PathLike, *, instruction: str | None = None, n: int | None = None) -> list[Example]:
    """Rows of a task from a file.

    ::

        rows = fbn.read_examples("task075.json", n=200)
        chats = fbn.few_shot_chats(rows, seed=0, tokenizer=model.tokenizer)

    Args:
        path: ``.json``: Natural Instructions (``Definition`` and ``Instances`` with input and output, of several outputs the first);
            ``.jsonl``, ``.csv`` or ``.tsv``: columns input and output, and instruction if there is one.
        instruction: Instead of the file's own.
        n: Only the first rows.

    Raises:
        InputError: A file of another shape, a row without input or output, or none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .json, .jsonl, .csv or .tsv file")
    readers = {".json": _natural_instructions, ".jsonl": _lines, ".csv": _table, ".tsv": _table}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'}; endings that can be read: {', '.join(readers)}")
    found = []
    for where, row in readers[path.suffix.lower()](path):
        example = _example(row, f"{path}, {where}")
        found.append(example if instruction is None else Example(instruction, example.input, example.output))
    if not found:
        raise InputError(f"{path} has no rows; each needs an input and an output")
    return found[:n]


def few_shot_chats(
    examples: Sequence[Any],
    *,
    seed: int,
    n_shots: int = 5,
    n: int | None = None,
    instruction: InstructionPlace = "first",
    tokenizer: Any = None,
    bos_eos: bool = True,
    max_tokens: int | None = None,
) -> Chats:
    """One chat a row: other rows as demonstrations, then the row and its answer.

    >>> chats = few_shot_chats([("Add.", "1 1", "2"), ("Add.", "1 2", "3"), ("Add.", "2 2", "4")], n_shots=1, seed=0)
    >>> len(chats), [message["role"] for message in chats[0]]
    (3, ['user', 'assistant', 'user', 'assistant'])

    Args:
        examples: :class:`Example` rows, mappings or triples of instruction, input and output, or chats of one turn.
        seed: Seed of the draw of demonstrations; the same seed draws the same ones.
        n_shots: Demonstrations a chat, drawn without replacement from the other rows.
        n: Make chats of the first rows only; all rows may serve as demonstrations.
        instruction: Where it goes: before the first input, before every input, or a system message.
        tokenizer: A model's, to count tokens for ``max_tokens``.
        bos_eos: As for :func:`tl_fbn.cgvst`; enters the count.
        max_tokens: Longer chats are left out and counted in ``.about``.

    Raises:
        InputError: Too few rows for the shots, a row that is none of these, or ``max_tokens`` without a tokenizer.
    """
    one_of(instruction, InstructionPlace, "instruction")
    rows = [_example(row, f"example {number}") for number, row in enumerate(examples)]
    if n_shots < 0 or len(rows) < n_shots + 1:
        raise InputError(f"{n_shots} shots and a question need at least {max(n_shots, 0) + 1} rows; got {len(rows)}")
    if max_tokens is not None and tokenizer is None:
        raise InputError("max_tokens= counts tokens; give tokenizer=model.tokenizer too")
    rng = np.random.default_rng(seed)
    made: list[list[Message]] = []
    skipped = 0
    for number, row in enumerate(rows[:n]):
        others = rng.permutation(len(rows) - 1)[:n_shots]
        shots = [rows[other + (other >= number)] for other in others]
        chat = _chat([*shots, row], instruction)
        if max_tokens is not None and _length(tokenizer, chat, bos_eos) > max_tokens:
            skipped += 1
            continue
        made.append(chat)
    if not made:
        raise InputError(
            f"all {len(rows[:n])} chats are longer than max_tokens={max_tokens}; raise it, or use fewer shots or shorter rows"
        )
    about = {"n_shots": n_shots, "seed": seed, "instruction": instruction}
    return Chats(tuple(made), about | {"max_tokens": max_tokens, "skipped_as_too_long": skipped})


def _chat(turns: Sequence[Example], place: InstructionPlace) -> list[Message]:
    chat = [{"role": "system", "content": turns[-1].instruction}] if place == "system" and turns[-1].instruction else []
    for number, turn in enumerate(turns):
        told = turn.instruction and (place == "every" or (place == "first" and number == 0))
        question = f"{turn.instruction}\n{turn.input}" if told else turn.input
        chat += [{"role": "user", "content": question}, {"role": "assistant", "content": turn.output}]
    return chat


def _length(tokenizer: Any, chat: list[Message], bos_eos: bool) -> int:
    return len(tokenizer(render(tokenizer, as_chat(chat), bos_eos=bos_eos), add_special_tokens=False)["input_ids"])


def _example(row: Any, where: str) -> Example:
    if isinstance(row, Example):
        return row
    if isinstance(row, Mapping):
        row = (row.get("instruction") or "", row.get("input"), row.get("output"))
    elif len(row) and isinstance(row[0], Mapping):
        chat = as_chat(row)
        if [role for role, _ in chat] != ["user", "assistant"]:
            raise InputError(
                f"{where} is a chat of {', '.join(role for role, _ in chat)}; an example is one turn: user, assistant"
            )
        row = ("", chat[0][1], chat[1][1])
    if (
        isinstance(row, str)
        or len(row) != 3
        or not all(isinstance(part, str) for part in row)
        or not (row[1] and row[2])
    ):
        raise InputError(
            f"{where} is {str(row)[:80]}; an example has an instruction (may be empty), an input and an output"
        )
    return Example(*row)


def _natural_instructions(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        task = json.loads(path.read_text(encoding="utf-8"))
        definition = task["Definition"]
        instances = task["Instances"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no Natural-Instructions task ({error!r}); it has a Definition and Instances"
        ) from error
    told = definition if isinstance(definition, str) else "\n".join(definition)
    for number, instance in enumerate(instances):
        output = instance.get("output")
        first = output[0] if isinstance(output, list) and output else output
        yield f"instance {number}", {"instruction": told, "input": instance.get("input"), "output": first}


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    allowed = "each line is an object with input and output"
    for number, row in json_lines(path, allowed):
        if not isinstance(row, Mapping):
            raise InputError(f"{path}, line {number} is a {type(row).__name__}; {allowed}")
        yield f"line {number}", row


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    for number, row in delimited_rows(path, ("input", "output")):
        yield f"line {number}", row
