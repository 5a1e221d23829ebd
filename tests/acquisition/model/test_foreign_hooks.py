"""Foreign hooks under watch: readers pass, writers are named, everything is put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.foreign_hooks import watching

POINT = "blocks.0.mlp.hook_post"
IDS = torch.arange(6)[None]


def in_place(tensor: torch.Tensor, hook: Any) -> None:
    tensor[..., 0] = 7.0


def replacing(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return tensor + 1


@torch.no_grad()
@pytest.mark.parametrize("writes", [in_place, replacing])
def test_a_writer_is_named_unless_allowed(writes: Any) -> None:
    model = tiny_model()
    with model.hooks(fwd_hooks=[(POINT, writes)]):
        before = [dict(point._forward_hooks) for point in model.hook_dict.values()]
        with (
            pytest.raises(ValueError, match=r"hook of yours on blocks\.0\.mlp\S+ changes activations"),
            watching(model, allowed=False),
        ):
            model(IDS)
        with watching(model, allowed=True):
            model(IDS)
        assert [dict(point._forward_hooks) for point in model.hook_dict.values()] == before


@torch.no_grad()
def test_readers_and_our_own_edits_pass() -> None:
    model = tiny_model()
    seen: list[Any] = []

    def same(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        seen.append(hook.name)
        return tensor.clone()

    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1])
    with (
        fbn.inhibit(model, network),
        model.hooks(fwd_hooks=[(POINT, same)]),
        watching(model, allowed=False),
    ):
        model(IDS)
    assert seen
