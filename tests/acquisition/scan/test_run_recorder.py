"""Runs that are decoded together are written apart: the same bytes whatever was there before, and who else scans."""

from __future__ import annotations

import itertools
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.designs import token_prompts
from tests.helpers.models import CountedForwards, bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan import run_recorder

MODELS = {
    "llama": lambda: bridged(tiny_llama()),
    "gpt2": lambda: bridged(tiny_gpt2()),
    "native": lambda: tiny_model(n_ctx=64),  # decodes without a cache
}


def generating(n_runs: int = 5, **options: Any) -> fbn.BlockDesign:
    """Runs of three prompts each, of several lengths."""
    lengths = itertools.cycle([3, 6, 4, 8])
    prompts = {
        name: [prompt[: next(lengths)] for prompt in token_prompts(90, seed=seed)]
        for seed, name in enumerate(("task", "rest"))
    }
    given = {"n_cycles": 1, "tokens_per_block": 6, "order": "off/on/off", "generate": True, "seed": 0}
    return fbn.block_design(prompts, n_runs=n_runs, **given | options)


def content(path: Path) -> dict[str, bytes]:
    """The bytes of every file of every run but for its description, which has the time that it took."""
    files = sorted(file for file in path.glob("run-*/*") if file.name != "run.json")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["llama", *(pytest.param(one, marks=pytest.mark.slow) for one in ("gpt2", "native"))])
@pytest.mark.parametrize(
    ("options", "scanning"),
    [
        ({}, {"entropy": True}),
        ({"temperature": 1.0, "tokens_per_prompt": 4}, {"pool": "mean", "dtype": "bfloat16"}),
        ({"carry_context": True}, {}),
    ],
)
def test_a_resumed_scan_has_the_bytes_of_an_uninterrupted_one(
    name: str, options: dict[str, Any], scanning: dict[str, Any], tmp_path: Path
) -> None:
    scanner = fbn.Scanner(MODELS[name](), site=["mlp.neurons", "attn.heads"], batch_size=4, **scanning)
    design = generating(**options)
    scanner.scan(design, tmp_path / "whole", progress=False)
    expected = content(tmp_path / "whole")
    assert len(expected) == 5 * 3
    for missing in ([0, 1], [1, 2, 4]):
        path = tmp_path / str(missing)
        shutil.copytree(tmp_path / "whole", path)
        for number in missing:
            shutil.rmtree(store.run_folder(path, number))
        kept = {file: file.stat().st_mtime_ns for file in path.glob("run-*/*")}
        recording = scanner.scan(design, path, progress=False)
        recording.verify()
        assert content(path) == expected
        assert all(file.stat().st_mtime_ns == time for file, time in kept.items())  # these were not written again


def test_an_interrupt_leaves_whole_runs_and_the_rest_comes_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = fbn.Scanner(bridged(tiny_llama()), batch_size=4)
    design = generating()
    scanner.scan(design, tmp_path / "whole", progress=False)
    original = run_recorder.commit_or_discard

    def failing(laid_out: Any, final: Path, *rest: Any) -> None:
        if final.name == "run-02":  # in the middle of the first group
            laid_out.discard()
            raise KeyboardInterrupt
        original(laid_out, final, *rest)

    monkeypatch.setattr(run_recorder, "commit_or_discard", failing)
    with pytest.raises(KeyboardInterrupt):
        scanner.scan(design, tmp_path / "cut", progress=False)
    monkeypatch.undo()
    assert 1 not in store.committed_runs(tmp_path / "cut") and 0 in store.committed_runs(tmp_path / "cut")
    assert not [*(tmp_path / "cut").glob(".run-*.part")]
    scanner.scan(design, tmp_path / "cut", progress=False)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_several_that_share_a_scan_write_what_one_alone_writes(tmp_path: Path) -> None:
    design = generating(n_runs=9)
    fbn.Scanner(bridged(tiny_llama()), batch_size=4).scan(design, tmp_path / "alone", progress=False)
    scanners = [fbn.Scanner(bridged(tiny_llama()), batch_size=4) for _ in range(3)]
    errors: list[BaseException] = []

    def scan(rank: int) -> None:
        try:
            scanners[rank].scan(design, tmp_path / "shared", progress=False, share=(rank, 3))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=scan, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
    assert not [*(tmp_path / "shared").glob(".run-*")]


def test_contexts_of_several_runs_share_a_batch_and_tokens_are_those_of_each_alone(tmp_path: Path) -> None:
    model = bridged(tiny_llama())
    design = generating(n_runs=8, temperature=1.0)
    counted = CountedForwards(model)
    passes = {}
    found = {}
    for batch_size in (1, 8):
        before = counted.n
        found[batch_size] = fbn.Scanner(model, batch_size=batch_size).scan(
            design, tmp_path / str(batch_size), progress=False
        )
        passes[batch_size] = counted.n - before
    assert passes[8] * 5 < passes[1]  # 4 loops of decoding for 24 contexts, and not 24
    for one, many in zip(found[1], found[8], strict=True):
        assert one.rows["token_id"].tolist() == many.rows["token_id"].tolist()
        assert one.about["prompts"] == many.about["prompts"]
        np.testing.assert_allclose(one.read(), many.read(), rtol=1e-4, atol=1e-5)
    streamed = fbn.Scanner(model, batch_size=8).stream(design, progress=False)
    sums = list(streamed.sums([np.ones((1, 18))] * 8, shifted=[False] * 8))
    for run, one in zip(found[8], sums, strict=True):
        np.testing.assert_allclose(one.products[0], run.read().sum(0), rtol=1e-4, atol=1e-4)


def test_what_is_not_finite_is_named_and_nothing_of_its_group_is_kept(tmp_path: Path) -> None:
    model = bridged(tiny_llama())
    scanner = fbn.Scanner(model, batch_size=4)
    point = model.hook_dict["blocks.1.mlp.hook_post"]

    def spoil(tensor: Any, hook: Any) -> Any:
        return tensor * float("nan")

    with model.hooks(fwd_hooks=[(point.name, spoil)]), pytest.raises(ValueError, match=r"run \d.* NaN or infinite"):
        scanner.scan(generating(), tmp_path / "r", hooks_id="spoilt", progress=False)
    assert sorted(entry.name for entry in (tmp_path / "r").iterdir()) == ["recording.json"]
