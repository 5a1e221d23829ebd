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
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model
from tl_fbn.attribution.cross_entropy import LossItem, losses_of, wide
from tl_fbn.errors import InputError

_KEEPS_NO_RESULT = {
    "Addmm",
    "Mm",
    "Bmm",
    "Add",
    "Mul",
    "Div",
    "ToCopy",
}  # operations whose way back does not need their result
Take = Callable[[int, torch.Tensor, torch.Tensor], None]


def batches(items: Sequence[LossItem], size: int) -> Iterator[list[int]]:
    """Numbers of items that share a pass: of similar length."""
    order = sorted(range(len(items)), key=lambda number: len(items[number].ids))
    return (order[first : first + size] for first in range(0, len(order), size))


def propagate(
    model: HookedModel,
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
        InputError: No gradient reaches a point, or it fired twice.
    """
    backward = _BackwardPass(model, dict(points), take, dict(watch or {}), see, edit)
    with torch.inference_mode(False), torch.enable_grad(), frozen(model):
        losses = backward.forward(items)
        if ready is not None:
            ready()
        backward.run(losses)
    return losses.detach()


@dataclass
class _BackwardPass:
    """One pass forward and backward: what its hooks have seen so far.

    Args:
        model: The model.
        points: Layer to the hook point at which the gradient is wanted.
        take: Called with layer, gradient and activation.
        watch: Layer to a hook point that is shown to ``see``.
        see: Called with layer and activation.
        edit: Replaces the activation of a point.
        gradients: Layer to the number of gradients that have come back to its point; absent where it has not fired.
        leaves: The tensors at which the graph begins.
    """

    model: HookedModel
    points: dict[int, str]
    take: Take
    watch: dict[int, str]
    see: Callable[[int, torch.Tensor], None] | None
    edit: Callable[[int, torch.Tensor], torch.Tensor] | None
    gradients: dict[int, int] = field(default_factory=dict)
    leaves: list[torch.Tensor] = field(default_factory=list)

    def forward(self, items: Sequence[LossItem]) -> Float[torch.Tensor, " batch"]:
        """Losses of the items, with a graph from the first point on."""
        kept = sorted({position for item in items for position in item.at})
        ids, mask, _ = host.pad_batch([item.ids for item in items], host.model_device(self.model))
        with self.model.hooks(fwd_hooks=[*self._hooks(), *_before_unembedding(self.model, kept)]):
            logits = host.forward(self.model, ids.clone(), mask.clone())
        assert logits is not None
        overwrite = _logits_are_seen_by_nobody_else(self.model, logits)
        losses = losses_of(logits, items, kept, ids.shape[1], overwrite=overwrite)
        for layer, name in self.points.items():
            if layer not in self.gradients:
                raise InputError(_misfired(name, "never"))
        self._require_graph(losses)
        return losses

    def run(self, losses: Float[torch.Tensor, " batch"]) -> None:
        """The way back: every point's gradient is handed to ``take`` as it comes by."""
        try:
            torch.autograd.grad(losses.sum(), self.leaves, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise InputError(_no_gradient(self.model, str(error).strip().splitlines()[0])) from error
        for layer, name in self.points.items():
            if self.gradients[layer] != 1:
                raise InputError(_no_gradient(self.model, f"none arrived at {name}"))

    def _hooks(self) -> list[tuple[str, Callable[..., Any]]]:
        hooks: list[tuple[str, Callable[..., Any]]] = []
        hooks += [(name, partial(self._show, layer=layer)) for layer, name in self.watch.items()]
        hooks += [(name, partial(self._enter, layer=layer)) for layer, name in self.points.items()]
        hooks += [(name, partial(self._require_gradient, name=name)) for name in _sublayers(self.model, self.points)]
        return hooks

    def _enter(self, tensor: torch.Tensor, hook: Any, layer: int) -> torch.Tensor:
        """At a point: begin the graph here if it has not begun, and wait for the gradient."""
        if layer in self.gradients:
            raise InputError(_misfired(self.points[layer], "twice"))
        self.gradients[layer] = 0
        if self.edit is not None:
            tensor = self.edit(layer, tensor)
        if not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)
            self.leaves.append(tensor)
        tensor.register_hook(partial(self._arrive, layer=layer, value=tensor.detach()))
        return tensor

    def _arrive(self, gradient: torch.Tensor | None, layer: int, value: torch.Tensor) -> None:
        if gradient is not None:
            self.gradients[layer] += 1
            self.take(layer, gradient.detach(), value)

    def _show(self, tensor: torch.Tensor, hook: Any, layer: int) -> None:
        assert self.see is not None
        self.see(layer, tensor.detach())

    def _require_gradient(self, tensor: torch.Tensor, hook: Any, name: str) -> None:
        if not tensor.requires_grad:  # the residual stream would carry gradients past it, and nobody would notice
            raise InputError(_no_gradient(self.model, f"nothing passes back through {name}"))

    def _require_graph(self, losses: torch.Tensor) -> None:
        if not losses.requires_grad:
            why = "the loss does not depend on the MLPs by any differentiable path"
            raise InputError(_no_gradient(self.model, why))
        if operation := _operation_without_backward(losses):
            raise InputError(_no_gradient(self.model, f"{operation} has none to give"))


@contextmanager
def frozen(model: HookedModel) -> Iterator[None]:
    """No parameter wants a gradient inside; afterwards those that did, do."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _sublayers(model: HookedModel, points: Mapping[int, str]) -> list[str]:
    """Outputs of attention and MLP that gradients must pass: those above the first point."""
    first = min(points)
    names = [f"blocks.{layer}.hook_{part}_out" for layer in points for part in ("attn", "mlp") if layer > first]
    return [name for name in names if name in model.hook_dict]


def _before_unembedding(model: HookedModel, kept: list[int]) -> list[tuple[str, Any]]:
    """A hook that leaves the unembedding only the positions that are scored; none where others might be in the way."""
    names = [name for name in ("unembed.hook_in", "ln_final.hook_normalized") if name in model.hook_dict]
    if not names or host.foreign_hooks(model):
        return []

    def keep(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor.index_select(1, torch.tensor(kept, device=tensor.device))

    return [(names[0], keep)]


def _logits_are_seen_by_nobody_else(model: HookedModel, logits: torch.Tensor) -> bool:
    """Whether nobody needs the logits again: no hook of the user's, nor the operation that made them (tanh would, a product does not)."""
    unembed = getattr(model, "unembed", None)
    makers = (model, inner_model(model), unembed, getattr(unembed, "original_component", None))
    if host.foreign_hooks(model) or any(getattr(one, "_forward_hooks", None) for one in makers):
        return False
    node = logits.grad_fn
    while node is not None and "View" in node.name():
        node = node.next_functions[0][0]
    return node is not None and node.name().removesuffix("Backward0") in _KEEPS_NO_RESULT


def _operation_without_backward(losses: torch.Tensor) -> str:
    """The first operation below the losses that has no backward pass and would pass back zeros under a mere warning."""
    waiting = [losses.grad_fn]
    seen = set()
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


def _no_gradient(model: HookedModel, why: str) -> str:
    return (
        f"no gradient reaches the MLPs of {host.model_label(model)}: {why}. Quantised weights and serving kernels often have no backward "
        "pass; load the model in float32 or bfloat16"
    )


def per_item(
    gradient: Float[torch.Tensor, "batch pos unit"], factor: torch.Tensor | None = None
) -> Float[torch.Tensor, "batch unit"]:
    """Sum over positions of the gradient, times a factor (batch, pos) or (batch, pos, unit); at least float32."""
    gradient = wide(gradient)
    if factor is None:
        return gradient.sum(1)
    factor = factor.to(gradient.dtype)
    if factor.ndim == 2:
        return torch.einsum("bpu,bp->bu", gradient, factor)
    return torch.einsum("bpu,bpu->bu", gradient, factor)
