"""Texts that begin alike: their beginning is read once, and each text's own rest behind it.

Attention lets a token see what stands before it and nothing else, so the keys and values that a model makes of a
beginning are the same whatever follows. They are read from one text, and a batch of rests is read behind them, as
decoding does with its key-value cache; the batch shares one copy of the beginning, and nothing is added to it.

That holds only where activations of the beginning do not depend on the text. :func:`shares_beginnings` says whether it
does for a model as it stands:

- its cache keeps every token as keys and values (no recurrent state, no window that is shorter than the texts);
- a trial on two short texts gives the logits of a whole pass, once a model;
- no hook of the user's is on it, for such a hook may look at a whole text;
- no intervention gives a text values of its own (``"resample"`` and ``"noise"`` draw them for each text).

Interventions on some positions are right: columns are counted through the cache.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.foreign_hooks import muted, placed_hooks
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel

# of each model that was tried: what it was tried as, and the longest text that it can share (0: none)
_tried: weakref.WeakKeyDictionary[Any, tuple[Any, int]] = weakref.WeakKeyDictionary()
_NO_LIMIT = 2**31


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a model keeps of a beginning that was read: keys and values of its tokens, layer by layer.

    Args:
        layers: The layers of a cache that holds one text.
    """

    layers: list[Any]

    @classmethod
    def read(
        cls,
        model: HookedModel,
        ids: Int[torch.Tensor, "one pos"],
        before: Beginning | None = None,
        run: Callable[..., Any] | None = None,
    ) -> Beginning:
        """Read a beginning, or what goes on from one.

        Args:
            model: The model.
            ids: Token ids of one text, behind those of ``before``.
            before: The beginning that this one goes on from; None for one that begins with the first token of all.
            run: What calls the model with ids and options, where that is more than the model itself.
        """
        from transformers.cache_utils import Cache, DynamicLayer

        if before is None:
            cache = Cache(layer_class_to_replicate=DynamicLayer)
        else:
            cache = Cache(layers=[copy.copy(layer) for layer in before.layers])
        (run or model)(ids, past_key_values=cache, use_cache=True)
        return cls(list(cache.layers))

    def to_follow(self) -> Any:
        """A cache for a pass over rests: it stands before every text of the batch, and the pass adds nothing to it."""
        from transformers.cache_utils import Cache

        return Cache(layers=[_shared(layer) for layer in self.layers])


@functools.cache
def _shared_layer_class() -> type:
    """The class of a cache's layer whose one text stands before every text of a batch; made once transformers is in."""
    from transformers.cache_utils import DynamicLayer

    class SharedLayer(DynamicLayer):
        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            assert self.keys is not None and self.values is not None
            size = (key_states.shape[0], -1, -1, -1)
            # (batch, head, pos, width); this layer's attention uses what is returned, and then it is forgotten
            keys = torch.cat([self.keys.expand(size), key_states], dim=-2)
            return keys, torch.cat([self.values.expand(size), value_states], dim=-2)

    return SharedLayer


def _shared(layer: Any) -> Any:
    """A layer that gives its one text to every text of a batch, and keeps nothing of theirs."""
    shared = _shared_layer_class()()
    shared.__dict__.update(layer.__dict__)
    return shared


@torch.no_grad()
def shares_beginnings(model: HookedModel, longest: int) -> bool:
    """Whether texts may be read behind a beginning that they share, under what is on the model now.

    Args:
        model: The model.
        longest: Number of tokens of the longest text.
    """
    for hook in placed_hooks(model):
        if hook.is_foreign or (hook.is_edit and getattr(hook.function, "differs_by_text", True)):
            return False
    inner = host.inner_model(model)
    parameter = next(model.parameters())
    # a model that was moved or cast is tried anew, and so is one whose attention was exchanged
    state = (parameter.dtype, parameter.device, getattr(getattr(inner, "config", None), "_attn_implementation", None))
    known = _tried.get(inner)
    if known is None or known[0] != state:
        with muted(model, foreign=False):
            known = (state, _longest_shared(model))
        _tried[inner] = known
    return longest <= known[1]


def _longest_shared(model: HookedModel) -> int:
    """Longest text that the model can read behind a shared beginning; 0 where it cannot at all."""
    size = host.vocabulary_size(model) or 8
    texts = torch.tensor([[i * step % size for i in range(9)] for step in (7, 7)], device=host.model_device(model))
    texts[1, 6:] = torch.tensor([i * 3 % size for i in (1, 2, 4)])
    try:
        _, cache = model(texts[:1], return_type="logits_and_cache", use_cache=True)
        limit = _longest_kept(cache)
        if not limit:
            return 0
        with declared(model, [texts.shape[1]]):  # all of them prompt, in whatever passes they are read
            whole = model(texts, return_type="logits").float()[:, 6:]
            # two beginnings one behind the other, as prompts have them: a head, and a question
            head = Beginning.read(model, texts[:1, :4])
            question = Beginning.read(model, texts[:1, 4:6], head)
            rests = model(texts[:, 6:], past_key_values=question.to_follow(), return_type="logits").float()
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, ImportError, NotImplementedError):
        return 0  # a host or an architecture that cannot do it this way
    # relative to the spread of the logits; half precision rounds differently with and without a cache
    tolerance = host.rounding_tolerance(model) * whole.std()
    return limit if bool(((rests - whole).abs() <= tolerance).all()) else 0


def _longest_kept(cache: Any) -> int:
    """Number of tokens that every layer of a model's own cache keeps; 0 where a layer keeps something else."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = getattr(cache, "layers", [])
    limit = _NO_LIMIT if layers else 0
    for layer in layers:
        if type(layer) is DynamicSlidingWindowLayer:
            limit = min(limit, int(layer.sliding_window) - 1)
        elif type(layer) is not DynamicLayer:
            return 0
    return limit
