"""Tasks as a protocol takes them: files, rows or a :class:`tl_fbn.Tasks`, with enough of them."""

from __future__ import annotations

from typing import Any

from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.task_set import PLAIN, Head, Tasks


def read_tasks(tasks: Any, *, seed: int, least: int, template: str = PLAIN, head: Head = "fixed") -> Tasks:
    """The tasks of a protocol.

    Args:
        tasks: A Tasks, or what makes one: files, or a mapping of names to files or rows.
        seed: Seed of the draw of shots, where Tasks are made.
        least: Smallest number of tasks.
        template: How rows are shown, where Tasks are made.
        head: Whether shots are drawn anew for every row, where Tasks are made; fixed ones are read once.

    Raises:
        FileNotFoundError: There is no file at a path.
        InputError: Too few tasks, or rows that are none.
    """
    made = tasks if isinstance(tasks, Tasks) else Tasks(tasks, shots=5, head=head, template=template, seed=seed)
    if len(made.names) < least:
        raise InputError(
            f"the protocol needs at least {least} tasks, as a network is a task's own beside others; got "
            f"{len(made.names)}: {', '.join(made.names)}"
        )
    return made
