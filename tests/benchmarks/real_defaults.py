"""Defaults on a real model, before and after: ``python -m tests.benchmarks.real_defaults --model MODEL FILES...``.

Records prompts of task files (``fbn.Tasks``, the discovery half) at the MLP neurons, in blocks, and prints, beside one
another, the defaults of version 0.1's first draft (no row left out, nothing scaled, no column for first tokens) and
those of now:

- a GLM and a contrast: seconds, and how alike the t maps are;
- ICA with 16 components and 20 restarts: seconds, range of stability (Iq), networks no more stable than matched noise,
  networks that follow a task (r with its blocks, p < .05 beside labels exchanged within runs), and blocks of other
  prompts in which a network comes back (dual regression, IoU above .2, p < .05);
- rows a second of the scan, the share of variance in first tokens, and peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.measure import peak_memory

PLAIN: dict[str, Any] = {"standardize": False, "drop_first": 0, "clip": None}
K = 16


def recorded(model: Any, tasks: fbn.Tasks, rows: int, half: Any, path: Path, seed: int) -> tuple[fbn.Recording, float]:
    """Prompts of one half in two runs of about so many rows together, and rows a second."""
    prompts = tasks.prompts(half=half, answers=True)
    n_cycles = max(2, rows // (2 * len(prompts) * 64))
    design = fbn.block_design(prompts, n_runs=2, n_cycles=n_cycles, tokens_per_block=64, seed=seed)
    started = time.perf_counter()
    recording = fbn.Scanner(model, batch_size=16).scan(design, path, progress=False)
    return recording, recording.n_rows / (time.perf_counter() - started)


def ica(recording: fbn.Recording, later: fbn.Recording, **settings: Any) -> dict[str, Any]:
    """What an atlas found with these settings is like."""
    started = time.perf_counter()
    atlas = fbn.find_networks(recording, K, seed=0, progress=False, **settings)
    seconds = time.perf_counter() - started
    followed = fbn.networks.followed_conditions(recording, atlas, seed=0)
    back = fbn.recurrence(later, atlas, samples="block", n_null=39, seed=0, progress=False)
    table = back.to_dataframe()
    return {
        "seconds": f"{seconds:.1f}",
        "Iq": f"{atlas.stability.min():.2f} to {atlas.stability.max():.2f}",
        "unstable": f"{len(atlas.unstable)} of {K}",
        "follow a task": f"{int((followed['p'] < 0.05).sum())} of {K}, |r| up to {followed['r'].abs().max():.2f}",
        "come back": f"{int((table['p'] < 0.05).sum())} of {K} networks beyond chance",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", UserWarning)
    model = fbn.load_model(options.model)
    tasks = fbn.Tasks(options.files, shots=3)
    with tempfile.TemporaryDirectory() as work:
        recording, rate = recorded(model, tasks, options.rows, "discovery", Path(work) / "a", 0)
        later, _ = recorded(model, tasks, 1024, "evaluation", Path(work) / "b", 1)
        print(repr(recording))
        print(f"scan: {rate:.0f} rows a second; {recording.massive()!r}")
        maps = []
        for first_token in (False, True):
            started = time.perf_counter()
            fit = fbn.fit_glm(recording, first_token=first_token, progress=False)
            contrast = fit.contrast(f"`{recording.conditions[0]}` - others")
            maps.append(contrast.t.values)
            print(f"GLM, first_token={first_token}: {time.perf_counter() - started:.1f} s")
        print(f"t maps correlate {np.corrcoef(*maps)[0, 1]:.3f}")
        for name, settings in {"before": PLAIN, "now": {}}.items():
            for what, value in ica(recording, later, **settings).items():
                print(f"ICA {name}: {what} {value}")
    print(f"peak memory {peak_memory():.0f} MB")


if __name__ == "__main__":
    main()
