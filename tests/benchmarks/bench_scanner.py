"""What recording costs beside the bare forward pass: ``python -m tests.benchmarks.bench_scanner``.

GPT-2-small's shape with random weights, or ``--model MODEL``, batches of 8 x 128 tokens, two threads. Every figure is a
ratio of rows per second to the bare bridge's forward pass in the same run, or to that pass without logits
(``--only speed --base "bare forward, no logits"``), the median of interleaved repetitions; disk, hashing and commit are
included in what a scan takes. Memory is the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.benchmarks.measure import peak_memory

LENGTH, BATCH = 128, 8
TARGETS = {
    "scan, float32, with surprisal": 0.85,
    "scan, float32, no surprisal": 1.0,
    "scan, bfloat16, with surprisal": 0.90,
    "stream, 12 regressors": 0.93,
    "generate": 0.90,
}


def gpt2_small(**sizes: int) -> Any:
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(attn_implementation="eager", **sizes)
    return build_bridge_from_module(GPT2LMHeadModel(config).eval(), "GPT2LMHeadModel", hf_config=config)


def design_of(n_batches: int, n_runs: int, *, vocabulary: int = 50257, length: int = LENGTH, **options: Any) -> Any:
    rng = np.random.default_rng(0)
    a_run = n_batches * BATCH // n_runs // 2
    prompts = {
        name: [rng.integers(0, vocabulary, length).tolist() for _ in range(a_run * n_runs)] for name in ("a", "b")
    }
    options = {"tokens_per_block": length, "n_runs": n_runs, "n_cycles": a_run, "seed": 0, **options}
    return fbn.block_design(prompts, **options)


def all_ids(design: Any) -> list[torch.Tensor]:
    prompts = [prompt for pool in design.conditions.values() for prompt in pool]
    return [torch.tensor(prompts[at : at + BATCH]) for at in range(0, len(prompts), BATCH)]


def twelve_regressors(stream: Any) -> list[Any]:
    from tl_fbn.analysis.glm.design_matrix import design_matrix

    designs = []
    for run in stream:
        matrix = design_matrix(run)
        rng = np.random.default_rng(1)
        while matrix.shape[1] < 12:
            matrix[f"x{matrix.shape[1]}"] = rng.normal(size=len(matrix))
        designs.append(matrix.iloc[:, :12])
    return designs


def timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def interleaved(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, function in variants.items():
            took = timed(function)
            if repeat:  # the first round warms up
                seconds[name].append(took)
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return seconds


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """Speed relative to ``base``, paired by repetition."""
    return {
        name: statistics.median(b / a for a, b in zip(took, seconds[base], strict=True))
        for name, took in seconds.items()
    }


def bench_speed(
    n_batches: int, repeats: int, name: str | None = None, base: str = "bare forward"
) -> tuple[dict[str, float], dict[str, list[float]]]:
    model = gpt2_small() if name is None else fbn.load_model(name, progress=False)
    design = design_of(n_batches, n_batches // 2, vocabulary=model.cfg.d_vocab)
    batches = all_ids(design)
    space = fbn.Scanner(model).space
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(space.n_layers)]
    width = space.widths[0]

    def bare() -> None:
        with torch.no_grad():
            for ids in batches:
                model(ids)

    def no_logits() -> None:
        with torch.no_grad():
            for ids in batches:
                model.original_model.base_model(ids, use_cache=False)

    def cached() -> None:
        with torch.no_grad():
            kept = [model.run_with_cache(ids, names_filter=names)[1] for ids in batches]
        del kept

    def written(dtype: type[np.generic] = np.float32, forward: Callable[[Any], Any] = model) -> None:
        """The limit: the forward pass beside a thread that writes as many bytes, from one buffer, and synchronises
        them.
        """
        buffer, layer = np.ones((BATCH * LENGTH, width), dtype), BATCH * LENGTH * width * np.dtype(dtype).itemsize
        with tempfile.TemporaryFile() as file, ThreadPoolExecutor(1) as pool, torch.no_grad():
            os.posix_fallocate(file.fileno(), 0, space.n_layers * layer * len(batches))
            waiting = []
            for number, ids in enumerate(batches):
                places = [(number * space.n_layers + one) * layer for one in range(space.n_layers)]
                waiting += [pool.submit(os.pwrite, file.fileno(), buffer.data.cast("B"), at) for at in places]
                forward(ids)
            for one in waiting:
                one.result()
            os.fsync(file.fileno())

    def scan(**options: Any) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                fbn.Scanner(model, batch_size=BATCH, **options).scan(design, Path(folder) / "r", progress=False)

        return run

    def stream() -> None:
        stream = fbn.Scanner(model, batch_size=BATCH).stream(design, progress=False)
        fbn.fit_glm(stream, design=twelve_regressors(stream))

    def stream_sums() -> None:
        from tl_fbn.analysis.glm.run_fit import RunModel

        stream = fbn.Scanner(model, batch_size=BATCH).stream(design, progress=False)
        models = [RunModel.of(run, x, "ar1", i) for i, (run, x) in enumerate(zip(stream, twelve_regressors(stream)))]
        list(stream.sums([one.functionals for one in models]))

    seconds = interleaved(
        {
            "bare forward": bare,
            "bare forward, no logits": no_logits,
            "limit: bare forward, and as many bytes written": written,
            "limit: no logits, and the bytes of float32 written": partial(
                written, forward=model.original_model.base_model
            ),
            "limit: no logits, and the bytes of bfloat16 written": partial(
                written, np.float16, model.original_model.base_model
            ),
            "scan, float32, with surprisal": scan(),
            "scan, float32, no surprisal": scan(surprisal=False),
            "scan, bfloat16, with surprisal": scan(dtype="bfloat16"),
            "scan, bfloat16, no surprisal": scan(dtype="bfloat16", surprisal=False),
            "run_with_cache (in memory)": cached,
            "stream, 12 regressors": stream_sums,
            "stream and fit, 12 regressors": stream,
        },
        repeats,
    )
    return ratios(seconds, base), seconds


def bench_generation(repeats: int, n_new: int = 64) -> tuple[dict[str, float], dict[str, list[float]]]:
    model = gpt2_small()
    design = design_of(4, 2, length=16, generate=True, tokens_per_block=n_new)
    batches = all_ids(design)

    def bare() -> None:
        for ids in batches:
            model.generate(ids, max_new_tokens=n_new, do_sample=False, stop_at_eos=False, verbose=False)

    def scan() -> None:
        with tempfile.TemporaryDirectory() as folder:
            scanner.scan(design, Path(folder) / "r", progress=False)

    scanner = fbn.Scanner(model, batch_size=BATCH)
    seconds = interleaved({"bare generate": bare, "generate": scan}, repeats)
    return ratios(seconds, "bare generate"), seconds


def bench_reopening(repeats: int) -> dict[str, float]:
    model = gpt2_small()
    design = design_of(8, 2)
    with tempfile.TemporaryDirectory() as folder:
        scanner = fbn.Scanner(model, batch_size=BATCH)
        scanning = timed(lambda: scanner.scan(design, Path(folder) / "r", progress=False))
        again = statistics.median(
            timed(lambda: scanner.scan(design, Path(folder) / "r", progress=False)) for _ in range(repeats)
        )
        opening = statistics.median(timed(lambda: fbn.Recording.open(Path(folder) / "r")) for _ in range(repeats))
    return {"scan over scan again": scanning / again, "scan over Recording.open": scanning / opening, "seconds": again}


def peak_of(rows: int) -> float:
    """Peak memory of a scan in a process of its own, in MB."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_scanner", "--peak", str(rows)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.strip().splitlines()[-1])


def print_peak(rows: int) -> None:
    model = gpt2_small(n_embd=128, n_layer=4, n_head=4, vocab_size=512)
    design = design_of(rows // (BATCH * LENGTH), max(rows // 4096, 1), vocabulary=512)
    with tempfile.TemporaryDirectory() as folder:
        fbn.Scanner(model, batch_size=BATCH).scan(design, Path(folder) / "r", progress=False)
    print(peak_memory())


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    for part, base in (("speed", "bare forward"), ("generate", "bare generate")):
        for name, ratio in report.get(part, {}).items():
            target = f">= {TARGETS[name]}" if name in TARGETS else ""
            found.append(Line("scanner", name, other=base, ratio=ratio, means=f"rate / {base}", target=target))
    if "reopening" in report:
        ratio = report["reopening"]["scan over scan again"]
        found.append(Line("scanner", "the same scan again", ratio=ratio, means="scanning / again", target=">= 100"))
    if "memory" in report:
        small, large = report["memory"]["4 k rows, MB"], report["memory"]["64 k rows, MB"]
        what = "peak memory of 64 k rows"
        found.append(Line("scanner", what, large, "MB", "4 k rows", small, large / small, "64 k / 4 k", "<= 1.05"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=8, help="forward passes a repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["speed", "generate", "reopen", "memory"])
    parser.add_argument("--model", help="another model for --only speed: a name, checkpoint folder or .gguf file")
    parser.add_argument("--base", default="bare forward", help="the variant that others are compared with")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.peak:
        print_peak(args.peak)
        return
    report: dict[str, Any] = {}
    if args.only in (None, "speed"):
        report["speed"], seconds = bench_speed(args.batches, args.repeats, args.model, args.base)
        rows = args.batches * BATCH * LENGTH
        report["bare rows/s"] = rows / statistics.median(seconds["bare forward"])
        print(f"bare forward: {rows / statistics.median(seconds['bare forward']):,.0f} rows/s\n")
        print(f"| variant | rows per second / {args.base} | target | seconds |\n|---|---|---|---|")
        for name, ratio in report["speed"].items():
            print(f"| {name} | {ratio:.2f} | {TARGETS.get(name, '')} | {statistics.median(seconds[name]):.2f} |")
    if args.only in (None, "generate"):
        report["generate"], seconds = bench_generation(args.repeats)
        for name, ratio in report["generate"].items():
            print(f"| {name} | {ratio:.2f} | {TARGETS.get(name, '')} | {statistics.median(seconds[name]):.2f} |")
    if args.only in (None, "reopen"):
        report["reopening"] = bench_reopening(args.repeats)
        print({name: round(value, 4) for name, value in report["reopening"].items()}, "target: 100 times")
    if args.only in (None, "memory"):
        small, large = peak_of(4096), peak_of(65536)
        report["memory"] = {"4 k rows, MB": small, "64 k rows, MB": large, "ratio": large / small}
        print({name: round(value, 3) for name, value in report["memory"].items()}, "target: 1.05")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
