"""A scan that something happens to: ``python -m tests.faults.disturbed FOLDER MOMENT``; also as a rank of several, by
``RANK`` and ``WORLD_SIZE``.

The disturbance comes in the second of three runs, while or after the first is committed. What the process saw is
printed
as JSON: the error, if Python could still see one, how many hooks were left on the model, and how many batches it read.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan.scanner import Scanner

N_RUNS = 3
HOOKED = {"nan", "inf", "user's hook"}


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def instead(module: Any, name: str, disturbance: Callable[..., Any], when: Callable[..., bool]) -> None:
    """Replace a function by one that is disturbed before it starts, once ``when`` holds of its arguments."""
    original = getattr(module, name)

    def disturbed(*arguments: Any, **options: Any) -> Any:
        if when(*arguments, **options):
            disturbance()
        return original(*arguments, **options)

    setattr(module, name, disturbed)


class Moments:
    """What can be arranged, by name; spaces are underscores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def first_is_committed(self, *_: Any, **__: Any) -> bool:
        return store.committed_runs(self.folder) != []

    def in_the_second_run(self, *_: Any, **__: Any) -> bool:
        """Once the second run is being filled; the first is committed beside it, and waited for."""
        return next(self.folder.glob(".run-02.*.part"), None) is not None and self.wait_for_first()

    def kill_while_laying_out(self) -> None:
        original = store.lay_out

        def lay_out(path: Path, run: int, *rest: Any) -> Any:
            laid_out = original(path, run, *rest)
            if run == 1:
                while not self.first_is_committed():
                    time.sleep(0.01)
                die()
            return laid_out

        store.lay_out = lay_out

    def kill_while_filling(self) -> None:
        instead(host, "forward", die, self.in_the_second_run)

    def kill_while_hashing(self) -> None:
        instead(store, "checksum_of_header", die, self.first_is_committed)

    def kill_before_the_rename(self) -> None:
        instead(os, "rename", die, lambda _, to: str(to).endswith("run-02"))

    def kill_between_runs(self) -> None:
        instead(store, "claim", die, lambda path, run, **_: run == 1 and self.wait_for_first())

    def wait_for_first(self) -> bool:
        while not self.first_is_committed():
            time.sleep(0.01)
        return True

    def disk_full(self) -> None:
        def full() -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        instead(os, "pwrite", full, self.in_the_second_run)

    def file_too_large(self) -> None:
        """The system itself refuses to let any file grow beyond 12 kB: less than a run."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def interrupted(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
        instead(host, "forward", lambda: os.kill(os.getpid(), signal.SIGINT), self.in_the_second_run)

    def together(self) -> None:
        """Begin when a second process has come as far, and take some time over every batch."""
        (self.folder.parent / f"ready-{os.getpid()}").touch()
        while len(list(self.folder.parent.glob("ready-*"))) < 2:
            time.sleep(0.01)
        instead(host, "forward", lambda: time.sleep(0.05), lambda *_, **__: True)

    def together_until_killed(self) -> None:
        self.together()
        calls: list[int] = []
        instead(host, "forward", die, lambda *_, **__: calls.append(1) or len(calls) == 3)

    def rank_1_is_killed(self) -> None:
        """In the middle of the first run it takes; until then the others wait in theirs, and then take their time."""
        calls: list[int] = []
        taken = self.folder.parent / "rank-1-has-a-run"

        def announce_and_die() -> None:
            taken.touch()
            die()

        def wait() -> None:
            while not taken.exists():
                time.sleep(0.01)
            time.sleep(0.5)

        def in_a_run(*_: Any, **__: Any) -> bool:
            calls.append(1)
            return len(calls) > 2  # the first batch is the short text of the key

        instead(host, "forward", announce_and_die if os.environ.get("RANK") == "1" else wait, in_a_run)

    def hook(self, moment: str) -> Callable[..., Any]:
        """A hook of the user's that writes NaN or infinity, or raises, in the second run."""

        def users(tensor: torch.Tensor, hook: Any) -> torch.Tensor | None:
            if not self.in_the_second_run():
                return None
            if moment == "user's hook":
                raise RuntimeError("a mistake in the user's hook")
            changed = tensor.clone()
            changed[0, 0, 3] = float(moment)
            return changed

        return users


def main(folder: Path, moment: str) -> None:
    model, moments = tiny_model(), Moments(folder)
    hooks, options = [], {}
    if moment in HOOKED:
        hooks, options = [("blocks.1.mlp.hook_post", moments.hook(moment))], {"hooks_id": "users"}
    elif moment != "never":
        getattr(moments, moment.replace(" ", "_"))()
    share = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    batches: list[int] = []
    model.register_forward_pre_hook(lambda *_: batches.append(1))
    seen: dict[str, Any] = {"error": None}
    with model.hooks(fwd_hooks=hooks):
        before = len(host.fwd_hook_functions(model))
        try:
            Scanner(model, batch_size=4).scan(
                small_design(n_runs=N_RUNS), folder, progress=False, share=share, **options
            )
        except BaseException as error:
            seen["error"] = f"{type(error).__name__}: {error}"
        seen["hooks left"] = len(host.fwd_hook_functions(model)) - before
    seen["batches"] = len(batches)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
