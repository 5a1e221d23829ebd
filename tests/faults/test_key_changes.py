"""What decides what a model computes is in the key, and what does not is not: a table of changes, each on a new model.

``python -m pytest tests/faults/test_key_changes.py -s -m slow`` prints how many changes of each kind were tried, how many of
those that matter left the key as it was (blind), and how many of those that do not matter changed it (needless).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from transformers.models.llama import modeling_llama

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama

Change = Callable[[Any], Any]  # done to a bridge; what it returns is a context in which it stays, or None


def _modules(model: Any, part: str) -> list[Any]:
    """Hugging Face's own modules, inside those that TransformerLens puts around them, whose names end so."""
    named = {name.replace("._original_component", ""): one for name, one in model.original_model.named_modules()}
    found = [one for name, one in named.items() if name.endswith(part)]  # the innermost of a name comes last
    assert found, part
    return found


def _config(**values: Any) -> Change:
    def change(model: Any) -> None:
        for name, value in values.items():
            setattr(model.original_model.config, name, value)

    return change


def _every(part: str, **values: Any) -> Change:
    """Attributes of all modules whose name ends so."""

    def change(model: Any) -> None:
        for module in _modules(model, part):
            for name, value in values.items():
                setattr(module, name, value)

    return change


def _forward(part: str, wrap: Callable[[Any], Any]) -> Change:
    def change(model: Any) -> None:
        module = _modules(model, part)[0]
        module.forward = wrap(module.forward)

    return change


def _weight(part: str, edit: Callable[[torch.Tensor], Any]) -> Change:
    def change(model: Any) -> None:
        edit(_modules(model, part)[0].weight.data)

    return change


class Adapter(torch.nn.Module):
    """A low-rank addition to a layer that can be switched off, as PEFT's are."""

    def __init__(self, base: torch.nn.Module) -> None:
        super().__init__()
        self.base = base
        self.delta = torch.nn.Linear(base.in_features, base.out_features, bias=False)  # pyright: ignore
        self.disable_adapters = False
        self.scaling = {"default": 1.0}

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        out = self.base(values)
        return out if self.disable_adapters else out + self.delta(values) * self.scaling["default"]


class Packed(torch.nn.Module):
    """A quantised layer whose weights are neither parameters nor buffers, as PyTorch's and others' are."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.scale = float(base.weight.abs().max() / 127)
        self._packed = {"codes": (base.weight.detach() / self.scale).round().to(torch.int8)}

    def get_extra_state(self) -> Any:
        return self._packed

    def set_extra_state(self, state: Any) -> None:
        self._packed = state

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values @ (self._packed["codes"].float() * self.scale).T


def llama() -> Any:
    return bridged(tiny_llama())


def adapted() -> Any:
    model = tiny_llama()
    torch.manual_seed(1)
    layer = model.model.layers[0].self_attn
    layer.o_proj = Adapter(layer.o_proj)
    return bridged(model.eval())


def packed() -> Any:
    model = tiny_llama()
    layer = model.model.layers[0].self_attn
    layer.o_proj = Packed(layer.o_proj)
    return bridged(model.eval())


def gpt2() -> Any:
    return bridged(tiny_gpt2())


def dynamic() -> Any:
    model = tiny_llama()
    config = model.config
    config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    config.max_position_embeddings = 16
    torch.manual_seed(0)
    return bridged(type(model)(config).eval())


def _o_proj(model: Any) -> Any:
    return _modules(model, "self_attn.o_proj")[0]


def _rope(model: Any) -> Any:
    return _modules(model, "model.rotary_emb")[0]


@contextlib.contextmanager
def _matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(model: Any) -> Any:
    return fbn.Network.from_indices(fbn.Scanner(model).space, [(0, 3), (1, 7)])


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda forward: lambda *args, **options: forward(*args, **options) * factor


# name: (how the model is made, the change)
MATTERS: dict[str, tuple[Callable[[], Any], Change]] = {
    "another activation function": (llama, _every("mlp", act_fn=torch.nn.GELU())),
    "another activation function, of GPT-2": (gpt2, _every("mlp", act=torch.nn.SiLU().eval())),
    "activation function of the configuration": (llama, lambda m: setattr(m.cfg, "act_fn", "gelu")),
    "epsilon of a norm": (llama, _every("input_layernorm", variance_epsilon=1e-3)),
    "epsilon of a norm, little": (llama, _every("input_layernorm", variance_epsilon=2e-6)),
    "epsilon of a LayerNorm": (gpt2, _every("ln_1", eps=1e-2)),
    "epsilon of the configuration": (llama, lambda m: setattr(m.cfg, "eps", 1e-3)),
    "RoPE frequencies": (llama, lambda m: _rope(m).inv_freq.mul_(0.5)),
    "RoPE attention scaling": (llama, lambda m: setattr(_rope(m), "attention_scaling", 1.2)),
    "RoPE parameters of the configuration": (llama, _config(rope_parameters={"rope_type": "linear", "factor": 2.0})),
    "RoPE kind": (dynamic, lambda m: setattr(_rope(m), "rope_type", "default")),
    "attention scaling": (llama, _every("self_attn", scaling=0.1)),
    "attention scaling, little": (llama, _every("self_attn", scaling=8**-0.5 + 1e-6)),
    "attention without its mask": (llama, _every("self_attn", is_causal=False)),
    "sliding window": (llama, _every("self_attn", sliding_window=2)),
    "a patched function of a library": (llama, lambda m: mock.patch.object(modeling_llama, "rotate_half", torch.neg)),
    "a patched method of a class": (
        llama,
        lambda m: mock.patch.object(
            modeling_llama.LlamaMLP, "forward", lambda self, x: self.down_proj(self.up_proj(x))
        ),
    ),
    "use_attn_result": (gpt2, lambda m: setattr(m.cfg, "use_attn_result", True)),
    "autocast": (llama, lambda m: torch.autocast("cpu", dtype=torch.bfloat16)),
    "precision of products": (llama, lambda m: _matmul_precision("medium")),
    "precision of products, high": (llama, lambda m: _matmul_precision("high")),
    "an adapter switched off": (adapted, lambda m: setattr(_o_proj(m), "disable_adapters", True)),
    "an adapter's scaling": (adapted, lambda m: setattr(_o_proj(m), "scaling", {"default": 0.5})),
    "a packed weight": (packed, lambda m: _o_proj(m)._packed["codes"].view(-1)[:1].add_(1)),
    "the scale of packed weights": (packed, lambda m: setattr(_o_proj(m), "scale", _o_proj(m).scale * 1.01)),
    "forward of a module": (llama, _forward("mlp.down_proj", _scaled(2.0))),
    "forward of a module, by another constant": (llama, _forward("mlp.down_proj", _scaled(1.00001))),
    "forward of an attention, as a partial": (
        llama,
        _forward("self_attn.o_proj", lambda f: functools.partial(lambda x, *, by: f(x) * by, by=1.5)),
    ),
    "one weight": (llama, _weight("down_proj", lambda w: w.view(-1)[:1].add_(1))),
    "one bit of a weight": (llama, _weight("down_proj", lambda w: w.view(torch.int32).view(-1)[:1].add_(1))),
    "a sign of a norm's weight": (llama, _weight("input_layernorm", lambda w: w[:1].neg_())),
    "weights in half precision": (llama, lambda m: m.original_model.to(torch.bfloat16)),
    "compatibility mode": (gpt2, lambda m: m.enable_compatibility_mode(disable_warnings=True, no_processing=True)),
    "inhibit": (llama, lambda m: fbn.inhibit(m, _network(m))),
    "amplify": (llama, lambda m: fbn.amplify(m, _network(m), gain=1.01)),
    "clamp": (llama, lambda m: fbn.clamp(m, _network(m), low=0.0)),
}
HARMLESS: dict[str, tuple[Callable[[], Any], Change]] = {
    "nothing": (llama, lambda m: None),
    "a text that was read before": (llama, lambda m: m(torch.arange(12)[None]) is None),
    "dynamic RoPE, after a long text": (dynamic, lambda m: m(torch.arange(40)[None]) is None),
    "one thread": (llama, lambda m: _threads(1)),
    "two threads": (llama, lambda m: _threads(2)),
    "a gain of 1": (llama, lambda m: fbn.amplify(m, _network(m), gain=1.0)),
    "nothing added": (llama, lambda m: fbn.amplify(m, _network(m), add=0.0)),
    "a hook that reads": (llama, lambda m: m.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda tensor, hook: None)])),
    "a module hook that reads": (llama, lambda m: _modules(m, "mlp")[0].register_forward_hook(lambda *_: None) is None),
    "the model's name": (llama, lambda m: setattr(m.cfg, "model_name", "another")),
    "gradients switched off": (llama, lambda m: m.requires_grad_(False) is None),
    "another device's name": (llama, lambda m: setattr(m.cfg, "device", "cpu:0")),
    "no cache": (llama, _config(use_cache=False)),
    "weights copied": (llama, _weight("down_proj", lambda w: w.copy_(w.clone()))),
}


def key_of(model: Any) -> str:
    return fbn.Scanner(model).stream(small_design(), progress=False).key


@contextlib.contextmanager
def done(change: Change, model: Any) -> Iterator[None]:
    result = change(model)
    with result if hasattr(result, "__enter__") else contextlib.nullcontext():
        yield


@torch.no_grad()
def _keys(make: Callable[[], Any], change: Change) -> tuple[str, str]:
    """The key of a model, and that of the same model after a change."""
    model = make()
    before = key_of(model)
    with done(change, model):
        return before, key_of(model)


@pytest.mark.slow
def test_every_change_that_matters_changes_the_key_and_no_other_does() -> None:
    differs = {name: len(set(_keys(*case))) > 1 for name, case in {**MATTERS, **HARMLESS}.items()}
    blind = [name for name in MATTERS if not differs[name]]
    needless = [name for name in HARMLESS if differs[name]]
    print(f"\n{len(MATTERS)} changes that matter, {len(blind)} blind; {len(HARMLESS)} others, {len(needless)} needless")
    assert len(differs) >= 45
    assert (blind, needless) == ([], [])


def test_a_folder_says_which_setting_is_another(tmp_path: Path) -> None:
    model = llama()
    fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    _every("input_layernorm", variance_epsilon=1e-3)(model)
    with pytest.raises(ValueError, match=r"module\.variance_epsilon: .* there, .* here"):
        fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
