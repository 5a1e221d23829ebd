"""The hook function of one layer: activations in, edited activations out.

A :class:`LayerEdit` changes the members (some units of one layer) and leaves all other units as they are:

=========== ===================================================================================
``set``     members become given values, or lines of a table of values: ``y = v``
``scale``   members are multiplied by values: ``y = v x``
``add``     values are added to members: ``y = x + v``
``clip``    members are held between a lower and an upper bound: ``y = min(max(x, v0), v1)``
``project`` members lose their part along the rows of V, orthonormal directions: ``y = x - V'V x``
=========== ===================================================================================

An edit returns a new tensor in the activation's own dtype and on its device, never in place, and gradients flow
through it. Where it touches some positions only, or draws values by position, it asks the model's
:class:`~tl_fbn.acquisition.model.forward_context.Reader` where the tokens of the running pass stand.

Cost: one copy of the layer's activations and a gather over the members.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.forward_context import Lease
from tl_fbn.acquisition.model.host import FIRED
from tl_fbn.acquisition.model.pass_tokens import Reading
from tl_fbn.acquisition.model.sites import by_head
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.positions import EVERYWHERE, Where
from tl_fbn.intervention.hooks.replacements import Lines

Op = Literal["set", "scale", "add", "clip", "project"]


class LayerEdit:
    """What is done to some units of one layer.

    Where units are attention heads, a member is the whole width of its head: zero silences it, a gain scales it.

    Args:
        op: ``"set"``, ``"scale"``, ``"add"``, ``"clip"`` or ``"project"``; the table at the top of this file has the
            formulas.
        members: (member,) indices of the units within the layer.
        values: The numbers of the formula, in activation units (a factor for ``"scale"``): (member,) one a member;
            (line, member) a table where ``lines`` is given; (2, member) lower and upper bounds for ``"clip"``;
            (direction, member) orthonormal directions for ``"project"``.
        where: The positions that are touched.
        lines: Which line of ``values`` a token takes; None where all tokens are given the same.
        n_heads: Number of heads of the layer where units are attention heads; 0 at all other sites.
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
        # everything that decides what the edit does, so that a recording made under it has a key of its own
        content = hashlib.sha256(f"{op} {where.digest} {lines and lines.digest} {values.shape}".encode())
        content.update(members.tobytes())
        content.update(np.ascontiguousarray(values).tobytes())
        self.digest = content.hexdigest()[:16]
        self.lease: Lease | None = None
        # members and values by device and dtype, moved once; copies of this edit share them
        self._tensors: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def listens(self) -> bool:
        """Whether the edit must know where the tokens of a pass stand in their texts."""
        return self.where.name != "all" or self.lines is not None

    @property
    def differs_by_text(self) -> bool:
        """Whether two texts that begin alike are given different values there: what is drawn for each text."""
        return self.lines is not None and self.lines.by != "position"

    @property
    def changes_nothing(self) -> bool:
        """Whether the edit leaves every activation as it is: a gain of 1, nothing added, no bound."""
        neutral = {"scale": self.values == 1, "add": self.values == 0, "project": self.values == 0}
        if self.op == "clip":
            return bool(torch.isneginf(self.values[0]).all() and torch.isposinf(self.values[1]).all())
        return self.op in neutral and bool(neutral[self.op].all())

    def leased(self, lease: Lease | None) -> LayerEdit:
        """A copy of the edit that learns from a lease where tokens stand.

        Args:
            lease: Keeps the model's reader listening for as long as the copy exists; None for an edit that does not
                listen.
        """
        edit = copy.copy(self)
        edit.lease = lease
        return edit

    def __call__(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        # while a scan watches the model, what acts notes itself: it may have come from another thread for a moment
        fired = getattr(getattr(hook, "_target", hook), FIRED, None)
        if fired is not None and not self.changes_nothing:
            fired.add(self.digest)
        if not self.n_heads:
            # what follows (batch, pos) is one axis of units, as it was recorded
            if tensor.ndim == 3:
                return self._edited_activations(tensor)
            return self._edited_activations(tensor.flatten(2)).reshape(tensor.shape)
        # units are heads: they go to the last axis, and the width of a head is carried along before it
        heads = rearrange(by_head(tensor, self.n_heads), "batch pos head width -> batch pos width head")
        edited = self._edited_activations(heads)
        return rearrange(edited, "batch pos width head -> batch pos head width").reshape(tensor.shape)

    def _edited_activations(self, tensor: Float[torch.Tensor, "batch pos *width unit"]) -> Float[torch.Tensor, "..."]:
        place = (tensor.device, tensor.dtype)
        if place not in self._tensors:
            self._tensors[place] = self.members.to(tensor.device), self.values.to(*place)
        members, values = self._tensors[place]
        # the commonest case, constants at every position, need not read the members
        if not self.listens and self.op == "set":
            return tensor.index_copy(-1, members, values.expand(*tensor.shape[:-1], -1))
        own = tensor.index_select(-1, members)
        reading = self._current_reading() if self.listens else None
        if self.op == "set":
            edited = values
            if self.lines is not None and reading is not None:
                # (batch, pos, member): the table's line of every token
                edited = values[self.lines.index(reading, tensor.shape[0], tensor.shape[1], tensor.device)]
        elif self.op == "scale":
            edited = own * values
        elif self.op == "add":
            edited = own + values
        elif self.op == "clip":
            edited = own.clamp(values[0], values[1])
        else:
            # x - V'V x; rows of x are activations, rows of V are orthonormal directions
            edited = own - (own @ values.T) @ values
        if reading is not None and self.where.name != "all":
            touched = self.where.select(reading, tensor.shape[1], tensor.device)
            if touched.shape[0] not in (1, tensor.shape[0]):
                raise InputError(
                    f"the mask of positions has {touched.shape[0]} texts, the batch {tensor.shape[0]}; "
                    "give a line for each, or one for all"
                )
            # (batch or 1, pos), broadcast over the width of a head and the members; elsewhere members stay as they are
            edited = torch.where(touched.reshape(*touched.shape, *[1] * (tensor.ndim - 2)), edited, own)
        return tensor.index_copy(-1, members, edited.expand_as(own))

    def _current_reading(self) -> Reading:
        """Where the tokens of the running pass stand."""
        now = None if self.lease is None else self.lease.reader.now
        if now is None:
            raise RuntimeError(
                "an intervention on some positions runs in a pass of the whole model it was made for; "
                "call the model itself, inside `with`, or through hooks from fwd_hooks(model)"
            )
        return now

    def __repr__(self) -> str:
        return f"LayerEdit({self.op} {len(self.members)} units, {self.where.name} positions)"
