"""^C waits while something is put on or taken off, so that it never leaves half of it behind.

A ``with`` block may change what outlives it: hooks on a model, whether its parameters require a gradient. Python calls
the handler of ^C between almost any two instructions of the main thread, and the handler raises an error there. If that
is inside ``__enter__``, no ``__exit__`` follows; if it is inside ``__exit__``, even before its first line, the rest of
it never runs. ``try`` and ``finally`` alone cannot help: they are entered too late.

While a block of this file is open, a :class:`_Gate` therefore stands in for the handler of ^C. It looks where the main
thread was. In ``__enter__`` or ``__exit__`` of :class:`Uninterrupted`, or in anything that they called, it notes the
interrupt, and these two pass it on as their last act: when nothing has been put on, or everything has been taken off.
Anywhere else it passes the interrupt on at once, so that the body of a block is interrupted as ever.

:class:`Uninterrupted` is such a block, :func:`uninterrupted` makes one of a function, and :func:`unbroken` is for work
that is no block. Other threads need no gate, because Python calls handlers in the main thread only.

Cost: some tens of microseconds a block. What it does not do: hold back other signals than that of ^C (a handler of
SIGTERM or SIGALRM that raises an error), or an error that a thread raises in another.
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
Handler = Callable[[int, FrameType | None], Any]

# The handler to which an interrupt is still to be passed on, if one came. Handlers belong to the process, and so does
# this; only the main thread touches it, and it is empty whenever that thread is in no __enter__ or __exit__
_waiting: list[Handler] = []


class _Gate:
    """Stands in for the handler of ^C.

    Args:
        handler: The handler, which is called at once or when the work is done.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        while frame is not None:
            if frame.f_code in _CODES_AT_WORK:
                _waiting[:] = [self.handler]
                return None
            frame = frame.f_back
        return self.handler(number, frame)

    def open(self) -> None:
        """Give the handler its place back, unless somebody has taken that since."""
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, self.handler)


class Uninterrupted(AbstractContextManager[Entered], Generic[Entered]):
    """A ``with`` block that ^C never enters or leaves by half; it may be entered again, also inside itself.

    Its classes say in ``_put_on`` what entering does.
    """

    def _put_on(self, undo: ExitStack) -> Entered:
        """Do what the block is for.

        Args:
            undo: Takes what must be done at the end, the last first. It is also done where this function raises an
                error, so that a step belongs there before, or in the same call as, what it undoes.

        Returns:
            What ``with ... as`` gives.
        """
        raise NotImplementedError

    @functools.cached_property
    def _undos(self) -> list[ExitStack]:
        """What each open ``with`` must undo, innermost last; a stack, because a block may be entered several times."""
        return []

    def __enter__(self) -> Entered:
        undo = ExitStack()
        try:
            if _in_main_thread():
                handler = signal.getsignal(signal.SIGINT)
                # an open block around this one has its gate there; SIG_IGN and handlers written in C raise no error
                if callable(handler) and not isinstance(handler, _Gate):
                    gate = _Gate(handler)
                    undo.callback(gate.open)
                    signal.signal(signal.SIGINT, gate)
            value = self._put_on(undo)
            undo.callback(self._undos.pop)
            self._undos.append(undo)
            # Python looks for signals after calls: none can come between the last look at the list and the body
            while _in_main_thread() and _waiting:
                _pass_on()
        except BaseException:
            try:
                undo.close()
            finally:
                while _in_main_thread() and _waiting:
                    _pass_on()
            raise
        return value

    def __exit__(self, *exception: Any) -> None:
        try:
            self._undos[-1].close()
        finally:
            while _in_main_thread() and _waiting:
                _pass_on()


_CODES_AT_WORK = (Uninterrupted.__enter__.__code__, Uninterrupted.__exit__.__code__)


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
    """Decorator: the function runs to its end once it has begun, and ^C is passed on after that.

    Args:
        function: The function; it should be short.
    """

    @functools.wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Entered:
        with _FunctionBlock(lambda _: function(*args, **kwargs)) as value:
            return value

    return run


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _pass_on() -> None:
    """Call the handler to which an interrupt is still to be passed on."""
    _waiting.pop()(signal.SIGINT, sys._getframe(1))
