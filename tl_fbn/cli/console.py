"""How every command speaks, fails and stops.

=========== ======================================================================================================
stdout      the result: a few lines to read, or with ``--json`` one JSON object and nothing else
stderr      progress, notes, whatever libraries print, and errors
status 0    done
status 1    an unexpected error: the traceback is what its report needs
status 2    input that a user can mend: one line, ``tl-fbn: what was given; what is allowed``
status 130  interrupted: one line that says what is kept
=========== ======================================================================================================

Which errors can a user mend? :class:`tl_fbn.InputError` and what is made of it (every such message is written for the user), files that cannot be read
or written, and bad usage. Any other error is a bug, whatever its type: it keeps its traceback.

Where a launcher such as ``torchrun`` runs several processes, only the first prints; the others name themselves when they fail.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from tl_fbn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "nothing was changed"
_AS_WIDE_AS_NEEDED = 100_000  # characters: a table is never wrapped

WHOLE = "files that were saved are whole, and the same command starts again"


class Stopped(Exception):
    """The user interrupted the command; the message says what is kept."""


class Verbs(TyperGroup):
    """The commands, with the package's own way to end."""

    def main(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args) or ["--help"]

        def work() -> None:
            with self.make_context("tl-fbn", given) as context:  # one name, also for python -m tl_fbn
                self.invoke(context)

        status = ended(work)
        if standalone_mode:
            sys.exit(status)
        return status


def ended(work: Callable[[], None]) -> int:
    """Run something to its end, say in one line what went wrong, and return the exit status.

    Raises:
        Exception: What nobody expected.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _as_note
            work()
        sys.stdout.flush()
    except typer.Exit as ending:
        return ending.exit_code
    except BrokenPipeError:  # whoever read has seen enough
        _hush()
    except (KeyboardInterrupt, typer.Abort):
        return _line(f"stopped; {NOTHING}", 130)
    except Stopped as ending:
        return _line(f"stopped; {ending}", 130)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if callable(usage):
            context = getattr(error, "ctx", None)
            asked = f" See {context.command_path} --help" if context else ""
            said = str(usage())
            return _line(f"{said}{'' if said.endswith(('.', '?')) else '.'}{asked}", 2)
        if not mendable(error):
            raise
        return _line(_words_of(error), 2)
    return 0


def mendable(error: BaseException) -> bool:
    """Whether an error is about input, or about a file that cannot be read or written."""
    return isinstance(error, (InputError, OSError, UnicodeError, csv.Error))


def _words_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError is the repr of its message
    return str(error)


def _line(message: str, status: int) -> int:
    who = f"[rank {rank()}] " if rank() else ""
    typer.echo(f"tl-fbn: {who}{' '.join(message.split())}", err=True)
    return status


def _as_note(message: Warning | str, *_: Any) -> None:
    if rank() == 0:
        typer.echo(f"note: {' '.join(str(message).split())}", err=True)


def _hush() -> None:
    """Nothing more can be written; the interpreter would say so when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def rank() -> int:
    """This process's number among those of a launcher; 0 without one."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True)
class Console:
    """Where one command's words go.

    Args:
        json: One JSON object instead of text.
        progress: Show bars; None: where standard error is a terminal.
    """

    json: bool = False
    progress: bool | None = None

    @property
    def bars(self) -> bool:
        """Whether to show progress."""
        wanted = sys.stderr.isatty() if self.progress is None else self.progress
        return wanted and rank() == 0

    @contextlib.contextmanager
    def working(self, kept: str = NOTHING, *, shared: bool = False) -> Iterator[None]:
        """While this lasts, what libraries print goes to standard error, and an interrupt says what is kept.

        Args:
            kept: What an interrupt leaves behind.
            shared: Several processes do this together; otherwise the first does it alone, and the others end here.
        """
        if rank() and not shared:
            raise typer.Exit
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except KeyboardInterrupt as error:
            raise Stopped(kept) from error

    def note(self, text: str) -> None:
        """Something to know meanwhile."""
        if rank() == 0:
            typer.echo(text, err=True)

    def result(self, text: str, **fields: Any) -> None:
        """The result, as text or as JSON."""
        if rank() == 0:
            typer.echo(json.dumps(plain(fields), indent=1, allow_nan=False) if self.json else text)
            sys.stdout.flush()  # so that a closed pipe is noticed here


def plain(value: Any) -> Any:
    """Anything a result holds as JSON has it: tables are lists of records, what is no number is null."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict("records"))
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(frame: pd.DataFrame, *, decimals: Mapping[str, str] | None = None) -> str:
    """A data frame as lines of text, its numbers shortened.

    Args:
        frame: The table.
        decimals: Column to a format of its own.
    """

    def shown(value: Any, form: str) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ("-" if math.isnan(value) else f"{value:{form}}") if isinstance(value, float) else str(value)

    import rich.console  # here, because only a command that prints a table needs it
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    columns = []
    for name in frame:
        text = frame[name].dtype == object or str(frame[name].dtype).startswith("str")
        grid.add_column(justify="left" if text else "right", no_wrap=True)
        form = (decimals or {}).get(str(name), ".3g")
        columns.append([str(name), *(shown(one, form) for one in frame[name].tolist())])
    for line in zip(*columns, strict=True):
        grid.add_row(*map(Text, line))  # as text, so that brackets in a cell are no markup
    page = rich.console.Console(file=io.StringIO(), width=_AS_WIDE_AS_NEEDED)
    with page.capture() as written:
        page.print(grid)
    return "\n".join(line.rstrip() for line in written.get().splitlines())
