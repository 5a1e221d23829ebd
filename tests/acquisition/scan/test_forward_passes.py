"""Forward passes: several sites at once, generated rows against re-reading, hooks that misfire, stopping early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tl_fbn as fbn
from tests.helpers.designs import small_design, token_prompts
from tests.helpers.models import CountedForwards, bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model import host, unembedding


def generating(**options: Any) -> fbn.BlockDesign:
    prompts = {"a": token_prompts(60, seed=1), "b": token_prompts(60, seed=2)}
    return fbn.block_design(
        prompts, seed=0, **{"n_runs": 2, "n_cycles": 2, "tokens_per_block": 10, "generate": True} | options
    )


MODELS = {
    "llama": lambda: bridged(tiny_llama()),
    "gpt2": lambda: bridged(tiny_gpt2()),
    "native": lambda: tiny_model(n_ctx=64),
}
OPTIONS = [
    {},
    {"tokens_per_prompt": 4},  # blocks end with a prompt of two tokens
    {"tokens_per_prompt": 5, "temperature": 1.0},
    {"tokens_per_prompt": 5, "carry_context": True, "n_cycles": 1},
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", OPTIONS)
def test_generated_rows_equal_one_re_reading_pass(name: str, options: dict[str, Any], tmp_path: Any) -> None:
    model = MODELS[name]()
    scanner = fbn.Scanner(model, site=["mlp.neurons", "attn.heads"], batch_size=3, entropy=True)
    recording = scanner.scan(generating(**options), tmp_path / "r", progress=False)
    carried = options.get("carry_context", False)
    for neurons, heads in zip(recording.site("mlp.neurons"), recording.site("attn.heads"), strict=True):
        text: list[int] = []
        assert set(neurons.rows["flags"]) == {"generated"}
        assert [len(rows) for _, rows in neurons.rows.groupby("block")] == [10] * len(neurons.events)
        for shown, (_, rows) in zip(neurons.about["prompts"], neurons.rows.groupby("prompt"), strict=True):
            text = [*(text if carried else []), *shown, *rows["token_id"]]
            with torch.no_grad():
                logits, cache = model.run_with_cache(torch.tensor([text]))
            n = len(rows)
            assert rows["position"].tolist() == list(range(len(text) - n, len(text)))
            for layer in (0, 1):
                expected = cache[f"blocks.{layer}.mlp.hook_post"][0, -n:]
                np.testing.assert_allclose(neurons.layer(layer)[rows.index], expected, rtol=1e-4, atol=1e-5)
                z = cache[f"blocks.{layer}.attn.hook_z"][0, -n:].reshape(n, model.cfg.n_heads, -1).mean(-1)
                np.testing.assert_allclose(heads.layer(layer)[rows.index], z, rtol=1e-4, atol=1e-5)
            log_probs = logits[0, -n - 1 : -1].log_softmax(-1)
            picked = log_probs[torch.arange(n), torch.tensor(rows["token_id"].to_numpy())]
            np.testing.assert_allclose(rows["surprisal"], -picked, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(rows["entropy"], -(log_probs.exp() * log_probs).sum(-1), rtol=1e-4, atol=1e-4)
            if not options.get("temperature"):
                never = host.end_tokens(model)
                log_probs[:, never] = -torch.inf
                np.testing.assert_array_equal(log_probs.argmax(-1), rows["token_id"])


def test_batch_size_changes_no_generated_token(tmp_path: Any) -> None:
    model = bridged(tiny_llama())
    design = generating(tokens_per_prompt=5, temperature=1.0)
    one, many = (fbn.Scanner(model, batch_size=n).scan(design, tmp_path / str(n), progress=False) for n in (1, 7))
    assert one.key == many.key
    for a, b in zip(one, many, strict=True):
        assert a.rows["token_id"].equals(b.rows["token_id"])
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-4, atol=1e-5)


def test_generation_happens_under_interventions(tmp_path: Any) -> None:
    model = bridged(tiny_llama())
    network = fbn.Network.from_indices(fbn.Scanner(model).space, range(0, 96, 2))
    plain = fbn.Scanner(model).scan(generating(), tmp_path / "plain", progress=False)
    with fbn.inhibit(model, network):
        lesioned = fbn.Scanner(model).scan(generating(), tmp_path / "lesioned", progress=False)
    assert not lesioned[0].read(units=network).any()
    assert not plain[0].rows["token_id"].equals(lesioned[0].rows["token_id"])


def test_several_sites_in_one_pass_equal_each_alone(tmp_path: Any) -> None:
    model = tiny_model()
    sites = ["mlp.neurons", "mlp.out", "attn.heads", "resid.post", "blocks.{layer}.attn.hook_q", "ln_final.hook_out"]
    counted = CountedForwards(model)
    scanner = fbn.Scanner(model, site=sites)
    before = counted.n
    together = scanner.scan(small_design(), tmp_path / "all", progress=False)
    passes = counted.n - before
    assert together.sites == sites
    for site in sites:
        alone = fbn.Scanner(model, site=site).scan(small_design(), tmp_path / site.replace("/", "_"), progress=False)
        view = together.site(site)
        assert view.space == alone.space
        for a, b in zip(view, alone, strict=True):
            np.testing.assert_array_equal(a.read(), b.read())
    # and one by which the counting hook is known to only read
    assert passes == -(-len(together.site("mlp.out")[0].rows["prompt"].unique()) // 8) * 2 + 1
    assert together.site("ln_final.hook_out").space.widths == (16,)
    assert together.site("blocks.{layer}.attn.hook_q").space.widths == (16, 16)
    together.verify()
    for what in (lambda: together.space, lambda: together[0], lambda: fbn.fit_glm(together)):
        with pytest.raises(ValueError, match=r"holds the sites mlp\.neurons, mlp\.out, .*recording\.site\(name\)"):
            what()
    with pytest.raises(ValueError, match=r"site 'mlp\.pre' was not recorded; sites: mlp\.neurons"):
        together.site("mlp.pre")
    assert "mlp.neurons (2 x 24) and" in repr(together)
    assert len(together.to_dataframe()) == together.n_rows


def test_some_layers_only_and_their_networks_work_on_the_model(tmp_path: Any) -> None:
    model = tiny_model(n_layers=3)
    whole = fbn.Scanner(model).scan(small_design(), tmp_path / "whole", progress=False)
    part = fbn.Scanner(model, layers=[0, 2]).scan(small_design(), tmp_path / "part", progress=False)
    assert part.space.widths == (24, 0, 24)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a.layer(2), b.layer(2))
        with pytest.raises(IndexError, match=r"layer 1 was not recorded.*layers: 0, 2"):
            b.layer(1)
    network = fbn.Network.from_indices(part.space, [0, 24])  # unit 0 of layers 0 and 2
    same = fbn.Network.from_indices(whole.space, [0, 48])
    ids = torch.tensor([[1, 2, 3]])
    with fbn.inhibit(model, network):
        lesioned = model(ids)
    with fbn.inhibit(model, same):
        torch.testing.assert_close(model(ids), lesioned, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"layer 3 is none of the model at 'mlp\.neurons'; layers: 0, 1, 2"):
        fbn.Scanner(model, layers=[3])
    with pytest.raises(ValueError, match="layers=\\[\\] records nothing"):
        fbn.Scanner(model, layers=[])


def test_without_surprisal_the_pass_ends_at_the_last_hook(tmp_path: Any) -> None:
    model = bridged(tiny_gpt2())
    reached: list[int] = []
    unembed = model.original_model.lm_head.register_forward_hook(lambda *_: reached.append(1))
    plain = fbn.Scanner(model, surprisal=False).scan(small_design(), tmp_path / "r", progress=False)
    assert len(reached) == 1  # the pass by which the hook is known to only read, which goes to the end
    unembed.remove()
    scored = fbn.Scanner(model).scan(small_design(), tmp_path / "scored", progress=False)
    for a, b in zip(plain, scored, strict=True):
        np.testing.assert_array_equal(a.read(), b.read())
        assert a.rows["surprisal"].isna().all()
        assert b.rows["surprisal"].notna().any()
    assert not any(point._forward_hooks for point in model.hook_dict.values())
    seen: list[int] = []  # a reader of the user's further on is still served
    with model.hooks(fwd_hooks=[("unembed.hook_out", lambda tensor, hook: seen.append(1))]):
        fbn.Scanner(model, surprisal=False).scan(small_design(seed=3), tmp_path / "read", progress=False)
    assert seen


def test_a_hook_that_does_not_fire_once_is_an_error(tmp_path: Any) -> None:
    model = tiny_model()
    scanner = fbn.Scanner(model, site="mlp.out")
    point = model.hook_dict["blocks.0.hook_mlp_out"]
    original = type(point).__call__

    def twice(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        return original(self, result) if self is point else result

    type(point).__call__ = twice
    try:
        with pytest.raises(ValueError, match=r"hook 'blocks\.0\.hook_mlp_out' fired twice in one forward pass"):
            scanner.scan(small_design(), tmp_path / "r", progress=False)
    finally:
        type(point).__call__ = original
    type(point).__call__ = lambda self, x, *args: x if self is point else original(self, x, *args)
    try:
        with pytest.raises(ValueError, match=r"fired never in one forward pass"):
            scanner.scan(small_design(), tmp_path / "never", progress=False)
    finally:
        type(point).__call__ = original
    assert sorted(entry.name for entry in (tmp_path / "r").iterdir()) == ["recording.json"]


class LargestLogits(TorchDispatchMode):
    """Notes the most elements of any tensor that is as wide as the vocabulary, while it is entered."""

    def __init__(self, d_vocab: int) -> None:
        super().__init__()
        self.most = 0
        self._d_vocab = d_vocab

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in torch.utils._pytree.tree_leaves(result):
            if isinstance(one, torch.Tensor) and one.ndim and one.shape[-1] == self._d_vocab:
                self.most = max(self.most, one.numel())
        return result


@pytest.mark.parametrize("entropy", [False, True])
def test_logits_of_all_positions_are_never_in_memory_together(
    entropy: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(d_vocab=997)
    scanner = fbn.Scanner(model, entropy=entropy)
    whole = scanner.scan(small_design(), tmp_path / "whole", progress=False)
    largest = LargestLogits(997)
    monkeypatch.setattr(unembedding, "PIECE_BYTES", 4 * 997 * 20)  # 20 positions, a few more than the key's short text
    with largest:
        pieces = scanner.scan(small_design(), tmp_path / "pieces", progress=False)
    assert largest.most == 20 * 997
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(a.read(), b.read())
        for name in ("surprisal", "entropy") if entropy else ("surprisal",):
            np.testing.assert_allclose(a.rows[name], b.rows[name], rtol=1e-5, atol=1e-6)
            assert a.rows[name].notna().any()


def test_logits_of_prompts_before_written_tokens_are_not_made(tmp_path: Any) -> None:
    for number, model in enumerate((bridged(tiny_llama()), tiny_model(n_ctx=64))):
        prompts = {name: [[seed + i, 1, 2, 3, 4] for i in range(9)] for seed, name in ((5, "a"), (20, "b"))}
        design = fbn.block_design(prompts, n_runs=2, n_cycles=4, tokens_per_block=5, seed=0, generate=True)
        with LargestLogits(50) as largest:
            fbn.Scanner(model, batch_size=16).scan(design, tmp_path / str(number), progress=False)
        # of 16 prompts of 5 tokens one position each, where all would be 80; the weights of the unembedding are 32 x 50
        assert largest.most <= 32 * 50
