"""``--tasks FILES``: one set of task files for scan, cgvst, lesion and demo, always dealt into the same halves.

Networks are found on one half of every file's rows and tested on the other (:class:`tl_fbn.Tasks`). Which half a row is
in depends on nothing but the row, so that a scan, a gradient score and a lesion study that are given the same files can
be run on different days, and no row that a network was found on is in its test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tl_fbn.cli.escapes import EXPLAINED, unescaped
from tl_fbn.errors import InputError

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.task_set import Tasks

_OPTION = "--tasks"
_ENDINGS = (".json", ".jsonl", ".csv", ".tsv")

TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        _OPTION,
        metavar="FILES...",
        help="Files of rows with an input and an output, one task each: .json (a list, or a task of Natural "
        "Instructions), .jsonl, .csv or .tsv. One half of the rows, always the same, serves to find networks, the "
        "other to test them.",
    ),
]
ShotsOption = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="With --tasks: number of rows with outputs that are shown before each row."),
]
HeadOption = Annotated[
    str,
    typer.Option(
        metavar="HEAD",
        help="With --tasks: drawn draws these rows anew for every row; fixed shows the same ones before all.",
    ),
]
TaskTemplateOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help=f'With --tasks: how a row is shown, by default "Q: {{input}}\\nA:"; the output follows. {EXPLAINED}.',
    ),
]
ChatFlag = Annotated[
    bool, typer.Option("--chat", help="With --tasks: show rows as turns of a chat, by the model's chat template.")
]


def with_repeated_option(words: Sequence[str]) -> list[str]:
    """Words of a command line in which ``--tasks a.json b.json`` has become ``--tasks a.json --tasks b.json``.

    >>> with_repeated_option(["scan", "gpt2", "--tasks", "a.json", "b.csv", "-o", "out"])
    ['scan', 'gpt2', '--tasks', 'a.json', '--tasks', 'b.csv', '-o', 'out']

    Args:
        words: Words of the command line; files that follow the first are known by their endings.
    """
    made: list[str] = []
    inside = False  # whether the words before were files of the option
    for word in words:
        is_file = word.lower().endswith(_ENDINGS) and not word.startswith("-")
        if inside and is_file and made[-1] != _OPTION:
            made.append(_OPTION)
        inside = word == _OPTION or (inside and (is_file or made[-1] == _OPTION))
        made.append(word)
    return made


def read_tasks(
    given: Sequence[str], *, shots: int, head: str, template: str | None, chat: bool, only: Sequence[str] = ()
) -> Tasks:
    """The tasks of some files.

    Args:
        given: The files, or ``demo`` for the tasks of the embedded model.
        shots: Number of rows that are shown before each row.
        head: ``"drawn"`` or ``"fixed"``.
        template: How a row is shown, with escapes such as ``\\n``; None for questions and answers.
        chat: Whether rows are turns of a chat.
        only: Names of the tasks that are kept; empty keeps all.

    Raises:
        FileNotFoundError: There is no file at a path.
        InputError: A file that holds no task, too few rows, a template and a chat, or no task of a name.
    """
    from tl_fbn.intervention.behaviour.task_set import CHAT, PLAIN, Tasks

    if chat and template is not None:
        raise InputError("--chat shows rows by the model's chat template; leave out --template")
    if list(given) == ["demo"]:
        from tl_fbn import demo

        tasks = demo.tasks()
    else:
        shown = CHAT if chat else PLAIN if template is None else unescaped(template)
        tasks = Tasks([Path(one) for one in given], shots=shots, head=cast(Any, head), template=shown)
    return tasks.select(list(only)) if only else tasks


def require_one(tasks: Sequence[str] | None, other: object, name: str) -> None:
    """Raise an error unless either ``--tasks`` or the other source of prompts is given.

    Args:
        tasks: The files of ``--tasks``.
        other: The other source; None or empty where it is not given.
        name: What the other source is called on the command line.

    Raises:
        InputError: Both are given, or neither.
    """
    if bool(tasks) == bool(other):
        raise InputError(f"give {name} or --tasks FILES{', not both' if tasks else ''}")
