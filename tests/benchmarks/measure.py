"""What every benchmark measures with."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def peak_memory() -> float:
    """Peak resident memory of this program, in MB.

    Where the kernel says it, the peak since the program started: ``getrusage`` hands on the peak of the process that
    started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(module: str, *options: Any) -> dict[str, Any]:
    """What a benchmark with these options prints last, run in a process of its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, options)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.strip().splitlines()[-1])


def medians(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, run in turn, the first time not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, function in variants.items():
            started = time.perf_counter()
            function()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return {name: statistics.median(took) for name, took in seconds.items()}
