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
method behind: neither where an interrupt falls into this (:mod:`tl_fbn.interrupts`), nor on a copy of the model. One
whose leases were lost without being closed takes itself off at the next pass. Threads do not see each other's passes.
Cost: microseconds a pass.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from jaxtyping import Int

from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of
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
        self._listeners: list[_Listener] = []  # one for each lease
        self._handles: list[Any] = []  # of torch's hooks on the entry module
        # (id of the model, object, name of the method, (attribute before or None, replacement))
        self._replaced_methods: list[tuple[int, Any, str, Any]] = []
        self._pad_token: int | None = None
        self._argument_names: list[str] = []  # of the entry module's forward, for arguments that are given by position

    def __deepcopy__(self, memo: dict[int, Any]) -> Reader:
        """A new reader: a copy of the model, hooks included, must not report to the reader of the original.

        Nobody holds a lease on it, so that it takes itself off.
        """
        entry_module = self._entry_module()
        twin = memo[id(self)] = Reader(memo.get(id(entry_module), entry_module))
        return twin

    @property
    def now(self) -> Reading | None:
        """The innermost running pass of this thread; None where none runs."""
        return self._state.passes[-1] if self._state.passes else None

    def open(self, listener: _Listener, model: Any) -> None:
        """Begin to listen for one more lease; the first puts the hooks on.

        Args:
            listener: The lease's entry, by which it is closed.
            model: The model as its user holds it: a bridge, a Hugging Face model inside one, or a HookedTransformer.
        """
        entry_module: Any = self._entry_module()
        known = [one.model_id for one in self._listeners]
        self._listeners.append(listener)
        if not known:
            # a copied model brings hooks along that nobody has a handle of
            self._take_off_hooks()
            self._pad_token = getattr(tokenizer_of(model), "pad_token_id", None)
            self._argument_names = list(inspect.signature(type(entry_module).forward).parameters)[1:]
            # a HookedTransformer: its generate calls self.forward, which torch's hooks on the module do not see
            if entry_module is model:
                self._handles = [entry_module.register_forward_pre_hook(self._mark)]
                self._replace_method(model, model, "forward", _FollowedForward(self, model, model.forward))
                if isinstance(getattr(model, "embed", None), torch.nn.Module):
                    self._handles.append(model.embed.register_forward_pre_hook(self._take_embedded_ids))
            else:
                self._handles = [
                    entry_module.register_forward_pre_hook(self._begin_pass, with_kwargs=True),
                    entry_module.register_forward_hook(self._end_pass, always_call=True),
                ]
        if id(model) not in known:
            # of the entry module once, and of every wrapper around it that is held by a user
            for owner in (model,) if entry_module is model or known else (model, entry_module):
                for name in _GENERATE_METHODS:
                    if callable(getattr(type(owner), name, owner.__dict__.get(name))):
                        self._replace_method(
                            model, owner, name, _FollowedGenerate(self, owner, name, getattr(owner, name))
                        )

    @unbroken
    def close(self, listener: _Listener) -> None:
        """Stop listening for one lease; the last takes the hooks off.

        Args:
            listener: The entry that :meth:`open` was given.
        """
        if listener in self._listeners:
            self._listeners.remove(listener)
        if listener.model_id in (one.model_id for one in self._listeners):
            return
        # while others listen, only the methods of this user's own wrapper are put back
        still_needed = [
            one
            for one in self._replaced_methods
            if self._listeners and (one[0] != listener.model_id or one[1] is self._entry_module())
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
            self._take_off_hooks()
            self._state = _ThreadState()

    def _take_off_hooks(self) -> None:
        """Take every hook of this reader off; a reader that was copied with its model has no handles of them."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        entry_module: Any = self._entry_module()
        for hooks in (entry_module._forward_pre_hooks, entry_module._forward_hooks) if entry_module is not None else ():
            for number in [number for number, hook in hooks.items() if getattr(hook, "__self__", None) is self]:
                del hooks[number]

    def _has_listeners(self) -> bool:
        """Whether anybody holds a lease; leases that were lost without being closed are closed now."""
        for listener in [one for one in self._listeners if one.lease() is None]:
            self.close(listener)
        if not self._listeners:
            self._take_off_hooks()
        return bool(self._listeners)

    def _replace_method(self, model: HookedModel, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        self._replaced_methods.append((id(model), owner, name, (owner.__dict__.get(name), replacement)))
        object.__setattr__(owner, name, replacement)  # past torch's own __setattr__

    def _mark(self, *_: Any) -> None:
        """A hook by which :func:`_reader_of` finds this reader where no other hook is on the module."""
        self._has_listeners()

    def _begin_pass(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._has_listeners():
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


class _FollowedForward:
    """The ``forward`` of a HookedTransformer, which tells the reader when a pass begins and ends."""

    def __init__(self, reader: Reader, owner: Any, call: Callable[..., Any]) -> None:
        self._reader = reader
        self._owner = owner
        self._call = call
        functools.update_wrapper(self, call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        passes = self._reader._state.passes
        n = len(passes)
        try:
            self._reader._begin_pass(None, args, kwargs)
            return self._call(*args, **kwargs)
        finally:
            # one instruction, before which Python looks for no signal
            del passes[n:]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The plain method of the copied model, which no reader follows."""
        return _plain_method(self, self._owner, "forward", memo)


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
        return self._while_writing([], self._call, *args, **kwargs)

    def _stream(self, tokens: Iterator[Any]) -> Iterator[Any]:
        scope: list[int] = []
        while True:
            # only while the next token is made: between tokens the user may call the model for other ends
            try:
                token = self._while_writing(scope, next, tokens)
            except StopIteration:
                return
            yield token

    def _while_writing(self, scope: list[int], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function whose first pass reads the prompt, and in which all later columns are written by the model.

        ``scope`` keeps the number of columns of the prompt; it is empty before the first pass.
        """
        writing = self._reader._state.writing
        n = len(writing)
        try:
            writing.append(scope)
            return call(*args, **kwargs)
        finally:
            # one instruction, before which Python looks for no signal
            del writing[n:]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The plain method of the copied model, which no reader follows."""
        return _plain_method(self, self._owner, self._name, memo)


def _plain_method(followed: Any, owner: Any, name: str, memo: dict[int, Any]) -> Any:
    """A method of a copied model as its class has it; the followed one itself where only that is copied."""
    twin = memo.get(id(owner))
    return followed if twin is None else types.MethodType(getattr(type(twin), name), twin)


class _Listener:
    """A lease as its reader knows it.

    Args:
        model: The model as its user holds it.
        lease: The lease, which may be lost without being closed.
    """

    def __init__(self, model: HookedModel, lease: Lease) -> None:
        self.model_id = id(model)
        self.lease = weakref.ref(lease)


class Lease:
    """Keeps a reader listening until the lease is closed or garbage-collected.

    Args:
        reader: The reader.
        model: The model as its user holds it.
    """

    def __init__(self, reader: Reader, model: HookedModel) -> None:
        self.reader = reader
        listener = _Listener(model, self)
        self.close = weakref.finalize(self, reader.close, listener)
        reader.open(listener, model)


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
    return _declaring(reader, None if prompt is None else torch.as_tensor(prompt))


@uninterrupted
def _declaring(undo: ExitStack, reader: Reader, prompt: torch.Tensor | None) -> None:
    """Inside the body, passes have prompts that end where the caller says; ``prompt`` is as in :func:`declared`."""
    declared_now = reader._state.declared
    # what is undone is of this body, and of any inside it that an interrupt cut off
    undo.callback(operator.delitem, declared_now, slice(len(declared_now), None))
    # texts stand in an order of this package's choosing
    declared_now.append((prompt, True))


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
