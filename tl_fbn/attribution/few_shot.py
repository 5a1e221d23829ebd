"""Few-shot chats from the rows of a task, each an instruction, an input and the right output.

Neurons are found on one half of the rows and tested on the other::

    rows = fbn.read_examples("task195_sentiment140_classification.json")      # Natural Instructions, CSV, TSV or JSONL
    found_on = rows[: len(rows) // 2]
    scored_on = rows[len(rows) // 2 :]
    chats = fbn.few_shot_chats(found_on, n_shots=5, seed=0, tokenizer=model.tokenizer, max_tokens=1300)
    scores = fbn.cgvst(model, chats, bos_eos=False)
    battery = fbn.Battery.from_chats({"sentiment": fbn.few_shot_chats(scored_on, n_shots=5, seed=1)}, model)

Every row becomes one chat: ``n_shots`` other rows, drawn at random, as finished turns of user and assistant
(demonstrations), then the row itself with its answer. Song et al. (2024) use five shots, the first half of a task's
rows to find neurons and the second to test them, and leave out chats of more than 1300 tokens. Where the instruction
goes is not in their released code: putting it into the first turn is the choice of this package. So is the number of
turns: with five shots and the question there are six.

Demonstrations are drawn anew for every chat, from all rows given that ask something else: a question that is in the
rows twice is never shown among its own demonstrations, and none is shown twice in one chat. Rows for a test have to be
set aside before, as in the lines at the top: else they are demonstrations of the chats that neurons were found on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tl_fbn.acquisition.design.prompt_forms import checked_prompts
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables, render
from tl_fbn.acquisition.model.chat_template import as_chat
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, one_of
from tl_fbn.kinds import shown
from tl_fbn.signatures import checked
from tl_fbn.text_files import delimited_rows, json_file, json_lines, with_line_breaks
from tl_fbn.units import html_table

InstructionPlace = Literal["first", "every", "system"]
Message = dict[str, str]


@checked
@dataclass(frozen=True)
class Example:
    """One row of a task: what is to be done, to what, and the right answer.

    >>> row = fbn.attribution.Example("Sort the letters.", "c a b", "a b c")
    >>> fbn.few_shot_chats([row], n_shots=0, seed=0)[0]
    [{'role': 'user', 'content': 'Sort the letters.\\nc a b'}, {'role': 'assistant', 'content': 'a b c'}]

    Args:
        instruction: What is to be done, the same for all rows of a task; may be empty.
        input: What it is to be done to.
        output: The right answer.
    """

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, eq=False)
class Chats(Sequence[list[Message]]):
    """Chats and how they were made, as :func:`few_shot_chats` returns them; a sequence like any list of chats.

    Args:
        chats: The chats, each a list of messages with role and content that ends with the right answer.
        about: Settings and counts by name: n_shots, seed, instruction (its place), max_tokens, and skipped_as_too_long
            (number of chats that were left out because they have more tokens).
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


@checked
def read_examples(path: str | os.PathLike, *, instruction: str | None = None, n: int | None = None) -> list[Example]:
    """The rows of a task, from a file.

    >>> table = pd.DataFrame({"input": ["c a b", "b a"], "output": ["a b c", "a b"]})
    >>> table.to_csv("sorting.csv", index=False)
    >>> fbn.read_examples("sorting.csv", instruction="Sort the letters.", n=1)
    [Example(instruction='Sort the letters.', input='c a b', output='a b c')]

    Args:
        path: A file of one of these endings. ``.json``: a list of objects with input and output, and instruction if
            there is one; a list of [input, output] pairs; or a task of Natural Instructions, with ``Definition`` (the
            instruction) and ``Instances`` (each with input and output); of several outputs the first is taken.
            ``.jsonl``, ``.csv`` or ``.tsv``: columns input and output, and instruction if there is one.
        instruction: Instruction of all rows, in place of those in the file; None takes those in the file.
        n: Number of rows that are returned, the first of the file; None returns all.

    Returns:
        The rows, in the order of the file.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: The file has another ending or shape, a row has no input or output, or there are no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .json, .jsonl, .csv or .tsv file")
    readers = {".json": _json, ".jsonl": _lines, ".csv": _table, ".tsv": _table}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'}; endings that can be read: {', '.join(readers)}")
    n = None if n is None else whole_number(n, "n", least=0)
    found = []
    for where, row in readers[path.suffix.lower()](path):
        example = example_of(row, f"{path}, {where}")
        found.append(example if instruction is None else Example(instruction, example.input, example.output))
    if not found:
        raise InputError(f"{path} has no rows; each needs an input and an output")
    return found[:n]


@checked
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
    chat_template_kwargs: TemplateVariables = None,
) -> Chats:
    """One chat for every row: other rows as demonstrations, then the row and its answer.

    >>> rows = [("Add.", "1 1", "2"), ("Add.", "1 2", "3"), ("Add.", "2 2", "4")]
    >>> chats = fbn.few_shot_chats(rows, n_shots=1, seed=0)
    >>> chats
    3 chats of 1 shots and a question
    >>> [message["content"] for message in chats[0]]
    ['Add.\\n1 2', '3', '1 1', '2']

    Args:
        examples: Rows of a task, each an :class:`Example`, a mapping with the keys instruction, input and output, a
            triple of these three, or a chat of one turn (user, assistant), which has no instruction.
        seed: Seed of the random draw of demonstrations; the same seed draws the same ones.
        n_shots: Number of demonstrations of a chat, drawn without replacement from the rows with other questions.
        n: Number of rows that chats are made of, the first ones; None makes a chat of every row. All rows may serve as
            demonstrations.
        instruction: Where the instruction goes: ``"first"`` puts it before the first input, ``"every"`` before every
            input, ``"system"`` into a system message.
        tokenizer: Tokenizer of the model, which counts tokens, and whose chat template is asked whether it takes such
            chats; needed where ``max_tokens`` is given.
        bos_eos: True counts the beginning and end of text that the chat template writes; False counts the chat without
            them, for :func:`tl_fbn.cgvst` with ``bos_eos=False``.
        max_tokens: Largest number of tokens of a chat; longer chats are left out and counted in ``.about``. None keeps
            chats of any length.
        chat_template_kwargs: Variables of the tokenizer's chat template with which tokens are counted; None gives none.

    Returns:
        A sequence of chats, with the settings and the number of chats left out as its ``about``.

    Raises:
        InputError: Too few rows of other questions for the shots, a row that is none of these, ``max_tokens`` without
            a tokenizer, a chat template that refuses such chats (most often a system message), or no chat short enough.
    """
    one_of(instruction, InstructionPlace, "instruction")
    n = None if n is None else whole_number(n, "n", least=0)
    whole_number(n_shots, "n_shots")
    rows = [example_of(row, f"example {number}") for number, row in enumerate(checked_prompts(examples, "examples"))]
    n_questions = len(set(map(question_of, rows)))
    if n_shots < 0 or n_questions < n_shots + 1:
        repeated = f", {n_questions} of them with different questions" if n_questions < len(rows) else ""
        raise InputError(
            f"{n_shots} shots and a question need at least {max(n_shots, 0) + 1} rows; got {len(rows)}{repeated}"
        )
    if max_tokens is not None and tokenizer is None:
        raise InputError("max_tokens= counts tokens; give tokenizer=model.tokenizer too")
    rng = np.random.default_rng(seed)
    made: list[list[Message]] = []
    skipped = 0
    for number, row in enumerate(rows[:n]):
        # drawn among the other rows: numbers from the row's own on are shifted by one, to step over it. The draw is
        # made also for chats that turn out too long, so that max_tokens does not change the others
        others = [rows[other + (other >= number)] for other in rng.permutation(len(rows) - 1)]
        chat = chat_of([*first_others(others, row, n_shots), row], instruction)
        if max_tokens is not None and _n_tokens(tokenizer, chat, bos_eos, chat_template_kwargs) > max_tokens:
            skipped += 1
            continue
        made.append(chat)
    if max_tokens is None and made and getattr(tokenizer, "chat_template", None):
        render(tokenizer, as_chat(made[0]), variables=chat_template_kwargs)  # which refuses what it cannot show
    if not made:
        raise InputError(
            f"all {len(rows[:n])} chats are longer than max_tokens={max_tokens}; raise it, or use fewer shots or "
            "shorter rows"
        )
    about = {"n_shots": n_shots, "seed": seed, "instruction": instruction}
    return Chats(tuple(made), about | {"max_tokens": max_tokens, "skipped_as_too_long": skipped})


def question_of(row: Example) -> tuple[str, str]:
    """What a row asks, its instruction and its input, apart from white space at the ends.

    Args:
        row: A row of a task.
    """
    return row.instruction.strip(), row.input.strip()


def first_others(rows: Sequence[Example], asked: Example, n: int) -> list[Example]:
    """The first rows that ask something else than this one, and each something else than those before it.

    Args:
        rows: Rows of a task, in the order in which they are tried.
        asked: The row that they are to be demonstrations for.
        n: Number of rows.
    """
    # a question that stands among its own demonstrations with its answer is no test of anything
    seen = {question_of(asked)}
    found: list[Example] = []
    for row in rows:
        if len(found) == n:
            break
        if question_of(row) not in seen:
            seen.add(question_of(row))
            found.append(row)
    return found


def chat_of(turns: Sequence[Example], place: InstructionPlace) -> list[Message]:
    """The messages of a chat: demonstrations and, as the last turn, the question with its answer.

    Args:
        turns: The rows, the one that is asked last.
        place: Where the instruction goes: ``"first"``, ``"every"`` or ``"system"``.
    """
    # a system message is about the question, so its instruction is that of the last turn
    chat = [{"role": "system", "content": turns[-1].instruction}] if place == "system" and turns[-1].instruction else []
    for number, turn in enumerate(turns):
        has_instruction = turn.instruction and (place == "every" or (place == "first" and number == 0))
        question = f"{turn.instruction}\n{turn.input}" if has_instruction else turn.input
        chat += [{"role": "user", "content": question}, {"role": "assistant", "content": turn.output}]
    return chat


def _n_tokens(tokenizer: Any, chat: list[Message], bos_eos: bool, variables: TemplateVariables) -> int:
    """Number of tokens of a chat as the tokenizer's chat template writes it."""
    text = render(tokenizer, as_chat(chat), bos_eos=bos_eos, variables=variables)
    # the template writes the special tokens itself; the tokenizer must not add its own
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def example_of(row: Any, where: str) -> Example:
    """A row in any of the accepted forms as an example.

    Args:
        row: An :class:`Example`, a mapping, a triple of instruction, input and output, or a chat of one turn.
        where: What the row is called in messages.

    Raises:
        InputError: It is none of these, or its input or output is empty.
    """
    if isinstance(row, Example):
        return row
    if isinstance(row, Mapping):
        row = (row.get("instruction") or "", row.get("input"), row.get("output"))
    elif isinstance(row, Sequence) and len(row) and isinstance(row[0], Mapping):
        chat = as_chat(row)
        if [role for role, _ in chat] != ["user", "assistant"]:
            raise InputError(
                f"{where} is a chat of {', '.join(role for role, _ in chat)}; an example is one turn: user, assistant"
            )
        row = ("", chat[0][1], chat[1][1])  # a chat has no instruction of its own
    # a string is a sequence too: three letters would pass for a triple
    if (
        isinstance(row, str)
        or not isinstance(row, Sequence)
        or len(row) != 3
        or not all(isinstance(part, str) for part in row)
        or not (row[1] and row[2])
    ):
        raise InputError(
            f"{where} is {str(row)[:80]}; an example has an instruction (may be empty), an input and an output"
        )
    return Example(*row)


_ALLOWED_JSON = (
    "it holds a list of objects with input and output (and instruction, if there is one), a list of [input, output] "
    "pairs, or a task of Natural Instructions: an object with a Definition (text) and Instances (a list of objects)"
)


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and fields of every row of a JSON file."""
    value = json_file(path, _ALLOWED_JSON)
    for where, row in (_listed if isinstance(value, list) else _natural_instructions)(path, value):
        output = row.get("output")
        yield where, {**row, "output": output[0] if isinstance(output, list) and output else output}


def _listed(path: Path, rows: list[Any]) -> Iterator[tuple[str, Any]]:
    """Place and fields of every row of a list of objects or of pairs."""
    for number, row in enumerate(rows):
        if isinstance(row, dict) and {"input", "output"} <= set(row):
            yield f"row {number}", row
        elif isinstance(row, list) and len(row) == 2:
            yield f"row {number}", {"input": row[0], "output": row[1]}
        else:
            raise InputError(f"{path}, row {number} is {shown(row)}; {_ALLOWED_JSON}")


def _natural_instructions(path: Path, task: Any) -> Iterator[tuple[str, Any]]:
    """Place and fields of every instance of a Natural-Instructions task."""
    definition, instances = (task.get("Definition"), task.get("Instances")) if isinstance(task, dict) else (None, None)
    # Definition is a text or a list of texts
    texts = [definition] if isinstance(definition, str) else definition
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts) or not isinstance(instances, list):
        raise InputError(f"{path} is {shown(task)}, no list and no Natural-Instructions task; {_ALLOWED_JSON}")
    instruction = "\n".join(texts)
    for number, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise InputError(f"{path}, instance {number} is {type(instance).__name__}; each has an input and an output")
        yield f"instance {number}", {**instance, "instruction": instruction}


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and fields of every line of a JSONL file."""
    allowed = "each line is an object with input and output"
    for number, row in json_lines(path, allowed):
        if not isinstance(row, Mapping):
            raise InputError(f"{path}, line {number} is a {type(row).__name__}; {allowed}")
        yield f"line {number}", row


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and fields of every line of a CSV or TSV file."""
    rows = delimited_rows(path, ("input", "output"))
    for number, row in with_line_breaks(path, rows, ("instruction", "input", "output")):
        yield f"line {number}", row
