"""What every benchmark measures with."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory() -> float:
    """Peak resident memory of this program, in MB.

    Where the kernel says it, the peak since the program started: ``getrusage`` hands on the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
