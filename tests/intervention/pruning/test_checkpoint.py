"""Pruned models on disk: plain transformers reads them, and they come back as they were."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from safetensors import SafetensorError

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama
from tests.helpers.pruning import TEXTS, close, half, logits, one_by_one
from tests.oracle.architectures import architecture
from tl_fbn import files
from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning.checkpoint import FILE, load_pruned
from tl_fbn.intervention.pruning.mlp_surgery import n_parameters
from tl_fbn.intervention.pruning.prune import prune


def test_copies_save_themselves(tmp_path):
    model = bridged(tiny_llama())
    first = prune(model, keep=half(model))
    small = copy.deepcopy(first)
    with torch.no_grad():
        small.blocks[0].mlp.out.original_component.weight.mul_(2)
    small.save_pretrained(tmp_path)
    back = logits(load_pruned(tmp_path))
    assert torch.equal(back, logits(small)) and not close(back, logits(first), 1e-2)


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


def test_damaged_weights_are_named(tmp_path):
    """One flipped bit, a missing file, a file too many; checkpoints of earlier versions have no checksums and load."""
    model = bridged(tiny_llama())
    small = prune(model, keep=half(model), progress=False)
    small.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 64]) + whole[-4:])
    with pytest.raises(
        InputError, match=r"model\.safetensors is not what was saved \(its checksum changed\); save the"
    ):
        load_pruned(tmp_path)
    arrays, about = files.read_result(tmp_path / FILE, "Pruned")
    del about["checksums"]
    files.write_result(tmp_path / FILE, "Pruned", arrays, about)
    assert not torch.equal(logits(load_pruned(tmp_path)), logits(small))
    weights.unlink()
    small.save_pretrained(tmp_path)
    assert torch.equal(logits(load_pruned(tmp_path)), logits(small))
    weights.rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(
        InputError, match=r"model-00001-of-00002\.safetensors is not what|model\.safetensors is missing"
    ):
        load_pruned(tmp_path)


def test_a_full_disk_names_the_folder(tmp_path, monkeypatch):
    model = bridged(tiny_llama())
    small = prune(model, keep=half(model), progress=False)

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", full)
    with pytest.raises(OSError, match="has no room for the pruned model; make room and save again"):
        small.save_pretrained(tmp_path)
