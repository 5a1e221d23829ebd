"""Hook points that show other axes of a layer than its own, and give the model back what it had.

A turned hook point takes activations x (batch, pos, unit), shows its hooks ``x Q`` with Q orthogonal, and passes on
what they return times Q'. The model computes what it did; but every hook, whoever puts it there, reads, changes and
differentiates along the new axes. Without hooks the point does nothing.

Q deals the units of a layer at random into groups of nearly one size, gives each a random sign, and turns every
group by an orthogonal matrix. Products take place in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int


class TurnedPoint(torch.nn.Module):
    """What a hook point becomes that is turned; its class is made of this one and its own (:func:`turn_point`)."""

    order: torch.Tensor
    signs: torch.Tensor
    n_groups: tuple[int, ...]  # of each size

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self._forward_hooks and not self._backward_hooks and not self._forward_pre_hooks:
            return super().__call__(tensor)
        shown = self.turned(tensor)
        passed = super().__call__(shown)
        # nobody changed anything: the model goes on with its own numbers, to the last bit. A gradient, however, is one
        # along the new axes only if the graph leads through them
        if passed is shown and not shown.requires_grad:
            return tensor
        return self.turned_back(passed)

    def turned(self, tensor: Float[torch.Tensor, "*row unit"]) -> Float[torch.Tensor, "*row unit"]:
        """Activations, or anything else with units on its last axis, along the new axes.

        Args:
            tensor: Values of the layer's own units.
        """
        mixed = self._grouped(tensor.float()[..., self.order] * self.signs, transposed=False)
        return mixed.to(tensor.dtype)

    def turned_back(self, tensor: Float[torch.Tensor, "*row unit"]) -> Float[torch.Tensor, "*row unit"]:
        """What :meth:`turned` was given.

        Args:
            tensor: Values along the new axes.
        """
        own = self._grouped(tensor.float(), transposed=True) * self.signs
        return own[..., torch.argsort(self.order)].to(tensor.dtype)

    def _grouped(self, values: torch.Tensor, *, transposed: bool) -> torch.Tensor:
        """Every group of units times its matrix."""
        parts = []
        start = 0
        for number, n_groups in enumerate(self.n_groups):
            matrix = getattr(self, f"matrix_{number}")
            stop = start + n_groups * len(matrix)
            groups = values[..., start:stop].unflatten(-1, (n_groups, len(matrix)))
            parts.append((groups @ (matrix.T if transposed else matrix)).flatten(-2))
            start = stop
        return torch.cat(parts, dim=-1)


def turn_point(
    undo: ExitStack,
    point: Any,
    order: Int[torch.Tensor, " unit"],
    signs: Float[torch.Tensor, " unit"],
    matrices: Sequence[tuple[int, Float[torch.Tensor, "_ _"]]],
) -> None:
    """Turn a hook point. What turns it are buffers of it, so that digests of the model's weights know of it.

    Args:
        undo: Takes what makes the point again what it was.
        point: The hook point.
        order: Numbers of the layer's units, group after group.
        signs: 1 or -1 for each of them, in that order.
        matrices: For each size of group the number of groups and the orthogonal matrix of all of them, in that order.
    """
    undo.callback(setattr, point, "__class__", type(point))
    # the point's own class stays among the bases, and its name: hosts and :mod:`.settings` ask for them
    point.__class__ = type(type(point).__name__, (TurnedPoint, type(point)), {"__module__": __name__})
    named = {"order": order, "signs": signs, **{f"matrix_{i}": matrix for i, (_, matrix) in enumerate(matrices)}}
    for name, tensor in named.items():
        undo.callback(point._buffers.pop, name, None)
        point.register_buffer(name, tensor)
    undo.callback(vars(point).pop, "n_groups", None)
    vars(point)["n_groups"] = tuple(n for n, _ in matrices)


def turned_along(
    model: Any, hook_name: str, values: Float[torch.Tensor, "unit column"]
) -> Float[torch.Tensor, "unit column"]:
    """Rows that belong to the units of a layer, such as output weights, for the axes that a hook point shows.

    Args:
        model: The model.
        hook_name: Name of the hook point.
        values: One row for each of the layer's own units; returned as they are where the hook point is not turned.
    """
    point = model.hook_dict.get(hook_name)
    return point.turned(values.T).T if isinstance(point, TurnedPoint) else values
