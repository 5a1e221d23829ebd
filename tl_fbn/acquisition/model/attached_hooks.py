"""Hooks of this package on a model: put on by one call, and taken off by the same block, whatever happens between.

All hooks go on through the host's own ``model.hooks(...)``, so that its lists know them. What is added here:

- An interrupt waits until all are on, or all are off (:mod:`tl_fbn.interrupts`).
- The model serves one thread meanwhile (:mod:`tl_fbn.acquisition.model.model_lock`). A hook that only reads would take
  another thread's pass for its own; there it raises an error, in the other thread, and takes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import Use, claim
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted

HookList = Sequence[tuple[str, Callable[..., Any]]]


@uninterrupted
def hooked(undo: ExitStack, model: HookedModel, fwd_hooks: HookList, purpose: str) -> None:
    """Inside the body, forward hooks are on the model.

    Args:
        undo: Takes what takes them off.
        model: The model.
        fwd_hooks: (name of a hook point, function) of each hook.
        purpose: What they are for, in words, for the message that another thread gets.

    Raises:
        InputError: The model serves another thread.
    """
    attach(undo, model, fwd_hooks, claim(undo, model, purpose))


def attach(undo: ExitStack, model: HookedModel, fwd_hooks: HookList, use: Use) -> None:
    """Put forward hooks on a model until ``undo`` is done.

    Args:
        undo: Takes what takes them off.
        model: The model.
        fwd_hooks: (name of a hook point, function) of each hook.
        use: The model's use, from :func:`~tl_fbn.acquisition.model.model_lock.claim`.
    """
    hooks = [(name, one if isinstance(one, host.Edit) else _InThisThread(one)) for name, one in fwd_hooks]
    leave_trace(undo, use, *(function for _, function in hooks))
    undo.enter_context(model.hooks(fwd_hooks=hooks))


def leave_trace(undo: ExitStack, use: Use, *traces: Any) -> None:
    """Name what is being put on a model, so that copies of the model do not keep it.

    Args:
        undo: Takes what forgets it.
        use: The model's use.
        *traces: Hook functions, or objects of which methods are hooks.
    """
    undo.callback(_forget, use, traces)
    use.traces.extend(traces)


def _forget(use: Use, traces: tuple[Any, ...]) -> None:
    for trace in traces:
        # the last of those that are the same object: an intervention may be entered twice
        del use.traces[max(place for place, one in enumerate(use.traces) if one is trace)]


class _InThisThread:
    """A hook function that reads passes of the thread that put it on, and refuses those of others.

    Args:
        function: The hook function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._thread = threading.current_thread()

    def __call__(self, tensor: Any, hook: Any) -> Any:
        here = threading.current_thread()
        # torch runs backward passes, which compute checkpointed blocks again, in threads of its own
        if here is not self._thread and not isinstance(here, threading._DummyThread):
            raise InputError(
                f"this model is read by thread {self._thread.name!r} just now, and a model serves one thread at a "
                f"time: a pass in {here.name!r} would be taken for one of its own. Wait until the other is done, or "
                "give each thread a model of its own: copy.deepcopy(model)"
            )
        return self._function(tensor, hook=hook)
