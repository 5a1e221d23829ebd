"""Models by name, folder and file."""

from __future__ import annotations

import pytest
import torch
from transformers.utils import logging

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, worded
from tests.helpers.pruning import half
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.models import describe_model, is_fast, load_model, loading


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_are_not_there_are_named(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        load_model("demo", device=device)


def test_dtypes_of_models(monkeypatch):
    assert load_model("demo", dtype="bfloat16").blocks[0].mlp.W_in.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype of a model must be 'auto', 'float32', 'bfloat16' or 'float16'; got"):
        load_model("demo", dtype="int8")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "~/nowhere", "a/b/c"])
def test_folders_that_are_not_there_are_not_looked_for_elsewhere(name):
    with pytest.raises(ValueError, match=f"no folder at {name}; give a folder with a Hugging Face model"):
        load_model(name)


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"TransformerLens cannot load '.*empty' \(.*\); give a model name") as refused:
        load_model(str(tmp_path / "empty"), device="cpu")
    assert "\n" not in str(refused.value)


def test_a_pruned_folder_comes_back_with_its_widths_and_in_its_own_dtype(tmp_path):
    model = bridged(tiny_llama())
    prune(model, keep=half(model)).save_pretrained(tmp_path)
    small = load_model(str(tmp_path), device="cpu")
    assert fbn.Scanner(small).space.widths == tuple(half(model).per_layer())
    with pytest.raises(
        ValueError, match="is a pruned model, which loads in the dtype it was saved in; leave dtype out"
    ):
        load_model(str(tmp_path), dtype="bfloat16")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_transformers_bar_is_as_it_was_afterwards(progress, before):
    enabled = logging.is_progress_bar_enabled()
    switch = {True: logging.enable_progress_bar, False: logging.disable_progress_bar}
    try:
        switch[before]()
        with pytest.raises(KeyError), loading(progress):
            assert logging.is_progress_bar_enabled() is progress
            raise KeyError
        assert logging.is_progress_bar_enabled() is before
    finally:
        switch[enabled]()


def saved(folder, dtype=torch.float32):
    """A folder of a tiny Llama with a tokenizer of words, in a number type."""
    worded(folder, tiny_llama().to(dtype))
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_auto_is_the_number_type_of_the_checkpoint(tmp_path, dtype):
    folder = saved(tmp_path, getattr(torch, dtype))
    assert next(load_model(folder, device="cpu").parameters()).dtype == getattr(torch, dtype)
    assert next(load_model(folder, "float16", "cpu").parameters()).dtype == torch.float16


@pytest.mark.parametrize(
    ("folder", "label"),
    [("llama-2", "llama-2"), ("llama-2/hf", "llama-2-hf"), ("llama-2/checkpoint-500", "llama-2-checkpoint-500")],
)
def test_a_folder_names_its_model_and_a_wordless_one_the_folder_above_too(tmp_path, folder, label):
    path = tmp_path / folder
    path.mkdir(parents=True)
    saved(path)
    assert fbn.Scanner(load_model(path, device="cpu")).space.model == label
    assert load_model(path, device="cpu", label="mine").cfg.model_name == "mine"


def test_a_folder_may_end_as_a_file_does(tmp_path):
    path = tmp_path / "tiny.gguf"
    path.mkdir()
    saved(path)
    assert load_model(path, device="cpu").cfg.model_name == "tiny"


def test_a_line_says_what_was_loaded(tmp_path):
    model = load_model(saved(tmp_path), "bfloat16", "cpu", label="tiny")
    # embeddings and unembedding 50 x 32 each; a layer: q and o 32 x 32, k and v 32 x 16, three of 32 x 48, two norms
    n = 2 * 50 * 32 + 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32) + 32
    said = describe_model(model)
    assert said == f"tiny: LlamaForCausalLM, 2 layers x 48 neurons, {n / 1e6:.2f} M parameters, bfloat16, 1 MB on cpu"


@pytest.mark.parametrize(("name", "message"), [("a.gguf", "no file at a.gguf"), ("gone/x.gguf", "no file at gone/x")])
def test_files_that_are_not_there(name, message):
    with pytest.raises(fbn.InputError, match=message):
        load_model(name)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(fbn.InputError, match=r"is a file; give a \.gguf file, the folder of a checkpoint"):
        load_model(tmp_path / "model.safetensors")


def test_a_number_type_that_the_device_cannot_multiply(tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError('"addmm" not implemented for Half')

    monkeypatch.setattr(torch.Tensor, "__matmul__", refuse)
    folder = saved(tmp_path)
    for source in ("demo", folder):
        with pytest.raises(fbn.InputError, match=r"cpu cannot compute in float16 \(\"addmm\" .*\); give float32"):
            load_model(source, "float16", "cpu")


def test_a_link_names_its_model_as_the_cache_of_the_hub_has_them(tmp_path):
    (tmp_path / "blobs").mkdir()
    saved(tmp_path / "blobs")
    (tmp_path / "tiny-llama").symlink_to(tmp_path / "blobs")
    assert load_model(tmp_path / "tiny-llama", device="cpu").cfg.model_name == "tiny-llama"


def test_sixteen_bits_are_fast_where_the_processor_says_so(monkeypatch):
    able = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert [is_fast(name, None) for name in ("float32", "bfloat16", "float16")] == [True, False, False]
    assert is_fast("bfloat16", "cuda:0")
    able["amx_bf16"] = True
    assert is_fast("bfloat16", "cpu") and not is_fast("float16", "cpu")
    able["architecture"] = "aarch64"
    assert is_fast("float16", "cpu")
