"""Sites: names become hooks of the loaded model, widths are those of its activations, refusals say what there is."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.sites import SITES, resolve_site

WIDTH = {
    "mlp.neurons": 24,
    "mlp.pre": 24,
    "mlp.up": 24,
    "attn.heads": 2,
}  # all others are coordinates of the residual stream
IDS = torch.arange(6)[None]


def gated_model() -> Any:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_layers": 2, "n_ctx": 32, "d_mlp": 24, "d_vocab": 50}
    config = TransformerBridgeConfig(**sizes, act_fn="silu", gated_mlp=True, normalization_type="RMS", seed=0)
    return TransformerBridge.boot_native(config).eval()


class LookAlike:
    """What TransformerLens 3.9 offers, of one layer's sparse mixture of experts and one dense layer, or of any
    kinds.
    """

    def __init__(self, *kinds: str, blocks: bool = True) -> None:
        self.cfg = SimpleNamespace(d_model=8, n_layers=len(kinds), model_name="org/mixture")
        self.hook_dict = {f"blocks.{layer}.mlp.hook_post": None for layer, kind in enumerate(kinds) if kind != "none"}
        dense = SimpleNamespace(W_out=torch.zeros(32, 8))
        if blocks:
            self.blocks = [SimpleNamespace(mlp=dense if kind == "dense" else SimpleNamespace()) for kind in kinds]

    def parameters(self) -> Any:
        return iter([torch.zeros(1)])

    @contextmanager
    def hooks(self, fwd_hooks: list[tuple[str, Any]]) -> Any:
        self.asked = fwd_hooks
        yield

    def __call__(self, ids: torch.Tensor) -> None:
        for _, function in self.asked:
            function(torch.zeros(*ids.shape, 5), hook=None)


@pytest.mark.parametrize("gated", [False, True])
def test_every_site_has_the_width_of_its_activations(gated: bool) -> None:
    model = gated_model() if gated else tiny_model(n_layers=3)
    _, cache = model.run_with_cache(IDS)
    for site in SITES:
        if site == "mlp.up" and not gated:
            continue
        found = resolve_site(model, site)
        assert found.space.widths == (WIDTH.get(site, 16),) * model.cfg.n_layers
        assert (found.space.site, found.space.model) == (site, "native")
        assert list(found.hook_names) == list(range(model.cfg.n_layers))
        for layer, name in found.hook_names.items():
            assert tuple(cache[name].shape[:3]) == (1, 6, found.space.widths[layer])


@pytest.mark.parametrize("gated", [False, True])
def test_sites_mean_what_they_say(gated: bool) -> None:
    model = gated_model() if gated else tiny_model()
    _, cache = model.run_with_cache(IDS)
    at = {site: cache[resolve_site(model, site).hook_names[1]] for site in SITES if gated or site != "mlp.up"}
    mlp = model.blocks[1].mlp
    bias = getattr(mlp, "b_out", None)
    close = torch.testing.assert_close
    close(at["mlp.neurons"] @ mlp.W_out + (0 if bias is None else bias), at["mlp.out"])
    activate = torch.nn.functional.silu if gated else torch.nn.functional.gelu
    close(activate(at["mlp.pre"]) * (at["mlp.up"] if gated else 1), at["mlp.neurons"], atol=1e-3, rtol=1e-3)
    close(at["resid.pre"] + at["attn.out"], at["resid.mid"])
    close(at["resid.mid"] + at["mlp.out"], at["resid.post"])


def test_a_hook_name_of_ones_own() -> None:
    model = tiny_model(d_mlp=20)
    found = resolve_site(model, "blocks.{layer}.mlp.in.hook_out")
    assert found.space.widths == (20, 20)
    assert found.space.site == "blocks.{layer}.mlp.in.hook_out"
    assert found.hook_names == {0: "blocks.0.mlp.in.hook_out", 1: "blocks.1.mlp.in.hook_out"}
    assert not any(point._forward_hooks for point in model.hook_dict.values())  # the probe took its hook away


def test_layers_are_numbers_in_order() -> None:
    found = resolve_site(tiny_model(n_layers=11), "mlp.neurons")
    assert list(found.hook_names) == list(range(11))
    assert found.hook_names[10] == "blocks.10.mlp.hook_post"


def test_a_site_is_part_of_one_name_only(model: Any) -> None:
    """A dot in a hook name is a dot, and the name is matched whole."""
    with pytest.raises(ValueError, match="which native does not have"):
        resolve_site(model, "blocks.{layer}.mlp.hook")
    with pytest.raises(ValueError, match="which native does not have"):
        resolve_site(model, "blocks.{layer}xmlp.hook_post")


def test_a_hook_that_is_no_list_of_units(model: Any) -> None:
    match = r"hook 'blocks\.0\.attn.hook_pattern' gave \[\(1, 2, 2, 2\), \(1, 2, 3, 3\)\] for prompts of two and of three tokens"
    with pytest.raises(ValueError, match=match):
        resolve_site(model, "blocks.{layer}.attn.hook_pattern")


@pytest.mark.parametrize(
    ("site", "near"), [("mlp.neuron", "mlp.neurons"), ("attn_out", "attn.out"), ("resid_post", "resid.post")]
)
def test_unknown_site_suggests(model: Any, site: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf'unknown site {site!r}; sites: mlp\.neurons, .*Did you mean "{near}"\?'):
        resolve_site(model, site)


def test_unknown_site_without_a_near_one(model: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown site 'zzz'; sites: .*, or a hook name with \{layer\} in it\.$"):
        resolve_site(model, "zzz")


def test_a_site_this_model_has_none_of(model: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"site 'mlp\.up' means the hook 'blocks\.\{layer\}\.mlp\.hook_pre_linear', which native does not have; hooks of "
        r"its layer 0 include .*mlp\.hook_pre",
    ):
        resolve_site(model, "mlp.up")


def test_objects_that_cannot_be_hooked() -> None:
    with pytest.raises(
        TypeError, match=r"Linear cannot be hooked \(it has no cfg, hook_dict, hooks\); give a TransformerLens"
    ):
        resolve_site(torch.nn.Linear(2, 2), "mlp.neurons")
    silent = SimpleNamespace(cfg=None, hook_dict={}, hooks=None)
    with pytest.raises(TypeError, match=r"SimpleNamespace cannot be hooked \(it has no __call__\)"):
        resolve_site(silent, "mlp.neurons")


def test_mixtures_of_experts_have_no_neurons() -> None:
    found = resolve_site(LookAlike("experts", "dense", "none", "dense", "experts"), "mlp.neurons")
    assert found.space.widths == (0, 32, 0, 32, 0)
    assert list(found.hook_names) == [1, 3]
    assert found.space.model == "mixture"
    with pytest.raises(
        ValueError, match=r"site 'mlp\.neurons' has no units in mixture: its MLPs are sparse mixtures of exp"
    ):
        resolve_site(LookAlike("experts", "experts"), "mlp.neurons")


def test_a_look_alike_without_blocks_is_asked_for_its_widths() -> None:
    found = resolve_site(LookAlike("dense", "dense", blocks=False), "mlp.neurons")
    assert found.space.widths == (5, 5)
