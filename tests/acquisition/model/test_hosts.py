"""One contract for every host: TransformerLens's bridges (3.9, 4.0, newest), HookedTransformer (3.9), subclasses of
both.

``.ci/hosts`` runs this file, and the table of architectures, on the older versions too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import CountedForwards, bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model.sites import HEADS, SITES, by_head, resolve_site
from tl_fbn.attribution.gradient_points import gradient_points, mlp_inputs

try:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
except ImportError:  # since 4.0
    HookedTransformer = None
pytestmark = pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning")
hooked = pytest.mark.skipif(HookedTransformer is None, reason="HookedTransformer was removed in TransformerLens 4.0")

SIZES = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_layers": 2, "n_ctx": 64, "d_mlp": 24, "d_vocab": 50}


def wearing_a_subclass(model: Any) -> Any:
    """As SAELens makes a bridge its own, and as its users then hold it."""
    mixin = type(f"SAE{type(model).__name__}", (type(model),), {"add_sae": lambda self, sae: None, "acts_to_saes": {}})
    model.__class__ = mixin
    return model


def hooked_transformer(**options: Any) -> Any:
    torch.manual_seed(0)
    config = HookedTransformerConfig(**SIZES, **{"act_fn": "gelu", "normalization_type": "LN", "seed": 0} | options)
    return HookedTransformer(config).eval()


def hooked_subclass() -> Any:
    class HookedSAETransformer(HookedTransformer):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.acts_to_saes: dict[str, Any] = {}

    torch.manual_seed(0)
    config = HookedTransformerConfig(**SIZES, act_fn="gelu", normalization_type="LN", seed=0)
    return HookedSAETransformer(config).eval()


HOSTS = [
    pytest.param(lambda: bridged(tiny_gpt2()), id="bridge"),
    pytest.param(lambda: bridged(tiny_llama()), id="gated bridge"),
    pytest.param(lambda: wearing_a_subclass(bridged(tiny_llama())), id="bridge's subclass"),
    pytest.param(lambda: tiny_model(n_ctx=64), id="native bridge"),
    pytest.param(hooked_transformer if HookedTransformer else None, id="HookedTransformer", marks=hooked),
    pytest.param(
        lambda: hooked_transformer(gated_mlp=True, act_fn="silu", normalization_type="RMS", n_key_value_heads=1),
        id="gated HookedTransformer",
        marks=hooked,
    ),
    pytest.param(hooked_subclass, id="HookedSAETransformer", marks=hooked),
]


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest) -> Any:
    return request.param()


def sites_of(model: Any) -> list[str]:
    gated = any(name.endswith("mlp.hook_pre_linear") for name in model.hook_dict)
    return [site for site in SITES if gated or site != "mlp.up"]


def test_every_site_records_what_the_hosts_own_cache_holds(host: Any, tmp_path: Any) -> None:
    sites = sites_of(host)
    recording = fbn.Scanner(host, site=sites, batch_size=5).scan(small_design(), tmp_path / "r", progress=False)
    rows = recording.site("mlp.neurons")[0].rows
    for _, prompt in list(rows.groupby("prompt"))[:6]:
        with torch.no_grad():
            _, cache = host.run_with_cache(torch.tensor([prompt["token_id"].tolist()]))
        for site in sites:
            for layer, name in resolve_site(host, site).hook_names.items():
                want = (
                    by_head(cache[name], 2 if SIZES["n_heads"] == 2 else 4)[0].mean(-1)
                    if site == HEADS
                    else cache[name][0]
                )
                found = recording.site(site)[0].layer(layer)[prompt.index]
                np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5, err_msg=f"{site}, layer {layer}")


def test_surprisal_is_minus_the_log_probability(host: Any, tmp_path: Any) -> None:
    rows = fbn.Scanner(host).scan(small_design(), tmp_path / "r", progress=False)[0].rows
    for _, prompt in list(rows.groupby("prompt"))[:3]:
        ids = prompt["token_id"].tolist()
        with torch.no_grad():
            log_p = torch.log_softmax(host(torch.tensor([ids]))[0], -1)
        want = [-float(log_p[i, token]) for i, token in enumerate(ids[1:])]
        assert np.isnan(prompt["surprisal"].iloc[0])
        np.testing.assert_allclose(prompt["surprisal"].iloc[1:], want, rtol=1e-3, atol=1e-4)


def test_a_second_scan_reads_no_prompts_and_a_changed_weight_everything(host: Any, tmp_path: Any) -> None:
    scanner = fbn.Scanner(host)
    first = scanner.scan(small_design(), tmp_path / "r", progress=False)
    forwards = CountedForwards(host)
    assert scanner.scan(small_design(), tmp_path / "r", progress=False).key == first.key
    assert forwards.n == 1  # whether the counting hook only reads; the short text of the key is read without it
    weight = next(host.parameters())
    before = weight.data.reshape(-1)[3].item()
    try:
        weight.data.reshape(-1)[3] += 1
        with pytest.raises(ValueError, match="weights"):
            scanner.scan(small_design(), tmp_path / "r", progress=False)
    finally:
        weight.data.reshape(-1)[3] = before


def test_batches_and_padding_leave_no_trace(host: Any, tmp_path: Any) -> None:
    one = fbn.Scanner(host, batch_size=1).scan(small_design(), tmp_path / "one", progress=False)
    many = fbn.Scanner(host, batch_size=16).scan(small_design(), tmp_path / "many", progress=False)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-4, atol=1e-5)


def test_generated_rows_equal_one_re_reading_pass(host: Any, tmp_path: Any) -> None:
    prompts = {"a": [[1, 2, 3], [4, 5]], "b": [[7, 8, 9, 1], [2, 2, 6]]}
    options = {"n_runs": 1, "n_cycles": 1, "tokens_per_block": 8, "tokens_per_prompt": 4, "seed": 0}
    design = fbn.block_design(prompts, generate=True, **options)
    run = fbn.Scanner(host, batch_size=3).scan(design, tmp_path / "r", progress=False)[0]
    texts = {tuple(text) for text in (*prompts["a"], *prompts["b"])}
    for _, block in run.rows.groupby("prompt"):
        new = block["token_id"].tolist()
        matches = []
        for text in texts:
            ids = torch.tensor([[*text, *new]])
            with torch.no_grad():
                logits, cache = host.run_with_cache(ids)
            if logits[0, len(text) - 1 : -1].argmax(-1).tolist() == new:
                matches.append(
                    np.concatenate([cache[f"blocks.{layer}.mlp.hook_post"][0, len(text) :] for layer in range(2)], -1)
                )
        assert any(np.allclose(run.read()[block.index], match, rtol=1e-3, atol=1e-5) for match in matches)


def test_a_streamed_glm_equals_the_stored_one(host: Any, tmp_path: Any) -> None:
    scanner, design = fbn.Scanner(host), small_design()
    stored = fbn.fit_glm(scanner.scan(design, tmp_path / "r", progress=False)).contrast("a - b")
    streamed = fbn.fit_glm(scanner.stream(design, progress=False)).contrast("a - b")
    spread = float(stored.effect.values.std())
    np.testing.assert_allclose(streamed.effect.values, stored.effect.values, rtol=1e-5, atol=1e-5 * spread)


def test_lesions_act_and_leave(host: Any) -> None:
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    for site in sites_of(host):
        space = resolve_site(host, site).space
        network = fbn.Network.from_indices(space, [(0, 0), (1, 1)])
        with torch.no_grad():
            intact = host(ids)
            with fbn.inhibit(host, network):
                lesioned = host(ids)
                _, cache = host.run_with_cache(ids)
            torch.testing.assert_close(host(ids), intact, rtol=0, atol=0)
        assert not torch.equal(lesioned, intact), site
        values = cache[resolve_site(host, site).hook_names[1]]
        values = by_head(values, space.widths[1])[0, :, 1] if site == HEADS else values[0, :, 1]
        assert not values.any(), site


def test_gradients_reach_every_site_through_interventions(host: Any) -> None:
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    for site in sites_of(host):
        found: list[torch.Tensor] = []
        resolved = resolve_site(host, site)
        network = fbn.Network.from_indices(resolved.space, [(0, 0)])
        hook = (resolved.hook_names[0], lambda gradient, hook, found=found: found.append(gradient.detach().clone()))
        with fbn.amplify(host, network, gain=1.5), host.hooks(bwd_hooks=[hook]):
            torch.nn.functional.cross_entropy(host(ids)[0, :-1], ids[0, 1:]).backward()
        host.zero_grad()
        assert len(found) == 1 and float(found[0].abs().max()) > 0, site


def test_a_foreign_hook_is_refused_without_a_name_and_recorded_with_one(host: Any, tmp_path: Any) -> None:
    scanner = fbn.Scanner(host)
    with host.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda tensor, hook: tensor * 2)]):
        with pytest.raises(ValueError, match="hooks_id"):
            scanner.scan(small_design(), tmp_path / "r", progress=False)
        doubled = scanner.scan(small_design(), tmp_path / "r", hooks_id="doubled", progress=False)
    plain = scanner.scan(small_design(), tmp_path / "p", progress=False)
    assert doubled.key != plain.key
    np.testing.assert_allclose(doubled[0].layer(0)[:], 2 * plain[0].layer(0)[:], rtol=1e-5)


def test_gradient_scores_are_first_order_effects_and_read_the_mlps_input(host: Any) -> None:
    ids = [[3, 9, 4, 17, 22, 5], [7, 7, 21, 40]]
    positions = [[1, 3, 5], [2, 3]]
    scores = fbn.attribution.gradient_x_activation(host, ids, positions, progress=False)

    def likelihood() -> float:
        with torch.no_grad():
            found = [host(torch.tensor([one]))[0].log_softmax(-1) for one in ids]
        parts = zip(ids, positions, found, strict=True)
        return float(np.mean([np.mean([float(log_p[at - 1, one[at]]) for at in where]) for one, where, log_p in parts]))

    for unit in (3, scores.space.widths[0] + 5):
        network, levels = fbn.Network.from_indices(scores.space, [unit]), []
        for gain in (1.05, 0.95):
            with fbn.amplify(host, network, gain=gain):
                levels.append(likelihood())
        assert (levels[0] - levels[1]) / 0.1 == pytest.approx(scores.values[unit], rel=0.02, abs=2e-5)
    # what CGVST takes for the MLP's input is what its up projection reads
    _, points = gradient_points(host, "mlp.up")
    inputs = mlp_inputs(host, [0, 1])
    _, cache = host.run_with_cache(torch.tensor(ids[:1]), names_filter=[*points.values(), *inputs.values()])
    for layer in (0, 1):
        mlp = host.blocks[layer].mlp
        bias = getattr(mlp, "b_in", None)
        read = cache[inputs[layer]] @ mlp.W_in + (0 if bias is None else bias)
        assert torch.allclose(read, cache[points[layer]], atol=1e-5)
    for variant in ("row_l1", "row_l2", "grad"):
        assert np.isfinite(fbn.cgvst(host, ids, positions=positions, variant=variant, progress=False).values).all()


@pytest.mark.parametrize(
    ("positions", "touched"), [("prompt", range(5)), ("generated", range(5, 8)), ("last", range(4, 8))]
)
def test_an_intervention_on_some_positions_touches_them_while_the_host_writes(
    host: Any, positions: str, touched: range
) -> None:
    network = fbn.Network.from_indices(fbn.Scanner(host).space, range(8))
    ids = torch.tensor([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])
    name = resolve_site(host, "mlp.neurons").hook_names[0]
    for cached in (True, False):
        seen: list[torch.Tensor] = []

        def look(tensor: torch.Tensor, hook: Any, seen: list[torch.Tensor] = seen) -> None:
            seen.append((tensor[..., :8] == 7.0).all(-1))

        with fbn.clamp(host, network, at=7.0, positions=positions), host.hooks(fwd_hooks=[(name, look)]):
            host.generate(
                ids, max_new_tokens=4, do_sample=False, stop_at_eos=False, verbose=False, use_past_kv_cache=cached
            )
        whole = torch.cat(seen, dim=1) if seen[-1].shape[1] == 1 else seen[-1]
        expected = torch.zeros(8, dtype=torch.bool)
        expected[list(touched)] = True
        assert torch.equal(whole, expected.expand(2, 8))
    assert "generate" not in vars(host)
