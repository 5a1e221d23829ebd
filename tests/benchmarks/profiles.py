"""Where the time goes: ``python -m tests.benchmarks.profiles``, a profile of every hot path.

Each path runs once to warm up and once under ``cProfile``, two threads, in a process of its own; printed are its
seconds, the shares of the code it
spends them in (``builtin``: C functions), and the functions with the most time of their own. Only the calling thread is
seen: what a scan's writer does
shows as waiting, where it makes one wait; analyses are profiled with ``n_jobs=1``, which keeps their layers from going
side by side.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import joblib
import numpy as np
import torch
from threadpoolctl import threadpool_limits

import tl_fbn as fbn
from tests.benchmarks.bench_scanner import design_of, gpt2_small
from tests.helpers.recordings import stored_noise

OWNERS = ("tl_fbn", "transformer_lens", "transformers", "torch", "numpy", "scipy", "pandas", "joblib")


def scan(folder: Path) -> Callable[[], Any]:
    """8 batches of 8 x 128 tokens, GPT-2 small's shape, float32 with surprisal, to disk."""
    model, design = gpt2_small(), design_of(8, 4)
    numbers = iter(range(100))
    return lambda: fbn.Scanner(model, batch_size=8).scan(design, folder / f"scan{next(numbers)}", progress=False)


def stream(folder: Path) -> Callable[[], Any]:
    """The same design into a GLM, nothing stored."""
    model, design = gpt2_small(), design_of(8, 4)
    return lambda: fbn.fit_glm(fbn.Scanner(model, batch_size=8).stream(design, progress=False))


def glm(folder: Path, noise: str) -> Callable[[], Any]:
    recording = stored_noise(folder, 36_864, 8_192)
    return lambda: fbn.fit_glm(recording, noise=noise).contrast("a - b")


def max_t(folder: Path) -> Callable[[], Any]:
    """10,000 relabellings of 36,864 units."""
    fit = fbn.fit_glm(stored_noise(folder, 36_864, 4_096))
    return lambda: fbn.max_t(fit, "a - b", n_permutations=10_000, seed=0)


def ica(folder: Path) -> Callable[[], Any]:
    """32 networks with 5 ICASSO restarts of 36,864 units and 8,192 rows."""
    recording = stored_noise(folder, 36_864, 8_192, n_sources=32)
    return lambda: fbn.find_networks(recording, 32, n_restarts=5, seed=0)


def cgvst(folder: Path) -> Callable[[], Any]:
    """8 items of 128 tokens, all scored, GPT-2 small's shape."""
    from tests.benchmarks.bench_cgvst import gpt2, items_of, ours
    from tests.helpers.models import bridged

    model, (ids, positions) = bridged(gpt2()), items_of("8x128", "all")
    return lambda: ours(model, ids, positions)


def generation(folder: Path) -> Callable[[], Any]:
    """64 tokens with a key-value cache under ``inhibit``, GPT-2 small's shape."""
    model = gpt2_small()
    space = fbn.Scanner(model).space
    network = fbn.Network.from_indices(space, np.arange(0, space.n_units, 50))
    ids = torch.zeros(1, 32, dtype=torch.long)

    def generate() -> None:
        with fbn.inhibit(model, network):
            model.generate(ids, max_new_tokens=64, do_sample=False, stop_at_eos=False, verbose=False)

    return generate


def lesions(folder: Path) -> Callable[[], Any]:
    """2 networks x 3 tasks x 20 controls on the demo model."""
    model = fbn.demo.load_model()
    battery = fbn.demo.battery(n=50).select(["reverse", "sort", "shift"])
    space, rng = fbn.Scanner(model).space, np.random.default_rng(0)
    networks = {
        name: fbn.Network.from_indices(space, np.sort(rng.choice(space.n_units, space.n_units // 20, replace=False)))
        for name in ("reverse", "sort")
    }
    return lambda: fbn.lesion_study(model, networks, battery, n_controls=20, seed=0, progress=False)


PATHS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "scan": scan,
    "stream": stream,
    "glm, ols": lambda folder: glm(folder, "ols"),
    "glm, ar1": lambda folder: glm(folder, "ar1"),
    "max_t": max_t,
    "ica": ica,
    "cgvst": cgvst,
    "generation": generation,
    "lesions": lesions,
}


def owner(file: str) -> str:
    """The package a function belongs to."""
    if not file.endswith(".py"):
        return "builtin"
    parts = Path(file).parts
    return next((name for name in OWNERS if name in parts), "other")


def profile(name: str, top: int) -> str:
    """The profile of one path, as Markdown."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(2):
        torch.set_num_threads(2)
        work, profiler = PATHS[name](Path(folder)), cProfile.Profile()
        with joblib.parallel_config(n_jobs=1):
            work()
            profiler.runcall(work)
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profiler).stats  # pyright: ignore[reportAttributeAccessIssue]
    total = sum(one[2] for one in stats.values())
    shares: dict[str, float] = {}
    for (file, _, _), one in stats.items():
        shares[owner(file)] = shares.get(owner(file), 0.0) + one[2] / total
    told = ", ".join(
        f"{who} {share:.0%}" for who, share in sorted(shares.items(), key=lambda it: -it[1]) if share > 0.005
    )
    rows = [f"### {name}: {total:.2f} s\n\n{told}\n", "| share | calls | function |\n|---|---|---|"]
    for (file, line, function), one in sorted(stats.items(), key=lambda it: -it[1][2])[:top]:
        where = (
            function if owner(file) == "builtin" else f"{Path(file).parent.name}/{Path(file).name}:{line} {function}"
        )
        rows.append(f"| {one[2] / total:.1%} | {one[1]:,} | `{where}` |")
    return rows[0] + "\n" + "\n".join(rows[1:]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PATHS), action="append")
    parser.add_argument("--top", type=int, default=8, help="functions of each")
    parser.add_argument("--here", choices=list(PATHS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(profile(options.here, options.top))
        return
    for name in options.only or PATHS:
        command = [sys.executable, "-m", "tests.benchmarks.profiles", "--here", name, "--top", str(options.top)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
