"""Tasks from files: one set of rows that serves a scan, a gradient score and a battery.

A row is an input and the right output, with an instruction where there is one. The rows of every task are dealt into
two halves (:mod:`.task_rows`): networks are found on *discovery* and tested on *evaluation*. Every row is shown behind
``shots`` rows of its own half, as text (``Q: ... A: ...`` or another template) or as a chat::

    tasks = fbn.Tasks(["singular-plural.json", "capitalize.json"])
    design = fbn.block_design(tasks.prompts(), n_runs=2, n_cycles=4, seed=0)
    scores = {name: fbn.attribution.gradient_x_activation(model, *items) for name, items in tasks.items(model).items()}
    study = fbn.lesion_study(model, networks, tasks.battery(n=50), seed=0)

What it does not do: judge whether a model can do a task (:meth:`Tasks.describe` measures that, on the half that is not
tested), or take rows with several right outputs as such.
"""

from __future__ import annotations

import copy
import string
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tl_fbn.acquisition.design.text_joining import joined
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.arguments import whole_number
from tl_fbn.attribution.few_shot import Example, Message, chat_of, first_others
from tl_fbn.errors import InputError, one_of, visible
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.task_rows import (
    HALVES,
    Half,
    counts_of,
    dealt,
    hashed,
    key_of,
    named_rows,
    refuse_shared,
    sifted,
    warnings_of,
)
from tl_fbn.signatures import checked
from tl_fbn.units import html_table

HalfName = Literal["discovery", "evaluation"]
Head = Literal["drawn", "fixed"]
PLAIN = "Q: {input}\nA:"
CHAT = "chat"
_SEPARATOR = "\n\n"  # between rows of a text, and behind the instruction
_LEAST_ITEMS = 2  # of a half: an interval needs two


class MarkedItems(NamedTuple):
    """Token ids of a task's items, and which of them are the answers: what gradient scores take as items and positions.

    Args:
        items: Token ids of every item, question and answer.
        positions: For every item, the positions of the tokens of its answer.
    """

    items: list[list[int]]
    positions: list[list[int]]


class Tasks:
    """Rows of several tasks, dealt into a half to find networks on and a half to test them on.

    >>> words = ["cat", "dog", "car", "hat", "pen", "cup", "bed", "key", "map", "jar", "bus", "toy", "egg", "fan"]
    >>> tasks = fbn.Tasks({"plural": [(word, f"{word}s") for word in words]}, shots=1)
    >>> tasks
    Tasks: plural (5 + 9) rows for discovery + evaluation; 1 shot, drawn, as text
    >>> print(tasks.prompts()["plural"][0])
    Q: car
    A: cars
    <BLANKLINE>
    Q: key
    A: keys

    Args:
        tasks: Files, one task each, which is called by the file's name (:func:`tl_fbn.read_examples` says which files
            can be read), or a mapping of names to files or to rows: pairs of input and output, triples with the
            instruction first, mappings with input and output.
        evaluation: Rows of the half to test on, for data that come in two parts, in the same form and with the same
            names; ``tasks`` are then the half to find networks on. None deals the rows of ``tasks``.
        shots: Number of rows with their outputs that are shown before the row that is asked.
        head: ``"drawn"`` draws these rows anew for every row; ``"fixed"`` shows all rows of a half behind the same
            ones, which are then not asked: their texts begin alike.
        template: How a row is shown as text, with ``{input}``, and ``{instruction}`` where that is not to stand once at
            the beginning; the output follows it. ``"chat"`` shows rows as turns of a chat, which needs a model with a
            chat template.
        instruction: Instruction of all rows, in place of those in the files; None takes those in the files.
        max_words: Largest number of words of an output; rows with longer ones are left out and counted. None keeps all.
        seed: Seed of the draw of shots; the halves depend on no seed.

    Raises:
        FileNotFoundError: There is no file at a path.
        InputError: Something that is no task, tasks of one name, a row without input or output, a question in both
            halves, or a half with too few rows for its shots.
    """

    @checked
    def __init__(
        self,
        tasks: Any,
        *,
        evaluation: Any = None,
        shots: int = 5,
        head: Head = "drawn",
        template: str = PLAIN,
        instruction: str | None = None,
        max_words: int | None = None,
        seed: int = 0,
    ) -> None:
        one_of(head, Head, "head")
        self.shots = whole_number(shots, "shots", least=0)
        self.head = head
        self.template = _checked_template(template)
        self.seed = seed
        self.max_words = None if max_words is None else whole_number(max_words, "max_words", least=1)
        found = named_rows(tasks, instruction)
        if evaluation is None:
            halves = {name: dealt(rows) for name, rows in found.items()}
        else:
            tested = named_rows(evaluation, instruction)
            if set(tested) != set(found):
                raise InputError(
                    f"tasks has {', '.join(found)}, and evaluation= has {', '.join(tested)}; give both the same names"
                )
            halves = {name: (rows, tested[name]) for name, rows in found.items()}
        self._halves: dict[str, dict[str, Half]] = {}
        for name, pair in halves.items():
            if evaluation is not None:
                refuse_shared(name, *pair)
            self._halves[name] = {half: sifted(rows, self.max_words) for half, rows in zip(HALVES, pair, strict=True)}
            self._require_rows(name)
        self._counts = {name: counts_of(pair) for name, pair in self._halves.items()}
        if said := [sentence for name, counts in self._counts.items() for sentence in warnings_of(name, counts)]:
            warnings.warn(f"{'; '.join(said)}. tasks.checks() has the counts", stacklevel=3)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order in which they were given."""
        return tuple(self._halves)

    @property
    def is_chat(self) -> bool:
        """Whether rows are shown as turns of a chat."""
        return self.template == CHAT

    @checked
    def rows(self, task: str, half: HalfName = "discovery") -> tuple[Example, ...]:
        """The rows of one half of a task, in the order in which they are asked.

        Args:
            task: Name of the task.
            half: ``"discovery"`` or ``"evaluation"``.

        Raises:
            InputError: No task of that name, or another half.
        """
        one_of(half, HalfName, "half")
        if task not in self._halves:
            raise InputError(f"no task {task!r}; tasks: {', '.join(self.names)}")
        return self._halves[task][half].rows

    @checked
    def select(self, names: Sequence[str]) -> Tasks:
        """Some of the tasks, with the same halves and shots.

        Args:
            names: Names of the tasks, in the order they shall have.

        Raises:
            InputError: No task of a name.
        """
        for name in names:
            self.rows(name)  # which refuses a name that is not there
        other = copy.copy(self)
        other._halves = {name: self._halves[name] for name in names}
        other._counts = {name: self._counts[name] for name in names}
        return other

    @checked
    def prompts(self, half: HalfName = "discovery", *, n: int | None = None, answers: bool = True) -> dict[str, list]:
        """What a design shows: name of a task to its prompts, texts or chats.

        Args:
            half: The half whose rows are asked.
            n: Largest number of prompts a task; None makes one of every row.
            answers: True ends a prompt with the right output; False ends it where the model would answer.
        """
        made: dict[str, list] = {}
        for name in self.names:
            turns = self._turns(name, half, n)
            if self.is_chat:
                made[name] = [chat if answers else chat[:-1] for chat in map(_chat, turns)]
            else:
                made[name] = [joined(*self._text(rows)) if answers else self._text(rows)[0] for rows in turns]
        return made

    @checked
    def chats(self, half: HalfName = "discovery", *, n: int | None = None) -> dict[str, list[list[Message]]]:
        """Chats with shots as turns, each ending with the right output: what :func:`tl_fbn.cgvst` reads.

        Args:
            half: The half whose rows are asked.
            n: Largest number of chats a task; None makes one of every row.
        """
        return {name: [_chat(rows) for rows in self._turns(name, half, n)] for name in self.names}

    @checked
    def items(
        self, model: HookedModel, half: HalfName = "discovery", *, n: int | None = None
    ) -> dict[str, MarkedItems]:
        """Token ids with the answers marked: ``gradient_x_activation(model, *tasks.items(model)["plural"])``.

        Args:
            model: The model whose tokenizer, and chat template where rows are chats, makes the tokens.
            half: The half whose rows are asked.
            n: Largest number of items a task; None makes one of every row.
        """
        return marked_items(self.battery(model, half=half, n=n), model)

    @checked
    def battery(self, model: Any = None, *, half: HalfName = "evaluation", n: int | None = None) -> Battery:
        """A battery of the rows of a half; of the half to test on, unless it says otherwise.

        Args:
            model: A model or its tokenizer, which is needed where rows are chats.
            half: The half whose rows are asked.
            n: Largest number of items a task; None makes one of every row.

        Raises:
            InputError: Rows are chats and there is no model with a chat template.
        """
        if self.is_chat:
            if model is None:
                raise InputError("rows are shown as chats, whose tokens the model's template makes; give the model")
            return Battery.from_chats(self.chats(half, n=n), model)
        return Battery.from_pairs({name: list(map(self._text, self._turns(name, half, n))) for name in self.names})

    @checked
    def describe(
        self, model: HookedModel, *, half: HalfName = "discovery", n: int | None = 50, batch_tokens: int = 8192
    ) -> pd.DataFrame:
        """What the model makes of every task, to choose tasks that it can do.

        It reads the half that networks are found on, so that tasks are not chosen on the rows that they are tested on.

        Args:
            model: A TransformerLens model in eval mode.
            half: The half whose rows are asked.
            n: Largest number of items a task; None asks every row.
            batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory
                only.

        Returns:
            One line a task: task, exact_match, majority (exact match of the best constant answer), log_likelihood
            (nats a token of the answer), n (items), tokens (mean length of an item) and answer_tokens (longest answer).
        """
        battery = self.battery(model, half=half, n=n)
        scored = battery.scored_tokens(model)
        table = battery.evaluate(model, batch_tokens=batch_tokens)
        table = table.reindex(columns=["task", "exact_match", "majority", "log_likelihood", "n"])
        table["tokens"] = [round(float(np.mean([len(ids) for ids, _ in scored[name]])), 1) for name in table["task"]]
        table["answer_tokens"] = [max(len(ids) - start for ids, start in scored[name]) for name in table["task"]]
        return table

    def checks(self) -> pd.DataFrame:
        """Counts of what may be wrong with the rows, one line a task.

        Returns:
            task; discovery and evaluation (rows of each half); answers (different outputs); repeated (rows left out
            because another has the same input and output); too_long (rows left out by ``max_words``); conflicting
            (inputs with several outputs); mirrored (rows for evaluation whose input and output stand exchanged in a row
            for discovery). No input is in both halves.
        """
        return pd.DataFrame([{"task": name, **counts} for name, counts in self._counts.items()])

    def __repr__(self) -> str:
        rows = ", ".join(
            f"{name} ({counts['discovery']:,} + {counts['evaluation']:,})" for name, counts in self._counts.items()
        )
        return visible(f"Tasks: {rows} rows for discovery + evaluation; {self._form()}")

    def _repr_html_(self) -> str:
        table = self.checks()
        return html_table(f"Tasks; {self._form()}", list(table), [list(row) for row in table.itertuples(index=False)])

    def _form(self) -> str:
        """How rows are shown, in words."""
        shots = f"{self.shots} shot{'' if self.shots == 1 else 's'}"
        return f"{f'{shots}, {self.head}' if self.shots else 'no shots'}, as {'chats' if self.is_chat else 'text'}"

    def _drawn(self, rows: list[Example], asked: Example) -> list[Example]:
        """Rows of the same half that ask something else, drawn for one row."""
        if not self.shots:
            return []
        rng = np.random.default_rng([self.seed, hashed(asked.input, asked.output)])
        # a draw of twice as many is nearly always enough; all are tried where it is not
        few = rng.choice(len(rows), min(len(rows), 2 * self.shots + 2), replace=False)
        found = first_others([rows[number] for number in few], asked, self.shots)
        if len(found) < self.shots:
            found = first_others([rows[number] for number in rng.permutation(len(rows))], asked, self.shots)
        return found

    def _turns(self, name: str, half: str, n: int | None) -> list[list[Example]]:
        """The turns of the first rows of a half that are asked: of each its shots and, last, the row itself."""
        one_of(half, HalfName, "half")
        last = None if n is None else whole_number(n, "n", least=1)
        rows = list(self._halves[name][half].rows)
        if self.head == "fixed":
            first = first_others(rows, Example("", "", ""), self.shots)
            return [[*first, row] for row in rows if row not in first][:last]
        return [[*self._drawn(rows, row), row] for row in rows[:last]]

    def _text(self, turns: Sequence[Example]) -> tuple[str, str]:
        """A prompt of rows with outputs and the question, and the answer to it."""
        shown = [self.template.format(input=row.input, instruction=row.instruction) for row in turns]
        parts = [joined(text, row.output) for text, row in zip(shown[:-1], turns[:-1], strict=True)] + shown[-1:]
        if turns[-1].instruction and "{instruction}" not in self.template:
            parts.insert(0, turns[-1].instruction)
        return _SEPARATOR.join(parts), turns[-1].output

    def _require_rows(self, name: str) -> None:
        """Raise an error unless both halves of a task have rows for their shots and two questions."""
        # of fixed shots none is asked; of drawn ones each may be
        needed = self.shots + (_LEAST_ITEMS if self.head == "fixed" else max(1, _LEAST_ITEMS - self.shots))
        for half, one in self._halves[name].items():
            n_questions = len({key_of(row) for row in one.rows})
            if n_questions < needed:
                left = f" ({one.too_long} were left out as longer than {self.max_words} words)" if one.too_long else ""
                raise InputError(
                    f"task {name!r} has {n_questions} different questions for {half}{left}, and {self.shots} "
                    f"{self.head} shots need at least {needed}; give more rows or fewer shots"
                )


def marked_items(battery: Battery, model: HookedModel) -> dict[str, MarkedItems]:
    """Token ids of a battery's items with what is scored marked, by the name of the task.

    Args:
        battery: Tasks whose items have one right answer, or passages.
        model: The model whose tokenizer makes the tokens.
    """
    return {
        name: MarkedItems([ids for ids, _ in pairs], [list(range(start, len(ids))) for ids, start in pairs])
        for name, pairs in battery.scored_tokens(model).items()
    }


def _chat(turns: Sequence[Example]) -> list[Message]:
    """The turns of a row as messages; an instruction stands before the first input."""
    return chat_of(turns, "first")


def _checked_template(template: str) -> str:
    """A template with ``{input}`` and no field that a row does not have; ``"chat"`` as it is."""
    if template == CHAT:
        return template
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise InputError(f"template {template!r} cannot be read ({error}); write {{{{ and }}}} for braces") from error
    if "input" not in fields or set(fields) - {"input", "instruction"}:
        raise InputError(
            f"template {template!r} has the fields {', '.join(fields) or 'none'}; it needs {{input}}, may have "
            '{instruction}, and "chat" stands for the model\'s chat template'
        )
    return template
