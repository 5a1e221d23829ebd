"""What models are shown, from files: prompts by condition for a scan, chats for gradients, items for a battery.

============ =========================================================================================================
prompts      a ``.tsv`` or ``.csv`` with the columns condition and prompt; a ``.jsonl`` whose lines are
             ``{"condition": ..., "prompt": ...}`` or, for a chat,
             ``{"condition": ..., "messages": [{"role": ..., "content": ...}, ...]}``; or ``demo:sort,reverse``, the
             prompts of those names that come with the package
chats        a ``.jsonl`` whose lines are ``{"messages": [...]}``, a list of messages, ``{"text": ...}`` or a string;
             or ``demo:sort``, the chats of that name that come with the package
battery      a ``.jsonl`` that :meth:`tl_fbn.Battery.from_jsonl` reads; or ``demo``, the tasks of the embedded model
============ =========================================================================================================

A bad line is an error that names the file and the line; a file without lines is an error, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.errors import InputError, refuse_alike
from tl_fbn.text_files import json_lines

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.battery import Battery

DEMO = "demo:"
_PROMPT_LINE = (
    'a line is {"condition": "a", "prompt": "text"} or {"condition": "a", "messages": [{"role": "user", "content": '
    '"text"}]}'
)
_CHAT_LINE = (
    'a line is {"messages": [{"role": "user", "content": "text"}, ...]}, a list of such messages, {"text": "text"}, or '
    "a string"
)


def read_conditions(source: str) -> dict[str, list[Any]]:
    """The prompts of a block design: name of a condition to its prompts, strings or chats.

    Args:
        source: A ``.tsv``, ``.csv`` or ``.jsonl`` file, or ``demo:`` and names of prompts that come with the package,
            separated by commas.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A line that is no prompt, a file without lines, two conditions whose names differ in case only, or
            an unknown name behind ``demo:``.
    """
    if source.startswith(DEMO):
        from tl_fbn.acquisition.design.stimuli import prompts

        return {name: list(prompts(name)) for name in _demo_names(source)}
    if Path(source).suffix.lower() != ".jsonl":  # a table of condition and prompt
        from tl_fbn.acquisition.design.prompt_tables import read_prompts

        return dict(read_prompts(source))
    conditions: dict[str, list[Any]] = {}
    for where, line in _numbered_lines(Path(source), _PROMPT_LINE):
        if not isinstance(line, dict) or not isinstance(line.get("condition"), str) or not line["condition"]:
            raise InputError(f"{where} names no condition; {_PROMPT_LINE}")
        if "messages" in line and "prompt" in line:
            raise InputError(f"{where} has a prompt and messages, of which only one can be shown; {_PROMPT_LINE}")
        if "messages" in line:
            prompt: Any = _checked_messages(line["messages"], where, _PROMPT_LINE)
        else:
            prompt = line.get("prompt")
            if not isinstance(prompt, str) or not prompt.strip():
                raise InputError(f"{where} has neither a prompt nor messages; {_PROMPT_LINE}")
        # lines of one condition need not stand together
        conditions.setdefault(line["condition"], []).append(prompt)
    refuse_alike(conditions, f"{source}: the conditions")
    return conditions


def read_chats(source: str, n: int | None = None) -> list[Any]:
    """The chats of one task: lists of messages, or strings.

    Args:
        source: A ``.jsonl`` file, or ``demo:`` and the name of one task whose chats come with the package.
        n: Largest number of chats, taken from the beginning; None takes all.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A line that is no chat, a file without lines, or no, several or an unknown name behind ``demo:``.
    """
    if source.startswith(DEMO):
        from tl_fbn.acquisition.design.stimuli import chats

        names = _demo_names(source)
        if len(names) > 1:
            raise InputError(
                f"{source} names {len(names)} tasks; give one argument a task, e.g. {DEMO}{names[0]} {DEMO}{names[1]}"
            )
        return list(chats(names[0]))[:n]
    found: list[Any] = []
    # the four forms of a line: an object with messages or with text, a list of messages, a string
    for where, line in _numbered_lines(Path(source), _CHAT_LINE):
        if isinstance(line, dict) and "messages" in line and "text" in line:
            raise InputError(f"{where} has a text and messages, of which only one can be read; {_CHAT_LINE}")
        if isinstance(line, dict) and "messages" in line:
            line = line["messages"]
        elif isinstance(line, dict) and isinstance(line.get("text"), str):
            line = line["text"]
        if isinstance(line, str):
            if not line.strip():
                raise InputError(f"{where} is an empty text; {_CHAT_LINE}")
            found.append(line)
        else:
            found.append(_checked_messages(line, where, _CHAT_LINE))
    return found[:n]  # all lines have been checked, also those that are not used


def name_of(source: str) -> str:
    """The name of a source in files and tables: the file's without its ending, or what follows ``demo:``.

    Args:
        source: A file, or ``demo:`` and names.
    """
    return source.removeprefix(DEMO) if source.startswith(DEMO) else Path(source).stem


def read_battery(sources: Sequence[str], *, n: int | None, tasks: Sequence[str] = (), **reading: Any) -> Battery:
    """One battery of the tasks of one or several files.

    Args:
        sources: ``.jsonl`` files of items, or ``"demo"`` for the tasks of the embedded model.
        n: Largest number of items a task, taken from the beginning; None takes all.
        tasks: Names of the tasks to keep; empty keeps all.
        **reading: Options of :meth:`tl_fbn.Battery.from_jsonl`: format, template, scored and delimiter.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A line that is no item, two tasks of one name, or no task of a name that is to be kept.
    """
    from tl_fbn import demo
    from tl_fbn.intervention.behaviour.battery import Battery

    found: dict[str, Any] = {}
    for source in sources:
        if source == "demo":  # generates its items, so that n may be larger than its default
            one = demo.battery() if n is None else demo.battery(n=n)
        elif not Path(source).is_file():
            raise FileNotFoundError(
                f'no file at {source}; give a .jsonl file of items, or "demo" for the tasks of the embedded model'
            )
        else:
            one = Battery.from_jsonl(source, **reading)
        for name, task in one.tasks.items():
            if name in found:
                raise InputError(
                    f"{source} has a task {name!r}, and so has another battery; give their files other names"
                )
            found[name] = task
    battery = Battery(found)
    battery = battery if n is None else battery.limit(n)  # n of every task, also of files that hold several
    return battery.select(list(tasks)) if tasks else battery


def _demo_names(source: str) -> list[str]:
    """The names behind ``demo:``."""
    names = [name.strip() for name in source.removeprefix(DEMO).split(",") if name.strip()]
    if not names:
        raise InputError(f"{source!r} names no task; give e.g. {DEMO}sort,reverse")
    return names


def _numbered_lines(path: Path, allowed: str) -> Iterator[tuple[str, Any]]:
    """Place of each line, in words, and the JSON value that it holds."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .jsonl file: {allowed}")
    number = 0  # stays 0 in a file without lines
    for number, line in json_lines(path, allowed):
        yield f"{path}, line {number}", line
    if not number:
        raise InputError(f"{path} has no lines; {allowed}")


def _checked_messages(given: Any, where: str, allowed: str) -> list[dict[str, str]]:
    """The messages of a chat with their roles and contents; fields that no template reads are dropped."""
    from tl_fbn.acquisition.design.prompt_forms import checked_chat

    try:
        chat = checked_chat(given, "it")
    except InputError as error:
        shown = json.dumps(given, ensure_ascii=False)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        raise InputError(f"{where} holds {shown}, no chat ({error}); {allowed}") from error
    # what a chat template reads, and nothing else that a data set may hold
    return [{"role": role, "content": content} for role, content in chat]
