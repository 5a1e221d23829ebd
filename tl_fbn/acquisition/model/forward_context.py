"""What the model is reading just now: where the tokens of the running pass stand in their texts.

A hook on activations sees (batch, pos, unit) and nothing else. Behind a key-value cache a pass holds one token, without one the whole text again, and padding
shifts columns; yet an intervention on "what the model writes" must act on the same tokens either way. A :class:`Reader` listens at the model's own door: which
columns a cache holds already, the token ids, the attention mask. How long the prompt is follows from, in this order,

1. what the caller declared (:func:`declared`: teacher-forced answers, decoding without a cache);
2. the first pass inside ``generate``, ``generate_stream`` or ``hf_generate``, the model's or Hugging Face's;
3. the cache: tokens that follow cached ones were written, what a pass without a past reads is prompt.

One reader serves a model however many want to know, listens while a :class:`Lease` is held, and leaves nothing behind. Cost: microseconds a pass.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int

from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of

_DEEPEST = 8  # passes inside passes
_WRITERS = ("generate", "generate_stream", "hf_generate")


@dataclass(eq=False)
class Reading:
    """One forward pass.

    Args:
        past: Columns that a cache holds.
        ids: (batch, pos) token ids of this pass; None where the model was given embeddings.
        mask: (batch, column) 1 where a column holds a token; None where nothing is padded, or nobody said so.
        prompt: (batch,) or (1,) columns of the prompt, where they are known from outside.
        sorted: Whether texts stand in an order of the caller's own, so that a line for each text means nothing.
        pad: The token that texts are padded with, if the tokenizer says.
        earlier: What names the texts whose first tokens an earlier pass read; written by the first pass.
        memo: What was worked out for this pass, shared by the layers.
    """

    past: int
    ids: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    prompt: torch.Tensor | None = None
    sorted: bool = False
    pad: int | None = None
    earlier: list[torch.Tensor] = field(default_factory=list)
    memo: dict[Any, torch.Tensor] = field(default_factory=dict)

    def columns(self, n: int, device: torch.device) -> Int[torch.Tensor, " pos"]:
        """Absolute columns of the ``n`` tokens of this pass."""
        return torch.arange(self.past, self.past + n, device=device)

    def prompt_ends(self, n: int, device: torch.device) -> Int[torch.Tensor, " batch"]:
        """The column behind each text's prompt; one number where it is the same for all."""
        if self.prompt is not None:
            return self.prompt.to(device)
        if self.past:
            return torch.tensor([self.past], device=device)
        held = self._held(n, device)
        if held is None:
            return torch.tensor([n], device=device)
        return n - held.flip(1).long().argmax(1)  # behind the last real token

    def positions(self, n: int, device: torch.device) -> Int[torch.Tensor, "batch pos"]:
        """Each token's position in its own text, padding on the left not counted."""
        held = self._held(self.past + n, device)
        if held is not None:
            return (held.long().cumsum(1) - 1).clamp(min=0)[:, self.past :]
        return self.columns(n, device)[None]

    def texts(self, batch: int, n: int, device: torch.device) -> Int[torch.Tensor, " batch"]:
        """A number for each text, made of the tokens of its prompt: the same whoever shares the batch, with a cache and without.

        Where the tokens are not known, its place in the batch.
        """
        if not self.past and self.ids is not None:
            ids = self.ids.to(device)
            of_prompt = self.columns(n, device) < self.prompt_ends(n, device)[:, None]
            held = self._held(n, device)
            counted = (of_prompt if held is None else of_prompt & held).expand(batch, n)
            words = mixed(ids * 1_000_003 + self.positions(n, device))
            self.earlier[:] = [torch.where(counted, words, torch.zeros_like(words)).sum(1)]
        if self.earlier and len(self.earlier[0]) == batch:
            return self.earlier[0].to(device)
        return torch.arange(batch, device=device)

    def unmasked_padding(self, n: int) -> bool:
        """Whether some texts, not all, seem padded on the right and no attention mask says so."""
        if self.pad is None or self.mask is not None or self.prompt is not None or self.past or self.ids is None:
            return False
        ends = self.ids[:, n - 1] == self.pad
        return bool(ends.any() and not ends.all())

    def _held(self, columns: int, device: torch.device) -> Bool[torch.Tensor, "batch column"] | None:
        """The attention mask, if it is one of that many columns and masks anything."""
        if self.mask is None or self.mask.ndim != 2 or self.mask.shape[1] != columns:
            return None
        held = self.mask.to(device) != 0
        return None if bool(held.all()) else held


def mixed(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Non-negative integers that look random and depend on nothing but their arguments (a multiply-xorshift mixer)."""
    found = values + (seed * 7_046_029_254_386_353 + 0x9E3779B97F4A7C) % 2**62
    for factor in (0x2545F4914F6CDD1D, 0x1B873593CC9E2D51):
        found = (found ^ (found >> 29)) * factor
    return (found ^ (found >> 32)) & 0x7FFFFFFFFFFFFFFF


class _State(threading.local):
    """What a thread's own passes are doing."""

    def __init__(self) -> None:
        self.passes: list[Reading] = []  # a hook may call the model again
        self.declared: list[tuple[torch.Tensor | None, bool]] = []
        self.writing: list[list[int]] = []
        self.earlier: list[torch.Tensor] = []


class Reader:
    """Follows the passes of one model. Use :func:`listen`.

    Args:
        door: The module that every pass goes through.
    """

    def __init__(self, door: Any) -> None:
        self._door = weakref.ref(door)
        self._state = _State()
        self._listeners: list[int] = []  # by identity of the model as its user holds it
        self._handles: list[Any] = []
        self._wrapped: list[tuple[int, Any, str, Any]] = []
        self._pad: int | None = None
        self._names: list[str] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Reader:
        """A copy of the model, with the hooks that are on it, is followed by a reader of its own."""
        door = self._door()
        twin = memo[id(self)] = Reader(memo.get(id(door), door))
        twin._pad = self._pad
        twin._names = self._names
        return twin

    @property
    def now(self) -> Reading | None:
        """The running pass."""
        return self._state.passes[-1] if self._state.passes else None

    def open(self, model: Any) -> None:
        door: Any = self._door()
        if not self._listeners:
            self._pad = getattr(tokenizer_of(model), "pad_token_id", None)
            self._names = list(inspect.signature(type(door).forward).parameters)[1:]
            if door is model:  # a HookedTransformer, whose generate calls forward past the hooks
                self._handles = [door.register_forward_pre_hook(self._found)]
                self._wrap(model, model, "forward", self._reading(model.forward))
                if isinstance(getattr(model, "embed", None), torch.nn.Module):
                    self._handles.append(model.embed.register_forward_pre_hook(self._embedding))
            else:
                self._handles = [
                    door.register_forward_pre_hook(self._before, with_kwargs=True),
                    door.register_forward_hook(self._after, always_call=True),
                ]
        if id(model) not in self._listeners:
            for owner in (model,) if door is model or self._listeners else (model, door):
                for name in _WRITERS:
                    if callable(getattr(type(owner), name, owner.__dict__.get(name))):
                        self._wrap(model, owner, name, _Followed(self, owner, name, getattr(owner, name)))
        self._listeners.append(id(model))

    def close(self, model_id: int) -> None:
        self._listeners.remove(model_id)
        if model_id in self._listeners:
            return
        kept = [one for one in self._wrapped if self._listeners and (one[0] != model_id or one[1] is self._door())]
        for entry in self._wrapped:
            _, owner, name, (before, ours) = entry
            if entry in kept or owner.__dict__.get(name) is not ours:
                continue  # still needed, or the user has set his own since
            del owner.__dict__[name]
            if before is not None:
                object.__setattr__(owner, name, before)
        self._wrapped = kept
        if not self._listeners:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            self._state = _State()

    def _wrap(self, model: HookedModel, owner: Any, name: str, ours: Callable[..., Any]) -> None:
        self._wrapped.append((id(model), owner, name, (owner.__dict__.get(name), ours)))
        object.__setattr__(owner, name, ours)

    def _found(self, *_: Any) -> None:
        """Nothing: what :func:`_reader` finds on a model whose forward is wrapped."""

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        known = dict(zip(self._names, args, strict=False)) | kwargs
        given = next((known[name] for name in ("input_ids", "inputs_embeds", "input") if name in known), None)
        given = args[0] if given is None and args else given
        ids = given if isinstance(given, torch.Tensor) and given.ndim == 2 and not given.is_floating_point() else None
        reading = Reading(_past(known), ids, known.get("attention_mask"), pad=self._pad, earlier=self._state.earlier)
        if self._state.declared:
            reading.prompt, reading.sorted = self._state.declared[-1]
        elif self._state.writing:
            scope = self._state.writing[-1]
            if not scope:
                columns = given.shape[min(1, given.ndim - 1)] if isinstance(given, torch.Tensor) else 0
                scope.append(reading.past + columns)
            reading.prompt = torch.tensor(scope)
        del self._state.passes[:-_DEEPEST]  # what an interrupt left
        self._state.passes.append(reading)

    def _after(self, module: Any, args: Any, output: Any) -> None:
        if self._state.passes:
            self._state.passes.pop()

    def _embedding(self, module: Any, args: tuple[Any, ...]) -> None:
        """Strings have become ids on the way."""
        if self.now is not None and self.now.ids is None and args and isinstance(args[0], torch.Tensor):
            self.now.ids = args[0] if args[0].ndim == 2 else args[0][None]

    def _reading(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def read(*args: Any, **kwargs: Any) -> Any:
            self._before(None, args, kwargs)
            try:
                return forward(*args, **kwargs)
            finally:
                self._after(None, args, None)

        return read

    @contextmanager
    def writing(self, scope: list[int]) -> Iterator[None]:
        """Inside, the first pass reads the prompt and all later columns were written; ``scope`` keeps how long it was."""
        self._state.writing.append(scope)
        try:
            yield
        finally:
            self._state.writing.pop()

    @contextmanager
    def told(self, prompt: torch.Tensor | None, is_sorted: bool) -> Iterator[None]:
        self._state.declared.append((prompt, is_sorted))
        try:
            yield
        finally:
            self._state.declared.pop()


class _Followed:
    """A model's way of writing, with the reader told of it."""

    def __init__(self, reader: Reader, owner: Any, name: str, call: Callable[..., Any]) -> None:
        self._reader = reader
        self._owner = owner
        self._name = name
        self._call = call
        functools.update_wrapper(self, call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._name == "generate_stream":
            return self._stream(self._call(*args, **kwargs))
        with self._reader.writing([]):
            return self._call(*args, **kwargs)

    def _stream(self, tokens: Iterator[Any]) -> Iterator[Any]:
        scope: list[int] = []
        while True:
            with self._reader.writing(scope):  # not while the user holds what was written so far
                try:
                    token = next(tokens)
                except StopIteration:
                    return
            yield token

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the model writes by itself."""
        twin = memo.get(id(self._owner))
        return self if twin is None else types.MethodType(getattr(type(twin), self._name), twin)


class Lease:
    """Keeps a reader listening until it is closed or forgotten."""

    def __init__(self, reader: Reader, model: HookedModel) -> None:
        self.reader = reader
        reader.open(model)
        self.close = weakref.finalize(self, reader.close, id(model))


def listen(model: HookedModel) -> Lease:
    """Follow a model's passes."""
    return Lease(_reader(model) or Reader(_door(model)), model)


@contextmanager
def declared(model: HookedModel, prompt: Sequence[int] | Int[torch.Tensor, " batch"] | None) -> Iterator[None]:
    """Inside, texts stand in an order of ours and each one's prompt ends before that column; without listeners nothing happens.

    Args:
        model: The model.
        prompt: (batch,) columns, padding on the left counted; None where all is prompt.
    """
    reader = _reader(model)
    if reader is None:
        yield
        return
    with reader.told(None if prompt is None else torch.as_tensor(prompt), True):
        yield


def _door(model: HookedModel) -> Any:
    """The module that every pass goes through, the host's own and Hugging Face's ``generate`` alike."""
    inner = inner_model(model)
    return inner if isinstance(inner, torch.nn.Module) else model


def _reader(model: HookedModel) -> Reader | None:
    """The reader that listens to a model, if one does."""
    for hook in getattr(_door(model), "_forward_pre_hooks", {}).values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Reader):
            return owner
    return None


def _past(kwargs: dict[str, Any]) -> int:
    """Columns that a cache holds: Hugging Face's, or the list of a HookedTransformer."""
    cache = kwargs.get("past_key_values")
    if cache is None:
        cache = kwargs.get("past_kv_cache")
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    first = cache[0]
    return int(first.past_keys.shape[1] if hasattr(first, "past_keys") else first[0].shape[-2])
