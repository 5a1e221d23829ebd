"""What every command has in common: where its output goes, how it ends, and how errors are told.

=========== ======================================================================================================
stdout      the result: a few lines to read, or with ``--json`` one JSON object and nothing else
stderr      progress, notes, whatever libraries print, and errors
status 0    done
status 1    an unexpected error: the traceback is what its report needs
status 2    input that a user can mend: one line, ``tl-fbn: what was given; what is allowed``
status 130  interrupted: one line that says what is kept
=========== ======================================================================================================

A user can mend :class:`tl_fbn.InputError` and its kind (every such message is written for the user), files that cannot
be read or written, and bad usage of the command line. Any other error is a bug, whatever its type, and keeps its
traceback.

Names, prompts and paths are the user's, and libraries print them too: escape sequences in them are written out
(``\\x1b``), so that none reaches the terminal.

Where a launcher such as ``torchrun`` runs several processes, only the first prints; the others name themselves when
they fail.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperGroup

from tl_fbn.cli.task_options import with_repeated_option
from tl_fbn.errors import InputError, visible

if TYPE_CHECKING:
    import pandas as pd

# what an interrupt leaves behind, in words
NOTHING = "nothing was changed"
WHOLE = "files that were saved are whole, and the same command starts again"
WIDTH = 80  # characters of a line of a result, where names are of ordinary length
_SECONDS_A_LINE = 20  # between two lines of progress where there is no terminal
_UNLIMITED_WIDTH = 100_000  # characters: a table is never wrapped


class Stopped(Exception):
    """The user interrupted the command; the message says what is kept."""


class CommandGroup(TyperGroup):
    """The commands of ``tl-fbn``; errors and exit statuses are those of this file, not click's."""

    def main(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        words = with_repeated_option(list(sys.argv[1:] if args is None else args)) or ["--help"]

        def work() -> None:
            with self.make_context("tl-fbn", words) as context:  # one name, also for python -m tl_fbn
                self.invoke(context)

        status = ended(work)
        if standalone_mode:
            sys.exit(status)
        return status


def ended(work: Callable[[], None]) -> int:
    """Run something to its end, print in one line what went wrong, and return the exit status.

    Args:
        work: What to run.

    Returns:
        0 if it was done, 2 on bad input, 130 on an interrupt, or the status that the work itself exits with.

    Raises:
        Exception: An error that no user can mend.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(cast(Any, _VisibleStream(sys.stderr))):
            warnings.showwarning = _print_warning
            work()
        sys.stdout.flush()
    except typer.Exit as ending:
        return ending.exit_code
    except BrokenPipeError:  # the program that reads our output, such as head, has closed the pipe
        _discard_output()
    except (KeyboardInterrupt, typer.Abort):
        return _print_error(f"stopped; {NOTHING}", 130)
    except Stopped as ending:
        return _print_error(f"stopped; {ending}", 130)
    except Exception as error:
        # errors of usage come from click, or from typer's own copy of it: known by their method, not their class
        format_message = getattr(error, "format_message", None)
        if callable(format_message):
            context = getattr(error, "ctx", None)
            advice = f" See {context.command_path} --help" if context else ""
            message = str(format_message())
            return _print_error(f"{message}{'' if message.endswith(('.', '?')) else '.'}{advice}", 2)
        if not mendable(error):
            raise
        return _print_error(_message_of(error), 2)
    return 0


def mendable(error: BaseException) -> bool:
    """Whether a user can mend an error: it is about input, or about a file that cannot be read or written.

    Args:
        error: The error.
    """
    return isinstance(error, (InputError, OSError, UnicodeError, csv.Error))


def _message_of(error: BaseException) -> str:
    """The message of an error, without what Python adds to it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError is the repr of its message
    return str(error)


def _print_error(message: str, status: int) -> int:
    """Print one line to standard error; the status is handed on."""
    who = f"[rank {rank()}] " if rank() else ""
    typer.echo(visible(f"tl-fbn: {who}{' '.join(message.split())}"), err=True)
    return status


def _print_warning(message: Warning | str, *_: Any) -> None:
    if rank() == 0:
        typer.echo(visible(f"note: {' '.join(str(message).split())}"), err=True)


class _VisibleStream:
    """Standard error for libraries: text is written through, and what would steer the terminal is written out.

    Progress bars steer it too: a carriage return, and "one line up" (tqdm's only escape sequence) where a write holds
    nothing else, stay. Where nobody watches, as in the log of a batch job, a bar becomes a line every twenty seconds.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._bar = ""  # what a bar shows by now; empty where there is none
        self._since = 0.0  # when it began, or was last written, in seconds of a monotonic clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._is_of_bar(text):
            return self._write_bar(text)
        if not text.replace("\x1b[A", "").strip("\n"):
            return self._stream.write(text)
        return self._stream.write("\r".join(map(visible, text.split("\r"))))

    def _is_of_bar(self, text: str) -> bool:
        """Whether a text is a bar, or the end of one, and no terminal shows it."""
        return not self._stream.isatty() and (text.startswith("\r") or (bool(self._bar) and text.strip("\n") == ""))

    def _write_bar(self, text: str) -> int:
        """Keep what a bar shows; write it as a line at its end, and twenty seconds after it began or was written."""
        shown = visible(text.strip("\r\n")).rstrip()
        now = time.monotonic()
        if not self._bar:
            self._since = now
        self._bar = shown or self._bar
        ended = "\n" in text  # tqdm also writes nothing at all, to move the cursor by no line
        if self._bar and (ended or now - self._since > _SECONDS_A_LINE):
            self._stream.write(f"{self._bar}\n")
            self._since = now
        if ended:
            self._bar = ""
        return len(text)


def _discard_output() -> None:
    """Send standard output nowhere: flushing a closed pipe, as the interpreter does at its end, would be an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def rank() -> int:
    """This process's number among those of a launcher; 0 without one."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True)
class Console:
    """Where the output of one command goes.

    Args:
        json: True prints the result as one JSON object, False as text.
        progress: Whether to show progress bars; None shows them where standard error is a terminal.
    """

    json: bool = False
    progress: bool | None = None

    @property
    def bars(self) -> bool:
        """Whether progress bars are shown: by the first process only, and as asked for."""
        wanted = sys.stderr.isatty() if self.progress is None else self.progress
        return wanted and rank() == 0

    @property
    def lines(self) -> bool:
        """Whether progress of work that takes minutes is shown: in bars on a terminal, elsewhere in a line at times."""
        return self.progress is not False and rank() == 0

    @contextlib.contextmanager
    def working(self, kept: str = NOTHING, *, shared: bool = False) -> Iterator[None]:
        """Inside the body, what libraries print goes to standard error, and an interrupt says what is kept.

        Args:
            kept: What an interrupt leaves behind, in words.
            shared: True where the processes of a launcher do the work together; False where the first does it alone,
                and the others end here.

        Raises:
            Stopped: The user interrupted the work.
        """
        if rank() and not shared:
            raise typer.Exit
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except KeyboardInterrupt as error:
            raise Stopped(kept) from error

    def note(self, text: str) -> None:
        """Print to standard error what the user should know before the result is there.

        Args:
            text: One line.
        """
        if rank() == 0:
            typer.echo(visible(text), err=True)

    def result(self, text: str, **fields: Any) -> None:
        """Print the result to standard output, as text or as JSON.

        Args:
            text: The result for people.
            **fields: The result for programs, as one JSON object.
        """
        if rank() == 0:
            typer.echo(json.dumps(plain(fields), indent=1, allow_nan=False) if self.json else visible(text))
            sys.stdout.flush()  # so that a closed pipe is noticed here


def plain(value: Any) -> Any:
    """A value of a result as JSON can hold it.

    Args:
        value: A number, text, path, array, table, or mappings and lists of them.

    Returns:
        Tables are lists of records, arrays are lists, paths are text; NaN and infinity are None, which JSON calls null.
    """
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


def table(frame: pd.DataFrame, *, decimals: Mapping[str, str] | None = None, keys: int = 1) -> str:
    """A data frame as lines of text, its numbers shortened; columns that leave a line of 80 characters come below.

    Args:
        frame: The table.
        keys: Number of first columns that are repeated where other columns come below.
        decimals: Name of a column to the format of its numbers, such as ``".1%"``; other numbers have three digits.
            NaN is shown as ``-``, True and False as ``yes`` and ``no``.
    """

    def cell_text(value: Any, form: str) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return "-" if math.isnan(value) else f"{value:{form}}"
        return visible(str(value)).replace("\n", "\\n")  # rich would take an escape sequence for a style

    import rich.console  # here, because only a command that prints a table needs it
    from rich.table import Table
    from rich.text import Text

    columns, justified = [], []
    for name in frame:
        # pandas 3 has a type of its own for text, earlier versions call it object
        is_text = frame[name].dtype == object or str(frame[name].dtype).startswith("str")
        justified.append("left" if is_text else "right")
        form = (decimals or {}).get(str(name), ".3g")
        columns.append([cell_text(str(name), form), *(cell_text(one, form) for one in frame[name].tolist())])
    parts = []
    for group in _groups_within_a_line([max(map(len, column)) for column in columns], keys):
        grid = Table.grid(padding=(0, 2))
        for number in group:
            grid.add_column(justify=justified[number], no_wrap=True)
        for line in zip(*(columns[number] for number in group), strict=True):
            grid.add_row(*map(Text, line))  # as text, so that brackets in a cell are no markup
        page = rich.console.Console(file=io.StringIO(), width=_UNLIMITED_WIDTH)
        with page.capture() as written:
            page.print(grid)
        parts.append("\n".join(line.rstrip() for line in written.get().splitlines()))
    return "\n\n".join(parts)


def _groups_within_a_line(widths: list[int], keys: int) -> list[list[int]]:
    """Numbers of columns that fit a line together, the first ``keys`` of them in every group."""
    first = list(range(min(keys, len(widths))))
    groups = [list(first)]
    for number in range(len(first), len(widths)):
        taken = sum(widths[one] + 2 for one in groups[-1])
        if taken + widths[number] > WIDTH and len(groups[-1]) > len(first):
            groups.append(list(first))
        groups[-1].append(number)
    return groups
