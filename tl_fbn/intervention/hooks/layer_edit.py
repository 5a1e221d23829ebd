"""The hook function of one layer: activations in, edited activations out.

An edit returns a new tensor in the activation's own dtype and on its device, and gradients flow through it. Where it touches some positions only, or draws
values by position, it asks the model's :class:`~tl_fbn.acquisition.model.forward_context.Reader` where the tokens of the running pass stand.

=========== ============================================================
``set``     members become given values, or lines of a table
``scale``   members times values
``add``     members plus values
``clip``    members between a lower and an upper bound
``project`` members without their part along given directions
=========== ============================================================
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.forward_context import Lease, Reading
from tl_fbn.acquisition.model.sites import by_head
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Where
from tl_fbn.intervention.hooks.replacements import Lines

Op = Literal["set", "scale", "add", "clip", "project"]


class LayerEdit:
    """What is done to some units of one layer.

    Where units are attention heads, a member is its whole width: zero silences it, a gain scales it.

    Args:
        op: As in the table above.
        members: (member,) indices within the layer.
        values: (member,) one number a member; (line, member) where ``lines`` says which line a token takes; (2, member) bounds of a clip;
            (direction, member), orthonormal, of a projection.
        where: Positions that are touched.
        lines: Which line of ``values`` a token takes.
        n_heads: Heads of the layer where units are heads; 0 elsewhere.
    """

    def __init__(
        self,
        op: Op,
        members: Int[np.ndarray, " member"],
        values: Float[np.ndarray, "*line member"],
        *,
        where: Where = EVERYWHERE,
        lines: Lines | None = None,
        n_heads: int = 0,
    ) -> None:
        self.op = op
        self.where = where
        self.lines = lines
        self.n_heads = n_heads
        self.members = torch.from_numpy(members)
        self.values = torch.from_numpy(values)
        content = hashlib.sha256(f"{op} {where.digest} {lines and lines.digest} {values.shape}".encode())
        content.update(members.tobytes())
        content.update(np.ascontiguousarray(values).tobytes())
        self.digest = content.hexdigest()[:16]
        self.lease: Lease | None = None
        self._placed: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def listens(self) -> bool:
        """Whether the edit must know where tokens stand."""
        return self.where.name != "all" or self.lines is not None

    def leased(self, lease: Lease | None) -> LayerEdit:
        """The same edit with somebody to ask."""
        edit = copy.copy(self)
        edit.lease = lease
        return edit

    def __call__(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        if not self.n_heads:  # what follows (batch, pos) is one axis of units, as it was recorded
            return self._edited(tensor) if tensor.ndim == 3 else self._edited(tensor.flatten(2)).reshape(tensor.shape)
        heads = rearrange(by_head(tensor, self.n_heads), "batch pos head width -> batch pos width head")
        return rearrange(self._edited(heads), "batch pos width head -> batch pos head width").reshape(tensor.shape)

    def _edited(self, tensor: Float[torch.Tensor, "batch pos *width unit"]) -> Float[torch.Tensor, "..."]:
        place = (tensor.device, tensor.dtype)
        if place not in self._placed:
            self._placed[place] = self.members.to(tensor.device), self.values.to(*place)
        members, values = self._placed[place]
        if not self.listens and self.op == "set":
            return tensor.index_copy(-1, members, values.expand(*tensor.shape[:-1], -1))
        own = tensor.index_select(-1, members)
        reading = self._reading() if self.listens else None
        if self.op == "set":
            edited = values
            if self.lines is not None and reading is not None:
                edited = values[self.lines.index(reading, tensor.shape[0], tensor.shape[1], tensor.device)]
        elif self.op == "scale":
            edited = own * values
        elif self.op == "add":
            edited = own + values
        elif self.op == "clip":
            edited = own.clamp(values[0], values[1])
        else:
            edited = own - (own @ values.T) @ values
        if reading is not None and self.where.name != "all":
            touched = self.where.select(reading, tensor.shape[1], tensor.device)
            if touched.shape[0] not in (1, tensor.shape[0]):
                raise InputError(
                    f"the mask of positions has {touched.shape[0]} texts, the batch {tensor.shape[0]}; give a line for each, or one for all"
                )
            edited = torch.where(touched.reshape(*touched.shape, *[1] * (tensor.ndim - 2)), edited, own)
        return tensor.index_copy(-1, members, edited.expand_as(own))

    def _reading(self) -> Reading:
        now = None if self.lease is None else self.lease.reader.now
        if now is None:
            raise RuntimeError(
                "an intervention on some positions runs in a pass of the whole model it was made for; call the model itself, inside "
                "`with`, or through hooks from fwd_hooks(model)"
            )
        return now

    def __repr__(self) -> str:
        return f"LayerEdit({self.op} {len(self.members)} units, {self.where.name} positions)"
