"""What models are shown, from files: prompts by condition for a scan, chats for gradients, items for a battery.

============ ======================================================================================================
prompts      a ``.tsv`` or ``.csv`` with the columns condition and prompt; a ``.jsonl`` with ``{"condition": ..., "prompt": ...}`` or, for
             a chat, ``{"condition": ..., "messages": [{"role": ..., "content": ...}, ...]}`` a line; or ``demo:sort,rest``, the prompts that
             come with the package
chats        a ``.jsonl``, each line ``{"messages": [...]}``, a list of messages, ``{"text": ...}`` or a string; or ``demo:sort``
battery      a ``.jsonl`` as :meth:`tl_fbn.Battery.from_jsonl` reads; or ``demo``, the tasks of the embedded model
============ ======================================================================================================

A bad line is an error with its number, and so is a file that holds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.errors import InputError
from tl_fbn.text_files import json_lines

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.battery import Battery

DEMO = "demo:"
_PROMPT = 'a line is {"condition": "a", "prompt": "text"} or {"condition": "a", "messages": [{"role": "user", "content": "text"}]}'
_CHAT = 'a line is {"messages": [{"role": "user", "content": "text"}, ...]}, a list of such messages, {"text": "text"}, or a string'


def read_conditions(source: str) -> dict[str, list[Any]]:
    """Condition name to prompts."""
    if source.startswith(DEMO):
        from tl_fbn.acquisition.design.stimuli import prompts

        return {name: list(prompts(name)) for name in _names(source)}
    if Path(source).suffix.lower() != ".jsonl":
        from tl_fbn.acquisition.design.prompt_tables import read_prompts

        return dict(read_prompts(source))
    conditions: dict[str, list[Any]] = {}
    for where, line in _lines(Path(source), _PROMPT):
        if not isinstance(line, dict) or not isinstance(line.get("condition"), str) or not line["condition"]:
            raise InputError(f"{where} names no condition; {_PROMPT}")
        if "messages" in line:
            prompt: Any = _messages(line["messages"], where, _PROMPT)
        else:
            prompt = line.get("prompt")
            if not isinstance(prompt, str) or not prompt.strip():
                raise InputError(f"{where} has neither a prompt nor messages; {_PROMPT}")
        conditions.setdefault(line["condition"], []).append(prompt)
    return conditions


def read_chats(source: str, n: int | None = None) -> list[Any]:
    """Chats and strings, at most the first ``n``."""
    if source.startswith(DEMO):
        from tl_fbn.acquisition.design.stimuli import chats

        names = _names(source)
        if len(names) > 1:
            raise InputError(
                f"{source} names {len(names)} tasks; give one argument a task, e.g. {DEMO}{names[0]} {DEMO}{names[1]}"
            )
        return list(chats(names[0]))[:n]
    found: list[Any] = []
    for where, line in _lines(Path(source), _CHAT):
        if isinstance(line, dict) and "messages" in line:
            line = line["messages"]
        elif isinstance(line, dict) and isinstance(line.get("text"), str):
            line = line["text"]
        if isinstance(line, str):
            if not line.strip():
                raise InputError(f"{where} is an empty text; {_CHAT}")
            found.append(line)
        else:
            found.append(_messages(line, where, _CHAT))
    return found[:n]


def name_of(source: str) -> str:
    """What a source is called in file names and tables."""
    return source.removeprefix(DEMO) if source.startswith(DEMO) else Path(source).stem


def read_battery(sources: Sequence[str], *, n: int | None, tasks: Sequence[str] = (), **reading: Any) -> Battery:
    """The tasks of one or several files together.

    Args:
        sources: Files, or ``"demo"``.
        n: Only the first items of every task.
        tasks: Only these tasks.
        **reading: As :meth:`tl_fbn.Battery.from_jsonl`.
    """
    from tl_fbn import demo
    from tl_fbn.intervention.behaviour.battery import Battery

    found: dict[str, Any] = {}
    for source in sources:
        if source == "demo":
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
    battery = battery if n is None else battery.limit(n)
    return battery.select(list(tasks)) if tasks else battery


def _names(source: str) -> list[str]:
    names = [name.strip() for name in source.removeprefix(DEMO).split(",") if name.strip()]
    if not names:
        raise InputError(f"{source!r} names no task; give e.g. {DEMO}sort,rest")
    return names


def _lines(path: Path, allowed: str) -> Iterator[tuple[str, Any]]:
    """Where each line is, and what it holds."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .jsonl file: {allowed}")
    number = 0
    for number, line in json_lines(path, allowed):
        yield f"{path}, line {number}", line
    if not number:
        raise InputError(f"{path} has no lines; {allowed}")


def _messages(given: Any, where: str, allowed: str) -> list[dict[str, str]]:
    good = (
        isinstance(given, list)
        and given
        and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in given
        )
    )
    if not good:
        shown = json.dumps(given, ensure_ascii=False)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        raise InputError(f"{where} holds {shown}, no chat; {allowed}")
    return [{"role": one["role"], "content": one["content"]} for one in given]
