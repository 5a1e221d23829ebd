"""More processes: ``python -m tests.benchmarks.bench_cluster``.

*Scans.* ``torchrun`` on 1, 2 and 4 ranks (gloo is not even needed: ranks divide the runs through the folder they
share), one thread a rank, a model of GPT-2
small's shape, the same design and folder layout; the time is from the first rank's start of its scan to the last rank's
end, without imports and without
making the model. The recordings must have equal bytes. More ranks than cores show what overloading costs. Beside them
the limit: the same forward passes bare, divided
among as many processes, which is what the machine's cores gain by being two.

*Analyses and lesions.* The same calls in one process with one thread, and under
``joblib.parallel_config(backend="dask")`` on a real
``dask.distributed`` cluster of two processes of one thread, its start not counted; results must be equal
(``identical``: to the last bit). Every
message to a worker costs some hundredths of a second, so the data are large enough for some seconds of work on one
core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import joblib
import numpy as np
import torch
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.helpers.recordings import stored_noise

N_RUNS = 4

# dask asks the workers' malloc to give freed memory back at once, which nearly halves the speed of numpy and PyTorch;
# the README says so too
NANNY = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**29,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**29,
}


def rank_scan(folder: Path, n_batches: int, *, bare: bool) -> None:
    """One rank's share of a scan, or of its forward passes alone, and when it began and ended."""
    from tests.benchmarks.bench_scanner import BATCH, all_ids, design_of, gpt2_small

    torch.set_num_threads(1)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    model = gpt2_small()
    scanner, design = fbn.Scanner(model, batch_size=BATCH), design_of(n_batches, N_RUNS)
    (folder / f"ready-{rank}").touch()
    while len(list(folder.glob("ready-*"))) < ranks:
        time.sleep(0.01)
    started = time.time()
    if bare:
        with torch.no_grad():
            for ids in all_ids(design)[rank::ranks]:
                model(ids)
    else:
        scanner.scan(design, folder / "r", progress=False, share=(rank, ranks))
    (folder / f"rank-{rank}.json").write_text(json.dumps([started, time.time()]))


def digest(folder: Path) -> str:
    """Of every byte of a recording's data and tables; run.json tells when and where."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix != ".json":
            found.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return found.hexdigest()


def bench_scan(ranks: tuple[int, ...], n_batches: int) -> dict[str, Any]:
    """Seconds by number of ranks, scanning and bare, and whether all recordings have the same bytes."""
    seconds: dict[str, dict[str, float]] = {"scan": {}, "bare": {}}
    digests = set()
    for n in ranks:
        for what, took in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)]
                command += [
                    "-m",
                    "tests.benchmarks.bench_cluster",
                    f"--rank-{what}",
                    folder,
                    "--batches",
                    str(n_batches),
                ]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                spans = [json.loads(Path(folder, f"rank-{rank}.json").read_text()) for rank in range(n)]
                took[str(n)] = max(end for _, end in spans) - min(start for start, _ in spans)
                if what == "scan":
                    digests.add(digest(Path(folder, "r")))
        print(f"{n} ranks: {seconds['scan'][str(n)]:.1f} s, bare {seconds['bare'][str(n)]:.1f} s", flush=True)
    return {"seconds": seconds["scan"], "bare": seconds["bare"], "identical": len(digests) == 1}


def same(one: Any, other: Any) -> tuple[bool, float]:
    """Whether two arrays are equal to the last bit, and how far apart they are otherwise."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    return bool(np.array_equal(one, other, equal_nan=True)), float(np.nanmax(np.abs(one - other)))


def bench_dask(quick: bool) -> dict[str, Any]:
    """Seconds in one process and on two workers, and whether the results are the same."""
    import dask
    from dask.distributed import Client, LocalCluster

    dask.config.set(NANNY)
    torch.set_num_threads(1)
    model, battery = fbn.demo.load_model(), fbn.demo.battery(n=10 if quick else 40)
    space = fbn.Scanner(model).space
    network = fbn.Network.from_indices(space, range(0, space.n_units, 20))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = 1_024 if quick else 32_768
        recording = stored_noise(Path(folder), 36_864, rows, n_sources=16, n_runs=2, block=rows // 64)
        fit = fbn.fit_glm(recording)
        n_controls, n_permutations = (10, 2_000) if quick else (60, 20_000)
        tasks: dict[str, Callable[[], Any]] = {
            "GLM, layers": lambda: fbn.fit_glm(recording).contrast("a - b").z.values,
            "ICA, 20 restarts and their noise": lambda: fbn.find_networks(recording, 16, n_restarts=20, seed=0).maps,
            "max-T, layers": lambda: fbn.max_t(fit, "a - b", n_permutations=n_permutations, seed=0).p.values,
            "lesion controls": lambda: fbn.lesion_study(
                model, {"x": network}, battery, n_controls=n_controls, seed=0, progress=False
            ).control_scores["random"],
        }
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.run(torch.set_num_threads, 1)
            for name, task in tasks.items():
                with threadpool_limits(1), joblib.parallel_config(n_jobs=1):
                    started = time.perf_counter()
                    alone = task()
                    one = time.perf_counter() - started
                with threadpool_limits(1), joblib.parallel_config(backend="dask"):
                    task()  # workers import what they need, once
                    started = time.perf_counter()
                    together = task()
                    two = time.perf_counter() - started
                identical, apart = same(alone, together)
                found[name] = {"one": one, "two": two, "identical": identical, "apart": apart}
                print(
                    f"{name}: {one:.1f} s in one process, {two:.1f} s on two workers, identical: {identical} ({apart:.1g})",
                    flush=True,
                )
    return found


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    if "scan" in report:
        seconds, bare = report["scan"]["seconds"], report["scan"]["bare"]
        equal = "equal bytes" if report["scan"]["identical"] else "DIFFERENT BYTES"
        for n in (n for n in seconds if n != "1"):
            what, target = f"torchrun scan, {n} ranks ({equal})", ">= 1.6" if n == "2" else ""
            ratio, limit = seconds["1"] / seconds[n], bare["1"] / bare[n]
            found.append(Line("cluster", what, seconds[n], "s", "one rank", seconds["1"], ratio, "one / many", target))
            found.append(
                Line(
                    "cluster",
                    f"the bare forward passes of it, {n} processes",
                    bare[n],
                    "s",
                    "one",
                    bare["1"],
                    limit,
                    "one / many",
                )
            )
    for name, part in report.get("dask", {}).items():
        equal = "identical" if part["identical"] else f"apart by {part['apart']:.1g}"
        ratio = part["one"] / part["two"]
        found.append(
            Line(
                "cluster",
                f"dask, 2 workers: {name} ({equal})",
                part["two"],
                "s",
                "one process",
                part["one"],
                ratio,
                "one / two",
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["scan", "dask"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--batches", type=int, default=24, help="forward passes; a multiple of 4")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rank-scan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rank-bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_scan or options.rank_bare:
        rank_scan(options.rank_scan or options.rank_bare, options.batches, bare=options.rank_scan is None)
        return
    report: dict[str, Any] = {}
    if options.only in (None, "scan"):
        report["scan"] = bench_scan((1, 2) if options.quick else (1, 2, 4), 8 if options.quick else options.batches)
        print(f"equal bytes: {report['scan']['identical']}")
    if options.only in (None, "dask"):
        report["dask"] = bench_dask(options.quick)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
