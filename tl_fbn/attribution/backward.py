"""One forward and one backward pass to the neurons, without a gradient of any weight.

Parameters are frozen while the pass runs (and put back as they were), the activations of the first layer asked for are
made the leaf of the graph, and each layer's gradient is handed to a function the moment the backward pass reaches it:
nothing is kept but what autograd needs. Below the first layer nothing has a graph at all. ``.grad`` of no tensor is touched.

A loss here is a weighted sum of cross-entropies, ``sum_k w_k CE(logits[at_k], target_k)``; a mean over groups of
positions, a logit difference and an answer's log-likelihood are all of that form. The unembedding, a third of a small
model, is computed at the positions ``at`` only (a hook before it drops the others), unless hooks of the user's are on the model.

Items in a batch are padded on the right with a mask; a causal model's items do not see each other, so that gradients are
those of one item at a time, up to the rounding of larger matrix products.

Cost: about 0.7 of a forward and backward pass with weight gradients, less where few positions are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from tl_fbn.acquisition.model import host

_ELEMENTS = 1 << 22  # of logits at a time
_FORGETFUL = {"Addmm", "Mm", "Bmm", "Add", "Mul", "Div", "ToCopy"}  # operations that keep no result for the way back
Take = Callable[[int, torch.Tensor, torch.Tensor], None]


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


def batches(items: Sequence[LossItem], size: int) -> Iterator[list[int]]:
    """Numbers of items that share a pass: of similar length."""
    order = sorted(range(len(items)), key=lambda number: len(items[number].ids))
    return (order[first : first + size] for first in range(0, len(order), size))


def propagate(
    model: Any,
    items: Sequence[LossItem],
    points: Mapping[int, str],
    take: Take,
    *,
    watch: Mapping[int, str] | None = None,
    see: Callable[[int, torch.Tensor], None] | None = None,
    edit: Callable[[int, torch.Tensor], torch.Tensor] | None = None,
    ready: Callable[[], None] | None = None,
) -> Float[torch.Tensor, " batch"]:
    """Run a batch forward and backward.

    Args:
        model: A model in eval mode.
        items: The batch.
        points: Layer to the hook point at which the gradient is wanted.
        take: Called with layer, gradient (batch, pos, unit) and activation (batch, pos, unit) as the backward pass comes by.
        watch: Layer to a hook point whose activation is shown to ``see`` on the way forward.
        see: Called with layer and activation, detached.
        edit: Replaces the activation of a point before its gradient is taken.
        ready: Called between the forward and the backward pass.

    Returns:
        (batch,) loss of each item.

    Raises:
        ValueError: No gradient reaches a point, or it fired twice.
    """
    fired: dict[int, int] = {}
    leaves: list[torch.Tensor] = []

    def enter(layer: int) -> Callable[..., torch.Tensor]:
        def hook_point(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            if layer in fired:
                raise ValueError(_misfired(points[layer], "twice"))
            fired[layer] = 0
            tensor = tensor if edit is None else edit(layer, tensor)
            if not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_(True)
                leaves.append(tensor)
            value = tensor.detach()

            def back(gradient: torch.Tensor | None) -> None:
                if gradient is not None:
                    fired[layer] += 1
                    take(layer, gradient.detach(), value)

            tensor.register_hook(back)
            return tensor

        return hook_point

    def show(layer: int) -> Callable[..., None]:
        def hook_point(tensor: torch.Tensor, hook: Any) -> None:
            assert see is not None
            see(layer, tensor.detach())

        return hook_point

    def whole(name: str) -> Callable[..., None]:
        def hook_point(tensor: torch.Tensor, hook: Any) -> None:
            if not tensor.requires_grad:  # the residual stream would carry gradients past it, and nobody would notice
                raise ValueError(_no_gradient(model, f"nothing passes back through {name}"))

        return hook_point

    kept = sorted({position for item in items for position in item.at})
    hooks = [(name, show(layer)) for layer, name in (watch or {}).items()]
    hooks += [(name, enter(layer)) for layer, name in points.items()]
    hooks += [(name, whole(name)) for name in _sublayers(model, points)]
    hooks += _before_unembedding(model, kept)
    ids, mask, _ = host.pad_batch([item.ids for item in items], host.model_device(model))
    with torch.inference_mode(False), torch.enable_grad(), frozen(model):
        with model.hooks(fwd_hooks=hooks):
            logits = host.forward(model, ids.clone(), mask.clone())
        assert logits is not None
        losses = _losses(logits, items, kept, ids.shape[1], ours=_ours(model, logits))
        del logits
        missing = [points[layer] for layer in points if layer not in fired]
        if missing:
            raise ValueError(_misfired(missing[0], "never"))
        if not losses.requires_grad:
            raise ValueError(_no_gradient(model, "the loss does not depend on the MLPs by any differentiable path"))
        if hole := _hole(losses):
            raise ValueError(_no_gradient(model, f"{hole} has none to give"))
        if ready is not None:
            ready()
        try:
            torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ValueError(_no_gradient(model, str(error).strip().splitlines()[0])) from error
    silent = [points[layer] for layer in points if fired[layer] != 1]
    if silent:
        raise ValueError(_no_gradient(model, f"none arrived at {silent[0]}"))
    return losses.detach()


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """No parameter wants a gradient inside; afterwards those that did, do."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _sublayers(model: Any, points: Mapping[int, str]) -> list[str]:
    """Outputs of attention and MLP that gradients must pass: those above the first point."""
    first = min(points)
    names = [f"blocks.{layer}.hook_{part}_out" for layer in points for part in ("attn", "mlp") if layer > first]
    return [name for name in names if name in model.hook_dict]


def _before_unembedding(model: Any, kept: list[int]) -> list[tuple[str, Any]]:
    """A hook that leaves the unembedding only the positions that are scored; none where others might be in the way."""
    names = [name for name in ("unembed.hook_in", "ln_final.hook_normalized") if name in model.hook_dict]
    if not names or host.foreign_hooks(model):
        return []

    def keep(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor.index_select(1, torch.tensor(kept, device=tensor.device))

    return [(names[0], keep)]


def _losses(
    logits: Float[torch.Tensor, "batch pos vocab"],
    items: Sequence[LossItem],
    kept: list[int],
    longest: int,
    *,
    ours: bool = False,
) -> Float[torch.Tensor, " batch"]:
    """Losses of items; ``ours``: their gradient may be written over the logits."""
    place = {position: number for number, position in enumerate(kept)} if logits.shape[1] != longest else None
    at = [position if place is None else place[position] for item in items for position in item.at]
    owner = torch.tensor([number for number, item in enumerate(items) for _ in item.at], device=logits.device)
    rows = owner * logits.shape[1] + torch.tensor(at, device=logits.device)
    targets = torch.tensor([target for item in items for target in item.targets], device=logits.device)
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    weights = torch.tensor([w for item in items for w in item.weights], device=logits.device, dtype=wide)
    entropies: Any = _Entropies.apply(logits, rows, targets, ours)
    return torch.zeros(len(items), device=logits.device, dtype=wide).index_add(0, owner, entropies * weights)


def _ours(model: Any, logits: torch.Tensor) -> bool:
    """Whether nobody looks at the logits again: no hook of the user's, nor what made them (as tanh does, and a product does not)."""
    unembed = getattr(model, "unembed", None)
    makers = (model, getattr(model, "original_model", None), unembed, getattr(unembed, "original_component", None))
    if host.foreign_hooks(model) or any(getattr(one, "_forward_hooks", None) for one in makers):
        return False
    node = logits.grad_fn
    while node is not None and "View" in node.name():
        node = node.next_functions[0][0]
    return node is not None and node.name().removesuffix("Backward0") in _FORGETFUL


class _Entropies(torch.autograd.Function):
    """Cross-entropies of some rows of the logits, a few rows at a time in both directions.

    The stock function keeps the rows, their log-softmax and two gradients, each as large as the logits, which are larger than all activations
    of a small model; this one keeps the logits and makes one gradient, in their place if they are ours.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor, ours: bool) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, targets)
        ctx.ours = ours
        flat = logits.flatten(0, 1)
        n, found = _n_rows(flat), []
        for some, wanted in zip(rows.split(n), targets.split(n), strict=True):
            values = _wide(flat.index_select(0, some))
            found.append(values.logsumexp(-1) - values.gather(-1, wanted[:, None])[:, 0])
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        logits, rows, targets = ctx.saved_tensors
        flat = logits.detach().flatten(0, 1)
        made = flat if ctx.ours else torch.zeros_like(flat)
        order = rows.argsort(stable=True)  # a row may be scored more than once
        scales, targets = gradients[0][order], targets[order]
        scored, owner, counts = rows[order].unique_consecutive(return_inverse=True, return_counts=True)
        totals = torch.zeros(len(scored), dtype=scales.dtype, device=scales.device).index_add(0, owner, scales)
        if ctx.ours:
            others = torch.ones(len(flat), dtype=torch.bool, device=flat.device).index_fill(0, scored, False)
            made.masked_fill_(others[:, None], 0)
        n, first = _n_rows(flat), 0
        sizes = [int(part.sum()) for part in counts.split(n)]
        parts = (each.split(sizes) for each in (owner, targets, scales))
        for some, total, of, wanted, scale in zip(scored.split(n), totals.split(n), *parts, strict=True):
            share = _wide(flat.index_select(0, some)).softmax(-1).mul_(total[:, None])
            share.index_put_((of - first, wanted), -scale, accumulate=True)
            made.index_copy_(0, some, share.to(made.dtype))
            first += len(some)
        return made.view_as(logits), None, None, None


def _n_rows(flat: torch.Tensor) -> int:
    """How many rows of logits are looked at together."""
    return max(1, _ELEMENTS // flat.shape[-1])


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _hole(losses: torch.Tensor) -> str:
    """The first operation below the losses that has no backward pass and would pass back zeros under a mere warning."""
    waiting, seen = [losses.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if "NotImplemented" in node.name():
            return node.name()
        waiting += [before for before, _ in node.next_functions]
    return ""


def _misfired(name: str, how: str) -> str:
    return f"hook {name!r} fired {how} in one forward pass where once is needed; switch gradient checkpointing off"


def _no_gradient(model: Any, why: str) -> str:
    return (
        f"no gradient reaches the MLPs of {host.model_label(model)}: {why}. Quantised weights and serving kernels often have no backward "
        "pass; load the model in float32 or bfloat16"
    )


def per_item(
    gradient: Float[torch.Tensor, "batch pos unit"], factor: torch.Tensor | None = None
) -> Float[torch.Tensor, "batch unit"]:
    """Sum over positions of the gradient, times a factor (batch, pos) or (batch, pos, unit); at least float32."""
    gradient = _wide(gradient)
    if factor is None:
        return gradient.sum(1)
    factor = factor.to(gradient.dtype)
    if factor.ndim == 2:
        return torch.einsum("bpu,bp->bu", gradient, factor)
    return torch.einsum("bpu,bpu->bu", gradient, factor)
