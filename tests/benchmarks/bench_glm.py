"""The GLM against nilearn's and against its own limits: ``python -m tests.benchmarks.bench_glm``.

One run, two threads, medians of interleaved repetitions. 2,048 rows, 36,864 units whose rho is spread over 0 to .8,
twelve
regressors; then 10,000 relabellings of 48 blocks; then a fit from disk that does not fit into memory, in a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.benchmarks.measure import apart, medians, peak_memory
from tests.helpers.recordings import stored_noise

ROWS, UNITS, REGRESSORS, BLOCKS = 2048, 36_864, 12, 48


def data(rows: int, units: int) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """AR(1) noise of many rhos, a design of boxcars, drift and noise, and its events."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(rows, units)).astype(np.float32)
    rho = np.linspace(0, 0.8, units, dtype=np.float32)
    for t in range(1, rows):
        y[t] += rho * y[t - 1]
    order = ["a", "b", "b", "a"] * (BLOCKS // 4)
    length = rows // BLOCKS
    on = np.zeros((rows, 2))
    events = []
    for i, name in enumerate(order):
        stop = rows if i == BLOCKS - 1 else (i + 1) * length
        on[i * length : stop, "ab".index(name)] = 1
        events.append((i * length, stop - i * length, name))
    place = np.arange(rows) / rows
    rest = [np.cos(np.pi * k * place) for k in range(1, 6)]
    rest += list(rng.normal(size=(REGRESSORS - 7, rows)))
    design = pd.DataFrame(np.column_stack([on, *rest]), columns=["a", "b", *(f"x{i}" for i in range(REGRESSORS - 2))])
    return y, design, pd.DataFrame(events, columns=["onset", "duration", "trial_type"])


def bench_fit(repeats: int) -> dict[str, float]:
    from nilearn.glm.first_level import run_glm

    y, design, events = data(ROWS, UNITS)
    layers = np.split(y, 12, axis=1)
    recording = fbn.Recording.from_arrays([layers], events=[events])
    x = design.to_numpy()
    stacked = np.ascontiguousarray(np.random.default_rng(1).normal(size=(3 * REGRESSORS, ROWS)))

    def limit() -> None:
        for layer in layers:
            wide = layer.astype(np.float64)
            stacked @ wide

    seconds = medians(
        {
            "ols": lambda: fbn.fit_glm(recording, noise="ols", design=design),
            "ar1": lambda: fbn.fit_glm(recording, noise="ar1", design=design),
            "nilearn ols": lambda: run_glm(y, x, noise_model="ols"),
            "limit: reading once and the stacked product": limit,
        },
        repeats,
    )
    slow = time.perf_counter()
    run_glm(y, x, noise_model="ar1")
    return {**seconds, "nilearn ar1": time.perf_counter() - slow}


def bench_permutations(repeats: int, n: int = 10_000) -> dict[str, float]:
    from tl_fbn.analysis.glm.permutation_schemes import CHUNK
    from tl_fbn.analysis.glm.permutation_schemes import UNITS as WIDE

    y, _, events = data(ROWS, UNITS)
    fit = fbn.fit_glm(fbn.Recording.from_arrays([np.split(y, 12, axis=1)], events=[events]), noise="ols")
    rng = np.random.default_rng(0)
    labels, means = rng.normal(size=(n, BLOCKS)).astype(np.float32), rng.normal(size=(BLOCKS, UNITS)).astype(np.float32)

    def limit() -> None:
        for start in range(0, n, CHUNK):
            for first in range(0, UNITS, WIDE):
                np.abs(labels[start : start + CHUNK] @ means[:, first : first + WIDE]).max(1)

    return medians(
        {
            "10,000 max-T permutations": lambda: fbn.max_t(fit, "a - b", n_permutations=n, seed=0),
            "limit: the product and its absolute maximum": limit,
        },
        repeats,
    )


def print_large(units: int, rows: int) -> None:
    """Fit a recording from disk; prints the peak memory in MB, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        recording = stored_noise(Path(folder), units, rows)
        before = peak_memory()
        started = time.perf_counter()
        fit = fbn.fit_glm(recording)
        after = peak_memory()
        fit.contrast("a - b").threshold(fdr=0.05)
        took = time.perf_counter() - started
        print(json.dumps({"before": before, "after": after, "seconds": took, "resident": peak_memory()}))


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    if "fit" in report:
        took = report["fit"]
        limit = took["limit: reading once and the stacked product"]
        for noise, least in (("ols", 3), ("ar1", 25)):
            ours, theirs = took[noise], took[f"nilearn {noise}"]
            what = f"{noise}, {ROWS:,} x {UNITS:,} x {REGRESSORS}"
            found.append(
                Line("glm", what, ours, "s", "nilearn run_glm", theirs, theirs / ours, "theirs / ours", f">= {least}")
            )
        what = "ar1 beside reading once and the stacked product"
        found.append(Line("glm", what, took["ar1"], "s", "limit", limit, took["ar1"] / limit, "ours / limit", "<= 4"))
    if "permutations" in report:
        (name, ours), (_, limit) = report["permutations"].items()
        found.append(
            Line("glm", name, ours, "s", "the product and its maximum", limit, ours / limit, "ours / limit", "<= 2")
        )
    if "large" in report:
        resident = report["large"]["resident"]
        what = "352,256 units x 6,000 rows from disk: peak memory"
        found.append(Line("glm", what, resident, "MB", ratio=resident / 2048, means="of 2 GiB", target="<= 1"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["fit", "permutations", "large"])
    parser.add_argument("--units", type=int, default=352_256)
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--large", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.large:
        print_large(args.units, args.rows)
        return
    report: dict[str, Any] = {}
    with threadpool_limits(2):
        if args.only in (None, "fit"):
            report["fit"] = took = bench_fit(args.repeats)
            print("| | seconds | ratio | target |\n|---|---|---|---|")
            limit = took["limit: reading once and the stacked product"]
            ratios = {
                "ols": (f"{took['nilearn ols'] / took['ols']:.1f} times nilearn's speed", "3"),
                "ar1": (
                    f"{took['nilearn ar1'] / took['ar1']:.1f} times nilearn's; {took['ar1'] / limit:.1f} of the limit",
                    "25; 4",
                ),
            }
            for name, seconds in took.items():
                ratio, target = ratios.get(name, ("", ""))
                print(f"| {name} | {seconds:.2f} | {ratio} | {target} |")
        if args.only in (None, "permutations"):
            report["permutations"] = took = bench_permutations(args.repeats)
            (ours, seconds), (_, limit) = took.items()
            print(f"| {ours} | {seconds:.2f} | {seconds / limit:.2f} of the product and its maximum | 2 |")
        if args.only in (None, "large"):
            report["large"] = found = apart("bench_glm", "--large", "--units", args.units, "--rows", args.rows)
            print(
                f"| {args.units:,} units x {args.rows:,} rows from disk | {found['seconds']:.1f} | peak {found['resident']:,.0f} MB | 2,048 MB |"
            )
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
