"""What the model is reading just now: where the tokens of the running forward pass stand in their texts.

A hook on activations sees an array (batch, pos, unit) and nothing else. With a key-value cache a pass reads one
token, without one it reads the whole text again, and padding shifts columns; yet an intervention on "what the model
writes" must act on the same tokens either way. A :class:`Reader` therefore follows every pass at the module through
which all passes go. From its arguments it knows how many columns a cache holds already, the token ids, and the
attention mask: a :class:`~tl_fbn.acquisition.model.pass_tokens.Reading`.

Where the prompt ends and what the model writes begins is known from the first of these that applies:

1. what the caller declared (:func:`declared`: answers that are given to the model, decoding without a cache);
2. the first pass inside ``generate``, ``generate_stream`` or ``hf_generate``, of the model or of Hugging Face: all it
   reads is prompt;
3. the cache: tokens that follow cached ones were written, and a pass without cached tokens reads prompt only.

A model has at most one reader. It listens while a :class:`Lease` is held by anyone, and leaves no hook or replaced
method behind, wherever ^C falls (:mod:`tl_fbn.interrupts`). Of a lease that is lost, not closed, just when ^C comes,
Python may drop the end; the next pass then makes up for it. Threads do not see each other's passes. Cost: microseconds
a pass.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, NoReturn

import torch
from jaxtyping import Int

from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of
from tl_fbn.acquisition.model.model_lock import refuse_copy
from tl_fbn.acquisition.model.pass_tokens import Reading
from tl_fbn.interrupts import unbroken, uninterrupted

_MAX_NESTED_PASSES = 8  # a hook may call the model; more records than this are left over from interrupted passes
_GENERATE_METHODS = ("generate", "generate_stream", "hf_generate")


class _ThreadState(threading.local):
    """The passes that run in one thread, and what was declared for them."""

    def __init__(self) -> None:
        # stacks, innermost last: a hook may call the model again
        self.passes: list[Reading] = []
        self.declared: list[tuple[torch.Tensor | None, bool]] = []  # (ends of prompts, whether texts are sorted)
        self.writing: list[list[int]] = []  # for each running generate, the length of its prompt once it is known
        self.earlier: list[torch.Tensor] = []


class Reader:
    """Follows the passes of one model; :func:`listen` makes one.

    Args:
        entry_module: The module that every pass of the model goes through.
    """

    def __init__(self, entry_module: Any) -> None:
        self._entry_module = weakref.ref(entry_module)
        self._state = _ThreadState()
        # for each lease a weak reference to it, and id() of the model as its user holds it
        self._listeners: list[tuple[weakref.ref[Any], int]] = []
        self._handles: list[Any] = []  # of torch's hooks on the entry module
        # (id of the model, object, name of the method, (attribute before or None, replacement))
        self._replaced_methods: list[tuple[int, Any, str, Any]] = []
        self._pad_token: int | None = None
        self._argument_names: list[str] = []  # of the entry module's forward, for arguments that are given by position

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        # a copy of the model would report to this reader, whose hooks nobody would take off it
        refuse_copy("an intervention on some positions")

    @property
    def now(self) -> Reading | None:
        """The innermost running pass of this thread; None where none runs."""
        return self._state.passes[-1] if self._state.passes else None

    def open(self, model: Any, lease: Any) -> tuple[weakref.ref[Any], int]:
        """Begin to listen for one more lease; the first puts the hooks on.

        Args:
            model: The model as its user holds it: a bridge, a Hugging Face model inside one, or a HookedTransformer.
            lease: The lease, which is not kept alive.

        Returns:
            What :meth:`close` must be given.
        """
        self._close_lost()
        entry_module: Any = self._entry_module()
        if not self._listeners:
            self._pad_token = getattr(tokenizer_of(model), "pad_token_id", None)
            self._argument_names = list(inspect.signature(type(entry_module).forward).parameters)[1:]
            # a HookedTransformer: its generate calls self.forward, which torch's hooks on the module do not see
            if entry_module is model:
                self._handles = [entry_module.register_forward_pre_hook(self._mark)]
                self._replace_method(model, model, "forward", self._followed_forward(model.forward))
                if isinstance(getattr(model, "embed", None), torch.nn.Module):
                    self._handles.append(model.embed.register_forward_pre_hook(self._take_embedded_ids))
            else:
                self._handles = [
                    entry_module.register_forward_pre_hook(self._begin_pass, with_kwargs=True),
                    entry_module.register_forward_hook(self._end_pass, always_call=True),
                ]
        if not any(model_id == id(model) for _, model_id in self._listeners):
            # of the entry module once, and of every wrapper around it that is held by a user
            for owner in (model,) if entry_module is model or self._listeners else (model, entry_module):
                for name in _GENERATE_METHODS:
                    if callable(getattr(type(owner), name, owner.__dict__.get(name))):
                        self._replace_method(
                            model, owner, name, _FollowedGenerate(self, owner, name, getattr(owner, name))
                        )
        listener = (weakref.ref(lease), id(model))
        self._listeners.append(listener)
        return listener

    @unbroken
    def close(self, listener: tuple[weakref.ref[Any], int]) -> None:
        """Stop listening for one lease; the last takes the hooks off. Nothing happens where that is done already.

        Args:
            listener: What :meth:`open` returned.
        """
        left = [one for one in self._listeners if one is not listener]
        if len(left) == len(self._listeners):
            return
        self._listeners = left
        model_id = listener[1]
        if any(other == model_id for _, other in left):
            return
        # while others listen, only the methods of this user's own wrapper are put back
        still_needed = [
            one
            for one in self._replaced_methods
            if self._listeners and (one[0] != model_id or one[1] is self._entry_module())
        ]
        for entry in self._replaced_methods:
            _, owner, name, (before, replacement) = entry
            if entry in still_needed or owner.__dict__.get(name) is not replacement:
                continue  # or the user has put a method of his own there since
            del owner.__dict__[name]
            if before is not None:
                object.__setattr__(owner, name, before)
        self._replaced_methods = still_needed
        if not self._listeners:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            self._state = _ThreadState()

    def _close_lost(self) -> None:
        """Close leases that are gone, although ^C kept their end from running."""
        for listener in [one for one in self._listeners if one[0]() is None]:
            self.close(listener)

    def _replace_method(self, model: HookedModel, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        self._replaced_methods.append((id(model), owner, name, (owner.__dict__.get(name), replacement)))
        object.__setattr__(owner, name, replacement)  # past torch's own __setattr__

    def _mark(self, *_: Any) -> None:
        """A hook that does nothing; :func:`_reader_of` finds this reader by it where no other hook is on the module."""

    def _begin_pass(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._close_lost()
        if not self._listeners:  # nor any hook: this was the last call of one
            return
        # all arguments by name, and among them whatever carries the texts
        known = dict(zip(self._argument_names, args, strict=False)) | kwargs
        given = next((known[name] for name in ("input_ids", "inputs_embeds", "input") if name in known), None)
        given = args[0] if given is None and args else given  # a forward whose first argument has another name
        ids = given if isinstance(given, torch.Tensor) and given.ndim == 2 and not given.is_floating_point() else None
        reading = Reading(
            _cached_columns(known), ids, known.get("attention_mask"), pad=self._pad_token, earlier=self._state.earlier
        )
        if self._state.declared:
            reading.prompt, reading.sorted = self._state.declared[-1]
        elif self._state.writing:
            scope = self._state.writing[-1]
            if not scope:  # the first pass of this generate: everything it reads is prompt
                columns = given.shape[min(1, given.ndim - 1)] if isinstance(given, torch.Tensor) else 0
                scope.append(reading.past + columns)
            reading.prompt = torch.tensor(scope)
        del self._state.passes[:-_MAX_NESTED_PASSES]  # records of passes that an interrupt cut off
        self._state.passes.append(reading)

    def _end_pass(self, module: Any, args: Any, output: Any) -> None:
        if self._state.passes:
            self._state.passes.pop()

    def _take_embedded_ids(self, module: Any, args: tuple[Any, ...]) -> None:
        """Note the token ids of a pass that was given strings, where they reach the embedding."""
        if self.now is not None and self.now.ids is None and args and isinstance(args[0], torch.Tensor):
            self.now.ids = args[0] if args[0].ndim == 2 else args[0][None]

    def _followed_forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def read(*args: Any, **kwargs: Any) -> Any:
            passes = self._state.passes
            n = len(passes)
            try:
                self._begin_pass(None, args, kwargs)
                return forward(*args, **kwargs)
            finally:
                # no call, after which Python would look for ^C
                del passes[n:]

        return read

    def while_writing(self, scope: list[int], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function whose first pass reads the prompt, and in which all later columns are written by the model.

        Args:
            scope: A list that keeps the number of columns of the prompt; empty before the first pass.
            call: The function.
            *args: Arguments that the function is called with.
            **kwargs: Arguments that the function is called with, by name.

        Returns:
            What the function returns.
        """
        writing = self._state.writing
        n = len(writing)
        try:
            writing.append(scope)
            return call(*args, **kwargs)
        finally:
            # no call, after which Python would look for ^C
            del writing[n:]


class _FollowedGenerate:
    """A model's ``generate`` (or the like) that tells the reader when it begins and ends."""

    def __init__(self, reader: Reader, owner: Any, name: str, call: Callable[..., Any]) -> None:
        self._reader = reader
        self._owner = owner
        self._name = name
        self._call = call
        functools.update_wrapper(self, call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._name == "generate_stream":
            return self._stream(self._call(*args, **kwargs))
        return self._reader.while_writing([], self._call, *args, **kwargs)

    def _stream(self, tokens: Iterator[Any]) -> Iterator[Any]:
        scope: list[int] = []
        while True:
            # only while the next token is made: between tokens the user may call the model for other ends
            try:
                token = self._reader.while_writing(scope, next, tokens)
            except StopIteration:
                return
            yield token


class Lease:
    """Keeps a reader listening until the lease is closed or garbage-collected.

    Args:
        reader: The reader.
        model: The model as its user holds it.
    """

    def __init__(self, reader: Reader, model: HookedModel) -> None:
        self.reader = reader
        self._end = weakref.finalize(self, reader.close, reader.open(model, self))

    @unbroken
    def close(self) -> None:
        """Let the reader stop listening for this lease; nothing happens where that is done already."""
        self._end()


@unbroken
def listen(model: HookedModel) -> Lease:
    """Follow the passes of a model for as long as the returned lease is held.

    Args:
        model: The model.
    """
    return Lease(_reader_of(model) or Reader(_entry_module_of(model)), model)


def declared(
    model: HookedModel, prompt: Sequence[int] | Int[torch.Tensor, " batch"] | None
) -> AbstractContextManager[None]:
    """Inside the body, the model reads texts whose prompts end where the caller says.

    It also declares that the texts stand in an order of this package's choosing. Nothing happens where nobody listens
    to the model.

    Args:
        model: The model.
        prompt: (batch,) first column after each text's prompt, padding on the left counted; None where all that is
            read is prompt.
    """
    reader = _reader_of(model)
    if reader is None:
        return nullcontext()
    return _declaring(reader._state.declared, None if prompt is None else torch.as_tensor(prompt))


@uninterrupted
def _declaring(
    undo: ExitStack, declarations: list[tuple[torch.Tensor | None, bool]], prompt: torch.Tensor | None
) -> None:
    """Inside the body, passes have prompts that end where the caller says; ``prompt`` is as in :func:`declared`."""
    undo.callback(operator.delitem, declarations, slice(len(declarations), None))
    declarations.append((prompt, True))


def _entry_module_of(model: HookedModel) -> Any:
    """The module that every pass goes through: the Hugging Face model inside a bridge, else the model itself."""
    inner = inner_model(model)
    return inner if isinstance(inner, torch.nn.Module) else model


def _reader_of(model: HookedModel) -> Reader | None:
    """The reader that listens to a model, known as the owner of a hook on its entry module; None where none does."""
    for hook in getattr(_entry_module_of(model), "_forward_pre_hooks", {}).values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Reader):
            return owner
    return None


def _cached_columns(kwargs: dict[str, Any]) -> int:
    """Number of columns that the cache among a pass's arguments holds; 0 without a cache."""
    # "cache" since transformers 5.24, "past_kv_cache" of a HookedTransformer
    given = (kwargs.get(name) for name in ("past_key_values", "cache", "past_kv_cache"))
    cache = next((one for one in given if one is not None), None)
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    # a HookedTransformer's cache is (batch, pos, head, width) a layer,
    # a tuple of Hugging Face's earlier versions (batch, head, pos, width)
    first = cache[0]
    return int(first.past_keys.shape[1] if hasattr(first, "past_keys") else first[0].shape[-2])
