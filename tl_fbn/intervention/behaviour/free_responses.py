"""Free responses: the model writes, and what it wrote is compared and parsed.

::

    answers = battery.respond(model, max_new_tokens=20, stop=["[INST]"])
    answers.summary()        # a line a task, with chance, majority and monitors
    answers.to_dataframe()   # a line an item: what was written, what it was taken for

Greedy, at most ``max_new_tokens``, ended by an end-of-text or other special token (but the one for unknown words) or by a string of ``stop``. Two measures:

``exact_match``  the text is an accepted answer after strip and lower-case (Song et al. 2024: 20 tokens, stop at "[INST]").
``accuracy``     the label that a parser finds in it is the right one. Only where labels are known: of tasks with a closed set of answers, and of choices.
                 An *unparsable* text is wrong and has no class; NaN for open answers.

Monitors are those of :mod:`.monitors`, of the whole text instead of teacher-forced tokens: ``constant`` is the share of the commonest among the labels that could
be parsed (open: among the texts), ``parsed`` the share of texts that a label was found in (open: that are not empty), ``repetition`` the share
of texts that are wrong and loops, in tokens (in words where only texts were given). ``flag`` judges the accuracy, or the exact match where there is none.

Cost: one pass over each prompt and one step a token, behind a key-value cache where the model has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import encode
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour import output_checks as monitors
from tl_fbn.intervention.behaviour import parsers
from tl_fbn.intervention.behaviour.greedy_decoding import cut, write
from tl_fbn.intervention.behaviour.item_tokens import padded
from tl_fbn.intervention.behaviour.parsers import Parser
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, Text
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Arrays, Described, Result

_COLUMNS = ("exact_match", "accuracy", "n", "chance", "majority", "constant", "parsed", "repetition", "flag")


@dataclass(frozen=True, eq=False)
class Responses(Result, step="answers"):
    """What a model wrote, item by item, and what it was taken for.

    Args:
        tasks: (response,) task of each.
        texts: (response,) what was written.
        answers: (response,) the right answer, the first accepted one.
        labels: (response,) the label that was parsed; None where none was.
        open: (response,) there are no labels to parse.
        exact_match: (response,) the text is an accepted answer.
        right: (response,) the label is; for open answers, the text.
        loop: (response,) the text ends in a loop.
        table: Task to the columns of :meth:`summary`.
        provenance: How the texts were decoded, where it is known.
    """

    tasks: tuple[str, ...]
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    labels: tuple[str | None, ...]
    open: Bool[np.ndarray, " response"]
    exact_match: Bool[np.ndarray, " response"]
    right: Bool[np.ndarray, " response"]
    loop: Bool[np.ndarray, " response"]
    table: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> pd.DataFrame:
        """One line a task: task, exact_match, accuracy, n, chance, majority, constant, parsed, repetition, flag."""
        lines = [{"task": name, **{column: line[column] for column in _COLUMNS}} for name, line in self.table.items()]
        return pd.DataFrame(lines, columns=["task", *_COLUMNS])

    def to_dataframe(self) -> pd.DataFrame:
        """One line a response: task, item, text, answer, exact_match, label, outcome (parsed, unparsable or open), right, loop."""
        frame = pd.DataFrame({"task": self.tasks, "text": self.texts, "answer": self.answers})
        parsed = np.array([label is not None for label in self.labels])
        frame.insert(1, "item", frame.groupby("task").cumcount())
        return frame.assign(
            exact_match=self.exact_match,
            label=pd.Series(self.labels, dtype=object),
            outcome=np.where(self.open, "open", np.where(parsed, "parsed", "unparsable")),
            right=self.right,
            loop=self.loop,
        )

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        table = {name: about["table"][name] for name in dict.fromkeys(about["tasks"])}  # in the order of the tasks
        return arrays, {**about, "table": table}

    def _methods_(self) -> list[str]:
        return [
            f"Free answers to {len(self.texts)} items of {listed(list(self.table))} were parsed strictly; what could not be parsed counts as wrong. Decoding: "
            f"{self.provenance.get('decoding', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        about = "Free text, parsed strictly: what could not be parsed is wrong. Constant: the share of the commonest output."
        return [
            {"title": "Written answers", "text": f"{self!r}. {about}", "table": self.summary()},
            {"title": "What was written", "text": "Item by item.", "table": self.to_dataframe()},
        ]

    def __repr__(self) -> str:
        flagged = sum(bool(line["flag"]) for line in self.table.values())
        return f"Responses to {len(self.texts)} items of {len(self.table)} tasks, {flagged} of them flagged"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())


def judge(
    tasks: Mapping[str, Task],
    texts: Mapping[str, Sequence[str]],
    *,
    parser: Parser | Mapping[str, Parser] | None = None,
    loop: Mapping[str, Bool[np.ndarray, " item"]] | None = None,
) -> Responses:
    """Compare and parse what was written, by whoever.

    Args:
        tasks: Tasks by name, e.g. ``battery.tasks``; answers are texts.
        texts: Task to what was written, an item each.
        parser: One for all tasks, or by task; where there is none, :func:`.parsers.words` of the task's labels.
        loop: Task to which texts are loops, where that is known in tokens; otherwise words count.

    Raises:
        InputError: Texts for other items, a task of passages, or answers that are token ids.
    """
    if set(texts) != set(tasks):
        raise InputError(f"texts for the tasks {', '.join(texts) or 'none'}; the battery has {', '.join(tasks)}")
    rows: list[_Row] = []
    table = {}
    for name, task in tasks.items():
        _check(task, len(texts[name]))
        given = parser.get(name) if isinstance(parser, Mapping) else parser
        looped = _loops(texts[name]) if loop is None else loop[name]
        own = _judged(task, [text.strip() for text in texts[name]], given, looped)
        table[name] = _summed(task, own)
        rows.extend(own)
    return Responses(
        tuple(row.task for row in rows),
        tuple(row.text for row in rows),
        tuple(row.answer for row in rows),
        tuple(row.label for row in rows),
        np.array([row.open for row in rows]),
        np.array([row.exact for row in rows]),
        np.array([row.right for row in rows]),
        np.array([row.loop for row in rows]),
        table,
    )


def respond(
    model: HookedModel,
    tasks: Mapping[str, Task],
    *,
    max_new_tokens: int = 20,
    stop: Sequence[str] = (),
    parser: Parser | Mapping[str, Parser] | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Responses:
    """Let the model answer every item, greedily, under whatever hooks are on it; see :meth:`tl_fbn.Battery.respond`."""
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        raise InputError(
            "free responses are texts, and this model has no tokenizer to spell its tokens; give a model that has one, or use battery.score"
        )
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens} leaves nothing to answer with; give at least 1")
    host.require_eval(model, "a battery")
    for task in tasks.values():
        _check(task, len(task.items))
    prompts = [_prompt(model, name, item, max_new_tokens) for name, task in tasks.items() for item in task.items]
    written = write(model, prompts, max_new_tokens=max_new_tokens, stop=stop, batch_size=batch_size, progress=progress)
    texts = {}
    loop = {}
    cursor = 0
    for name, task in tasks.items():
        own = written[cursor : cursor + len(task.items)]
        cursor += len(own)
        texts[name] = [cut(tokenizer.decode(tokens), stop) for tokens in own]
        loop[name] = monitors.loops(padded(own))
    return judge({name: _spelled(task, tokenizer) for name, task in tasks.items()}, texts, parser=parser, loop=loop)


def _prompt(model: HookedModel, task: str, item: BatteryItem, max_new_tokens: int) -> tuple[int, ...]:
    if not item.prompt:
        raise InputError(
            f"task {task!r} has items without a prompt, such as minimal pairs, which nothing can be written after; select other tasks"
        )
    prompt = item.prompt.rstrip() if isinstance(item.prompt, str) else item.prompt
    ids = encode(tokenizer_of(model), prompt, d_vocab=host.vocabulary_size(model))
    n_ctx = host.context_length(model)
    if n_ctx is not None and len(ids) + max_new_tokens > n_ctx:
        raise InputError(
            f"an item of task {task!r} has {len(ids)} tokens and {max_new_tokens} to write, the model's context holds {n_ctx}; shorten or drop it, or give fewer max_new_tokens"
        )
    return ids


def _spelled(task: Task, tokenizer: Any) -> Task:
    """The task with answers as texts."""
    items = [
        replace(item, alternatives=tuple(a if isinstance(a, str) else tokenizer.decode(a) for a in item.alternatives))
        for item in task.items
    ]
    return replace(task, items=tuple(items))


def _check(task: Task, n: int) -> None:
    if task.kind == "text":
        raise InputError(f"task {task.name!r} has passages, not questions; select other tasks")
    if n != len(task.items):
        raise InputError(f"{n} texts for the {len(task.items)} items of task {task.name!r}; give one for each")


def _accepted(task: Task, item: BatteryItem) -> set[str]:
    right = item.alternatives[:1] if task.kind == "choice" else item.alternatives
    if not all(isinstance(answer, str) for answer in right):
        raise InputError(f"task {task.name!r} has answers of token ids, which no text can be compared with; give texts")
    return {_plain(str(answer)) for answer in right}


class _Row(NamedTuple):
    """One response, judged."""

    task: str
    text: str
    answer: str
    label: str | None
    open: bool
    exact: bool
    right: bool
    loop: bool


def _judged(task: Task, texts: list[str], parser: Parser | None, loop: Bool[np.ndarray, " item"]) -> list[_Row]:
    """A parser of the caller's goes before the task's labels, these before the item's alternatives."""
    common = parser or (_words(task.labels) if task.labels else None)
    rows = []
    for item, text, looped in zip(task.items, texts, loop, strict=True):
        parse = _words(item.alternatives) if common is None and task.kind == "choice" else common
        label = parse(text) if parse else None
        accepted = _accepted(task, item)
        exact = _plain(text) in accepted
        right = label is not None and _plain(label) in accepted if parse else exact
        answer = str(item.alternatives[0])
        rows.append(_Row(task.name, text, answer, label, parse is None, exact, right, bool(looped)))
    return rows


def _summed(task: Task, rows: list[_Row]) -> dict[str, Any]:
    """One line of the summary."""
    labelled = not rows[0].open
    right = float(np.mean([row.right for row in rows]))
    if labelled:
        constant = _constant(task, [row.label for row in rows])
        parsed = float(np.mean([row.label is not None for row in rows]))
    else:
        constant = monitors.share_of_commonest([_plain(row.text) for row in rows])
        parsed = float(np.mean([bool(row.text) for row in rows]))
    repetition = float(np.mean([row.loop and not (row.exact or row.right) for row in rows]))
    return {
        "exact_match": float(np.mean([row.exact for row in rows])),
        "accuracy": right if labelled else float("nan"),
        "n": len(rows),
        "chance": task.chance,
        "majority": task.majority,
        "constant": constant,
        "parsed": parsed,
        "repetition": repetition,
        "flag": monitors.flags(task, right, constant, parsed, repetition),
    }


def _words(answers: Sequence[Text]) -> Parser:
    return parsers.words(list(dict.fromkeys(_plain(str(answer)) for answer in answers)))


def _constant(task: Task, found: Sequence[str | None]) -> float:
    """Among what was parsed: of labels, or of places where each item has its own alternatives."""
    if task.kind == "answer" or task.labels:
        return monitors.share_of_commonest([_plain(label) for label in found if label is not None])
    places = []
    for item, label in zip(task.items, found, strict=True):
        names = [_plain(str(one)) for one in item.alternatives]
        if label is not None and _plain(label) in names and item.place is not None:
            places.append(item.place_of(names.index(_plain(label))))
    return monitors.share_of_commonest(places)


def _loops(texts: Sequence[str]) -> Bool[np.ndarray, " text"]:
    """Which texts are loops of words."""
    numbers: dict[str, int] = {}
    return monitors.loops(padded([[numbers.setdefault(w, len(numbers)) for w in text.split()] for text in texts]))


def _plain(text: str) -> str:
    return text.strip().lower()
