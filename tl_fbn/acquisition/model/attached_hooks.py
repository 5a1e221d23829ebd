"""Hooks of this package on a model: put on and taken off by one block, whatever happens between.

All hooks go on through the host's own ``model.hooks(...)``, so that its lists know them. What is added here:

- ^C waits until all are on, or all are off (:mod:`tl_fbn.interrupts`); ``torch.no_grad()`` belongs inside the block.
- The model serves one thread meanwhile (:mod:`tl_fbn.acquisition.model.model_lock`). A hook that only reads would take
  another thread's pass for its own; there it raises an error, in the other thread, and takes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import claim, keep_gradient_mode
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted


@uninterrupted
def hooked(
    undo: ExitStack, model: HookedModel, fwd_hooks: Sequence[tuple[str, Callable[..., Any]]], purpose: str
) -> None:
    """Inside the body, forward hooks are on the model, for passes of this thread.

    Args:
        undo: Takes what takes them off.
        model: The model.
        fwd_hooks: (name of a hook point, function) of each hook.
        purpose: What they are for, in words, for the message that another thread gets.

    Raises:
        InputError: The model serves another thread.
    """
    claim(undo, model, purpose)
    keep_gradient_mode(undo)
    here = threading.current_thread()
    undo.enter_context(model.hooks(fwd_hooks=[(name, _InOneThread(function, here)) for name, function in fwd_hooks]))


class _InOneThread:
    """A hook function that serves passes of one thread, and refuses those of others.

    Args:
        function: The hook function.
        thread: The thread whose passes it serves.
    """

    def __init__(self, function: Callable[..., Any], thread: threading.Thread) -> None:
        self._function = function
        self._thread = thread

    def __call__(self, tensor: Any, hook: Any) -> Any:
        here = threading.current_thread()
        # torch runs backward passes, which compute checkpointed blocks again, in threads of its own
        if here is not self._thread and not isinstance(here, threading._DummyThread):
            raise InputError(
                f"this model is read by thread {self._thread.name!r} just now, and a model serves one thread at a "
                f"time: a pass in {here.name!r} would be taken for one of its own. Wait until the other is done, or "
                "give each thread a model of its own: copy.deepcopy(model), made beforehand"
            )
        return self._function(tensor, hook=hook)
