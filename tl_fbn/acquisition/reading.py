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
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int

_WRITERS = ("generate", "generate_stream", "hf_generate")


@dataclass(eq=False)
class Reading:
    """One forward pass.

    Args:
        past: Columns that a cache holds.
        ids: (batch, pos) token ids of this pass; None where the model was given embeddings.
        mask: (batch, column) 1 where a column holds a token; None where nothing is padded, or nobody said so.
        prompt: (batch,) or (1,) columns of the prompt, where they are known from outside.
        memo: What was worked out for this pass, shared by the layers.
    """

    past: int
    ids: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    prompt: torch.Tensor | None = None
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

    def _held(self, columns: int, device: torch.device) -> Bool[torch.Tensor, "batch column"] | None:
        """The attention mask, if it is one of that many columns and masks anything."""
        if self.mask is None or self.mask.ndim != 2 or self.mask.shape[1] != columns:
            return None
        held = self.mask.to(device) != 0
        return None if bool(held.all()) else held


class Reader:
    """Follows the passes of one model. Use :func:`listen`.

    Args:
        model: The model as the user holds it.
    """

    def __init__(self, model: Any) -> None:
        self.now: Reading | None = None
        self._model = weakref.ref(model)
        self._listeners = 0
        self._declared: list[torch.Tensor] = []
        self._writing: list[int | None] = []
        self._handles: list[Any] = []
        self._wrapped: list[tuple[Any, str, Any]] = []

    def open(self) -> None:
        self._listeners += 1
        model = self._model()
        if self._listeners > 1 or model is None:
            return
        door = _door(model)
        self._handles = [
            door.register_forward_pre_hook(self._before, with_kwargs=True),
            door.register_forward_hook(self._after, always_call=True),
        ]
        if door is model:  # a HookedTransformer, whose generate calls forward past the hooks, and which takes strings
            self._wrapped.append((model, "forward", model.__dict__.get("forward")))
            object.__setattr__(model, "forward", self._read(model.forward))
            if isinstance(getattr(model, "embed", None), torch.nn.Module):
                self._handles.append(model.embed.register_forward_pre_hook(self._embedding))
        for owner in {id(one): one for one in (model, door)}.values():
            for name in _WRITERS:
                if callable(getattr(type(owner), name, owner.__dict__.get(name))):
                    self._wrapped.append((owner, name, owner.__dict__.get(name)))
                    object.__setattr__(owner, name, self._following(getattr(owner, name), name))

    def close(self) -> None:
        self._listeners -= 1
        if self._listeners:
            return
        for handle in self._handles:
            handle.remove()
        for owner, name, before in self._wrapped:
            owner.__dict__.pop(name, None)
            if before is not None:  # the user's own
                object.__setattr__(owner, name, before)
        self._handles, self._wrapped, self.now = [], [], None

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next((kwargs[name] for name in ("input_ids", "inputs_embeds", "input") if name in kwargs), None)
        given = args[0] if given is None and args else given
        known = isinstance(given, torch.Tensor) and given.ndim == 2 and not given.is_floating_point()
        reading = Reading(_past(kwargs), given if known else None, kwargs.get("attention_mask"))
        if self._declared:
            reading.prompt = self._declared[-1]
        elif self._writing:
            if self._writing[-1] is None:
                columns = given.shape[min(1, given.ndim - 1)] if isinstance(given, torch.Tensor) else 0
                self._writing[-1] = reading.past + columns
            reading.prompt = torch.tensor([self._writing[-1]])
        self.now = reading

    def _embedding(self, module: Any, args: tuple[Any, ...]) -> None:
        if self.now is not None and self.now.ids is None and args and isinstance(args[0], torch.Tensor):
            self.now.ids = args[0] if args[0].ndim == 2 else args[0][None]

    def _after(self, module: Any, args: Any, output: Any) -> None:
        self.now = None

    def _read(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def read(*args: Any, **kwargs: Any) -> Any:
            if self.now is None:
                self._before(None, args, kwargs)
            try:
                return forward(*args, **kwargs)
            finally:
                self.now = None

        return read

    def _following(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def followed(*args: Any, **kwargs: Any) -> Any:
            with self.writing():
                return call(*args, **kwargs)

        @functools.wraps(call)
        def streamed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with self.writing():
                yield from call(*args, **kwargs)

        return streamed if name == "generate_stream" else followed

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside, the first pass reads the prompt and all later columns were written."""
        self._writing.append(None)
        try:
            yield
        finally:
            self._writing.pop()

    @contextmanager
    def told(self, prompt: torch.Tensor) -> Iterator[None]:
        self._declared.append(prompt)
        try:
            yield
        finally:
            self._declared.pop()


class Lease:
    """Keeps a reader listening until it is closed or forgotten."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        reader.open()
        self.close = weakref.finalize(self, reader.close)


def listen(model: Any) -> Lease:
    """Follow a model's passes."""
    return Lease(_reader(model) or Reader(model))


@contextmanager
def declared(model: Any, prompt: Sequence[int] | Int[torch.Tensor, " batch"]) -> Iterator[None]:
    """Inside, each text's prompt ends before that column, for whoever listens; without listeners nothing happens.

    Args:
        model: The model.
        prompt: (batch,) columns, padding on the left counted.
    """
    reader = _reader(model)
    if reader is None:
        yield
        return
    with reader.told(torch.as_tensor(prompt)):
        yield


def _door(model: Any) -> Any:
    """The module that every pass goes through, the host's own and Hugging Face's ``generate`` alike."""
    inner = getattr(model, "original_model", None)
    return inner if isinstance(inner, torch.nn.Module) else model


def _reader(model: Any) -> Reader | None:
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
