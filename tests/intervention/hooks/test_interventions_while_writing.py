"""Interventions while a model writes: caches, padding and batches move nothing, and scans of what is written hold what
was left.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.interventions import IDS, llama_bridge, module_hooks, network_of, texts_reference
from tests.helpers.models import tiny_model


@pytest.mark.parametrize(
    ("method", "positions"),
    [("zero", name) for name in ("all", "prompt", "generated", "last", "mask", "special")]
    + [("position_mean", "all"), ("position_mean", "generated"), ("resample", "last"), ("noise", "all")],
)
def test_generation_is_the_same_with_and_without_a_kv_cache(method, positions):
    bridge = llama_bridge()
    network, reference = network_of(bridge, range(0, 96, 2)), texts_reference(bridge)
    given = [1, 5, 9, 12] if positions == "mask" else positions
    if positions == "special":
        bridge.tokenizer = Specials([1, 8, 30, 42])
    options = {"max_new_tokens": 10, "do_sample": False, "stop_at_eos": False, "verbose": False}
    plain = bridge.generate(IDS, use_past_kv_cache=True, **options)
    needed = {} if method == "zero" else {"reference": reference, "method": method}
    with fbn.inhibit(bridge, network, positions=given, **needed):
        cached = bridge.generate(IDS, use_past_kv_cache=True, **options)
        uncached = bridge.generate(IDS, use_past_kv_cache=False, **options)
        theirs = bridge.original_model.generate(
            IDS,
            attention_mask=torch.ones_like(IDS),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    assert torch.equal(cached, uncached)
    assert torch.equal(cached, theirs)
    assert not torch.equal(cached, plain)
    assert torch.equal(bridge.generate(IDS, use_past_kv_cache=True, **options), plain)
    assert module_hooks(bridge) == 0


class Specials:
    """As much of a tokenizer as says which tokens are special."""

    pad_token_id, padding_side, eos_token_id, bos_token_id = None, "right", None, None

    def __init__(self, ids: list[int]) -> None:
        self.all_special_ids = ids


@pytest.mark.parametrize(
    ("positions", "touched"), [("prompt", range(8)), ("generated", range(8, 13)), ("last", range(7, 13))]
)
@pytest.mark.parametrize("cached", [True, False])
def test_generation_touches_these_tokens_and_no_others(positions, touched, cached):
    bridge = llama_bridge()
    network = network_of(bridge, range(48))
    seen: list[torch.Tensor] = []
    options = {"max_new_tokens": 6, "do_sample": False, "stop_at_eos": False, "verbose": False}
    with (
        fbn.clamp(bridge, network, at=7.0, positions=positions),
        bridge.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda t, hook: seen.append((t == 7.0).all(-1)))]),
    ):
        bridge.generate(IDS, use_past_kv_cache=cached, **options)
        whole = torch.cat(seen, dim=1) if cached else seen[-1]
    assert whole.shape == (2, 13)
    expected = torch.zeros(13, dtype=torch.bool)
    expected[list(touched)] = True
    assert torch.equal(whole, expected.expand(2, 13))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_moves_no_position(side):
    """A padded batch under its mask gives each text what it gets alone."""
    bridge = llama_bridge()
    network, reference = network_of(bridge, range(0, 96, 2)), texts_reference(bridge)
    short, long = IDS[0, :5], IDS[1]
    padded = torch.zeros(2, 8, dtype=torch.long)
    mask = torch.zeros_like(padded)
    place = slice(3, 8) if side == "left" else slice(0, 5)
    padded[0, place], mask[0, place], padded[1], mask[1] = short, 1, long, 1
    for intervention in (
        fbn.inhibit(bridge, network, positions="last"),
        fbn.inhibit(bridge, network, method="position_mean", reference=reference),
        fbn.inhibit(bridge, network, method="resample", reference=reference),
    ):
        with intervention, torch.no_grad():
            together = bridge(padded, attention_mask=mask)
            alone = [bridge(short[None]), bridge(torch.stack([short.new_zeros(8), long]))]
        torch.testing.assert_close(together[0, place], alone[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together[1], alone[1][1], rtol=1e-4, atol=1e-5)


def test_scans_of_generated_tokens_agree_in_every_mode_of_decoding():
    """What an intervention on written tokens does to a scan does not depend on how the model is made to write."""
    from tl_fbn.acquisition.model.sampling import Decoder

    bridge = llama_bridge()
    network = network_of(bridge, range(0, 96, 2))
    texts = [IDS[0, :5].tolist(), IDS[1].tolist()]
    for positions in ("prompt", "generated", "last"):
        found = []
        with fbn.inhibit(bridge, network, positions=positions), torch.no_grad():
            for mode in ("padded", "reread"):
                decoder = Decoder(bridge, mode)
                steps = [decoder.feed(texts), decoder.feed([[3], [4]]), decoder.feed([[5], [6]])]
                found.append(torch.stack(steps))
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [llama_bridge, tiny_model])
def test_scans_of_what_is_written_hold_what_the_intervention_left(make, tmp_path):
    """Behind a cache or by reading again, the recorded tokens are those the model wrote."""
    model = make()
    network = network_of(model, (0, 1, 30))
    prompts = {name: [[i, i + 1, i + 2] for i in range(first, first + 6)] for name, first in (("a", 1), ("b", 20))}
    design = fbn.block_design(
        prompts, n_runs=1, n_cycles=2, tokens_per_block=4, generate=True, tokens_per_prompt=4, seed=0
    )
    shares = {}
    for positions in ("prompt", "generated", "last"):
        with fbn.clamp(model, network, at=5.0, positions=positions):
            recording = fbn.Scanner(model).scan(design, tmp_path / positions, progress=False)
        shares[positions] = float((recording[0].read(units=network) == 5.0).mean())
    assert shares == {"prompt": 0.0, "generated": 1.0, "last": 1.0}


def test_draws_do_not_depend_on_who_shares_the_batch(model):
    network, reference = network_of(model, range(0, 48, 2)), texts_reference(model)
    rng = np.random.default_rng(0)
    items = [(tuple(rng.integers(0, 50, n).tolist()), (int(rng.integers(0, 50)),)) for n in (7, 3, 4, 5, 6, 2, 3)]
    battery = fbn.Battery.from_pairs({"a": items})
    for method in ("resample", "noise"):
        with fbn.inhibit(model, network, method=method, reference=reference):
            one, many = (battery.score(model, batch_tokens=size)["a"].log_likelihood for size in (8, 56))
            part = fbn.Battery.from_pairs({"a": items[2:]}).score(model)["a"].log_likelihood
        np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(part, many[2:], rtol=1e-4, atol=1e-5)


def test_masks_of_several_texts_are_refused_where_texts_are_sorted(model, tmp_path):
    mask = np.zeros((2, 8), bool)
    battery = fbn.Battery.from_pairs({"a": [((1, 2), (3,)), ((4, 5, 6), (7,))]})
    design = fbn.block_design(
        {"a": [[1, 2, 3]] * 1, "b": [[4, 5, 6]]}, n_runs=1, n_cycles=1, tokens_per_block=3, seed=0
    )
    with fbn.inhibit(model, network_of(model), positions=mask):
        with pytest.raises(ValueError, match="sorted by length"):
            battery.score(model)
        with pytest.raises(ValueError, match="sorted by length"):
            fbn.Scanner(model).scan(design, tmp_path / "r", progress=False)


def test_a_mask_belongs_to_its_intervention(model):
    mask = np.array([True, False, False])
    made = fbn.clamp(model, network_of(model), at=7.0, positions=mask)
    mask[:] = [False, False, True]
    with made:
        _, cache = model.run_with_cache(IDS)
    assert (cache["post", 0][0, :, 0] == 7.0).nonzero().flatten().tolist() == [0]


def test_last_needs_to_know_about_padding(model):
    model.tokenizer = Specials([0])
    model.tokenizer.pad_token_id = 0
    padded = IDS.clone()
    padded[0, 6:] = 0
    with (
        fbn.inhibit(model, network_of(model), positions="last"),
        pytest.raises(ValueError, match="pass attention_mask="),
    ):
        model(padded)


def test_a_copy_of_a_model_writes_by_itself():
    model = llama_bridge()
    with fbn.inhibit(model, network_of(model), positions="generated"):
        pass
    twin = copy.deepcopy(model)
    for parameter in twin.original_model.parameters():
        parameter.data.zero_()
    assert "generate" not in vars(model)
    assert getattr(twin.generate, "__self__", None) is twin
    assert twin.original_model.generate.__self__ is twin.original_model


def test_a_stream_belongs_to_the_block_it_was_made_in(model):
    prompts = {name: [[i, i + 1, i + 2] for i in range(first, first + 6)] for name, first in (("a", 1), ("b", 20))}
    design = fbn.block_design(prompts, n_runs=1, n_cycles=2, tokens_per_block=6, seed=0)
    with fbn.clamp(model, network_of(model), at=7.0):
        stream = fbn.Scanner(model).stream(design, progress=False)
    with pytest.raises(ValueError, match="inside the same `with` block"):
        fbn.fit_glm(stream)
