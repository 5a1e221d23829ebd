"""Logits of some positions only: the unembedding is handed what is asked for, and nothing else.

Logits are the largest array of a forward pass: one number for each word of the vocabulary at each position. Where a
few positions are scored, a hook at the unembedding's input hands it those alone, as one text of that many tokens;
what the model does to logits behind it (a soft cap, a scale) is done to each position by itself, so the numbers are
those of the whole pass, up to the rounding of a matrix product of another shape.

Where hooks of the user's read or change logits or the unembedding's input, they see every position, as without this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.forward_context import Reader
from tl_fbn.acquisition.model.host import HookedModel, inner_model

# TransformerBridge has a hook point at the unembedding's input. HookedTransformer has the one in the final norm, what
# follows which (scale and offset) is done position by position
INPUT_POINTS = ("unembed.hook_in", "ln_final.hook_normalized")
# (ids (batch, pos), row of each place, its position, **options of the pass) -> (place, vocab)
LogitsAt = Callable[..., Float[torch.Tensor, "place vocab"]]


@contextmanager
def unembedding_of_places(model: HookedModel) -> Iterator[LogitsAt]:
    """Inside the body, a function gives the logits at some places of a batch, and no others are computed.

    The function takes token ids (batch, pos), for each place its row and its position, and options of the pass by name,
    such as a cache; it returns logits (place, vocab) on the device where the model leaves them.

    Args:
        model: The model.
    """
    names = [name for name in INPUT_POINTS if name in model.hook_dict]
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows and positions of the pass that is about to run

    def keep_places(tensor: torch.Tensor, hook: Any) -> torch.Tensor | None:
        if not asked:  # a pass of somebody else's
            return None
        rows, positions = (one.to(tensor.device) for one in asked.pop())
        return tensor[rows, positions][None]

    def logits_at(ids: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor, **options: Any) -> torch.Tensor:
        asked[:] = [(rows, positions)] if names else []
        try:
            logits = model(ids, **options)
        finally:
            asked.clear()
        # fewer places than positions are ever asked for: where the shape is that of the ids, the hook was passed by
        if logits.shape[:2] == ids.shape:
            return logits[rows.to(logits.device), positions.to(logits.device)]
        return logits[0]

    if not names or _logits_are_watched(model):
        names = []
        yield logits_at
        return
    with hooked(model, [(names[0], keep_places)], "scoring"):
        yield logits_at


def _logits_are_watched(model: HookedModel) -> bool:
    """Whether a hook of the user's, at a hook point or on a module, stands where logits are made."""
    points = ("unembed.", "ln_final.")
    if any(name.startswith(points) for name, _ in host.foreign_hooks(model)):
        return True
    inner = inner_model(model)
    unembed = getattr(model, "unembed", None)
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    modules = (model, inner, unembed, getattr(unembed, "original_component", None), head)
    hooks = [
        hook
        for module in modules
        for kind in ("_forward_hooks", "_forward_pre_hooks")
        for hook in (getattr(module, kind, None) or {}).values()
    ]
    # the package's own reader of passes looks at no logits
    return any(not isinstance(getattr(hook, "__self__", None), Reader) for hook in hooks)
