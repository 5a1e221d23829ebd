"""Weighted cross-entropies of a batch, and their gradient in one piece of memory.

The loss of an item is ``sum_k w_k CE(logits[at_k], target_k)`` with ``CE = logsumexp(logits) - logits[target]``, whose gradient in the logits is
``w (softmax - onehot(target))``. Logits of a small model are larger than all its activations, so they are met a few rows at a time in both directions, and
the gradient is written over them where nobody looks at them again.

PyTorch's own cross-entropy keeps the scored rows, their log-softmax and two gradients, each as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

_ELEMENTS = 1 << 22  # of logits at a time


@dataclass(frozen=True)
class LossItem:
    """A text and what it is scored on.

    Args:
        ids: Token ids.
        at: Positions whose logits are used.
        targets: The token scored at each.
        weights: Its weight in the loss.
    """

    ids: tuple[int, ...]
    at: tuple[int, ...]
    targets: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def next_tokens(
        cls, ids: Sequence[int], groups: Sequence[Sequence[int]], weights: Sequence[float] | None = None
    ) -> LossItem:
        """The sum over groups of the mean cross-entropy of the tokens at their positions, each given those before it.

        Args:
            ids: Token ids.
            groups: Positions, each at least 1 and none group empty.
            weights: One a group; 1 each by default.
        """
        pairs = [
            (position, weight / len(group))
            for group, weight in zip(groups, weights or [1.0] * len(groups), strict=True)
            for position in group
        ]
        return cls(
            tuple(ids),
            tuple(position - 1 for position, _ in pairs),
            tuple(int(ids[position]) for position, _ in pairs),
            tuple(weight for _, weight in pairs),
        )


def losses_of(
    logits: Float[torch.Tensor, "batch pos vocab"],
    items: Sequence[LossItem],
    kept: list[int],
    longest: int,
    *,
    overwrite: bool = False,
) -> Float[torch.Tensor, " batch"]:
    """Losses of the items of a batch.

    Args:
        logits: Logits of all positions, or of those in ``kept`` alone.
        items: The batch.
        kept: Positions that are scored in any item, ascending.
        longest: Positions of the longest item, by which logits of all positions are told from those of some.
        overwrite: Their gradient may be written over the logits.
    """
    place = {position: number for number, position in enumerate(kept)} if logits.shape[1] != longest else None
    at = [position if place is None else place[position] for item in items for position in item.at]
    owner = torch.tensor([number for number, item in enumerate(items) for _ in item.at], device=logits.device)
    rows = owner * logits.shape[1] + torch.tensor(at, device=logits.device)
    targets = torch.tensor([target for item in items for target in item.targets], device=logits.device)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    weights = torch.tensor([w for item in items for w in item.weights], device=logits.device, dtype=dtype)
    entropies: Any = _CrossEntropies.apply(logits, rows, targets, overwrite)
    return torch.zeros(len(items), device=logits.device, dtype=dtype).index_add(0, owner, entropies * weights)


class _CrossEntropies(torch.autograd.Function):
    """Cross-entropies of some rows of the logits, a few rows at a time in both directions.

    The stock function keeps the rows, their log-softmax and two gradients, each as large as the logits, which are larger than all activations
    of a small model; this one keeps the logits and makes one gradient, in their place if that is allowed.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor, overwrite: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, targets)
        ctx.overwrite = overwrite
        flat = logits.flatten(0, 1)
        n = _n_rows(flat)
        found = []
        for some, wanted in zip(rows.split(n), targets.split(n), strict=True):
            values = wide(flat.index_select(0, some))
            found.append(values.logsumexp(-1) - values.gather(-1, wanted[:, None])[:, 0])
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        logits, rows, targets = ctx.saved_tensors
        flat = logits.detach().flatten(0, 1)
        made = flat if ctx.overwrite else torch.zeros_like(flat)
        # a row may be scored more than once: rows that are equal stand side by side, with the sum of their weights
        order = rows.argsort(stable=True)
        scales, targets = gradients[0][order], targets[order]
        scored, owner, counts = rows[order].unique_consecutive(return_inverse=True, return_counts=True)
        totals = torch.zeros(len(scored), dtype=scales.dtype, device=scales.device).index_add(0, owner, scales)
        if ctx.overwrite:
            others = torch.ones(len(flat), dtype=torch.bool, device=flat.device).index_fill(0, scored, False)
            made.masked_fill_(others[:, None], 0)
        n = _n_rows(flat)
        first = 0
        sizes = [int(part.sum()) for part in counts.split(n)]
        parts = (each.split(sizes) for each in (owner, targets, scales))
        for some, total, of, wanted, scale in zip(scored.split(n), totals.split(n), *parts, strict=True):
            # total * softmax - sum of the weights at the targets
            share = wide(flat.index_select(0, some)).softmax(-1).mul_(total[:, None])
            share.index_put_((of - first, wanted), -scale, accumulate=True)
            made.index_copy_(0, some, share.to(made.dtype))
            first += len(some)
        return made.view_as(logits), None, None, None


def _n_rows(flat: torch.Tensor) -> int:
    """How many rows of logits are looked at together."""
    return max(1, _ELEMENTS // flat.shape[-1])


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """At least float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
