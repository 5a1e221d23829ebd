"""Interrupts wait while something is put on or taken off, so that ^C never leaves half of it behind.

A ``with`` block may change what outlives it: hooks on a model, whether its parameters require a gradient. Python calls
the handler of a signal between almost any two instructions of the main thread, and the handler of ^C raises an error
there. If that is inside ``__enter__``, no ``__exit__`` follows; if it is inside ``__exit__``, even before its first
line, the rest of it never runs. ``try`` and ``finally`` alone cannot help: they are entered too late.

While such a block is open, a gate therefore stands in for each signal's handler. It looks where the main thread was
when the signal came. Anywhere else than in this file's own functions, and what they call, it passes the signal on at
once: the body of a block is interrupted as ever. Inside them it notes the signal, which is passed on when the work is
done: after everything was taken off again, if the block was being entered or left. Only handlers that are written in
Python have gates, and they get their places back when the block ends.

:class:`Uninterrupted` is such a ``with`` block, :func:`uninterrupted` makes one of a function, and :func:`unbroken` is
for work that is no block.

Cost: some 50 microseconds a block. What it does not do: hold back what other threads raise in this one
(``PyThreadState_SetAsyncExc``), SIGKILL, or a handler that is written in C. Other threads need no gates, because
Python runs handlers in the main thread only.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import FrameType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

Given = ParamSpec("Given")
Entered = TypeVar("Entered")

# the signals for which people write handlers, as far as this system has them
_NAMES = ("INT", "TERM", "ALRM", "HUP", "USR1", "USR2", "QUIT", "VTALRM", "PROF", "CHLD", "XCPU", "BREAK")
_SIGNALS = tuple(getattr(signal, f"SIG{name}") for name in _NAMES if hasattr(signal, f"SIG{name}"))
# names of the functions below that must run to their end, and the globals by which their frames are known
_FUNCTIONS_AT_WORK = {"__enter__", "__exit__", "run_unbroken"}
_GLOBALS = globals()
# (handler, signal) of signals that came while such a function ran; handlers belong to the process, and so does this.
# Only the main thread touches it, and it is empty whenever no such function runs
_waiting: list[tuple[Callable[[int, FrameType | None], Any], int]] = []


class Gate:
    """Stands in for the handler of a signal.

    Args:
        handler: The handler, which is called at once or when the work is done.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if _is_at_work(frame):
            _waiting.append((self.handler, number))
            return None
        return self.handler(number, frame)


class Uninterrupted(AbstractContextManager[Entered], Generic[Entered]):
    """A ``with`` block that no interrupt enters or leaves by half; it may be entered again, also inside itself.

    Its classes say in ``_put_on`` what entering does.
    """

    def _put_on(self, undo: ExitStack) -> Entered:
        """Do what the block is for.

        Args:
            undo: Takes what must be done at the end, the last first; each step belongs there before, or in the same
                call as, what it undoes. All of it is also done where this function raises an error.

        Returns:
            What ``with ... as`` gives.
        """
        raise NotImplementedError

    def __enter__(self) -> Entered:
        delivers = _delivers(sys._getframe(1))
        gates = _Gates()
        undo = ExitStack()
        # innermost last: a block may be entered several times
        entered = vars(self).setdefault("_entered", [])
        try:
            if delivers:
                gates.shut()
            value = self._put_on(undo)
            entered.append((undo, gates))
            # Python looks for signals after calls: none can come between the last look at the list and the body
            while delivers and _waiting:
                _deliver()
        except BaseException:
            try:
                if entered and entered[-1][0] is undo:
                    entered.pop()
                undo.close()
            finally:
                gates.open()
                while delivers and _waiting:
                    _deliver()
            raise
        return value

    def __exit__(self, *exception: Any) -> None:
        undo, gates = vars(self)["_entered"].pop()
        delivers = False
        try:
            try:
                delivers = _delivers(sys._getframe(1))
                # again: for handlers that the body has put there since
                if delivers:
                    gates.shut()
            finally:
                undo.close()
        finally:
            gates.open()
            while delivers and _waiting:
                _deliver()


class _FunctionBlock(Uninterrupted[Entered]):
    """A block of which a function says what entering does."""

    def __init__(self, put_on: Callable[[ExitStack], Entered]) -> None:
        self._function = put_on

    def _put_on(self, undo: ExitStack) -> Entered:
        return self._function(undo)


def uninterrupted(
    put_on: Callable[Concatenate[ExitStack, Given], Entered],
) -> Callable[Given, Uninterrupted[Entered]]:
    """Decorator: the function becomes one that returns an :class:`Uninterrupted` block.

    >>> @uninterrupted
    ... def added(undo, numbers, number):
    ...     undo.callback(numbers.remove, number)
    ...     numbers.append(number)
    >>> numbers = [1, 2]
    >>> with added(numbers, 3):
    ...     print(numbers)
    [1, 2, 3]
    >>> numbers
    [1, 2]

    Args:
        put_on: Called when the block is entered. Its first argument takes what must be done at the end, the last first
            (:meth:`contextlib.ExitStack.callback`); the others are those that the block was made with. What it returns
            is what ``with ... as`` gives.
    """

    @functools.wraps(put_on)
    def block(*args: Given.args, **kwargs: Given.kwargs) -> Uninterrupted[Entered]:
        return _FunctionBlock(lambda undo: put_on(undo, *args, **kwargs))

    return block


def unbroken(function: Callable[Given, Entered]) -> Callable[Given, Entered]:
    """Decorator: the function runs to its end once it has begun, and interrupts are passed on after that.

    Args:
        function: The function; it should be short.
    """

    @functools.wraps(function)
    def run_unbroken(*args: Given.args, **kwargs: Given.kwargs) -> Entered:
        delivers = _delivers(sys._getframe(1))
        gates = _Gates()
        try:
            if delivers:
                gates.shut()
            return function(*args, **kwargs)
        finally:
            gates.open()
            while delivers and _waiting:
                _deliver()

    return run_unbroken


class _Gates:
    """The gates that one block has put before handlers."""

    def __init__(self) -> None:
        self._shut: dict[int, Gate] = {}

    def shut(self) -> None:
        """Put a gate before every handler that is written in Python and has none."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            # neither callable: the system's own handling, and a handler written in C
            if callable(handler) and not isinstance(handler, Gate):
                # noted first: an interrupt by a signal that has no gate yet must find those that have
                gate = self._shut[number] = Gate(handler)
                signal.signal(number, gate)

    def open(self) -> None:
        """Give the handlers their places back, unless somebody has taken those since."""
        if not self._shut or threading.current_thread() is not threading.main_thread():
            return
        number, gate = self._shut.popitem()
        try:
            if signal.getsignal(number) is gate:
                signal.signal(number, gate.handler)
        finally:
            # also where the handler, back in its place, raises an error at once
            self.open()


def _is_at_work(frame: FrameType | None) -> bool:
    """Whether a frame is that of a function of this file that must run to its end, or of something it called."""
    while frame is not None:
        if frame.f_globals is _GLOBALS and frame.f_code.co_name in _FUNCTIONS_AT_WORK:
            return True
        frame = frame.f_back
    return False


def _delivers(caller: FrameType) -> bool:
    """Whether a function of this file, when it ends, passes on what came: the outermost one of the main thread."""
    return threading.current_thread() is threading.main_thread() and not _is_at_work(caller)


def _deliver() -> None:
    """Call the handlers of all signals that wait, also where one of them raises an error."""
    handler, number = _waiting.pop(0)
    try:
        handler(number, sys._getframe(1))
    finally:
        if _waiting:
            _deliver()
