"""How time and memory grow: ``python -m tests.benchmarks.growth``.

Every point is measured in a process of its own, from a recording on disk (or, for scans, on a small random model). Time
and peak memory are
fitted by a power law, seconds ~ size^exponent, through the three largest sizes, because below them constant costs
(imports are not counted, compiling and
opening are) hide the growth. An exponent of 1 is linear; what may not be worse than linear, rows and units, has a
target of 1.1,
a tenth for noise. Memory is the growth over what the process held before: it has its own exponent, and its largest
value.

====================  ==========================================================
growth in             of
====================  ==========================================================
rows (4 k to 256 k)   scan; GLM and ICA, four runs whose blocks grow
rows (16 k to 1 M)    streaming GLM, runs of 8,192 rows
runs (4 to 256)       GLM, 1,024 rows each
units (9 k to 704 k)  GLM, ICA, permutations
networks (8 to 64)    ICA
permutations          max-T
longer runs           GLM, four runs of blocks of 50 rows: no target, because the default design has the more drift columns the longer a run is
====================  ==========================================================
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.benchmarks.measure import apart, peak_memory
from tests.helpers.recordings import stored_noise

ROWS = (4_096, 16_384, 65_536, 262_144)
UNITS = (9_216, 36_864, 176_128, 704_512)
STREAMED = "streaming GLM, rows"
CURVES: dict[str, tuple[str, tuple[int, ...], float | None]] = {
    "scan, rows": ("scan-rows", ROWS, 1.1),
    "GLM, rows": ("glm-rows", ROWS, 1.1),
    "ICA, rows": ("ica-rows", ROWS, 1.1),
    "GLM, units": ("glm-units", UNITS, 1.1),
    "ICA, units": ("ica-units", UNITS, 1.1),
    "max-T, units": ("max-units", UNITS, 1.1),
    "ICA, networks": ("ica-networks", (8, 16, 32, 64), None),
    "max-T, permutations": ("max-permutations", (1_000, 4_000, 16_000, 64_000), 1.1),
    "GLM, runs of 1,024 rows": ("glm-runs", (4, 16, 64, 256), 1.1),
    STREAMED: ("stream-rows", (16_384, 65_536, 262_144, 1_048_576), 1.1),
    "GLM, rows of longer runs": ("glm-long", ROWS[:3], None),
}


def scan(rows: int, folder: Path) -> Callable[[], Any]:
    """4 layers of 512 neurons, batches of 8 x 128 tokens."""
    from tests.benchmarks.bench_scanner import BATCH, LENGTH, design_of, gpt2_small

    model = gpt2_small(n_embd=128, n_layer=4, n_head=4, vocab_size=512)
    design = design_of(rows // (BATCH * LENGTH), 4, vocabulary=512)
    return lambda: fbn.Scanner(model, batch_size=BATCH).scan(design, folder / "scan", progress=False)


def stream(rows: int) -> Callable[[], Any]:
    """2 layers of 256 neurons, runs of 8,192 rows in blocks of 512."""
    from tests.benchmarks.bench_scanner import BATCH, LENGTH, design_of, gpt2_small

    model = gpt2_small(n_embd=64, n_layer=2, n_head=2, vocab_size=512)
    n_batches, n_runs = rows // (BATCH * LENGTH), rows // 8_192
    design = design_of(n_batches, n_runs, vocabulary=512, tokens_per_block=512, n_cycles=8)
    scanner = fbn.Scanner(model, batch_size=BATCH, surprisal=False)
    return lambda: fbn.fit_glm(scanner.stream(design, progress=False)).contrast("a - b")


def work(curve: str, size: int, folder: Path) -> Callable[[], Any]:
    """What is timed at one size; making its data is not."""
    kind, what = curve.split("-")
    if kind == "scan":
        return scan(size, folder)
    if kind == "stream":
        return stream(size)
    rows = {"units": 600, "networks": 2_048, "permutations": 2_400, "runs": 1_024 * size}.get(what, size)
    units = {"units": size, "networks": 36_864, "permutations": 9_216}.get(what, 2_304)
    n_runs = size if what == "runs" else 4
    recording = stored_noise(
        folder,
        units,
        rows,
        n_sources=16 if kind == "ica" else 0,
        n_runs=n_runs,
        block=rows // n_runs // 24 if what == "rows" else 50,
    )
    if kind == "glm":
        return lambda: fbn.fit_glm(recording).contrast("a - b")
    if kind == "max":
        n = size if what == "permutations" else 1_000
        fit = fbn.fit_glm(recording)
        return lambda: fbn.max_t(fit, "a - b", n_permutations=n, seed=0)
    k = size if what == "networks" else 16
    return lambda: fbn.find_networks(recording, k, n_restarts=5, seed=0)


def print_point(curve: str, size: int) -> None:
    """Prints seconds, and the peak memory beyond what was held before, in MB."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(2):
        task = work(curve, size, Path(folder))
        before, started = peak_memory(), time.perf_counter()
        task()
        print(
            json.dumps({"seconds": time.perf_counter() - started, "mb": peak_memory() - before, "total": peak_memory()})
        )


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of a power law through the three largest sizes; NaN for a single one."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[-3:]), np.log(np.maximum(values[-3:], 1e-9)), 1)[0])


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    for name, curve in report.items():
        target = CURVES[name][2]
        what = f"{name}: {curve['sizes'][0]:,} to {curve['sizes'][-1]:,}"
        held = f"largest: {curve['seconds'][-1]:.3g} s, {curve['mb'][-1]:,.0f} MB more"
        found.append(
            Line(
                "growth",
                what,
                other=held,
                ratio=exponent(curve["sizes"], curve["seconds"]),
                means="exponent of time",
                target="" if target is None else f"<= {target}",
            )
        )
        if name == STREAMED:
            more, stored = curve["mb"][-1] - curve["mb"][0], (curve["sizes"][-1] - curve["sizes"][0]) * 2_048 / 2**20
            found.append(
                Line(
                    "growth",
                    f"streaming GLM: memory of {curve['sizes'][-1]:,} rows beyond {curve['sizes'][0]:,} (its design, token ids and block means)",
                    more,
                    "MB",
                    "their activations, 512 units",
                    stored,
                    more / stored,
                    "ours / theirs",
                    "<= 0.1",
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CURVES), action="append")
    parser.add_argument("--points", type=int, default=4, help="sizes of each curve, from the smallest")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print_point(options.point[0], int(options.point[1]))
        return
    report: dict[str, Any] = {}
    print("| growth in | sizes | seconds | MB more | exponent of time |\n|---|---|---|---|---|")
    for name in options.only or CURVES:
        curve, sizes, _ = CURVES[name]
        points = [apart("growth", "--point", curve, size) for size in sizes[: options.points]]
        seconds, mb = [one["seconds"] for one in points], [one["mb"] for one in points]
        report[name] = {"sizes": list(sizes[: options.points]), "seconds": seconds, "mb": mb}
        shown = (", ".join(f"{x:,.3g}" for x in values) for values in (seconds, mb))
        slope = exponent(report[name]["sizes"], seconds)
        print(
            f"| {name} | {', '.join(f'{x:,}' for x in sizes[: options.points])} | {' | '.join(shown)} | {slope:.2f} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
