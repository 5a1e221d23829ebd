"""kill -9 in the middle of a run: completed runs are kept, no reader sees a partial one, the rescan ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tl_fbn as fbn
from tl_fbn.acquisition import store

SCAN = """
    import os, sys, signal
    import tl_fbn as fbn
    from tests.conftest import tiny_model
    from tests.test_scanner import small_design
    from tl_fbn.acquisition import scanner, store

    folder, moment = sys.argv[1], sys.argv[2]

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "filling":      # in the second run, after its first batch
        seen = []
        original = scanner.host.forward
        def forward(*args, **kwargs):
            seen.append(1)
            if (len(seen) - 1) * 4 > 16 and store.committed_runs(scanner.Path(folder)):
                die()
            return original(*args, **kwargs)
        scanner.host.forward = forward
    elif moment == "hashing":
        original_hash = store._sha256
        def sha(path):
            if store.committed_runs(scanner.Path(folder)):
                die()
            return original_hash(path)
        store._sha256 = sha
    elif moment == "renaming":
        original_rename = os.rename
        def rename(a, b):
            if str(b).endswith("run-02"):
                die()
            return original_rename(a, b)
        os.rename = rename
    elif moment == "laying out":
        original_lay = store.lay_out
        def lay_out(path, run, *rest):
            laid = original_lay(path, run, *rest)
            if run == 1:
                die()
            return laid
        store.lay_out = lay_out
    fbn.Scanner(tiny_model(), batch_size=4).scan(small_design(n_runs=3), folder, progress=False)
"""


def scan_in_process(folder: Path, moment: str) -> int:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCAN), str(folder), moment],
        env=environment,
        cwd=root,
        check=False,
        capture_output=True,
    )
    return finished.returncode


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["laying out", "filling", "hashing", "renaming"])
def test_killed_scans_resume_to_the_same_bytes(moment, tmp_path):
    assert scan_in_process(tmp_path / "whole", "never") == 0
    assert scan_in_process(tmp_path / "killed", moment) == -signal.SIGKILL
    assert store.committed_runs(tmp_path / "killed") == [0]
    with pytest.raises(ValueError, match="holds 1 of 3 runs"):
        fbn.Recording.open(tmp_path / "killed")
    kept = (store.run_folder(tmp_path / "killed", 0) / store.ABOUT_RUN).read_bytes()
    assert scan_in_process(tmp_path / "killed", "never") == 0
    assert (store.run_folder(tmp_path / "killed", 0) / store.ABOUT_RUN).read_bytes() == kept
    assert not list((tmp_path / "killed").glob(".*.part"))
    fbn.Recording.open(tmp_path / "killed").verify()
    for run in range(3):
        for name in (store.DATA, store.EVENTS, store.ROWS):
            whole, killed = (store.run_folder(tmp_path / folder, run) / name for folder in ("whole", "killed"))
            assert whole.read_bytes() == killed.read_bytes(), f"run {run}, {name}"
    assert (tmp_path / "whole" / store.ABOUT).read_bytes() == (tmp_path / "killed" / store.ABOUT).read_bytes()
