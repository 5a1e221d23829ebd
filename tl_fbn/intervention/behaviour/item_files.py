"""Files of items, one JSON object a line: minimal pairs, multiple choice, or questions with answers.

The fields of each format:

========== ==========================================================================================================
pairs      ``sentence_good`` and ``sentence_bad`` (BLiMP, Warstadt et al. 2020); ``UID`` names the task
choices    ``question`` or ``prompt``; ``choices`` or ``options``: a list of texts, a list of objects with text and
           label, or lists of texts and labels (ARC, Clark et al. 2018); ``answer`` or ``answerKey``: its label, its
           text, a letter, or a place from 0, tried in this order; refused where a letter or number may mean two
qa         ``question`` or ``prompt``; ``answer`` or ``answers``: one text, several of which any will do, or lists
           of texts and places (SQuAD)
========== ==========================================================================================================

A *template* makes the prompt: ``"{context}\\nQuestion: {question}\\nAnswer:"`` takes any field of the object;
``{question}`` is the question under either of its names, and ``{choices}`` the alternatives, each on a line behind its
label or letter. Of a multiple choice either the texts are scored, each as a continuation of the prompt, or the labels,
with the alternatives listed in the prompt. The right alternative is stored first, together with its place in the file:
the majority rate (:mod:`.tasks`) covers a model that always takes the same place.

Nothing is guessed where a line can be read in two ways: a number that is the text of one alternative and the place of
another, a label that comes twice, a field under both its names with two values, choices among questions with answers.
Every bad line is an error that names the file, the line, what was found and what is allowed. Empty lines are skipped.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tl_fbn.acquisition.design.prompt_forms import checked_prompts
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, TaskKind, Text, checked_part
from tl_fbn.kinds import as_integer, shown
from tl_fbn.text_files import json_value, text_lines

ItemFormat = Literal["auto", "pairs", "choices", "qa"]
ScoredText = Literal["text", "label"]
_QUESTION_FIELDS = ("question", "prompt")
_CHOICES_FIELDS = ("choices", "options")
_RIGHT_FIELDS = ("answer", "answerKey")
_ANSWER_FIELDS = ("answer", "answers")
_NOUN_OF_FORMAT = {"pairs": "minimal pair", "choices": "multiple choice", "qa": "question with an answer"}
_ALLOWED_LINES = {
    "pairs": "each line is a JSON object with sentence_good and sentence_bad, two different texts",
    "choices": "each line is a JSON object with question (or prompt), choices (or options) and answer (or answerKey: "
    "label, text, letter or place from 0)",
    "qa": "each line is a JSON object with question (or prompt) and answer or answers (a text, or a list of texts any "
    "of which will do)",
}


def read_jsonl(
    path: Path, *, format: ItemFormat, name: str | None, n: int | None, template: str | None, scored: ScoredText
) -> dict[str, Task]:
    """The tasks of a file by name: what :meth:`tl_fbn.Battery.from_jsonl` reads.

    Args:
        path: The file.
        format: ``"pairs"``, ``"choices"``, ``"qa"``, or ``"auto"``, which goes by the first line.
        name: Name of the task; None takes the ``UID`` of minimal pairs, else the file's name without its ending.
        n: Number of lines to read, at least 1; None reads all.
        template: Prompt of a question with fields in braces; None takes the bare question, and where labels are scored
            also the lettered alternatives.
        scored: Whether the ``"text"`` or the ``"label"`` of the alternatives of choices is scored.

    Raises:
        InputError: A line that is no item of the format, or a file without lines.
    """
    one_of(format, ItemFormat, "format")
    check_scored(scored)
    items: dict[str, list[BatteryItem]] = {}
    kind = format
    for number, line in itertools.islice(text_lines(path), None if n is None else whole_number(n, "n", least=1)):
        try:
            fields = _fields_of_line(line)
            if kind == "auto":  # the first line decides for all that follow
                kind = _format_of_line(fields)
            elif format == "auto" and kind == "qa" and (lost := [key for key in _CHOICES_FIELDS if key in fields]):
                raise InputError(
                    f"it has {lost[0]}, and lines before it have none, so that they would be lost; put questions with "
                    'choices into a file of their own, or give format="qa" to leave all choices out'
                )
            item = _item_of_line(kind, fields, template, scored)
            # lines of several UIDs are several tasks
            name_in_file = _checked_text(fields.get("UID", path.stem), "its UID") if kind == "pairs" else path.stem
        except InputError as error:
            raise InputError(
                f"{path}, line {number} is no {_NOUN_OF_FORMAT.get(kind, 'item')} ({error}); "
                f"{_ALLOWED_LINES.get(kind) or _all_allowed_lines()}"
            ) from error
        items.setdefault(name or name_in_file, []).append(item)
    if not items:
        raise InputError(f"{path} has no lines; {_ALLOWED_LINES.get(kind) or _all_allowed_lines()}")
    task_kind: TaskKind = "answer" if kind == "qa" else "choice"
    return {task: Task(task, task_kind, tuple(found)) for task, found in items.items()}


def choice_tasks(
    tasks: Mapping[str, Sequence[Mapping[str, Any] | tuple[Any, ...]]], *, template: str | None, scored: ScoredText
) -> dict[str, Task]:
    """Tasks of multiple choice by name, from objects in memory: what :meth:`tl_fbn.Battery.from_choices` takes.

    Args:
        tasks: Name to items: mappings, or tuples of prompt, alternatives and the right one.
        template: Prompt of a mapping with its fields in braces; None takes the bare question, and where labels are
            scored also the lettered alternatives.
        scored: Whether the ``"text"`` or the ``"label"`` of a mapping's alternatives is scored.

    Raises:
        InputError: An item that is no multiple choice.
    """
    check_scored(scored)
    made = {}
    for name, given in tasks.items():
        items = []
        for number, one in enumerate(checked_prompts(given, f"task {name!r}")):
            try:
                items.append(
                    _choice_of_mapping(one, template, scored) if isinstance(one, Mapping) else _choice_of_tuple(one)
                )
            except ValueError as error:
                raise _no_item_in_memory(number, name, "choices", error, "(prompt, alternatives, answer)") from error
        made[name] = Task(name, "choice", tuple(items))
    return made


def qa_tasks(tasks: Mapping[str, Sequence[Any]], *, template: str) -> dict[str, Task]:
    """Tasks of questions with answers by name, from objects in memory: what :meth:`tl_fbn.Battery.from_qa` takes.

    Args:
        tasks: Name to items: mappings, or pairs of a question and its answer or answers.
        template: Prompt of an item with its fields in braces.

    Raises:
        InputError: An item that is no question with an answer.
    """
    made = {}
    for name, given in tasks.items():
        items = []
        for number, one in enumerate(checked_prompts(given, f"task {name!r}")):
            try:
                if not isinstance(one, Mapping) and not (isinstance(one, (list, tuple)) and len(one) == 2):
                    raise InputError(f"it is {shown(one)}")
                fields = one if isinstance(one, Mapping) else {"question": one[0], "answer": one[1]}
                items.append(_item_of_line("qa", fields, template, "text"))
            except InputError as error:
                raise _no_item_in_memory(number, name, "qa", error, "(question, answer)") from error
        made[name] = Task(name, "answer", tuple(items))
    return made


def _no_item_in_memory(number: int, name: str, kind: str, error: ValueError, as_tuple: str) -> InputError:
    """The error for an object that is no item of a task."""
    allowed = _ALLOWED_LINES[kind].replace("line", "item").replace("JSON object", "mapping")
    return InputError(
        f"item {number} of task {name!r} is no {_NOUN_OF_FORMAT[kind]} ({error}); {allowed}, or {as_tuple}"
    )


def check_scored(scored: str) -> None:
    """Raise unless it is ``"text"`` or ``"label"``."""
    one_of(scored, ScoredText, "scored")


def _fields_of_line(line: str) -> dict[str, Any]:
    """The object that a line of a file holds."""
    try:
        fields = json_value(line)
    except InputError as error:
        raise InputError(f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InputError(f"it is {shown(fields)}, no JSON object")
    return fields


def _format_of_line(fields: Mapping[str, Any]) -> Literal["pairs", "choices", "qa"]:
    """The format of a line, by the fields that it has."""
    if "sentence_good" in fields or "sentence_bad" in fields:
        return "pairs"
    # before "qa": a multiple choice has an answer, too
    if any(key in fields for key in _CHOICES_FIELDS):
        return "choices"
    if any(key in fields for key in _ANSWER_FIELDS):
        return "qa"
    raise InputError(f"it has the fields {', '.join(fields) or 'none'}")


def _all_allowed_lines() -> str:
    return "; or ".join(_ALLOWED_LINES.values())


def _item_of_line(kind: str, fields: Mapping[str, Any], template: str | None, scored: ScoredText) -> BatteryItem:
    if kind == "choices":
        return _choice_of_mapping(fields, template, scored)
    if kind == "qa":
        question = _question_text(fields, template)
        prompt = _fill_template(template or "{question}", fields, question=question)
        # the question inside a longer prompt is kept: a network found on it alone is not tested on this item
        return BatteryItem(prompt, _accepted_answers(fields), (question,) if question != prompt else ())
    good, bad = (_checked_text(_first_field(fields, (key,)), key) for key in ("sentence_good", "sentence_bad"))
    if good == bad:
        raise InputError(f"both sentences are {good!r}")
    return BatteryItem("", (good, bad))


def _choice_of_mapping(fields: Mapping[str, Any], template: str | None, scored: ScoredText) -> BatteryItem:
    question = _question_text(fields, template)
    texts, labels = _alternatives(_only_field(fields, _CHOICES_FIELDS))
    _first_field(fields, _RIGHT_FIELDS)  # raises where there is none
    # answer and answerKey may name the right one in two ways, such as its text and its label
    found = {key: _place_of_right(fields[key], texts, labels) for key in _RIGHT_FIELDS if key in fields}
    if len(set(found.values())) > 1:
        raise InputError(f"its {' and its '.join(found)} name two alternatives, those in places {found}")
    right = next(iter(found.values()))
    names = labels or list(string.ascii_uppercase[: len(texts)])
    if len(names) < len(texts):
        raise InputError(f"{len(texts)} alternatives without labels are more than there are letters")
    listed = "\n".join(f"{label}. {text}" for label, text in zip(names, texts, strict=True))
    plain = "{question}" if scored == "text" else "{question}\n{choices}\nAnswer:"
    prompt = _fill_template(template or plain, fields, question=question, choices=listed)
    return _item_with_right_first(
        prompt, texts if scored == "text" else names, right, (question,) if question != prompt else ()
    )


def _choice_of_tuple(given: tuple[Any, ...]) -> BatteryItem:
    """The item of (prompt, alternatives, answer), each prompt and alternative a string or token ids."""
    if not isinstance(given, (list, tuple)) or len(given) != 3:
        raise InputError(f"it is {shown(given)}")
    prompt, alternatives, answer = given
    alternatives = [checked_part(one, "an alternative") for one in checked_prompts(alternatives, "its alternatives")]
    if len(alternatives) < 2:
        raise InputError(f"it offers {len(alternatives)} alternatives; at least two make a choice")
    # token ids have no text or letter: the right one is named by its place
    strings = [one for one in alternatives if isinstance(one, str)]
    right = (
        _place_of_right(answer, strings, [])
        if len(strings) == len(alternatives)
        else _checked_place(answer, len(alternatives))
    )
    return _item_with_right_first(checked_part(prompt, "the prompt"), alternatives, right, ())


def _item_with_right_first(
    prompt: Text, alternatives: Sequence[Text], right: int, texts: tuple[str, ...]
) -> BatteryItem:
    """The item with the right alternative moved to the front, and its place in the source."""
    # alternatives that differ by the white space around them are one
    bare = [one.strip() if isinstance(one, str) else one for one in alternatives]
    if bare.count(bare[right]) > 1:
        raise InputError(f"the right alternative {alternatives[right]!r} is offered twice, so it cannot win")
    rest = (*alternatives[:right], *alternatives[right + 1 :])
    return BatteryItem(prompt, (alternatives[right], *rest), texts, right)


def _alternatives(given: Any) -> tuple[list[str], list[str]]:
    """Texts of the alternatives, and their labels where there are any, from any of the three forms."""
    labels: Any = []
    # {"text": [...], "label": [...]}, as in ARC
    if isinstance(given, dict):
        if "text" not in given:
            raise InputError(f"its choices have the fields {', '.join(given) or 'none'}, not text and label")
        labels = given.get("label", [])
        given = given["text"]
    # [{"text": ..., "label": ...}, ...]
    elif isinstance(given, (list, tuple)) and given and all(isinstance(one, dict) for one in given):
        labels = [one["label"] for one in given if "label" in one]
        given = [_first_field(one, ("text",)) for one in given]
    if not isinstance(given, (list, tuple)) or not isinstance(labels, (list, tuple)):
        raise InputError(f"its choices are {shown(given)}, no list")
    texts = [_checked_text(one, "a choice") for one in given]
    if len(texts) < 2:
        raise InputError(f"it offers {len(texts)} alternatives; at least two make a choice")
    if labels and len(labels) != len(texts):
        raise InputError(f"it has {len(texts)} alternatives and {len(labels)} labels")
    words = [str(label) if as_integer(label) is not None else label for label in labels]
    words = [_checked_text(word, "a label").strip() for word in words]
    if doubled := [word for place, word in enumerate(words) if word in words[:place]]:
        raise InputError(f"the label {doubled[0]!r} comes twice")
    return texts, words


def _place_of_right(answer: Any, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Place of the right alternative: by label, else by text, else by letter, else by place."""
    bare = [text.strip() for text in texts]
    if not isinstance(answer, str):
        if str(answer) in labels and not isinstance(answer, bool):  # a number, where labels are "1", "2" ...
            return list(labels).index(str(answer))
        if labels and all(label.isdecimal() for label in labels):  # 0 among labels from 1: others would be labels
            raise InputError(f"its answer is {shown(answer)}, none of the labels {', '.join(labels)}")
        return _only_meaning(answer, _checked_place(answer, len(texts)), "place", bare, str(answer))
    given = answer.strip()
    # labels first: "2" is the label 2 before it is an alternative that reads "2"
    for known in (labels, bare):
        if given in known:
            return list(known).index(given)
    # a letter, or a place written as text, names an alternative only where there are no labels
    if len(given) == 1 and given.upper() in string.ascii_uppercase[: len(texts)] and not labels:
        place = string.ascii_uppercase.index(given.upper())
        return _only_meaning(answer, place, "letter", [text.upper() for text in bare], given.upper())
    if given.isdecimal() and not labels:
        return _checked_place(int(given), len(texts))
    raise InputError(f"its answer {answer!r} is none of the {len(texts)} alternatives, by label, text, letter or place")


def _only_meaning(answer: Any, place: int, by: str, texts: Sequence[str], text: str) -> int:
    """The place that an answer names by its letter or as a number, unless it is the text of another alternative."""
    if text in texts and texts.index(text) != place:
        raise InputError(
            f"its answer {answer!r} is the text of the alternative in place {texts.index(text)} and the {by} of the "
            f"one in place {place}; give the alternatives labels, or the text exactly, in quotation marks"
        )
    return place


def _checked_place(answer: Any, n: int) -> int:
    """The answer as a place among n alternatives, from 0."""
    place = as_integer(answer)  # None for True, which is no place
    if place is None:
        raise InputError(f"its answer is {shown(answer)}, no label, text, letter or place")
    if not 0 <= place < n:
        raise InputError(f"its answer is place {place}; {n} alternatives have places 0 to {n - 1}")
    return place


def _accepted_answers(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """All accepted answers of a question, each once; numbers become text."""
    given = _only_field(fields, _ANSWER_FIELDS)
    if isinstance(given, dict):  # {"text": [...], "answer_start": [...]}, as in SQuAD
        given = _first_field(given, ("text",))
    given = [given] if isinstance(given, (str, int, float)) and not isinstance(given, bool) else given
    if not isinstance(given, (list, tuple)) or not given:
        raise InputError(f"its answer is {shown(given)}")
    answers = [str(one) if isinstance(one, (int, float)) and not isinstance(one, bool) else one for one in given]
    return tuple(dict.fromkeys(_checked_text(one, "an answer") for one in answers))


def _question_text(fields: Mapping[str, Any], template: str | None) -> str:
    """The question; where a template says which field is shown, the first of its two names counts."""
    find = _only_field if template is None else _first_field
    return _checked_text(find(fields, _QUESTION_FIELDS), "its question")


def _only_field(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The field under one of these names, or under several if they hold the same."""
    found = _first_field(fields, names)
    if any(fields[name] != found for name in names if name in fields):
        raise InputError(f"its {' and its '.join(name for name in names if name in fields)} differ; leave one out")
    return found


def _first_field(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The field under the first of these names that the object has."""
    for name in names:
        if name in fields:
            return fields[name]
    raise InputError(f"it has no {' or '.join(names)}, only {', '.join(map(str, fields)) or 'nothing'}")


def _checked_text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what} is {shown(value)}, no text")
    return value


def _fill_template(template: str, fields: Mapping[str, Any], **made: str) -> str:
    """The template with fields of the line, and those made from them, in the place of their names."""
    known = {**fields, **made}
    try:
        return template.format_map(known)
    except KeyError as error:
        raise InputError(f"the template names {error.args[0]!r}; fields: {', '.join(known)}") from error
    except (IndexError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"the template {template!r} cannot be filled: {error}") from error
