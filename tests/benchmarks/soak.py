"""Does anything pile up? ``python -m tests.benchmarks.soak --minutes 30``.

Scan, fit, decompose, score gradients, intervene, study, write and delete, on the embedded model, over and over. After a
warm-up of 3 rounds the resident
memory, the number of tensors alive, of hooks on the model, of threads and of open files are noted every round. What is
asked for: hooks, tensors, threads and open files are
what they were; no file is left in the temporary folder; and a line fitted through the resident memory of the last two
thirds rises by less than 2 % over the whole run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.bench_intervention import hook_count, live_tensors, resident
from tests.benchmarks.lines import Line

WARM_UP = 3


def one_round(model: Any, seed: int) -> None:
    """Everything a session does, once, on prompts of this seed."""
    with tempfile.TemporaryDirectory(prefix="tl-fbn-soak-") as folder:
        conditions = {name: fbn.prompts(name, n=300, seed=seed) for name in ("sort", "add", "rest")}
        design = fbn.block_design(conditions, n_runs=2, n_cycles=3, tokens_per_block=64, order="random", seed=seed)
        recording = fbn.Scanner(model).scan(design, Path(folder, "r"), progress=False)
        recording.verify()
        fit = fbn.fit_glm(recording)
        contrast = fit.contrast("sort - rest")
        contrast.save(Path(folder, "contrast.safetensors"))
        fbn.max_t(fit, "sort - rest", n_permutations=200, seed=seed)
        atlas = fbn.find_networks(recording, 6, n_restarts=3, seed=seed)
        fbn.cgvst(model, fbn.chats("sort", n=20, seed=seed), progress=False)
        networks = {"sort": contrast.effect.top(0.05)}
        with fbn.inhibit(model, networks["sort"]), fbn.amplify(model, atlas.union(), add=0.1):
            model(torch.zeros(1, 4, dtype=torch.long))
        battery = fbn.demo.battery(n=10, seed=seed).select(["sort", "add"])
        unknown = {name: fbn.Network(one.space, one.members, name=name) for name, one in networks.items()}
        study = fbn.lesion_study(
            model, unknown, battery, n_controls=5, seed=seed, path=Path(folder, "s"), progress=False
        )
        fbn.Report("soak", contrast, atlas, study).save(Path(folder, "r.html"))


def noted(model: Any, folder: Path) -> dict[str, float]:
    """What must not grow."""
    gc.collect()
    opened = Path("/proc/self/fd")
    files = sum(1 for _ in opened.iterdir()) if opened.is_dir() else 0
    return {
        "resident": resident(),
        "tensors": live_tensors(),
        "hooks": hook_count(model),
        "threads": threading.active_count(),
        "open files": files,
        "files left": sum(1 for _ in folder.rglob("*")),
    }


def soak(minutes: float) -> dict[str, Any]:
    """Rounds for some minutes, in a temporary folder of their own."""
    model = fbn.demo.load_model()
    model(torch.zeros(1, 4, dtype=torch.long))  # its first forward pass sets up hooks of the model's own libraries
    before = hook_count(model)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            started = time.monotonic()
            while time.monotonic() - started < 60 * minutes or len(found) < 6:
                one_round(model, seed=len(found))
                found.append(noted(model, Path(folder)))
                if len(found) % 10 == 0:
                    print(f"{len(found)} rounds: {found[-1]}", file=sys.stderr, flush=True)
        finally:
            tempfile.tempdir = None
    kept = found[max(WARM_UP, len(found) // 3) :]
    memory = np.array([one["resident"] for one in kept])
    slope = np.polyfit(np.arange(len(memory)), memory, 1)[0] * len(found) if len(memory) > 1 else 0.0
    grown = {name: kept[-1][name] - kept[0][name] for name in kept[0] if name != "resident"}
    return {
        "rounds": len(found),
        "minutes": minutes,
        "resident": [one["resident"] for one in found],
        "rise": float(slope / memory.mean()),
        "hooks at the end": kept[-1]["hooks"] - before,
        "files left": kept[-1]["files left"],
        "grown": grown,
    }


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    what = f"soak, {report['rounds']} rounds in {report['minutes']:g} minutes"
    found = [
        Line("soak", what, report["resident"][-1], "MB", ratio=report["rise"], means="rise of memory", target="<= 0.02")
    ]
    for name in ("tensors", "threads", "open files"):
        found.append(
            Line("soak", f"{name} more at the end", ratio=report["grown"][name], means="as measured", target="<= 0")
        )
    for name in ("hooks at the end", "files left"):
        found.append(Line("soak", name, ratio=report[name], means="as measured", target="<= 0"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    report = soak(options.minutes)
    for line in lines(report):
        print(f"{line.what}: {line.ratio:.3g} (target {line.target})")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
