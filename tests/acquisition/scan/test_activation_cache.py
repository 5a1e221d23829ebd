"""A recording as an ActivationCache: the numbers of ``run_with_cache``, nothing read too early, nothing written to
disk.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.scan import activation_cache as cache_view

ALL_SITES = ["mlp.neurons", "resid.post", "attn.heads", "attn.out", "blocks.{layer}.attn.hook_z"]
SITES = ["mlp.neurons", "resid.post"]


@pytest.fixture(scope="module")
def design() -> fbn.BlockDesign:
    conditions = {"sort": fbn.prompts("sort", n=40), "rest": fbn.prompts("rest", n=40)}
    return fbn.block_design(conditions, n_runs=2, n_cycles=1, tokens_per_block=32, seed=0)


@pytest.fixture(scope="module")
def recording(demo_model, design, tmp_path_factory) -> fbn.Recording:
    return fbn.Scanner(demo_model, site=ALL_SITES).scan(design, tmp_path_factory.mktemp("scan") / "r", progress=False)


def ids_of(recording: fbn.Recording, run: int, prompt: int) -> torch.Tensor:
    rows = recording.runs_of[0][run].rows
    return torch.tensor([rows["token_id"][rows["prompt"] == prompt].tolist()])


@pytest.mark.parametrize("run", [0, 1])
def test_it_is_what_run_with_cache_gives(demo_model, recording, run: int) -> None:
    for prompt in recording.runs_of[0][run].rows["prompt"].unique()[:3].tolist():
        _, truth = demo_model.run_with_cache(ids_of(recording, run, prompt))
        cache = fbn.activation_cache(recording, run=run, prompt=prompt, model=demo_model)
        assert len(cache) == len(ALL_SITES) * demo_model.cfg.n_layers
        for key in cache:
            wanted = truth[key.removesuffix("_mean")]
            wanted = wanted.mean(-1) if key.endswith("_mean") else wanted
            assert cache[key].shape == wanted.shape
            assert torch.allclose(cache[key], wanted, atol=1e-5)
        assert cache["z", 1].shape[2:] == (demo_model.cfg.n_heads, demo_model.cfg.d_head)
        stacked = cache.stack_activation("resid_post")
        assert torch.allclose(stacked, truth.stack_activation("resid_post"), atol=1e-5)


def test_shorthand_counts_layers_from_either_end_with_and_without_a_model(demo_model, recording) -> None:
    for model in (None, demo_model):
        cache = fbn.activation_cache(recording, prompt=0, model=model)
        assert cache["post", 2].equal(cache["blocks.2.mlp.hook_post"])
        assert cache["post", -1].equal(cache["post", 2])
    assert fbn.activation_cache(recording, prompt=0)["z", 0].ndim == 3  # nobody says how many heads


def test_grouped_queries_have_heads_of_their_own(tmp_path: Path) -> None:
    model = bridged(tiny_llama())
    prompts = {"a": [[i, i + 1, 3] for i in range(4, 12)], "b": [[i, 2, i] for i in range(20, 28)]}
    design = fbn.block_design(prompts, n_runs=1, n_cycles=1, tokens_per_block=6, seed=0)
    hooks = [f"blocks.{{layer}}.attn.hook_{which}" for which in "qkv"]
    found = fbn.Scanner(model, site=hooks).scan(design, tmp_path / "r", progress=False)
    _, truth = model.run_with_cache(ids_of(found, 0, 1))
    cache = fbn.activation_cache(found, prompt=1, model=model)
    for which in "qkv":
        assert cache[which, 1].shape == truth[which, 1].shape
        assert torch.allclose(cache[which, 1], truth[which, 1], atol=1e-5)


def test_a_whole_run_is_rows_by_units(recording) -> None:
    cache = fbn.activation_cache(recording, run=1)
    assert not cache.has_batch_dim
    assert np.array_equal(cache["post", 0], recording.site("mlp.neurons")[1].layer(0))


def test_a_prompt_loses_its_batch_as_any_cache_does(recording) -> None:
    cache = fbn.activation_cache(recording, prompt=0)
    shape = cache["post", 0].shape
    assert cache.remove_batch_dim()["post", 0].shape == shape[1:]


@pytest.mark.parametrize("prompt", [None, 1])
def test_writing_into_a_tensor_leaves_the_recording_alone(recording, prompt: int | None) -> None:
    before = np.array(recording.site("resid.post")[0].layer(1))
    cache = fbn.activation_cache(recording, prompt=prompt)
    tensor = cache["resid_post", 1]
    tensor += 1
    tensor.zero_()
    assert not tensor.any()
    recording.verify()
    assert np.array_equal(recording.site("resid.post")[0].layer(1), before)
    assert cache["resid_post", 1].any()
    assert fbn.Recording.open(recording.path).site("resid.post")[0].layer(1).tobytes() == before.tobytes()


def test_recordings_in_memory_are_as_safe() -> None:
    given = np.arange(60, dtype=np.float32).reshape(20, 3)
    held = fbn.Recording.from_arrays([[given]], events=[blocks(["a", "b"], 10)])
    fbn.activation_cache(held)["post", 0].zero_()
    assert np.array_equal(held[0].layer(0), np.arange(60).reshape(20, 3))
    with pytest.raises(ValueError, match="does not say which rows are which prompt's"):
        fbn.activation_cache(held, prompt=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_decoded(demo_model, design, tmp_path: Path, dtype) -> None:
    stored = fbn.Scanner(demo_model, dtype=dtype).scan(design, tmp_path / "r", progress=False)
    tensor = fbn.activation_cache(stored, run=1)["post", 1]
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor, stored[1].layer(1))


def test_nothing_is_read_before_it_is_asked_for(recording, monkeypatch) -> None:
    asked: list[object] = []
    make = cache_view._tensor
    monkeypatch.setattr(cache_view, "_tensor", lambda array, rows: asked.append(rows) or make(array, rows))
    cache = fbn.activation_cache(recording, prompt=0)
    assert ("blocks.0.mlp.hook_post" in cache.cache_dict, len(cache), "blocks" in repr(cache)) == (True, 15, True)
    assert asked == []
    _ = cache["post", 0]
    assert asked == [slice(0, ids_of(recording, 0, 0).shape[1])]


def test_a_map_of_the_file_is_not_copied(recording) -> None:
    cache = fbn.activation_cache(recording)
    tracemalloc.start()
    tensor = cache["post", 0]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < tensor.nbytes / 4


def test_what_is_set_and_deleted_stays_so(recording) -> None:
    cache = fbn.activation_cache(recording, prompt=0)
    cache.cache_dict["mine"] = torch.ones(1)
    cache.cache_dict["blocks.0.mlp.hook_post"] = torch.zeros(1)
    assert (len(cache), cache["mine"].item(), cache["post", 0].item()) == (16, 1, 0)
    del cache.cache_dict["blocks.0.mlp.hook_post"]
    assert len(list(cache)) == len(cache) == 15
    with pytest.raises(KeyError, match=r"'blocks\.0\.mlp\.hook_post' was not recorded; keys: blocks\.1"):
        _ = cache["post", 0]
    with pytest.raises(KeyError):
        del cache.cache_dict["nothing"]


def test_runs_prompts_and_models_that_do_not_fit(recording) -> None:
    with pytest.raises(IndexError, match="run 2 was not recorded; runs: 0 to 1"):
        fbn.activation_cache(recording, run=2)
    later = int(recording.runs_of[0][1].rows["prompt"].iloc[0])
    with pytest.raises(ValueError, match=rf"run 0 has no prompt {later}, only 0 to {later - 1}; it is in run 1"):
        fbn.activation_cache(recording, prompt=later)
    with pytest.raises(ValueError, match=r"run 1 has no prompt 9999, only .* to \d+$"):
        fbn.activation_cache(recording, run=1, prompt=9999)
    with pytest.raises(
        ValueError, match=r"the recording has units of .*, the model .*; give the model that was recorded"
    ):
        fbn.activation_cache(recording, model=tiny_model())
