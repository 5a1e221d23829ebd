"""What scoring neurons by gradients will cost, counted, timed and measured before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np
import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.attribution.cgvst import ScoreOptions, prepared_scoring
from tl_fbn.signatures import checked
from tl_fbn.units import html_table
from tl_fbn.units.prose import duration_in_words


@dataclass(frozen=True)
class GradientPlan:
    """What scoring neurons by gradients will cost.

    >>> fbn.attribution.plan_gradients(model, fbn.chats("sort", n=64))  # doctest: +ELLIPSIS
    GradientPlan: 64 items in ... passes, ... tokens; each keeps up to ... MB beside the model; about ...

    Args:
        items: Number of items.
        passes: Number of forward and backward passes of all batches together.
        tokens: Number of tokens of these passes, padding counted.
        bytes: Most memory that a pass keeps until its gradients have come, beside the model; measured.
        seconds: Expected time in seconds, from one pass that was timed.
    """

    items: int
    passes: int
    tokens: int
    bytes: int
    seconds: float

    def __repr__(self) -> str:
        return (
            f"GradientPlan: {self.items:,} items in {self.passes:,} passes, {self.tokens:,} tokens; each keeps up to "
            f"{self.bytes / 1e6:,.0f} MB beside the model; about {duration_in_words(self.seconds)}"
        )

    def _repr_html_(self) -> str:
        return html_table(repr(self), ("", ""), [(name, f"{value:,.6g}") for name, value in asdict(self).items()])


@checked
def plan_gradients(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    n_steps: int | None = None,
    batch_tokens: int = 8192,
    **options: Unpack[ScoreOptions],
) -> GradientPlan:
    """Count what a gradient score of some items will run; the largest of its passes is made, timed and measured.

    It is the cost of :func:`tl_fbn.cgvst`, ``item_scores``, ``gradient_x_activation`` and ``taylor``, and with
    ``n_steps`` that of ``integrated_gradients``:

    >>> plan = fbn.attribution.plan_gradients(model, fbn.chats("sort", n=8))
    >>> plan.items, plan.passes
    (8, 1)

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored: one list, or two lists whose means are added. None
            where ``tokens`` says it.
        n_steps: Number of steps of integrated gradients, which are taken in every layer; None for all other scores.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        **options: Options of :func:`tl_fbn.cgvst`: ``tokens``, ``variant``, ``site``, ``groups``, ``weight``,
            ``spans``, ``bos_eos``, ``max_tokens``, ``seed``, ``prepend_bos`` and ``chat_template_kwargs``.

    Returns:
        Items, passes, tokens, bytes and seconds; its ``repr`` is a sentence.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item too long, or a model without gradients.
    """
    host.require_eval(model, "a gradient score")
    work = prepared_scoring(model, items, positions, **options)
    batches = work.batches(batch_tokens)
    sizes = [len(numbers) * len(work.items[numbers[-1]].ids) for numbers in batches]
    largest = int(np.argmax(sizes))

    def run(batch: int) -> float:
        started = time.perf_counter()
        work.run(batches[batch])
        return time.perf_counter() - started

    run(0)  # not timed: the first pass also prepares the host
    kept = bytes_kept(model, lambda: run(largest))
    seconds = run(largest)
    times = 1 if n_steps is None else n_steps * len(work.points)
    return GradientPlan(
        items=len(work.items),
        passes=len(batches) * times,
        tokens=sum(sizes) * times,
        bytes=kept,
        seconds=seconds * times * sum(sizes) / sizes[largest],
    )


def bytes_kept(model: HookedModel, run: Callable[[], Any]) -> int:
    """Memory that autograd keeps of a forward pass until gradients have come, the weights not counted.

    Args:
        model: The model.
        run: Makes a forward pass of it with gradients.
    """
    kept: dict[int, int] = {}  # address of a storage to its size: views of one tensor are kept once
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())
