"""Processes that are killed at any moment, and processes that write one recording together, in great numbers::

    python -m tests.faults.killed_and_together kills 70        scans and saves under kill -9
    python -m tests.faults.killed_and_together writers 60      with locks
    python -m tests.faults.killed_and_together lockless 60     on a file system without locks
    python -m tests.faults.killed_and_together elsewhere 60    on machines whose locks do not bind each other

Every trial ends in one line of the table that is printed. Processes are forked, so that a trial costs no import.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from filelock import FileLock

import tl_fbn as fbn
from tests.helpers.committed import assert_the_same, contents
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tests.helpers.units import TOY
from tl_fbn import leftovers
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.recording import store

N_RUNS = 3
PAUSE = 0.02  # seconds that every forward pass takes longer: processes then meet in the middle of a run
MODEL = tiny_model()
DESIGN = small_design(n_runs=N_RUNS)


def scan(folder: Path, share: tuple[int, int] = (0, 1)) -> None:
    fbn.Scanner(MODEL, batch_size=4).scan(DESIGN, folder, progress=False, share=share)


def slow_scan(folder: Path, share: tuple[int, int] = (0, 1)) -> None:
    forward = host.forward

    def slowed(*arguments: Any, **options: Any) -> Any:
        time.sleep(random.uniform(0, PAUSE))
        return forward(*arguments, **options)

    with mock.patch.object(host, "forward", slowed):
        scan(folder, share)


def forked(work: Callable[[], None], told: Path) -> int:
    """Do some work in another process, which writes what went wrong to a file; its number."""
    child = os.fork()
    if child:
        return child
    random.seed(os.getpid())
    try:
        work()
    except BaseException:
        told.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def save_for_ever(folder: Path) -> None:
    """Save one network after another at one place: of all units, of none, of all ..."""
    while True:
        for members in (np.ones(TOY.n_units, bool), np.zeros(TOY.n_units, bool)):
            fbn.Network(TOY, members).save(folder / "network.safetensors")


def killed(work: Callable[[], None], after: float, folder: Path) -> None:
    child = forked(work, folder / "told")
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (folder / "told").exists(), (folder / "told").read_text()


def kill_of_a_scan(folder: Path, undisturbed: Path, longest: float) -> str:
    killed(lambda: slow_scan(folder / "r"), random.uniform(0, longest), folder)
    left = contents(folder / "r")
    whole = contents(undisturbed)
    for name in left:
        assert name.endswith(store.ABOUT_RUN) or left[name] == whole[name], name
    for number in store.committed_runs(folder / "r"):
        store.verify_run(store.run_folder(folder / "r", number))
    scan(folder / "r")
    assert left.items() <= contents(folder / "r").items()
    assert_the_same(folder / "r", undisturbed)
    return f"a scan, killed with {len(left) // 4} of {N_RUNS} runs committed: completed to the same bytes"


def kill_of_a_save(folder: Path) -> str:
    killed(lambda: save_for_ever(folder), random.uniform(0.02, 0.3), folder)
    path = folder / "network.safetensors"
    if path.exists():
        assert len(fbn.Network.load(path)) in (0, TOY.n_units)
    fbn.Network(TOY, np.ones(TOY.n_units, bool)).save(path)
    # a lock's file without what it locks gets a minute
    assert [entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock")] == [path.name]
    return "a save: the file is whole, and what was left is gone after the next save"


def together(folder: Path, undisturbed: Path, around: Callable[[int], Any]) -> str:
    """Three processes on one folder; work is lost if one of them fails, or a run is not as it would be undisturbed."""

    def work(rank: int) -> Callable[[], None]:
        def scans() -> None:
            warnings.simplefilter("ignore")
            with around(rank):
                slow_scan(folder / "r", (random.randrange(3), 3))

        return scans

    children = [forked(work(rank), folder / f"told {rank}") for rank in range(3)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    told = [path.read_text().strip().splitlines()[-1] for path in sorted(folder.glob("told *"))]
    if any(statuses):
        return f"WORK LOST: {'; '.join(told)}"
    with around(9):
        fbn.Recording.open(folder / "r").verify()
        assert_the_same(folder / "r", undisturbed)
    return "complete, the same bytes, nothing left over"


def no_locks(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


def on_a_machine(rank: int) -> Any:
    """As on a machine of its own: locks work and bind nobody else."""
    patched = mock.patch.object(leftovers, "_machine", lambda: (f"{rank}" * 6, f"{rank}" * 6))
    return _both(patched, mock.patch.object(FileLock, "acquire", lambda self, **_: None))


class _both:
    def __init__(self, *contexts: Any) -> None:
        self.contexts = contexts

    def __enter__(self) -> None:
        for context in self.contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in self.contexts:
            context.__exit__(*error)


AROUND: dict[str, Callable[[int], Any]] = {
    "writers": lambda rank: _both(),
    "lockless": lambda rank: mock.patch.object(FileLock, "acquire", no_locks),
    "elsewhere": on_a_machine,
}


def main(kind: str, n: int) -> Counter[str]:
    torch.set_num_threads(1)
    place = Path(tempfile.mkdtemp())
    outcomes: Counter[str] = Counter()
    try:
        undisturbed = place / "undisturbed"
        scan(undisturbed)
        started = time.monotonic()
        slow_scan(place / "timed")
        longest = 1.2 * (time.monotonic() - started)
        for number in range(n):
            folder = place / f"{number}"
            folder.mkdir()
            random.seed(number)
            try:
                if kind != "kills":
                    outcome = together(folder, undisturbed, AROUND[kind])
                elif number % 4:
                    outcome = kill_of_a_scan(folder, undisturbed, longest)
                else:
                    outcome = kill_of_a_save(folder)
            except Exception as error:
                outcome = f"WRONG: {type(error).__name__}: {error}"[:500]
            outcomes[outcome] += 1
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(place)
    return outcomes


if __name__ == "__main__":
    for said, count in main(sys.argv[1], int(sys.argv[2])).most_common():
        print(f"{count:4}  {said}")
