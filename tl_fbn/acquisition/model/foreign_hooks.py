"""Hooks that a user has put on the model: do they change what is recorded?

A recording names what was done to the model while it was made. Interventions of this package say so themselves
(:class:`tl_fbn.acquisition.model.host.Edit`); any other hook may change activations without saying how. While the
model runs, each such hook is therefore wrapped where torch keeps it, and a hook that returns another activation or
edits it in place raises an error. Hooks that only read are left alone.

What it does not do: see an edit in place of an inference tensor, which has no version counter.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted


@uninterrupted
def watching(undo: ExitStack, model: HookedModel, *, allowed: bool) -> None:
    """Raise an error if a forward hook that is not of this package changes an activation while the body runs.

    Args:
        undo: Takes what puts the user's hooks back as they were.
        model: The model.
        allowed: True where the user has named what the hooks do (``hooks_id``): nothing is then checked.

    Raises:
        InputError: A hook changed an activation; the message names the hook point.
    """
    if allowed:
        return
    for name, point in model.hook_dict.items():
        for number, function in host.functions_on(point).items():
            hook = point._forward_hooks[number]
            if not isinstance(function, host.Edit) and not hasattr(hook, "_tl_fbn_watch"):
                undo.callback(_put_back, point._forward_hooks, number, hook)
                point._forward_hooks[number] = _raising_on_change(hook, name)


def _put_back(hooks: dict[int, Any], number: int, hook: Any) -> None:
    if number in hooks:  # the body may have removed it
        hooks[number] = hook


def _raising_on_change(function: Any, name: str) -> Any:
    """The hook function, with an error if it changes what it is given; ``name`` is that of the hook point."""

    def watched(module: Any, inputs: Any, output: Any) -> Any:
        # torch counts edits in place of every tensor but those made in inference mode
        version = output._version if isinstance(output, torch.Tensor) and not output.is_inference() else None
        result = function(module, inputs, output)
        # a hook that returns what it was given, or an equal copy, changes nothing
        replaced = result is not None and result is not output and not torch.equal(result, output)
        if replaced or (version is not None and output._version != version):
            raise InputError(
                f"a hook of yours on {name} changes activations, and a recording cannot know how; remove it, or name "
                "what it does with scan(..., hooks_id=...)"
            )
        return result

    watched._tl_fbn_watch = True  # pyright: ignore[reportFunctionMemberAccess]
    return watched
