"""Files of items: minimal pairs, multiple choice, questions with answers; one JSON object a line.

========== ==========================================================================================================
pairs      ``sentence_good`` and ``sentence_bad`` (BLiMP, Warstadt et al. 2020); ``UID`` names the task
choices    ``question`` or ``prompt``; ``choices`` or ``options``: a list of texts, a list of objects with text and
           label, or lists of texts and labels (ARC, Clark et al. 2018); ``answer`` or ``answerKey``: its label, its
           text, a letter, or a place from 0, tried in this order
qa         ``question`` or ``prompt``; ``answer`` or ``answers``: one text, several of which any will do, or lists
           of texts and places (SQuAD)
========== ==========================================================================================================

A *template* makes the prompt: ``"{context}\\nQuestion: {question}\\nAnswer:"`` takes any field of the object, ``{question}`` is the question under either
name and ``{choices}`` the lettered alternatives, a line each. Of a choice either the texts are scored, each as what follows the prompt, or the labels, with the
alternatives in the prompt. The right alternative is stored first, with its place in the file, which is what a constant guess would go by.

Every bad line is an error that names file, line, what was found and what is allowed. Empty lines are skipped.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, TaskKind, Text
from tl_fbn.text_files import text_lines

ItemFormat = Literal["auto", "pairs", "choices", "qa"]
ScoredText = Literal["text", "label"]
_QUESTION = ("question", "prompt")
_CHOICES = ("choices", "options")
_RIGHT = ("answer", "answerKey")
_ANSWERS = (
    "answer",
    "answers",
)
_NOUN = {"pairs": "minimal pair", "choices": "multiple choice", "qa": "question with an answer"}
_ALLOWED = {
    "pairs": "each line is a JSON object with sentence_good and sentence_bad, two different texts",
    "choices": "each line is a JSON object with question (or prompt), choices (or options) and answer (or answerKey: label, text, letter or place from 0)",
    "qa": "each line is a JSON object with question (or prompt) and answer or answers (a text, or a list of texts any of which will do)",
}


def read_jsonl(
    path: Path, *, format: ItemFormat, name: str | None, n: int | None, template: str | None, scored: ScoredText
) -> dict[str, Task]:
    """Tasks of a file; see :meth:`tl_fbn.Battery.from_jsonl`."""
    one_of(format, ItemFormat, "format")
    check_scored(scored)
    items: dict[str, list[BatteryItem]] = {}
    kind = format
    for number, line in itertools.islice(text_lines(path), n):
        fields: Any = None
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise InputError(f"it is {_shown(fields)}, no JSON object")
            if kind == "auto":
                kind = _recognised(fields)
            item = _item(kind, fields, template, scored)
        except ValueError as error:  # JSONDecodeError is one
            reason = f"no JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputError(
                f"{path}, line {number} is no {_NOUN.get(kind, 'item')} ({reason}); {_ALLOWED.get(kind) or _any_allowed()}"
            ) from error
        own = str(fields.get("UID", path.stem)) if kind == "pairs" else path.stem
        items.setdefault(name or own, []).append(item)
    if not items:
        raise InputError(f"{path} has no lines; {_ALLOWED.get(kind) or _any_allowed()}")
    sort: TaskKind = "answer" if kind == "qa" else "choice"
    return {task: Task(task, sort, tuple(found)) for task, found in items.items()}


def choice_tasks(
    tasks: Mapping[str, Sequence[Mapping[str, Any] | tuple[Any, ...]]], *, template: str | None, scored: ScoredText
) -> dict[str, Task]:
    """Tasks of objects in memory; see :meth:`tl_fbn.Battery.from_choices`."""
    check_scored(scored)
    made = {}
    for name, given in tasks.items():
        items = []
        for number, one in enumerate(given):
            try:
                items.append(_choice(one, template, scored) if isinstance(one, Mapping) else _triple(one))
            except ValueError as error:
                raise InputError(
                    f"item {number} of task {name!r} is no {_NOUN['choices']} ({error}); {_ALLOWED['choices'].replace('line', 'item').replace('JSON object', 'mapping')}, or (prompt, alternatives, answer)"
                ) from error
        made[name] = Task(name, "choice", tuple(items))
    return made


def check_scored(scored: str) -> None:
    one_of(scored, ScoredText, "scored")


def _recognised(fields: Mapping[str, Any]) -> Literal["pairs", "choices", "qa"]:
    if "sentence_good" in fields or "sentence_bad" in fields:
        return "pairs"
    if any(key in fields for key in _CHOICES):
        return "choices"
    if any(key in fields for key in _ANSWERS):
        return "qa"
    raise InputError(f"it has the fields {', '.join(fields) or 'none'}")


def _any_allowed() -> str:
    return "; or ".join(_ALLOWED.values())


def _item(kind: str, fields: Mapping[str, Any], template: str | None, scored: ScoredText) -> BatteryItem:
    if kind == "choices":
        return _choice(fields, template, scored)
    if kind == "qa":
        question = _question(fields)
        prompt = _filled(template or "{question}", fields, question=question)
        return BatteryItem(prompt, _references(fields), (question,) if question != prompt else ())
    good, bad = (_text(_taken(fields, (key,)), key) for key in ("sentence_good", "sentence_bad"))
    if good == bad:
        raise InputError(f"both sentences are {good!r}")
    return BatteryItem("", (good, bad))


def _choice(fields: Mapping[str, Any], template: str | None, scored: ScoredText) -> BatteryItem:
    question = _question(fields)
    texts, labels = _alternatives(_taken(fields, _CHOICES))
    right = _right(_taken(fields, _RIGHT), texts, labels)
    names = labels or list(string.ascii_uppercase[: len(texts)])
    if len(names) < len(texts):
        raise InputError(f"{len(texts)} alternatives without labels are more than there are letters")
    listed = "\n".join(f"{label}. {text}" for label, text in zip(names, texts, strict=True))
    plain = "{question}" if scored == "text" else "{question}\n{choices}\nAnswer:"
    prompt = _filled(template or plain, fields, question=question, choices=listed)
    return _ordered(prompt, texts if scored == "text" else names, right, (question,) if question != prompt else ())


def _triple(given: tuple[Any, ...]) -> BatteryItem:
    if len(given) != 3:
        raise InputError(f"it has {len(given)} parts")
    prompt, alternatives, answer = given
    alternatives = [one if isinstance(one, str) else tuple(one) for one in alternatives]
    if len(alternatives) < 2:
        raise InputError(f"it offers {len(alternatives)} alternatives; at least two make a choice")
    strings = [one for one in alternatives if isinstance(one, str)]
    right = _right(answer, strings, []) if len(strings) == len(alternatives) else _place(answer, len(alternatives))
    return _ordered(prompt if isinstance(prompt, str) else tuple(prompt), alternatives, right, ())


def _ordered(prompt: Text, alternatives: Sequence[Text], right: int, texts: tuple[str, ...]) -> BatteryItem:
    if alternatives.count(alternatives[right]) > 1:
        raise InputError(f"the right alternative {alternatives[right]!r} is offered twice, so it cannot win")
    rest = (*alternatives[:right], *alternatives[right + 1 :])
    return BatteryItem(prompt, (alternatives[right], *rest), texts, right)


def _alternatives(given: Any) -> tuple[list[str], list[str]]:
    """Texts, and labels where there are any."""
    labels: Any = []
    if isinstance(given, dict):
        if "text" not in given:
            raise InputError(f"its choices have the fields {', '.join(given) or 'none'}, not text and label")
        given, labels = given["text"], given.get("label", [])
    elif isinstance(given, (list, tuple)) and given and all(isinstance(one, dict) for one in given):
        labels = [one["label"] for one in given if "label" in one]
        given = [_taken(one, ("text",)) for one in given]
    if not isinstance(given, (list, tuple)) or not isinstance(labels, (list, tuple)):
        raise InputError(f"its choices are {_shown(given)}, no list")
    texts = [_text(one, "a choice") for one in given]
    if len(texts) < 2:
        raise InputError(f"it offers {len(texts)} alternatives; at least two make a choice")
    if labels and len(labels) != len(texts):
        raise InputError(f"it has {len(texts)} alternatives and {len(labels)} labels")
    return texts, [str(label) for label in labels]


def _right(answer: Any, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Place of the right alternative: by label, else by text, else by letter, else by place."""
    if isinstance(answer, str):
        given = answer.strip()
        for known in (labels, [text.strip() for text in texts]):
            if given in known:
                return list(known).index(given)
        if len(given) == 1 and given.upper() in string.ascii_uppercase[: len(texts)] and not labels:
            return string.ascii_uppercase.index(given.upper())
        if given.isdecimal() and not labels:
            return _place(int(given), len(texts))
        raise InputError(
            f"its answer {answer!r} is none of the {len(texts)} alternatives, by label, text, letter or place"
        )
    if str(answer) in labels and not isinstance(answer, bool):
        return list(labels).index(str(answer))
    return _place(answer, len(texts))


def _place(answer: Any, n: int) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise InputError(f"its answer is {_shown(answer)}, no label, text, letter or place")
    if not 0 <= answer < n:
        raise InputError(f"its answer is place {answer}; {n} alternatives have places 0 to {n - 1}")
    return answer


def _references(fields: Mapping[str, Any]) -> tuple[str, ...]:
    given = _taken(fields, _ANSWERS)
    if isinstance(given, dict):
        given = _taken(given, ("text",))
    given = [given] if isinstance(given, (str, int, float)) and not isinstance(given, bool) else given
    if not isinstance(given, list) or not given:
        raise InputError(f"its answer is {_shown(given)}")
    numbers = [str(one) if isinstance(one, (int, float)) and not isinstance(one, bool) else one for one in given]
    return tuple(dict.fromkeys(_text(one, "an answer") for one in numbers))


def _question(fields: Mapping[str, Any]) -> str:
    return _text(_taken(fields, _QUESTION), "its question")


def _taken(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in fields:
            return fields[name]
    raise InputError(f"it has no {' or '.join(names)}, only {', '.join(map(str, fields)) or 'nothing'}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what} is {_shown(value)}, no text")
    return value


def _filled(template: str, fields: Mapping[str, Any], **made: str) -> str:
    known = {**fields, **made}
    try:
        return template.format_map(known)
    except KeyError as error:
        raise InputError(f"the template names {error.args[0]!r}; fields: {', '.join(known)}") from error
    except (IndexError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"the template {template!r} cannot be filled: {error}") from error


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
