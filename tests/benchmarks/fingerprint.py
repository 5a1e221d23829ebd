"""What the fingerprint of a forward pass costs: alone, and in a scan of 4,096 rows of the embedded model.

``python -m tests.benchmarks.fingerprint`` prints seconds (best of several) of the fingerprint, of one comparison of the
model with its state before a run is committed, and of a whole scan, and the share of the scan that both take.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tl_fbn as fbn
from tl_fbn.acquisition.model.fingerprint import fingerprint
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import resolve_site


def seconds_of(work: Callable[[], Any], n: int) -> float:
    """The shortest of several times that some work takes, in seconds."""
    times = []
    for _ in range(n):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    model = fbn.demo.load_model()
    prompts = {task: fbn.prompts(task) for task in ("sort", "reverse")}
    design = fbn.block_design(prompts, n_runs=1, n_cycles=8, tokens_per_block=256, seed=0)
    scanner = fbn.Scanner(model)
    rows = scanner.plan(design).n_rows
    taps = resolve_site(model, "mlp.neurons").taps
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(100))
        whole = seconds_of(lambda: scanner.scan(design, Path(folder) / str(next(numbers)), progress=False), 5)
    probe = seconds_of(lambda: fingerprint(model, taps), 20)
    state = ModelState.of(model, taps)
    compared = seconds_of(state.require_unchanged, 20)
    print(
        f"fingerprint {probe:.4f} s, comparison before a commit {compared:.4f} s, scan of {rows:,} rows {whole:.3f} s"
    )
    print(f"share of the scan: fingerprint {probe / whole:.2%}, with the comparison {(probe + compared) / whole:.2%}")


if __name__ == "__main__":
    main()
