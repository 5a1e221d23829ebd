"""Weighted cross-entropies of a batch, and their gradient, in no more memory than the logits take.

The loss of an item, in nats, is ``sum_k w_k CE(logits[at_k], target_k)`` with ``CE = logsumexp(logits) -
logits[target]``. Its gradient with respect to the logits of one position is ``w (softmax(logits) - onehot(target))``,
summed over what is scored at that position.

The logits of a small model are larger than all its activations together. They are therefore read a few rows at a time
in the forward and the backward pass, and their gradient is written over them where nothing reads them again; else it
takes one array of their size. PyTorch's own cross-entropy keeps the scored rows, their log-softmax and two gradients,
each as large as the scored rows.

A row here is one position of one item of the batch: one vector of logits over the vocabulary. Sums are in float32, or
in float64 where the logits are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

_MAX_LOGITS_AT_ONCE = 1 << 22  # numbers that are widened to float32 together: 16 MiB


@dataclass(frozen=True)
class LossItem:
    """A text and its loss, ``sum_k weights[k] CE(logits[at[k]], targets[k])``.

    Args:
        ids: Token ids of the text.
        at: Positions whose logits are used; a position may be there more than once, with several targets.
        targets: Id of the token that is scored at each of these positions.
        weights: Weight of each cross-entropy in the loss; a negative weight rewards an unlikely target.
    """

    ids: tuple[int, ...]
    at: tuple[int, ...]
    targets: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def next_tokens(
        cls, ids: Sequence[int], groups: Sequence[Sequence[int]], weights: Sequence[float] | None = None
    ) -> LossItem:
        """An item whose loss is the sum over groups of the mean cross-entropy of their tokens, given those before.

        Args:
            ids: Token ids of the text.
            groups: Positions of the scored tokens, group by group; each position at least 1, because nothing predicts
                the first token, and no group empty.
            weights: Weight of each group's mean; None weighs every group by 1.
        """
        # (position of the scored token, weight of the group / number of its tokens)
        pairs = [
            (position, weight / len(group))
            for group, weight in zip(groups, weights or [1.0] * len(groups), strict=True)
            for position in group
        ]
        return cls(
            tuple(ids),
            tuple(position - 1 for position, _ in pairs),  # the logits of a position predict the next token
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
    """Losses of the items of a batch, through which gradients pass back to the logits.

    Args:
        logits: (batch, pos, vocab) logits of all positions, or only of the positions ``kept``.
        items: The items of the batch.
        kept: Positions that are scored in any of the items, ascending.
        longest: Number of tokens of the longest item. Logits of as many positions are taken as those of all positions.
        overwrite: True allows the backward pass to write the gradient over the logits, which are lost; False makes a
            new array.

    Returns:
        (batch,) losses, in nats.
    """
    # logits of as many positions as the longest item has are those of all positions, dropped or not: each at its place
    place = {position: number for number, position in enumerate(kept)} if logits.shape[1] != longest else None
    at = [position if place is None else place[position] for item in items for position in item.at]
    # one entry for each cross-entropy of the batch: number of its item, and flat index (batch pos) of its row of logits
    owner = torch.tensor([number for number, item in enumerate(items) for _ in item.at], device=logits.device)
    rows = owner * logits.shape[1] + torch.tensor(at, device=logits.device)
    targets = torch.tensor([target for item in items for target in item.targets], device=logits.device)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    weights = torch.tensor([w for item in items for w in item.weights], device=logits.device, dtype=dtype)
    entropies: Any = _CrossEntropies.apply(logits, rows, targets, overwrite)
    # sum_k w_k CE_k of each item
    return torch.zeros(len(items), device=logits.device, dtype=dtype).index_add(0, owner, entropies * weights)


class _CrossEntropies(torch.autograd.Function):
    """Cross-entropies of some rows of the logits, and their gradient, a few rows at a time in both passes.

    Between the passes only the logits are kept, which the model has made anyway. The softmax is computed again in the
    backward pass, which makes one array as large as the logits, or none where it may overwrite them.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor, overwrite: bool
    ) -> torch.Tensor:
        """Cross-entropy of ``targets[k]`` at the row of logits with the flat index ``rows[k]``, for every k."""
        ctx.save_for_backward(logits, rows, targets)
        ctx.overwrite = overwrite
        flat = logits.flatten(0, 1)  # (row, vocab)
        n = _n_rows_at_once(flat)
        entropies = []
        for rows_now, targets_now in zip(rows.split(n), targets.split(n), strict=True):
            values = wide(flat.index_select(0, rows_now))
            # CE = logsumexp(logits) - logits[target]
            entropies.append(values.logsumexp(-1) - values.gather(-1, targets_now[:, None])[:, 0])
        return torch.cat(entropies)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradient of the loss with respect to the logits, from its derivatives ``gradients[0]`` by cross-entropy."""
        logits, rows, targets = ctx.saved_tensors
        flat = logits.detach().flatten(0, 1)  # (row, vocab)
        gradient = flat if ctx.overwrite else torch.zeros_like(flat)
        # A row may be scored more than once. Sorting puts its cross-entropies k side by side, so that every row is read
        # and written once: a row that is written over its logits cannot be read again.
        order = rows.argsort(stable=True)
        weights = gradients[0][order]  # dL / dCE_k
        targets = targets[order]
        # each scored row once; for every k the number of its row among these; for each row its number of k
        scored, row_of, counts = rows[order].unique_consecutive(return_inverse=True, return_counts=True)
        # sum_k w_k of each scored row, the factor of its softmax
        totals = torch.zeros(len(scored), dtype=weights.dtype, device=weights.device).index_add(0, row_of, weights)
        if ctx.overwrite:
            # the gradient of rows that are not scored is 0; so far they hold logits
            others = torch.ones(len(flat), dtype=torch.bool, device=flat.device).index_fill(0, scored, False)
            gradient.masked_fill_(others[:, None], 0)
        n = _n_rows_at_once(flat)
        first = 0  # number of the first row of the chunk among the scored rows
        # n rows a chunk, and all cross-entropies of these rows
        sizes = [int(part.sum()) for part in counts.split(n)]
        parts = (each.split(sizes) for each in (row_of, targets, weights))
        for rows_now, total, row, target, weight in zip(scored.split(n), totals.split(n), *parts, strict=True):
            # sum_k w_k (softmax - onehot(target_k)) = (sum_k w_k) softmax - sum_k w_k onehot(target_k)
            chunk = wide(flat.index_select(0, rows_now)).softmax(-1).mul_(total[:, None])
            # accumulate: one row may have the same target more than once
            chunk.index_put_((row - first, target), -weight, accumulate=True)
            gradient.index_copy_(0, rows_now, chunk.to(gradient.dtype))
            first += len(rows_now)
        return gradient.view_as(logits), None, None, None  # rows, targets and overwrite have no gradient


def _n_rows_at_once(flat: torch.Tensor) -> int:
    """How many rows of logits (row, vocab) are worked on together."""
    return max(1, _MAX_LOGITS_AT_ONCE // flat.shape[-1])


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 if it is narrower than that; float64 stays as it is.

    Args:
        tensor: Numbers of any floating-point type.
    """
    return tensor if tensor.dtype == torch.float64 else tensor.float()
