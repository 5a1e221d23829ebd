"""On an accelerator: ``python -m tests.benchmarks.gpu``. Where there is none it says so and measures nothing.

Random models in bfloat16 of three shapes (GPT-2 small, GPT-2 XL with 1.5 billion parameters, Llama 7B):

- scanning all MLP neurons, and streaming their GLM sums, as a share of the bare forward pass' rows per second;
- the GLM of the stream beside the GLM of the stored recording (largest relative difference of the effects);
- CGVST as a multiple of a forward pass, and of a forward and a backward pass with the gradients of all weights where
  those fit;
- peak memory on the device beyond the model's own.

The GLM's and the ICA's own arithmetic is numpy's, on the host: a recording needs no accelerator to be analysed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.helpers.models import bridged

BATCH, LENGTH, VOCABULARY = 8, 512, 32_000


def model_of(shape: str) -> Any:
    """A random Hugging Face model in bfloat16 on the device."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            if shape == "llama-7b":
                config = LlamaConfig(
                    vocab_size=VOCABULARY,
                    hidden_size=4096,
                    intermediate_size=11_008,
                    num_hidden_layers=32,
                    num_attention_heads=32,
                    attn_implementation="eager",
                )
                return LlamaForCausalLM(config).eval()
            sizes = {"gpt2": (768, 12, 12), "gpt2-xl": (1600, 48, 25)}[shape]
            config = GPT2Config(
                vocab_size=VOCABULARY, n_embd=sizes[0], n_layer=sizes[1], n_head=sizes[2], attn_implementation="eager"
            )
            return GPT2LMHeadModel(config).eval()
    finally:
        torch.set_default_dtype(kept)


def design_of(n_batches: int) -> fbn.BlockDesign:
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, VOCABULARY, (n_batches * BATCH, LENGTH)).tolist()
    half = len(prompts) // 2
    return fbn.block_design(
        {"a": prompts[:half], "b": prompts[half:]},
        n_runs=1,
        n_cycles=half // BATCH or 1,
        tokens_per_block=BATCH * LENGTH,
        seed=0,
    )


def timed(function: Callable[[], Any], repeats: int) -> float:
    """Median seconds, the device's queue emptied before and after; the first time is not counted."""
    took = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        function()
        torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    return statistics.median(took[1:])


def beyond(function: Callable[[], Any]) -> float:
    """MB on the device beyond what was held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - held) / 2**20


def bench(shape: str, n_batches: int, repeats: int) -> dict[str, Any]:
    plain = model_of(shape)
    model = bridged(plain)
    design = design_of(n_batches)
    ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH), device="cuda")

    def bare() -> None:
        with torch.no_grad():
            for _ in range(n_batches):
                model(ids)

    def scan() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fbn.Scanner(model, batch_size=BATCH, dtype="bfloat16", surprisal=False).scan(
                design, Path(folder, "r"), progress=False
            )

    def stream() -> Any:
        return fbn.fit_glm(fbn.Scanner(model, batch_size=BATCH, surprisal=False).stream(design, progress=False))

    def score() -> Any:
        positions = [list(range(1, LENGTH, 8))] * BATCH
        return fbn.cgvst(model, ids.tolist(), positions=positions, variant="row_sum", groups=None, progress=False)

    def weights() -> None:
        plain.zero_grad(set_to_none=True)
        plain.requires_grad_(True)
        try:
            plain(ids, labels=ids).loss.backward()
        finally:
            plain.zero_grad(set_to_none=True)
            plain.requires_grad_(False)

    found: dict[str, Any] = {"rows": n_batches * BATCH * LENGTH}
    for name, function in (("bare", bare), ("scan", scan), ("stream", stream), ("cgvst", score)):
        found[name] = timed(function, repeats)
        found[f"{name}, MB"] = beyond(function)
    found["forward"] = found["bare"] / n_batches
    try:
        found["weights"] = timed(weights, repeats)
        found["weights, MB"] = beyond(weights)
    except torch.cuda.OutOfMemoryError:
        found["weights"] = None
    if shape == "gpt2":
        with tempfile.TemporaryDirectory() as folder:
            stored = fbn.Scanner(model, batch_size=BATCH, surprisal=False).scan(
                design, Path(folder, "r"), progress=False
            )
            one = fbn.fit_glm(stored).contrast("a - b").effect.values
            other = stream().contrast("a - b").effect.values
            found["stream apart"] = float(np.abs(one - other).max() / np.abs(one).max())
    return found


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    if "skipped" in report:
        return [Line("gpu", f"not measured: {report['skipped']}")]
    found = []
    for shape, took in report.items():
        for name in ("scan", "stream"):
            found.append(
                Line(
                    "gpu",
                    f"{shape}: {name}",
                    took[name],
                    "s",
                    "bare forward",
                    took["bare"],
                    took["bare"] / took[name],
                    "rate / bare",
                )
            )
        found.append(
            Line(
                "gpu",
                f"{shape}: cgvst",
                took["cgvst"],
                "s",
                "forward",
                took["forward"],
                took["cgvst"] / took["forward"],
                "ours / forward",
            )
        )
        if took["weights"]:
            found.append(
                Line(
                    "gpu",
                    f"{shape}: cgvst",
                    took["cgvst"],
                    "s",
                    "forward and backward",
                    took["weights"],
                    took["cgvst"] / took["weights"],
                    "ours / theirs",
                    "<= 0.8",
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["gpt2", "gpt2-xl", "llama-7b"], action="append")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {}
    if not torch.cuda.is_available():
        report["skipped"] = "PyTorch finds no CUDA device here"
        print(f"nothing measured: {report['skipped']}", file=sys.stderr)
    else:
        for shape in options.shape or ("gpt2", "gpt2-xl", "llama-7b"):
            report[shape] = bench(shape, options.batches, options.repeats)
            torch.cuda.empty_cache()
            print(shape, {name: value and round(value, 3) for name, value in report[shape].items()}, flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
