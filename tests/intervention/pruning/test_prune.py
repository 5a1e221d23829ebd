"""Pruning: small models compute what masked ones do, are as small as they say, and come back from disk as they were."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from jaxtyping import TypeCheckError

import tl_fbn as fbn
from tests.conftest import blocks, bridged, tiny_gpt2, tiny_llama, tiny_model
from tests.oracle.architectures import ARCHITECTURES, MIXTURES, Architecture, architecture
from tl_fbn.acquisition.model import host
from tl_fbn.intervention.hooks.interventions import inhibit, retain
from tl_fbn.intervention.pruning.checkpoint import load_pruned
from tl_fbn.intervention.pruning.mlp_surgery import n_parameters
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio
from tl_fbn.intervention.pruning.prune_report import PruneReport

IDS = torch.tensor([[5, 7, 11, 13, 2, 40], [3, 3, 9, 1, 17, 29]])
TEXTS = [[4, 8, 15, 16, 23, 42], [1, 2], [31, 41, 5, 9]]


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def half(model, *, seed: int = 0, share: float = 0.5, site: str = "mlp.neurons") -> fbn.Network:
    space = fbn.Scanner(model, site=site).space
    return fbn.Network(space, np.random.default_rng(seed).random(space.n_units) < share, name="half")


def logits(model, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


def close(one: torch.Tensor, other: torch.Tensor, at_most: float = 1e-4) -> bool:
    return float((one - other).abs().max()) <= at_most * max(1.0, float(other.abs().max()))


def masked_by_hand(arch: Architecture, plain, kept: fbn.Network, ids: torch.Tensor) -> torch.Tensor:
    """Plain PyTorch: the down projection's input of an untouched Hugging Face model, times a mask."""
    rows = [torch.from_numpy(layer) for layer in kept.by_layer()]
    with arch.tapped(plain, "mlp.neurons", len(ids), lambda layer, value: value * rows[layer]):
        return logits(plain, ids)


QUICK = ("GPT2", "OPT", "Llama", "Phi3", "Falcon")  # Conv1D, at the block, gated, fused, a linear module of its own


def one_by_one(labels, quick):
    """Parameters of a test, of which all but some are slow."""
    return [pytest.param(one, id=str(one), marks=() if str(one) in quick else pytest.mark.slow) for one in labels]


@pytest.mark.parametrize("arch", one_by_one(ARCHITECTURES, QUICK))
def test_small_equals_masked_on_every_architecture(arch):
    plain = arch.build()
    model = arch.bridged(plain)
    kept = half(model)
    small = prune(model, keep=kept)
    assert close(logits(small), masked_by_hand(arch, plain, kept, IDS))
    assert not close(logits(small), logits(plain), 1e-2)  # what was removed mattered
    assert fbn.Scanner(small).space.widths == tuple(kept.per_layer())
    assert close(logits(model), logits(plain))
    assert set(small.hook_dict) == set(model.hook_dict)


def test_matrices_are_smaller_and_parameters_counted():
    for plain, part, per_neuron in ((tiny_llama(), "gate_proj", 3 * 32), (tiny_gpt2(), "c_fc", 2 * 32 + 1)):
        model = bridged(copy.deepcopy(plain))
        kept = half(model)
        small = prune(model, keep=kept)
        sizes = [
            max(tuple(module.weight.shape), key=lambda n: n != 32)
            for name, module in small.original_model.named_modules()
            if name.endswith(part)
        ]
        assert sizes == kept.per_layer().tolist()
        before = sum({id(p): p.numel() for p in plain.parameters()}.values())
        removed = kept.space.n_units - len(kept)
        assert (small.pruned.n_before, small.pruned.n_after) == (before, before - removed * per_neuron)
        assert small.pruned.n_after == n_parameters(small)
        assert small.pruned.ratio == pytest.approx(removed * per_neuron / before)


def test_the_intact_model_stays_as_it_is(model):
    before, modes = host.weights_digest(model), [m.training for m in model.modules()]
    ids = logits(model)
    prune(model, keep=half(model), compensate=TEXTS, progress=False)
    assert host.weights_digest(model) == before
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(logits(model), ids)
    assert host.active_edits(model) == []


def test_what_prunes_is_what_retains(model):
    network = half(model)
    with retain(model, network):
        wanted = logits(model)
    assert close(logits(prune(model, keep=network)), wanted)
    assert close(logits(prune(model, remove=~network)), wanted)


def test_dtype_buffers_ties_and_mode_are_kept():
    plain = tiny_gpt2().to(torch.bfloat16)
    model = bridged(copy.deepcopy(plain))
    small = prune(model, keep=half(model))
    inside = small.original_model
    assert {p.dtype for p in inside.parameters()} == {torch.bfloat16}
    assert inside.lm_head.weight is inside.transformer.wte.weight
    assert not inside.training and not small.training
    llama = bridged(tiny_llama())
    inside = prune(llama, keep=half(llama)).original_model
    assert torch.equal(inside.model.rotary_emb.inv_freq, tiny_llama().model.rotary_emb.inv_freq)


def test_a_layer_may_lose_all_of_its_neurons(model):
    only = fbn.Network.from_indices(half(model).space, [(1, 3), (1, 20)])
    small = prune(model, keep=only)
    with retain(model, only):
        assert close(logits(small), logits(model))
    assert fbn.Scanner(small).space.widths == (0, 2)


def test_dense_layers_of_mixtures_can_be_pruned(tmp_path):
    mixed = MIXTURES["Qwen3Moe"]
    model = mixed.bridged(mixed.build())
    network = half(model)
    small = prune(model, keep=network)
    with retain(model, network):
        assert close(logits(small), logits(model))
    small.save_pretrained(tmp_path)
    assert close(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)), logits(small))
    assert torch.equal(logits(load_pruned(tmp_path)), logits(small))
    sparse = MIXTURES["Mixtral"]
    with pytest.raises(ValueError, match="sparse mixtures"):
        prune(sparse.bridged(sparse.build()), keep=network)


def test_copies_save_themselves(tmp_path):
    model = bridged(tiny_llama())
    first = prune(model, keep=half(model))
    small = copy.deepcopy(first)
    with torch.no_grad():
        small.blocks[0].mlp.out.original_component.weight.mul_(2)
    small.save_pretrained(tmp_path)
    back = logits(load_pruned(tmp_path))
    assert torch.equal(back, logits(small)) and not close(back, logits(first), 1e-2)


def test_protected_layers_stay_whole():
    model = tiny_model(n_layers=4)
    none = fbn.Network.from_indices(half(model).space, [])
    small = prune(model, keep=none, protect_first=1, protect_last=2)
    assert small.pruned.kept.per_layer().tolist() == [24, 0, 24, 24]
    with inhibit(model, (~none).restrict(layers=[1])):
        assert close(logits(small), logits(model))
    with pytest.raises(ValueError, match="protect fewer"):
        prune(model, keep=none, protect_first=2, protect_last=2)


def test_a_network_of_some_layers_leaves_the_others_whole(model):
    space = fbn.Scanner(model, layers=[1]).space
    small = prune(model, keep=fbn.Network.from_indices(space, [(1, 0)]))
    assert small.pruned.kept.per_layer().tolist() == [24, 1]


def test_compensation_by_a_recording_is_mean_ablation(tmp_path):
    model = bridged(tiny_llama())
    design = fbn.block_design({"a": TEXTS, "b": IDS.tolist()}, tokens_per_block=10, n_cycles=1, n_runs=1, seed=0)
    recording = fbn.Scanner(model).scan(design, tmp_path / "recording", progress=False)
    network = half(model)
    small = prune(model, keep=network, compensate=recording)
    with inhibit(model, ~network, method="mean", reference=recording):
        assert close(logits(small), logits(model))
    assert small.pruned.compensation == "recording"
    assert not close(logits(small), logits(prune(model, keep=network)), 1e-3)


@pytest.mark.parametrize("label", ["GPT2", "Llama", "OPT"])
def test_compensation_by_prompts_is_sequential_and_weighs_tokens(label):
    arch = architecture(label)
    plain = arch.build()
    model = arch.bridged(plain)
    network = half(model, seed=3)
    small = prune(model, keep=network, compensate=TEXTS, batch_size=2, progress=False)
    means: dict[int, torch.Tensor] = {}
    for layer, kept in enumerate(network.by_layer()):  # text by text, no padding, in the Hugging Face model
        seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}

        def edit(at: int, value: torch.Tensor, seen: dict[int, list[torch.Tensor]] = seen) -> torch.Tensor:
            seen[at].append(value[0].double())
            if at in means:
                value = value.clone()
                value[:, :, torch.from_numpy(~network.by_layer()[at])] = means[at].float()
            return value

        for text in TEXTS:
            with arch.tapped(plain, "mlp.neurons", 1, edit), torch.no_grad():
                plain(torch.tensor([text]))
        means[layer] = torch.cat(seen[layer]).mean(0)[torch.from_numpy(~kept)]

    def held(at: int, value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[:, :, torch.from_numpy(~network.by_layer()[at])] = means[at].float()
        return value

    with arch.tapped(plain, "mlp.neurons", len(IDS), held):
        wanted = logits(plain)
    assert close(logits(small), wanted)


def test_compensation_is_kinder_than_zero():
    """Removed neurons that are constant: with their means back nothing is lost at all."""
    model = tiny_model()
    gone = fbn.Network.from_indices(half(model).space, [(0, 4), (1, 9)])
    with torch.no_grad():
        for layer, unit in ((0, 4), (1, 9)):
            model.blocks[layer].mlp.W_in[:, unit] = 0
            model.blocks[layer].mlp.b_in[unit] = 3.0
    small = prune(model, remove=gone, compensate=TEXTS, probe=IDS, progress=False)
    assert close(logits(small), logits(model))
    assert not close(logits(prune(model, remove=gone)), logits(model), 1e-2)


def test_heads_with_grouped_queries_get_smaller_by_whole_groups():
    arch = architecture("Llama")
    plain = arch.build()
    model = arch.bridged(plain)
    space = fbn.Scanner(model, site="attn.heads").space
    for keep, stored in (
        ([(0, 0), (0, 1), (1, 2), (1, 3)], 2),  # one key and value each layer, both its queries
        ([(0, 0), (0, 2), (1, 1), (1, 3)], 2),  # both keys, one query each
        ([(0, 0), (1, 1)], 1),
        ([(0, 0), (1, 0), (1, 1), (1, 2)], 4),  # one layout cannot be smaller: silenced in place
    ):
        network = fbn.Network.from_indices(space, keep)
        small = prune(model, heads=network)
        off = [torch.from_numpy(layer) for layer in network.by_layer()]

        def edit(layer: int, value: torch.Tensor, off: list[torch.Tensor] = off) -> torch.Tensor:
            return value * off[layer].repeat_interleave(8)

        with arch.tapped(plain, "attn.heads", len(IDS), edit):
            assert close(logits(small), logits(plain))
        assert small.pruned.heads_stored == stored
        assert fbn.Scanner(small, site="attn.heads").space.widths == (stored, stored)
        assert small.pruned.heads == network
    assert (small.pruned.n_before == small.pruned.n_after) is True


def test_heads_and_neurons_together_and_heads_of_gpt2_in_place():
    model = bridged(tiny_gpt2())
    heads = fbn.Network.from_indices(fbn.Scanner(model, site="attn.heads").space, [(0, 1), (1, 0), (1, 2)])
    network = half(model)
    small = prune(model, keep=network, heads=heads)
    with inhibit(model, ~heads), retain(model, network):
        assert close(logits(small), logits(model))
    assert small.pruned.heads_stored == 4
    assert list(small.pruned.to_dataframe()["heads_kept"]) == [1, 2]


SAVED = ("Llama", "Qwen2", "GPT2", "OPT")


@pytest.mark.parametrize("label", one_by_one([*SAVED, "Galactica", "Phi3", "Bloom", "Falcon", "Gemma2"], SAVED))
def test_saved_and_loaded_by_plain_transformers(label, tmp_path):
    arch = architecture(label)
    model = arch.bridged(arch.build())
    biased = {"compensate": TEXTS} if label not in ("Qwen2", "Phi3", "Gemma2") else {}
    small = prune(model, keep=half(model), progress=False, **biased)
    small.save_pretrained(tmp_path)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(plain).__name__ == type(small.original_model).__name__
    assert close(logits(plain), logits(small))
    if label not in ("Bloom",):
        widest = int(small.pruned.kept.per_layer().max())
        assert widest in vars(plain.config).values()
    back = load_pruned(tmp_path)
    assert torch.equal(logits(back), logits(small))
    assert set(back.hook_dict) == set(small.hook_dict)
    assert fbn.Scanner(back).space == fbn.Scanner(small).space
    assert n_parameters(back) == n_parameters(small)
    assert back.pruned.to_dataframe().equals(small.pruned.to_dataframe())
    again = tmp_path / "again"
    back.save_pretrained(again)
    assert torch.equal(logits(load_pruned(again)), logits(small))


def test_a_bias_that_no_config_can_say_is_kept_beside(tmp_path):
    arch = architecture("Qwen2")
    model = arch.bridged(arch.build())
    small = prune(model, keep=half(model), compensate=TEXTS, progress=False)
    with pytest.warns(UserWarning, match="plain transformers runs without it"):
        small.save_pretrained(tmp_path)
    assert torch.equal(logits(load_pruned(tmp_path)), logits(small))
    bare = prune(model, keep=small.pruned.kept)
    assert close(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)), logits(bare))


def test_heads_survive_the_disk(tmp_path):
    arch = architecture("Qwen3")
    model = arch.bridged(arch.build())
    heads = fbn.Network.from_indices(fbn.Scanner(model, site="attn.heads").space, [(0, 0), (0, 1), (1, 2)])
    small = prune(model, keep=half(model), heads=heads)
    assert small.pruned.heads_stored == 2
    small.save_pretrained(tmp_path)
    assert close(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)), logits(small))
    assert torch.equal(logits(load_pruned(tmp_path)), logits(small))


def test_the_embedded_model_with_its_tokenizer(demo_model, tmp_path):
    small = prune(demo_model, keep=half(demo_model), compensate=["sort c a b", "count a a"], progress=False)
    small.save_pretrained(tmp_path)
    back = load_pruned(tmp_path)
    assert torch.equal(logits(back), logits(small))
    assert back.tokenizer.chat_template == demo_model.tokenizer.chat_template
    assert back.cfg.model_name == demo_model.cfg.model_name
    assert torch.equal(back.to_tokens("sort"), demo_model.to_tokens("sort"))
    assert (tmp_path / "tokenizer.json").is_file()


def test_pruned_models_can_be_scanned_lesioned_and_pruned_again():
    model = bridged(tiny_llama())
    first = prune(model, keep=half(model))
    network = half(first, seed=5)
    second = prune(first, keep=network)
    with retain(first, network):
        assert close(logits(second), logits(first))
    assert second.pruned.n_before == first.pruned.n_after


def test_parts_that_were_trained_after_the_boot_are_what_is_pruned():
    """Bridges compute with their own halves of fused matrices."""
    for label in ("Phi3", "Glm", "GPT2"):
        arch = architecture(label)
        model = arch.bridged(arch.build())
        with torch.no_grad():
            model.blocks[0].mlp.get_submodule("in").original_component.weight.mul_(1.5)
        network = half(model)
        small = prune(model, keep=network)
        with retain(model, network):
            assert close(logits(small), logits(model))


def test_keep_for_ratio_takes_the_nearest_step():
    model = bridged(tiny_llama())
    space = fbn.Scanner(model).space
    z = np.random.default_rng(1).normal(size=space.n_units)
    total = n_parameters(model)
    for ratio in (0.05, 0.2, 0.4):
        network = keep_for_ratio(model, fbn.UnitMap(space, z, "z"), ratio=ratio)
        removed = space.n_units - len(network)
        assert abs(removed * 96 / total - ratio) <= 48 / total + 1e-12
        assert prune(model, keep=network).pruned.ratio == pytest.approx(
            network.provenance["selection"]["removed_share"], abs=1e-12
        )
        tau = network.provenance["selection"]["tau"]
        assert np.array_equal(network.members, np.abs(z) > tau)


def test_keep_for_ratio_with_an_atlas_protected_layers_and_ties():
    model = tiny_model(n_layers=3)
    space = fbn.Scanner(model).space
    maps = np.random.default_rng(2).normal(size=(4, space.n_units)).round(1)
    atlas = fbn.Atlas(space, {f"N{i}": fbn.Network(space, np.abs(row) > 1) for i, row in enumerate(maps)}, maps=maps)
    network = keep_for_ratio(model, atlas, ratio=0.1, protect_first=1)
    selection = network.provenance["selection"]
    expected = (np.abs(maps).max(0) > selection["tau"]) | (space.layer_of == 0)
    assert np.array_equal(network.members, expected)
    assert prune(model, keep=network).pruned.ratio == pytest.approx(selection["removed_share"], abs=1e-12)
    with pytest.raises(ValueError, match="cannot be removed"):
        keep_for_ratio(model, atlas, ratio=0.9)
    with pytest.raises(ValueError, match="no share"):
        keep_for_ratio(model, atlas, ratio=20.0)
    with pytest.raises(ValueError, match="no maps"):
        keep_for_ratio(model, fbn.Atlas.from_networks(dict(atlas)), ratio=0.1)
    with pytest.raises(ValueError, match="Score this model first"):
        keep_for_ratio(tiny_model(), atlas, ratio=0.1)


def test_report(model, tmp_path):
    network = half(model)
    report = prune(model, keep=network).pruned
    assert "half" in report.kept.name and report.kept == network
    assert "neurons left" in repr(report) and "<table" in report._repr_html_()
    assert list(report.to_dataframe()["removed"]) == (24 - network.per_layer()).tolist()
    assert report.difference < 1e-4
    report.save(tmp_path / "report.safetensors")
    back = PruneReport.load(tmp_path / "report.safetensors")
    assert (back.kept, back.n_after, back.ratio) == (report.kept, report.n_after, report.ratio)
    assert back.about["weights"] == host.weights_digest(model)


def test_what_is_refused(model, tmp_path):
    network = half(model)
    with pytest.raises(ValueError, match="exactly one of keep"):
        prune(model)
    with pytest.raises(ValueError, match="exactly one of keep"):
        prune(model, keep=network, remove=network)
    with pytest.raises(ValueError, match="Record or localise"):
        prune(tiny_model(d_mlp=30), keep=network)
    with pytest.raises(ValueError, match="given as heads="):
        prune(model, keep=half(model, site="attn.heads"))
    with pytest.raises(ValueError, match=r"Give a network of attn.heads"):
        prune(model, heads=network)
    with pytest.raises(ValueError, match="no list of prompts"):
        prune(model, keep=network, compensate=[])
    with pytest.raises(ValueError, match="takes 1 to 32"):
        prune(model, keep=network, compensate=[[1] * 40])
    with pytest.raises(ValueError, match="no Hugging Face model"):
        prune(model, keep=network).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no tl_fbn_pruned"):
        load_pruned(tmp_path)
    with inhibit(model, network), pytest.raises(ValueError, match="hooks change it"):
        prune(model, keep=network)
    other = fbn.Recording.from_arrays([[np.zeros((4, 3))]], events=[blocks(["a"], 4)])
    with pytest.raises(ValueError, match="Record that site"):
        prune(model, keep=network, compensate=other)


def test_an_old_host_and_compatibility_mode_are_refused():
    class Old:
        cfg, hook_dict = None, {}

        def hooks(self):
            """As HookedTransformer's."""

        def __call__(self):
            """Likewise."""

    model = bridged(tiny_gpt2())
    with pytest.raises((TypeError, TypeCheckError), match="TransformerBridge"):
        prune(Old(), keep=half(model))
    model = architecture("GPT2").bridged(architecture("GPT2").build())
    network = half(model)
    model.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(ValueError, match="enable_compatibility_mode"):
        prune(model, keep=network)


def test_a_difference_in_logits_is_an_error(model, monkeypatch):
    from tl_fbn.intervention.pruning import mlp_surgery as surgery

    honest = surgery.cut_mlp
    monkeypatch.setattr(surgery, "cut_mlp", lambda plain, layer, kept: honest(plain, layer, kept[:-1]))
    with pytest.raises(ValueError, match="is not the masked one"):
        prune(model, keep=half(model))
