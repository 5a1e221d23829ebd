"""Under kill -9 nothing committed changes and all is completed; of processes that write together none loses its work."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("kills", 16), ("writers", 6), ("lockless", 6), ("elsewhere", 6)])
def test_nothing_is_lost(kind: str, n: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.killed_and_together", kind, str(n)]
    told = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=500)
    lines = told.stdout.splitlines()
    assert lines and not [line for line in lines if "WRONG" in line or "LOST" in line], told.stdout
    assert sum(int(line.split()[0]) for line in lines) == n
