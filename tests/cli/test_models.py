"""Models a command is given by name."""

from __future__ import annotations

import pytest
from transformers.utils import logging

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama
from tests.helpers.pruning import half
from tl_fbn import cli
from tl_fbn.cli.models import load_model, loading
from tl_fbn.intervention.pruning.prune import prune


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_are_not_there_are_named(device, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        cli.load_model("demo", device=device)


def test_dtypes_of_models(monkeypatch):
    import torch

    assert cli.load_model("demo", dtype="bfloat16").blocks[0].mlp.W_in.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype of a model must be 'float32', 'bfloat16' or 'float16'; got"):
        cli.load_model("demo", dtype="int8")


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
        ValueError, match="is a pruned model, which loads in the dtype it was saved in; leave --dtype out"
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
