"""Every architecture, every site: recorded values, writing and gradients against PyTorch's hooks on the Hugging Face
model.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import tl_fbn as fbn
from tests.oracle.architectures import ARCHITECTURES, D_MODEL, MIXTURES, N_HEADS, N_LAYERS, VOCABULARY, Architecture
from tl_fbn.acquisition.model.sites import HEADS, by_head, resolve_site

IDS = torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0))
PROMPTS = {"a": IDS[:1].tolist(), "b": IDS[1:].tolist()}
SITES = ("mlp.neurons", "mlp.pre", "mlp.up", "mlp.out", "attn.out", HEADS, "resid.pre", "resid.mid", "resid.post")


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Architecture, Any, Any]:
    """An architecture, a Hugging Face model of it, and a bridge of a copy."""
    architecture = request.param
    plain = architecture.build()
    return architecture, plain, architecture.bridged(plain)


def design() -> fbn.BlockDesign:
    return fbn.block_design(PROMPTS, n_runs=1, n_cycles=1, tokens_per_block=IDS.shape[1], seed=0)


def _loss(logits: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())


def _heads(values: torch.Tensor) -> torch.Tensor:
    return by_head(values, N_HEADS)


def test_sites_are_those_the_architecture_has(pair: tuple[Architecture, Any, Any]) -> None:
    architecture, _, bridge = pair
    for site in SITES:
        if site in architecture.points:
            width = architecture.d_mlp if site in SITES[:3] else N_HEADS if site == HEADS else D_MODEL
            assert resolve_site(bridge, site).space.widths == (width,) * N_LAYERS
        else:
            with pytest.raises(ValueError, match=f"site {site!r} means the hook"):
                resolve_site(bridge, site)


def test_recorded_values_are_those_of_the_hugging_face_model(
    pair: tuple[Architecture, Any, Any], tmp_path: Any
) -> None:
    architecture, plain, bridge = pair
    sites = list(architecture.points)
    recording = fbn.Scanner(bridge, site=sites).scan(design(), tmp_path / "r", progress=False)
    for site in sites:
        with torch.no_grad(), architecture.tapped(plain, site, len(IDS)) as seen:
            plain(IDS)
        run = recording.site(site)[0]
        for prompt in (0, 1):
            rows = run.rows.index[run.rows["prompt"] == prompt]
            text = next(i for i, ids in enumerate(IDS.tolist()) if ids == run.rows["token_id"][rows].tolist())
            for layer, values in seen.items():
                want = _heads(values).mean(-1) if site == HEADS else values
                np.testing.assert_allclose(
                    run.layer(layer)[rows], want[text], rtol=1e-4, atol=2e-5, err_msg=f"{site}, layer {layer}"
                )


def test_writing_a_site_is_writing_the_hugging_face_module(pair: tuple[Architecture, Any, Any]) -> None:
    architecture, plain, bridge = pair
    with torch.no_grad():
        intact = plain(IDS).logits
        torch.testing.assert_close(bridge(IDS), intact, rtol=1e-4, atol=1e-4)
        for site in architecture.points:
            space = resolve_site(bridge, site).space
            silenced = {layer: range(0, space.widths[layer], 3) for layer in range(N_LAYERS)}

            def silence(layer: int, values: torch.Tensor, site: str = site, silenced: Any = silenced) -> torch.Tensor:
                values = (_heads(values).transpose(2, 3) if site == HEADS else values).clone()
                values[..., list(silenced[layer])] = 0
                return values.transpose(2, 3).flatten(2) if site == HEADS else values

            network = fbn.Network.from_indices(space, [(layer, unit) for layer in silenced for unit in silenced[layer]])
            with fbn.inhibit(bridge, network):
                ours = bridge(IDS)
            with architecture.tapped(plain, site, len(IDS), silence):
                theirs = plain(IDS).logits
            torch.testing.assert_close(
                ours, theirs, rtol=1e-4, atol=1e-4, msg=lambda text, site=site: f"{site}: {text}"
            )
            assert (theirs - intact).abs().max() > 0.05, f"silencing {site} changed nothing"


def test_gradients_reach_a_site(pair: tuple[Architecture, Any, Any]) -> None:
    architecture, plain, bridge = pair
    for site in architecture.points:
        with architecture.tapped(plain, site, len(IDS), lambda layer, values: values + 0) as seen:
            expected = torch.autograd.grad(_loss(plain(IDS).logits), [seen[layer] for layer in range(N_LAYERS)])
        found: dict[int, torch.Tensor] = {}
        names = resolve_site(bridge, site).hook_names

        def keep(gradient: torch.Tensor, hook: Any, layer: int, found: dict[int, torch.Tensor] = found) -> None:
            found[layer] = gradient.detach().clone()

        hooks = [(name, partial(keep, layer=layer)) for layer, name in names.items()]
        with bridge.hooks(bwd_hooks=hooks):
            _loss(bridge(IDS)).backward()
        bridge.zero_grad()
        for layer, gradient in enumerate(expected):
            size = float(gradient.abs().max())
            assert size > 0, f"{site} layer {layer} has no gradient"
            torch.testing.assert_close(
                found[layer].reshape(gradient.shape), gradient, rtol=1e-3, atol=1e-4 * size, msg=f"{site} layer {layer}"
            )


@pytest.mark.filterwarnings("ignore:.*does not support fold_ln:UserWarning")
def test_compatibility_mode_changes_the_key_and_no_neuron(pair: tuple[Architecture, Any, Any], tmp_path: Any) -> None:
    architecture, plain, _ = pair
    bridge = architecture.bridged(plain)
    raw = fbn.Scanner(bridge, surprisal=False).scan(design(), tmp_path / "raw", progress=False)
    bridge.enable_compatibility_mode(disable_warnings=True)
    folded = fbn.Scanner(bridge, surprisal=False).scan(design(), tmp_path / "folded", progress=False)
    assert folded.key != raw.key
    np.testing.assert_allclose(folded[0].read(), raw[0].read(), rtol=1e-3, atol=1e-4)


def test_a_mixture_of_experts_is_refused_by_name() -> None:
    bridge = MIXTURES["Mixtral"].bridged(MIXTURES["Mixtral"].build())
    with pytest.raises(
        ValueError, match=r"site 'mlp.neurons' has no units in .*: its MLPs are sparse mixtures of experts"
    ):
        fbn.Scanner(bridge)
    assert resolve_site(bridge, "mlp.out").space.widths == (D_MODEL,) * N_LAYERS


def test_dense_layers_between_mixtures_of_experts_are_recorded(tmp_path: Any) -> None:
    architecture = MIXTURES["Qwen3Moe"]
    plain = architecture.build()
    bridge = architecture.bridged(plain)
    recording = fbn.Scanner(bridge).scan(design(), tmp_path / "r", progress=False)
    assert recording.space.widths == (48, 0)
    seen: list[torch.Tensor] = []
    plain.model.layers[0].mlp.down_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    run = recording[0]
    with torch.no_grad():
        plain(torch.tensor([run.rows["token_id"][:9].tolist()]))
    np.testing.assert_allclose(run.layer(0)[:9], seen[0][0], rtol=1e-4, atol=1e-5)
