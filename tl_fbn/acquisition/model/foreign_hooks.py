"""Hooks of the user's, watched: do they change what is recorded?

A hook that is not ours may write, and a content key cannot know what it does. While the model runs, each such hook is
wrapped where torch keeps it; one that replaces its activation by another, or edits it in place, raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError


@contextmanager
def watching(model: HookedModel, *, allowed: bool) -> Iterator[None]:
    """Raise if a forward hook that is not ours changes an activation while the body runs.

    Args:
        model: The model.
        allowed: The user has named what the hooks do: nothing is watched.
    """
    wrapped: list[tuple[dict[int, Any], int, Any]] = []
    if not allowed:
        for name, point in model.hook_dict.items():
            for number, function in host.functions_on(point).items():
                hook = point._forward_hooks[number]
                if not isinstance(function, host.Edit) and not hasattr(hook, "_tl_fbn_watch"):
                    wrapped.append((point._forward_hooks, number, hook))
                    point._forward_hooks[number] = _watched(hook, name)
    try:
        yield
    finally:
        for hooks, number, function in wrapped:
            if number in hooks:
                hooks[number] = function


def _watched(function: Any, name: str) -> Any:
    def watched(module: Any, inputs: Any, output: Any) -> Any:
        version = output._version if isinstance(output, torch.Tensor) and not output.is_inference() else None
        result = function(module, inputs, output)
        replaced = result is not None and result is not output and not torch.equal(result, output)
        if replaced or (version is not None and output._version != version):
            raise InputError(
                f"a hook of yours on {name} changes activations, and a recording cannot know how; remove it, or name what it does "
                "with scan(..., hooks_id=...)"
            )
        return result

    watched._tl_fbn_watch = True  # pyright: ignore[reportFunctionMemberAccess]
    return watched
