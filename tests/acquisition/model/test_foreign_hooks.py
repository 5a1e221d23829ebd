"""Foreign hooks under watch: readers pass, writers are named, everything is put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tl_fbn.acquisition.model.foreign_hooks import muted, watching

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


def through_data(module: Any, given: Any, output: torch.Tensor) -> None:
    output.data[..., 0] = 7.0


def through_numpy(module: Any, given: Any, output: torch.Tensor) -> None:
    output.detach().numpy()[..., 0] = 7.0


def returning(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
    return output * 2


def before(module: Any, given: Any) -> Any:
    return tuple(one * 2 for one in given)


def before_in_place(module: Any, given: Any) -> None:
    given[0].data.mul_(2)


def on_all(module: Any, given: Any, output: Any) -> Any:
    return output * 2 if isinstance(module, torch.nn.Linear) else None


def _mlp(model: Any) -> Any:
    return model.original_model.model.layers[0].mlp.down_proj


WRITERS = {
    "module, returning": lambda m: _mlp(m).register_forward_hook(returning),
    "module, .data": lambda m: _mlp(m).register_forward_hook(through_data),
    "module, .numpy()": lambda m: _mlp(m).register_forward_hook(through_numpy),
    "pre-hook": lambda m: _mlp(m).register_forward_pre_hook(before),
    "pre-hook, in place": lambda m: _mlp(m).register_forward_pre_hook(before_in_place),
    "all modules": lambda m: torch.nn.modules.module.register_module_forward_hook(on_all),
    "hook point, .data": lambda m: m.hook_dict[POINT].register_forward_hook(through_data),
}


@pytest.mark.parametrize("where", WRITERS)
def test_writers_of_every_kind_are_refused_or_named(where: str, tmp_path: Any) -> None:
    model = bridged(tiny_llama())
    scanner = fbn.Scanner(model)
    plain = scanner.scan(small_design(), tmp_path / "plain", progress=False)
    handle = WRITERS[where](model)
    try:
        for folder in ("plain", "r"):  # a finished recording is not handed back either
            with pytest.raises(ValueError, match=r"hook of yours on .* changes activations.*hooks_id="):
                scanner.scan(small_design(), tmp_path / folder, progress=False)
        assert not (tmp_path / "r").exists()
        with pytest.raises(ValueError, match="changes activations"), torch.no_grad():
            fbn.fit_glm(scanner.stream(small_design(), progress=False))
        named = scanner.scan(small_design(), tmp_path / "named", hooks_id="doubled", progress=False)
    finally:
        handle.remove()
    assert named.key != plain.key
    assert abs(named[0].read() - plain[0].read()).max() > 1e-4
    assert scanner.scan(small_design(), tmp_path / "plain", progress=False).key == plain.key


def test_a_hook_that_read_at_first_and_writes_later_is_refused(tmp_path: Any) -> None:
    model = tiny_model()
    writes = False

    def hook(tensor: torch.Tensor, hook: Any) -> torch.Tensor | None:
        return tensor + 1 if writes else None

    scanner = fbn.Scanner(model)
    with model.hooks(fwd_hooks=[(POINT, hook)]):
        scanner.scan(small_design(), tmp_path / "r", progress=False)
        writes = True
        for folder in ("r", "other"):
            with pytest.raises(ValueError, match="changes activations"):
                scanner.scan(small_design(), tmp_path / folder, progress=False)


@torch.no_grad()
def test_a_watch_sees_hooks_and_interventions_that_come_or_go() -> None:
    model = tiny_model()
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1])
    with watching(model, allowed=False) as watch:
        model(IDS)
        watch.check()
        with fbn.inhibit(model, network), pytest.raises(ValueError, match=r"0 edits .* at the beginning, 1 are now"):
            watch.check()
    with watching(model, allowed=False) as watch:
        with fbn.inhibit(model, network):
            model(IDS)
        with pytest.raises(ValueError, match="others in between"):
            watch.check()
    with (
        watching(model, allowed=False) as watch,
        model.hooks(fwd_hooks=[(POINT, replacing)]),
        pytest.raises(ValueError, match=r"was put on .* unwatched"),
    ):
        watch.check()
    with fbn.inhibit(model, network), watching(model, allowed=False) as watch:
        model(IDS)
        watch.check()
        with fbn.amplify(model, network, gain=1.0):  # changes nothing
            model(IDS)
        watch.check()


@torch.no_grad()
def test_muted_hooks_do_nothing_and_come_back() -> None:
    model = tiny_model()
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1])
    plain = model(IDS)
    with fbn.inhibit(model, network), model.hooks(fwd_hooks=[(POINT, replacing)]):
        both = model(IDS)
        with muted(model, foreign=True):
            assert torch.equal(model(IDS), plain)
        assert torch.equal(model(IDS), both)
    assert torch.equal(model(IDS), plain)
