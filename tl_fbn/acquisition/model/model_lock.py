"""A model serves one thread at a time, and is not copied meanwhile.

Hooks are on the model, not on the thread that put them there: two scans of one model in two threads would record each
other's passes, and an intervention of one thread would change what the other scans, or scores as its baseline.
Whatever puts hooks on a model, and whatever reads it from beginning to end, therefore notes on the model which thread
it serves (:func:`serving`). The same thread may do more with it, also inside; another thread is told so at once. It is
not made to wait, because what it would then see depends on chance.

``copy.deepcopy`` would copy the hooks of open blocks, and no end of a block would ever take them off the copy. It
meets the note, which refuses.

The note is an attribute of the Hugging Face model inside a bridge, else of the model itself, for as long as a block is
open. What it does not do: hold back plain calls of the model from other threads, which meet whatever hooks are on it
(hooks that only read refuse such passes, :mod:`tl_fbn.acquisition.model.attached_hooks`), copies of a part of the
model, and a model that is pickled for another process.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn, ParamSpec, TypeVar

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted

Given = ParamSpec("Given")
Result = TypeVar("Result")
_ATTRIBUTE = "_tl_fbn_in_use"
_LOCK = threading.Lock()  # held for the few lines that look at the note and change it


class _Note:
    """Says which thread a model serves, and what it does there.

    Args:
        thread: The thread that the model serves.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.purposes: list[str] = []  # one for each open block

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        refuse_copy(self.purposes[-1] if self.purposes else "a block")

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        # in another process the model serves nobody yet: the attribute is None there
        return type(None), ()


def refuse_copy(purpose: str) -> NoReturn:
    """Raise the error of a model that is copied while hooks of this package are on it.

    Args:
        purpose: What the hooks are for, in words.
    """
    raise InputError(
        f"this model cannot be copied now, because the copy would keep the hooks of {purpose} for good. Copy it "
        "before the `with` block or after it, and enter a block of its own for the copy (lists from fwd_hooks() that "
        "you keep count, too: del them first)"
    )


def claim(undo: ExitStack, model: HookedModel, purpose: str) -> None:
    """Note that a model serves this thread, until ``undo`` is done.

    Args:
        undo: Takes what ends the use.
        model: The model.
        purpose: What it is used for, in words, for the message that another thread gets.

    Raises:
        InputError: The model serves another thread.
    """
    attributes = vars(model if inner_model(model) is None else inner_model(model))
    here = threading.current_thread()
    with _LOCK:
        note = attributes.get(_ATTRIBUTE)
        # a thread may have ended inside its block, and a shallow copy keeps a note whose blocks have ended
        if note is None or not note.purposes or not note.thread.is_alive():
            note = attributes[_ATTRIBUTE] = _Note(here)
        elif note.thread is not here:
            raise InputError(
                f"{host.model_label(model)} serves thread {note.thread.name!r} just now ({note.purposes[-1]}), and a "
                f"model serves one thread at a time; {here.name!r} cannot begin {purpose}. Wait until the other is "
                "done, or give each thread a model of its own: copy.deepcopy(model), made beforehand"
            )
        note.purposes.append(purpose)
        undo.callback(_release, attributes, note, purpose)


def _release(attributes: dict[str, Any], note: _Note, purpose: str) -> None:
    with _LOCK:
        note.purposes.remove(purpose)
        if not note.purposes and attributes.get(_ATTRIBUTE) is note:
            del attributes[_ATTRIBUTE]


@uninterrupted
def serving(undo: ExitStack, model: HookedModel, purpose: str) -> None:
    """Inside the body, the model serves this thread, and other threads of this package are told so.

    Args:
        undo: Takes what ends the use.
        model: The model.
        purpose: What it is used for, in words.
    """
    claim(undo, model, purpose)
    keep_gradient_mode(undo)


def keep_gradient_mode(undo: ExitStack) -> None:
    """Switch gradients on or off again, as they are now, when ``undo`` is done.

    For bodies of this package that use ``torch.no_grad()``, which ^C may leave by half: gradients then stay off.

    Args:
        undo: Takes what switches them.
    """
    undo.callback(torch.set_grad_enabled, torch.is_grad_enabled())


def serves_one_thread(purpose: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Decorator: while the function runs, its model serves the thread that called it.

    The model is the function's argument ``model``, or the attribute ``model`` of its ``self``.

    Args:
        purpose: What the model is used for, in words.
    """

    def decorator(function: Callable[Given, Result]) -> Callable[Given, Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def with_model(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            given = signature.bind(*args, **kwargs).arguments
            with serving(given["model"] if "model" in given else given["self"].model, purpose):
                return function(*args, **kwargs)

        return with_model

    return decorator
