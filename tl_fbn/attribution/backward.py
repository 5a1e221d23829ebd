"""One forward and one backward pass to the neurons, without a gradient of any weight.

A point is the hook point of a layer at which the gradient of the loss is wanted. Parameters are frozen while the pass
runs, and afterwards require gradients as they did before. The activations at the first point are made the leaf of the
autograd graph, so that no graph is built for the layers below it. Each point's gradient is handed to a function the
moment the backward pass reaches it, and is not stored: memory holds only what autograd itself keeps. The ``.grad`` of
every tensor stays as it is.

The loss of an item is a weighted sum of cross-entropies, in nats, ``sum_k w_k CE(logits[at_k], target_k)``. A sum of
means over groups of positions, a difference of logits and the log-likelihood of an answer are all of this form. The
unembedding, a third of the weights of a small model, is computed only at the positions ``at`` (a hook before it drops
the others), unless the user has hooks on the model, which might look at all positions.

Items of a batch are padded on the right and masked. In a causal model padding on the right changes nothing before it,
and items of a batch do not see each other, so gradients are those of one item at a time, up to the rounding of larger
matrix products.

Cost: about 0.7 of a forward and backward pass with weight gradients, less where few positions are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.host import HookedModel, inner_model
from tl_fbn.acquisition.model.model_lock import claim, keep_gradient_mode
from tl_fbn.attribution.cross_entropy import LossItem, losses_of, wide
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted

# Operations whose backward pass does not need their result, which may therefore be overwritten after they have run.
_OPERATIONS_NOT_SAVING_THEIR_RESULT = {"Addmm", "Mm", "Bmm", "Add", "Mul", "Div", "ToCopy"}
Take = Callable[[int, torch.Tensor, torch.Tensor], None]


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
    """Run a batch forward and backward, and hand out the gradient of the summed losses at every point.

    Args:
        model: A model in eval mode.
        items: The items of the batch.
        points: Number of each layer to the name of its hook point at which the gradient is wanted.
        take: Called once for every point, from the last layer to the first, with the layer, the gradient (batch, pos,
            unit) of the loss and the activation (batch, pos, unit) at the point.
        watch: Number of each layer to the name of a hook point whose activation is shown to ``see`` in the forward
            pass; None shows none.
        see: Called with the layer and the detached activation of each watched hook point; needed where ``watch`` is
            given.
        edit: Called with the layer and the activation of each point in the forward pass; the model goes on with what it
            returns, and the gradient is taken there. None changes nothing.
        ready: Called without arguments between the forward and the backward pass; None calls nothing.

    Returns:
        (batch,) loss of each item, in nats.

    Raises:
        InputError: No gradient reaches a point, or its hook fired never or more than once in the forward pass.
    """
    backward = _BackwardPass(model, dict(points), take, dict(watch or {}), see, edit)
    # a caller may be in inference mode or no_grad, where no graph is built
    with frozen(model), torch.inference_mode(False), torch.enable_grad():
        losses = backward.forward(items)
        if ready is not None:
            ready()
        backward.run(losses)
    return losses.detach()


@dataclass
class _BackwardPass:
    """One forward and one backward pass, and what its hooks have met so far.

    Args:
        model: A model in eval mode.
        points: Number of each layer to the name of its hook point at which the gradient is wanted.
        take: Called with layer, gradient and activation of each point in the backward pass.
        watch: Number of each layer to the name of a hook point that is shown to ``see``.
        see: Called with layer and activation of each watched hook point in the forward pass.
        edit: Called with layer and activation of each point in the forward pass; returns the activation to go on with.
        n_gradients: Number of each layer to how many gradients have come back to its point; a layer is absent until
            its point has fired in the forward pass.
        leaves: The tensors at which the autograd graph begins; as parameters are frozen, usually the first point alone.
    """

    model: HookedModel
    points: dict[int, str]
    take: Take
    watch: dict[int, str]
    see: Callable[[int, torch.Tensor], None] | None
    edit: Callable[[int, torch.Tensor], torch.Tensor] | None
    n_gradients: dict[int, int] = field(default_factory=dict)
    leaves: list[torch.Tensor] = field(default_factory=list)

    def forward(self, items: Sequence[LossItem]) -> Float[torch.Tensor, " batch"]:
        """Losses of the items, with an autograd graph from the first point on."""
        # positions at which any item of the batch is scored, ascending; the logits of others are not computed
        kept = sorted({position for item in items for position in item.at})
        ids, mask, _ = host.pad_batch([item.ids for item in items], host.model_device(self.model))
        hooks = [*self._hooks_of_the_pass(), *_hooks_dropping_unscored_positions(self.model, kept)]
        with hooked(self.model, hooks, "a backward pass"):
            logits = host.forward(self.model, ids.clone(), mask.clone())
        assert logits is not None
        # the gradient is as large as the logits; written over them it needs no memory of its own
        overwrite = _logits_may_be_overwritten(self.model, logits)
        losses = losses_of(logits, items, kept, ids.shape[1], overwrite=overwrite)
        # a point that was passed by (gradient checkpointing, a block that skips its MLP) would give no score
        for layer, name in self.points.items():
            if layer not in self.n_gradients:
                raise InputError(_message_for_wrong_firing(name, "never"))
        self._require_graph(losses)
        return losses

    def run(self, losses: Float[torch.Tensor, " batch"]) -> None:
        """The backward pass: every point's gradient is handed to ``take`` when it is reached.

        Args:
            losses: (batch,) losses of the items, with their graph.
        """
        try:
            # Items do not see each other, so the gradient of the sum at an item's activations is that of its own loss.
            # Unlike backward(), grad() writes to no .grad. Its result is not used: the hooks take the gradients.
            torch.autograd.grad(losses.sum(), self.leaves, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise  # a smaller batch helps, other weights do not
            raise InputError(_message_for_no_gradient(self.model, str(error).strip().splitlines()[0])) from error
        for layer, name in self.points.items():
            if self.n_gradients[layer] != 1:
                raise InputError(_message_for_no_gradient(self.model, f"none arrived at {name}"))

    def _hooks_of_the_pass(self) -> list[tuple[str, Callable[..., Any]]]:
        """Forward hooks of the pass, as (name of the hook point, function)."""
        hooks: list[tuple[str, Callable[..., Any]]] = []
        hooks += [(name, partial(self._show_activation, layer=layer)) for layer, name in self.watch.items()]
        hooks += [(name, partial(self._begin_graph_at_point, layer=layer)) for layer, name in self.points.items()]
        hooks += [
            (name, partial(self._require_gradient, name=name)) for name in _sublayer_outputs(self.model, self.points)
        ]
        return hooks

    def _begin_graph_at_point(self, tensor: torch.Tensor, hook: Any, layer: int) -> torch.Tensor:
        """Forward hook of a point: begin the graph here if it has not begun, and ask for the gradient."""
        if layer in self.n_gradients:
            raise InputError(_message_for_wrong_firing(self.points[layer], "twice"))
        self.n_gradients[layer] = 0
        if self.edit is not None:
            tensor = self.edit(layer, tensor)
        # parameters are frozen, so nothing before the first point has a graph: it becomes the leaf, and later points
        # are on the graph that begins there
        if not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)
            self.leaves.append(tensor)
        tensor.register_hook(partial(self._receive_gradient, layer=layer, value=tensor.detach()))
        return tensor

    def _receive_gradient(self, gradient: torch.Tensor | None, layer: int, value: torch.Tensor) -> None:
        """Backward hook of a point: hand on its gradient, with the activation that it is taken at."""
        if gradient is not None:
            self.n_gradients[layer] += 1
            self.take(layer, gradient.detach(), value)

    def _show_activation(self, tensor: torch.Tensor, hook: Any, layer: int) -> None:
        """Forward hook of a watched hook point."""
        assert self.see is not None
        self.see(layer, tensor.detach())

    def _require_gradient(self, tensor: torch.Tensor, hook: Any, name: str) -> None:
        """Forward hook of a sublayer's output: an error where gradients cannot pass through the sublayer."""
        # the residual stream carries gradients past such a sublayer: scores would be wrong without any error
        if not tensor.requires_grad:
            raise InputError(_message_for_no_gradient(self.model, f"nothing passes back through {name}"))

    def _require_graph(self, losses: torch.Tensor) -> None:
        """Raise an error where the losses have no complete graph down to the points."""
        if not losses.requires_grad:
            why = "the loss does not depend on the MLPs by any differentiable path"
            raise InputError(_message_for_no_gradient(self.model, why))
        if operation := _operation_without_backward(losses):
            raise InputError(_message_for_no_gradient(self.model, f"{operation} has none to give"))


@uninterrupted
def frozen(undo: ExitStack, model: HookedModel) -> None:
    """Inside, no parameter requires a gradient; afterwards, those that did before require one again.

    Args:
        undo: Takes what thaws them, also if an error ends the block.
        model: The model whose parameters are frozen.
    """
    claim(undo, model, "a backward pass")
    keep_gradient_mode(undo)
    for parameter in model.parameters():
        if parameter.requires_grad:
            undo.callback(parameter.requires_grad_, True)
            parameter.requires_grad_(False)


def _sublayer_outputs(model: HookedModel, points: Mapping[int, str]) -> list[str]:
    """Hook points of the outputs of attention and MLP that gradients must pass: those above the first point."""
    first = min(points)
    names = [f"blocks.{layer}.hook_{part}_out" for layer in points for part in ("attn", "mlp") if layer > first]
    return [name for name in names if name in model.hook_dict]


def _hooks_dropping_unscored_positions(model: HookedModel, kept: list[int]) -> list[tuple[str, Any]]:
    """A hook that hands the unembedding only the scored positions; none where the user has hooks on the model."""
    # TransformerBridge has a hook point at the unembedding's input. HookedTransformer has the one in the final norm,
    # what follows which (scale and offset) is done position by position
    names = [name for name in ("unembed.hook_in", "ln_final.hook_normalized") if name in model.hook_dict]
    if not names or host.foreign_hooks(model):
        return []

    def keep_scored(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor.index_select(1, torch.tensor(kept, device=tensor.device))

    return [(names[0], keep_scored)]


def _logits_may_be_overwritten(model: HookedModel, logits: torch.Tensor) -> bool:
    """Whether nothing reads the logits again: no hook, nor the backward pass of the operation that made them."""
    # the user's hooks, at TransformerLens's hook points or on the modules that return logits, may have stored them
    unembed = getattr(model, "unembed", None)
    makers = (model, inner_model(model), unembed, getattr(unembed, "original_component", None))
    if host.foreign_hooks(model) or any(getattr(one, "_forward_hooks", None) for one in makers):
        return False
    # a view has the memory of the tensor it is of: what counts is the operation that filled that memory. tanh (a soft
    # cap of the logits) needs its result in the backward pass, a matrix product only its factors
    node = logits.grad_fn
    while node is not None and "View" in node.name():
        node = node.next_functions[0][0]
    return node is not None and node.name().removesuffix("Backward0") in _OPERATIONS_NOT_SAVING_THEIR_RESULT


def _operation_without_backward(losses: torch.Tensor) -> str:
    """The name of an operation below the losses that has no backward pass; empty if there is none.

    PyTorch would only warn of such an operation, and pass back zeros.
    """
    # depth-first through the autograd graph, each node once: the residual stream makes exponentially many paths
    pending = [losses.grad_fn]
    visited = set()
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if "NotImplemented" in node.name():
            return node.name()
        pending += [before for before, _ in node.next_functions]
    return ""


def _message_for_wrong_firing(name: str, how: str) -> str:
    """The error message for a hook point that fired ``"never"`` or ``"twice"`` in the forward pass."""
    return f"hook {name!r} fired {how} in one forward pass where once is needed; switch gradient checkpointing off"


def _message_for_no_gradient(model: HookedModel, why: str) -> str:
    """The error message for a model through which gradients do not pass."""
    return (
        f"no gradient reaches the MLPs of {host.model_label(model)}: {why}. Quantised weights and serving kernels "
        "often have no backward pass; load the model in float32 or bfloat16"
    )


def per_item(
    gradient: Float[torch.Tensor, "batch pos unit"], factor: torch.Tensor | None = None
) -> Float[torch.Tensor, "batch unit"]:
    """(batch, unit) sum over positions of the gradient, or of the gradient times a factor.

    Args:
        gradient: (batch, pos, unit) gradient of the loss; it is 0 at padding, so sums need no mask.
        factor: (batch, pos) numbers that all units of a position are multiplied by, or (batch, pos, unit) numbers;
            None multiplies by 1.

    Returns:
        Sums in float32, or in float64 where the gradient has it: sums of 16-bit numbers would lose too much.
    """
    gradient = wide(gradient)
    if factor is None:
        return gradient.sum(1)
    factor = factor.to(gradient.dtype)
    if factor.ndim == 2:
        return torch.einsum("bpu,bp->bu", gradient, factor)
    return torch.einsum("bpu,bpu->bu", gradient, factor)
