"""Free responses: the model writes its own answers, and what it wrote is compared with the right ones and parsed.

Decoding is greedy (:mod:`.greedy_decoding`): the most probable token, at most ``max_new_tokens`` times, up to a special
token or a string of ``stop``. Two measures, each the mean over the items of a task:

- ``exact_match``  the text is an accepted answer, apart from case and spaces at its ends (Song et al. 2024: 20 tokens,
  stop at "[INST]").
- ``accuracy``     the label that a parser (:mod:`.parsers`) finds in the text is the right one. It is defined where
  labels are known: for tasks with a closed set of answers, and for choices; otherwise it is NaN, and the answers are
  called *open*. A text without a label is *unparsable*: it counts as wrong and belongs to no class.

Beside them stand ``chance`` and ``majority`` (:mod:`.tasks`) and four checks of the outputs (:mod:`.output_checks`),
here of the whole text instead of teacher-forced tokens:

- ``constant``    share of the commonest label among the labels that were found (open answers: of the commonest text).
- ``parsed``      share of texts in which a label was found (open answers: that are not empty).
- ``repetition``  share of texts that are wrong and end in a loop, of tokens, or of words where only texts were given.
- ``flag``        what is wrong, in words; it judges the accuracy, or the exact match where there is no accuracy.

Cost: one pass over each prompt and one step a token, behind a key-value cache where the model has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import encode
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour import output_checks, parsers
from tl_fbn.intervention.behaviour.greedy_decoding import cut, write
from tl_fbn.intervention.behaviour.item_tokens import check_ids, padded
from tl_fbn.intervention.behaviour.parsers import Parser
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, Text
from tl_fbn.signatures import checked
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Arrays, Described, Result

_COLUMNS = ("exact_match", "accuracy", "n", "chance", "majority", "constant", "parsed", "repetition", "flag")


@dataclass(frozen=True, eq=False)
class Responses(Result, step="answers"):
    """What a model wrote, item by item, and which answer it was taken for.

    >>> answers = battery.respond(model, max_new_tokens=8, progress=False)
    >>> answers
    Responses to 20 items of 2 tasks, 0 of them flagged
    >>> answers.to_dataframe()[["task", "text", "answer", "exact_match"]].head(2)
       task       text     answer  exact_match
    0  sort  b e h l l  b e h l l         True
    1  sort      f g k      f g k         True

    Args:
        tasks: (response,) name of the task.
        texts: (response,) the text that was written, without spaces at its ends.
        answers: (response,) the right answer; where several are accepted, the first.
        labels: (response,) the label that was found in the text; None where none was, and for open answers.
        open: (response,) True where the task has no labels to look for.
        exact_match: (response,) True where the text is an accepted answer, apart from case.
        right: (response,) True where the label is an accepted answer; for open answers, where the text is.
        loop: (response,) True where the text ends in a loop.
        table: Name of a task to its line of :meth:`summary`, by column.
        provenance: How the texts were decoded, under ``"decoding"``; empty where that was not recorded.
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
        """One line a task: task, exact_match, accuracy, n, chance, majority, constant, parsed, repetition, flag.

        The top of this file defines the columns; ``n`` is the number of items, all others but ``flag`` are shares.
        """
        lines = [{"task": name, **{column: line[column] for column in _COLUMNS}} for name, line in self.table.items()]
        return pd.DataFrame(lines, columns=["task", *_COLUMNS])

    def to_dataframe(self) -> pd.DataFrame:
        """One line a response: task, item, text, answer, exact_match, label, outcome, right, loop.

        ``item`` numbers the items of a task from 0; ``outcome`` is "parsed", "unparsable" or "open".
        """
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
        # a file holds the keys of a mapping in alphabetical order; the tasks get back the order of their responses
        table = {name: about["table"][name] for name in dict.fromkeys(about["tasks"])}
        return arrays, {**about, "table": table}

    def _methods_(self) -> list[str]:
        return [
            f"Free answers to {len(self.texts)} items of {listed(list(self.table))} were parsed strictly; what could "
            f"not be parsed counts as wrong. Decoding: {self.provenance.get('decoding', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        about = (
            "Free text, parsed strictly: what could not be parsed is wrong. Constant: the share of the commonest "
            "output."
        )
        return [
            {"title": "Written answers", "text": f"{self!r}. {about}", "table": self.summary()},
            {"title": "What was written", "text": "Item by item.", "table": self.to_dataframe()},
        ]

    def __repr__(self) -> str:
        flagged = sum(bool(line["flag"]) for line in self.table.values())
        return f"Responses to {len(self.texts)} items of {len(self.table)} tasks, {flagged} of them flagged"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())


@checked
def judge(
    tasks: Mapping[str, Task],
    texts: Mapping[str, Sequence[str]],
    *,
    parser: Parser | Mapping[str, Parser] | None = None,
    loop: Mapping[str, Bool[np.ndarray, " item"]] | None = None,
) -> Responses:
    """Compare given texts with the right answers, and parse them; the texts may come from any program.

    >>> quiz = fbn.Battery.from_pairs({"colour": [("Sky?", "blue"), ("Grass?", "green")] * 4})
    >>> texts = {"colour": ["Blue.", "It is green", "blue or green", "It depends"] * 2}
    >>> fbn.behaviour.judge(quiz.tasks, texts).to_dataframe()[["text", "answer", "label", "right"]].head(4)
                text answer  label  right
    0          Blue.   blue   blue   True
    1    It is green  green  green   True
    2  blue or green   blue   None  False
    3     It depends  green   None  False

    Args:
        tasks: Name to task, such as ``battery.tasks``; the answers have to be strings, not token ids.
        texts: Name of every task to what was written, one text for each of its items, in their order.
        parser: Finds the label in a text: one parser for all tasks, or a mapping of task to parser. None, and a task
            that the mapping lacks, takes :func:`.parsers.words` of the task's closed set of answers, or of the
            alternatives of each item.
        loop: Name of every task to (item,) whether the text is a loop, where that is known in tokens. None looks for
            loops of words in the texts.

    Raises:
        InputError: Texts for other tasks or another number of items, a task of passages, or answers that are token ids.
    """
    if set(texts) != set(tasks):
        raise InputError(f"texts for the tasks {', '.join(texts) or 'none'}; the battery has {', '.join(tasks)}")
    rows: list[_JudgedResponse] = []
    table = {}
    for name, task in tasks.items():
        _require_questions(task, len(texts[name]))
        given_parser = parser.get(name) if isinstance(parser, Mapping) else parser
        is_loop = _word_loops(texts[name]) if loop is None else loop.get(name)
        if is_loop is None or np.shape(is_loop) != (len(texts[name]),):
            raise InputError(
                f"loop= must say of every text of {name} whether it is a loop: {len(texts[name])} booleans"
            )
        rows_of_task = _judge_task(task, [text.strip() for text in texts[name]], given_parser, is_loop)
        table[name] = _summary_line(task, rows_of_task)
        rows.extend(rows_of_task)
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
    batch_tokens: int = 8192,
    progress: bool = True,
    prepend_bos: bool | None = None,
) -> Responses:
    """Let the model answer every item, greedily, under whatever hooks are on it: :meth:`tl_fbn.Battery.respond`.

    Args:
        model: A TransformerLens model in eval mode, with a tokenizer.
        tasks: Name to task.
        max_new_tokens: Longest answer, in tokens.
        stop: Strings that end an answer; special tokens always do.
        parser: Finds the label in a text: one parser for all tasks, a mapping of task to parser, or None.
        batch_tokens: Largest number of tokens of the prompts that are continued together, padding and what is written
            counted.
        progress: Whether to show a progress bar.
        prepend_bos: True or False puts the beginning-of-text token before prompts that are strings, or leaves it out;
            None does as the host does.

    Raises:
        InputError: The model has no tokenizer, a task has nothing to write after, or a prompt is too long or has tokens
            outside the vocabulary.
    """
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        raise InputError("free responses are texts, and this model has no tokenizer; use battery.score")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens} leaves nothing to answer with; give at least 1")
    host.require_eval(model, "a battery")
    for task in tasks.values():
        _require_questions(task, len(task.items))
    # the prompts of all tasks together, so that batches are full
    with_bos = host.prepends_bos(model, prepend_bos)
    prompts = [
        _prompt_ids(model, f"item {number} of task {name!r}", item, max_new_tokens, with_bos)
        for name, task in tasks.items()
        for number, item in enumerate(task.items)
    ]
    written = write(
        model, prompts, max_new_tokens=max_new_tokens, stop=stop, batch_tokens=batch_tokens, progress=progress
    )
    texts, loop, answers = {}, {}, iter(written)
    for name, task in tasks.items():
        written_for_task = list(islice(answers, len(task.items)))
        texts[name] = [cut(tokenizer.decode(tokens), stop) for tokens in written_for_task]
        loop[name] = output_checks.loops(padded(written_for_task))  # of tokens, before they become text
    spelled = {name: _with_answers_as_text(task, tokenizer) for name, task in tasks.items()}
    ends = " or ".join(["a special token", *map(repr, stop)])
    decoding = {
        "decoding": f"greedy, at most {max_new_tokens} tokens, up to {ends}",
        "max_new_tokens": max_new_tokens,
        "stop": list(stop),
        "prepend_bos": with_bos,
        "model": host.model_label(model),
        "model_dtype": host.number_type(model),
    }
    return replace(judge(spelled, texts, parser=parser, loop=loop), provenance=decoding)


def _prompt_ids(
    model: HookedModel, where: str, item: BatteryItem, max_new_tokens: int, prepend_bos: bool
) -> tuple[int, ...]:
    """Token ids of an item's prompt as it is given, unless there is none or prompt and answer exceed the context."""
    if not item.prompt:
        raise InputError(
            f"{where} is one of the items without a prompt, such as minimal pairs, which nothing can be written after; "
            "select other tasks"
        )
    prompt = item.prompt
    if isinstance(prompt, str) and item.delimiter is not None:
        # spaces before an answer are part of its first token, which the model writes itself
        prompt = f"{prompt}{item.delimiter.rstrip(' ')}"
    d_vocab = host.vocabulary_size(model)
    ids = encode(tokenizer_of(model), prompt, d_vocab=d_vocab, prepend_bos=prepend_bos)
    check_ids(ids, where, host.context_length(model), d_vocab, max_new_tokens)
    return ids


def _with_answers_as_text(task: Task, tokenizer: Any) -> Task:
    """The task with answers that are token ids decoded."""
    items = [
        replace(item, alternatives=tuple(a if isinstance(a, str) else tokenizer.decode(a) for a in item.alternatives))
        for item in task.items
    ]
    return replace(task, items=tuple(items))


def _require_questions(task: Task, n: int) -> None:
    """Raise for a task of passages, and where there is not one text for each item."""
    if task.kind == "text":
        raise InputError(f"task {task.name!r} has passages, not questions; select other tasks")
    if n != len(task.items):
        raise InputError(f"{n} texts for the {len(task.items)} items of task {task.name!r}; give one for each")


def _accepted_texts(task: Task, item: BatteryItem) -> set[str]:
    """The right answers of an item, in lower case."""
    right = item.alternatives[:1] if task.kind == "choice" else item.alternatives  # of a choice, the first is right
    if not all(isinstance(answer, str) for answer in right):
        raise InputError(f"task {task.name!r} has answers of token ids, which no text can be compared with; give texts")
    return {_plain_text(str(answer)) for answer in right}


class _JudgedResponse(NamedTuple):
    """One response; the fields are those of :class:`Responses`, ``exact`` for ``exact_match``."""

    task: str
    text: str
    answer: str
    label: str | None
    open: bool
    exact: bool
    right: bool
    loop: bool


def _judge_task(
    task: Task, texts: list[str], parser: Parser | None, loop: Bool[np.ndarray, " item"]
) -> list[_JudgedResponse]:
    """The responses of one task; the caller's parser goes before the task's labels, these before the alternatives."""
    parser_of_task = parser or (_word_parser(task.labels) if task.labels else None)
    rows = []
    for item, text, looped in zip(task.items, texts, loop, strict=True):
        # choices whose items differ in their alternatives have a parser an item; open answers have none
        parse = _word_parser(item.alternatives) if parser_of_task is None and task.kind == "choice" else parser_of_task
        label = _parsed(parse, text) if parse else None  # None: open answer, or unparsable
        accepted = _accepted_texts(task, item)
        exact = _plain_text(text) in accepted
        right = label is not None and _plain_text(label) in accepted if parse else exact
        answer = str(item.alternatives[0])
        rows.append(_JudgedResponse(task.name, text, answer, label, parse is None, exact, right, bool(looped)))
    return rows


def _parsed(parse: Parser, text: str) -> str | None:
    """The label that a parser finds; an error where it returns something else, or cannot read the text."""
    try:
        label = parse(text)
    except (TypeError, ValueError) as error:
        raise InputError(f"parser must take a text and return a label or None; of {text!r} it said: {error}") from error
    if label is not None and not isinstance(label, str):
        raise InputError(f"parser must return a label or None; of {text!r} it returned {label!r}")
    return label


def _summary_line(task: Task, rows: list[_JudgedResponse]) -> dict[str, Any]:
    """The line of one task in the summary, by column."""
    labelled = not rows[0].open  # all items of a task are open, or none is
    right = float(np.mean([row.right for row in rows]))
    if labelled:
        constant = _share_of_commonest_label(task, [row.label for row in rows])
        parsed = float(np.mean([row.label is not None for row in rows]))
    else:
        constant = output_checks.share_of_commonest([_plain_text(row.text) for row in rows])
        parsed = float(np.mean([bool(row.text) for row in rows]))  # any text may be an open answer, but an empty one
    # a loop that holds the right answer is no sign of a model that degenerates
    repetition = float(np.mean([row.loop and not (row.exact or row.right) for row in rows]))
    return {
        "exact_match": float(np.mean([row.exact for row in rows])),
        "accuracy": right if labelled else float("nan"),  # of open answers, right is exact_match
        "n": len(rows),
        "chance": task.chance,
        "majority": task.majority,
        "constant": constant,
        "parsed": parsed,
        "repetition": repetition,
        "flag": output_checks.flags(task, right, constant, parsed, repetition),
    }


def _word_parser(answers: Sequence[Text]) -> Parser:
    """The parser that finds one of these answers as whole words; those that differ in case only are one."""
    return parsers.words(list(dict.fromkeys(_plain_text(str(answer)) for answer in answers)))


def _share_of_commonest_label(task: Task, found: Sequence[str | None]) -> float:
    """Share of the commonest label, among those found; of the commonest place where items differ in alternatives."""
    if task.kind == "answer" or task.labels:
        return output_checks.share_of_commonest([_plain_text(label) for label in found if label is not None])
    # "always the first alternative" is constant too: labels are compared by the place their source lists them at
    places = []
    for item, label in zip(task.items, found, strict=True):
        alternatives = [_plain_text(str(one)) for one in item.alternatives]
        if label is not None and _plain_text(label) in alternatives and item.place is not None:
            places.append(item.place_of(alternatives.index(_plain_text(label))))
    return output_checks.share_of_commonest(places)


def _word_loops(texts: Sequence[str]) -> Bool[np.ndarray, " text"]:
    """Which texts end in a loop of words."""
    # words take the place of token ids: each gets a number when it is first seen
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in texts]
    return output_checks.loops(padded(words))


def _plain_text(text: str) -> str:
    return text.strip().lower()
