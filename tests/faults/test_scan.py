"""Whatever happens to a scan: no reader sees a part of a run, nothing committed changes, the next scan ends with the
same bytes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import tl_fbn as fbn
from tests.faults.disturbed import N_RUNS
from tests.helpers.committed import assert_the_same, contents
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tests.helpers.paths import ROOT
from tl_fbn.acquisition.recording import store

pytestmark = pytest.mark.slow

KILLS = ["while laying out", "while filling", "while hashing", "before the rename", "between runs"]
ERRORS = {
    "disk full": "OSError: .* ran out of room while run 1 was written",
    "interrupted": "KeyboardInterrupt",
    "user's hook": "RuntimeError: a mistake in the user's hook",
    "nan": "InputError: run 1, layer 1, row [0-9]+ has NaN or infinite activations; nothing of this run was committed",
    "inf": "InputError: run 1, layer 1, row [0-9]+ has NaN or infinite activations; nothing of this run was committed",
}


def environment_of(rank: int = 0, ranks: int = 1) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "RANK": str(rank), "WORLD_SIZE": str(ranks)}


def start(folder: Path, moment: str, *share: int) -> subprocess.Popen[str]:
    environment = environment_of(*share)
    command = [sys.executable, "-m", "tests.faults.disturbed", str(folder), moment]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def scan(folder: Path, moment: str) -> tuple[int, dict[str, Any]]:
    process = start(folder, moment)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), err[-2000:]
    return process.returncode, json.loads(out) if out else {}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "r"
    scan_here(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed_under_a_hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hooked") / "r"
    scan_here(folder, hooked=True)
    return folder


def scan_here(folder: Path, *, hooked: bool = False) -> None:
    """The undisturbed scan, in this process, as bit-exact as the others: on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = tiny_model()
        hooks = [("blocks.1.mlp.hook_post", lambda tensor, hook: None)] if hooked else []
        with model.hooks(fwd_hooks=hooks):
            design, hooks_id = small_design(n_runs=N_RUNS), "users" if hooked else None
            fbn.Scanner(model, batch_size=4).scan(design, folder, progress=False, hooks_id=hooks_id)
    finally:
        torch.set_num_threads(threads)


def resumed(folder: Path, undisturbed: Path, *, hooked: bool = False) -> None:
    with pytest.raises(ValueError, match=f"holds 1 of {N_RUNS} runs"):
        fbn.Recording.open(folder)
    kept = contents(folder)
    assert {name.split("/")[0] for name in kept} == {"run-01"}
    scan_here(folder, hooked=hooked)
    assert kept.items() <= contents(folder).items()
    assert_the_same(folder, undisturbed)


@pytest.mark.parametrize("moment", KILLS)
def test_kill_9(moment: str, undisturbed: Path, tmp_path: Path) -> None:
    assert scan(tmp_path / "r", f"kill {moment}")[0] == -signal.SIGKILL
    resumed(tmp_path / "r", undisturbed)


@pytest.mark.parametrize("moment", ERRORS)
def test_errors(moment: str, undisturbed: Path, undisturbed_under_a_hook: Path, tmp_path: Path) -> None:
    hooked = moment in ("user's hook", "nan", "inf")
    _, seen = scan(tmp_path / "r", moment)
    assert seen["error"] is not None
    assert seen["hooks left"] == 0
    assert re.match(ERRORS[moment], seen["error"]), seen["error"]
    resumed(tmp_path / "r", undisturbed_under_a_hook if hooked else undisturbed, hooked=hooked)


def test_a_file_system_that_refuses_commits_nothing(undisturbed: Path, tmp_path: Path) -> None:
    _, seen = scan(tmp_path / "r", "file too large")
    assert "ran out of room" in seen["error"]
    assert store.committed_runs(tmp_path / "r") == []
    scan_here(tmp_path / "r")
    assert_the_same(tmp_path / "r", undisturbed)


def read_while_it_grows(folder: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Open and verify whatever is there, as long as somebody writes."""
    while any(process.poll() is None for process in processes):
        for number in store.committed_runs(folder):
            store.verify_run(store.run_folder(folder, number))
        try:
            fbn.Recording.open(folder).verify()
        except FileNotFoundError:
            assert not store.committed_runs(folder)
        except ValueError as error:
            assert f" of {N_RUNS} runs" in str(error)
        time.sleep(0.02)


def test_two_writers_at_once_divide_the_runs(undisturbed: Path, tmp_path: Path) -> None:
    alone = scan(tmp_path / "alone", "never")[1]["batches"]
    writers = [start(tmp_path / "r", "together") for _ in range(2)]
    read_while_it_grows(tmp_path / "r", writers)
    seen = [json.loads(writer.communicate()[0]) for writer in writers]
    assert [one["error"] for one in seen] == [None, None]
    # no batch was read twice; each process reads the short text of the key for itself
    assert sum(one["batches"] - 1 for one in seen) == alone - 1
    assert all(one["batches"] for one in seen)
    assert_the_same(tmp_path / "r", undisturbed)


def test_a_writer_that_dies_is_taken_over_by_the_other(undisturbed: Path, tmp_path: Path) -> None:
    slow, doomed = start(tmp_path / "r", "together"), start(tmp_path / "r", "together until killed")
    read_while_it_grows(tmp_path / "r", [slow, doomed])
    assert json.loads(slow.communicate()[0])["error"] is None  # it has taken up the other's run
    doomed.communicate()
    assert doomed.returncode == -signal.SIGKILL
    assert_the_same(tmp_path / "r", undisturbed)


def test_the_other_ranks_finish_what_a_killed_one_left(undisturbed: Path, tmp_path: Path) -> None:
    ranks = [start(tmp_path / "r", "rank 1 is killed", rank, 3) for rank in range(3)]
    seen = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, -signal.SIGKILL, 0]
    assert [json.loads(seen[rank])["error"] for rank in (0, 2)] == [None, None]
    assert_the_same(tmp_path / "r", undisturbed)


def test_torchrun_started_again_completes_what_a_killed_rank_and_torchrun_broke_off(
    undisturbed: Path, tmp_path: Path
) -> None:
    """torchrun stops the other ranks when one dies; what they committed stays, and the same command goes on
    from there.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    def launch(moment: str) -> int:
        command = [*launcher, "-m", "tests.faults.disturbed", str(tmp_path / "r"), moment]
        return subprocess.run(command, env=environment_of(), cwd=ROOT, capture_output=True, check=False).returncode

    assert launch("rank 1 is killed") != 0
    kept = contents(tmp_path / "r")
    assert len({name.split("/")[0] for name in kept}) < N_RUNS
    assert launch("never") == 0
    assert kept.items() <= contents(tmp_path / "r").items()
    assert_the_same(tmp_path / "r", undisturbed)
