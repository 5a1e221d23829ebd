"""A model serves one thread at a time.

Hooks are on the model, not on the thread that put them there: two scans of one model in two threads would record each
other's passes, and an intervention of one thread would change what the other scans, or scores as its baseline.
Whatever puts hooks on a model, and whatever reads it from beginning to end, therefore notes on the model which thread
it serves (:func:`serving`). The same thread may do more with it, also inside; another thread is told so at once. It is
not made to wait, because what it would then see depends on chance.

The note is an attribute of the model, and of the Hugging Face model inside a bridge, for as long as a block is open.
It does a second thing: ``copy.deepcopy`` meets it last, when all hooks have been copied. Those of open blocks have no
business on the copy, where no end of a block would ever take them off, so that it takes them off there: a copy that is
made inside a block is free of the block. Hooks of the user's own are copied as ever.

What it does not do: hold back plain calls of the model from other threads, which meet whatever hooks are on it. Hooks
that only read refuse such passes (:mod:`tl_fbn.acquisition.model.attached_hooks`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted

Given = ParamSpec("Given")
Result = TypeVar("Result")
_ATTRIBUTE = "_tl_fbn_in_use"
_LOCK = threading.RLock()  # held for the few lines that look at the note and change it


class Use:
    """What a model is used for just now, and by which thread.

    Args:
        thread: The thread that the model serves.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.purposes: list[str] = []  # one for each open block, innermost last
        # what blocks have put on the model: hook functions, and objects of which methods are hooks
        self.traces: list[Any] = []
        # called with deepcopy's memo, to put right what else blocks have changed
        self.mends_of_copies: list[Callable[[dict[int, Any]], None]] = []
        self.owners: list[dict[str, Any]] = []  # attributes of the models that bear the note

    @property
    def is_over(self) -> bool:
        """Whether the note means nothing any more: its blocks have ended, or its thread has."""
        return not self.purposes or not self.thread.is_alive()


class _Note:
    """The attribute by which a model knows its use; copies of the model are in no use, and have none."""

    def __init__(self, use: Use, model: HookedModel) -> None:
        self.use = use
        self.model = model

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Take the hooks of open blocks off the copy that is being made."""
        modules = [*self.model.hook_dict.values(), _entry_of(self.model)]
        for module in modules:
            for hooks in (getattr(module, "_forward_hooks", {}), getattr(module, "_forward_pre_hooks", {})):
                ours = [number for number, hook in hooks.items() if self._is_ours(hook)]
                # deepcopy notes what it has copied: id() of the original to the copy
                copied = memo.get(id(hooks), {})
                for number in ours:
                    copied.pop(number, None)
                # TransformerLens keeps its handles in a list beside
                handles = memo.get(id(getattr(module, "fwd_hooks", None)))
                if ours and handles is not None:
                    handles[:] = [one for one in handles if one.hook.id not in ours]
        for mend in self.use.mends_of_copies:
            mend(memo)

    def _is_ours(self, hook: Any) -> bool:
        """Whether a function that torch calls was put there by an open block."""
        given = host.unwrapped(hook)
        return any(trace is given or trace is getattr(given, "__self__", None) for trace in self.use.traces)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        # in another process a model serves nobody yet
        return type(None), ()


def claim(undo: ExitStack, model: HookedModel, purpose: str) -> Use:
    """Note that a model serves this thread, until ``undo`` is done.

    Args:
        undo: Takes what ends the use.
        model: The model.
        purpose: What it is used for, in words, for the message that another thread gets.

    Returns:
        The model's use; what is put on the model belongs into its ``traces``.

    Raises:
        InputError: The model serves another thread.
    """
    with _LOCK:
        here = threading.current_thread()
        note = getattr(_entry_of(model), "__dict__", {}).get(_ATTRIBUTE)
        use = Use(here) if note is None or note.use.is_over else note.use
        if use.thread is not here:
            raise InputError(
                f"{host.model_label(model)} serves thread {use.thread.name!r} just now ({use.purposes[-1]}), and a "
                f"model serves one thread at a time; {here.name!r} cannot begin {purpose}. Wait until the other is "
                "done, or give each thread a model of its own: copy.deepcopy(model)"
            )
        undo.callback(_release, use, purpose)
        use.purposes.append(purpose)
        for owner in (model, _entry_of(model)):
            attributes = getattr(owner, "__dict__", None)
            if attributes is not None and getattr(attributes.get(_ATTRIBUTE), "use", None) is not use:
                # last among the attributes, because deepcopy takes them in order
                attributes.pop(_ATTRIBUTE, None)
                attributes[_ATTRIBUTE] = _Note(use, model)
                use.owners.append(attributes)
    return use


@uninterrupted
def serving(undo: ExitStack, model: HookedModel, purpose: str) -> None:
    """Inside the body, the model serves this thread, and other threads of this package are told so.

    Args:
        undo: Takes what ends the use.
        model: The model.
        purpose: What it is used for, in words.
    """
    claim(undo, model, purpose)


def serves_one_thread(
    purpose: str, model_of: Callable[..., HookedModel]
) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Decorator: while the function runs, its model serves the thread that called it.

    Args:
        purpose: What the model is used for, in words.
        model_of: Called with the function's arguments; returns the model among them.
    """

    def decorator(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def with_model(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            try:
                model = model_of(*args, **kwargs)
            except TypeError:  # arguments are missing, which the function itself says better
                return function(*args, **kwargs)
            with serving(model, purpose):
                return function(*args, **kwargs)

        return with_model

    return decorator


def _release(use: Use, purpose: str) -> None:
    with _LOCK:
        use.purposes.remove(purpose)
        if not use.purposes:
            for attributes in use.owners:
                # or another use has taken its place, where a thread ended inside its block
                if getattr(attributes.get(_ATTRIBUTE), "use", None) is use:
                    del attributes[_ATTRIBUTE]
            use.owners.clear()


def _entry_of(model: HookedModel) -> Any:
    """The object that all wrappers of one model share: the Hugging Face model inside a bridge, else the model."""
    inner = inner_model(model)
    return model if inner is None else inner
