"""Interrupts at any moment in every block that changes a model: what is left behind? ``python -m tests.faults.interrupted``

``random N``: N signals at random moments of a loop of blocks, all blocks in turn. The even ones are SIGINT, sent by
another process; the odd ones SIGALRM, by the system's timer, with a handler that raises an error as that of ^C does.

``steps N``: ^C at N instructions of each block, counted in Python's own; half of them in the files that put things on
and take them off.

What was found is printed as JSON: how many interrupts there were, how many never came through, and what each of those
that left something behind left.
"""

from __future__ import annotations

import copy
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.interventions import IDS, llama_bridge, network_of, random_reference
from tl_fbn import interrupts
from tl_fbn.acquisition.model.forward_context import declared, listen
from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.intervention.pruning.finetuning import only_network

Block = Callable[[], Any]
POSITIONS = {
    "all": "all",
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    "special": "special",
    "numbers": [0, 2],
    "mask": np.array([True, False, True]),
}
SENDER = """
import os, sys, time
for line in sys.stdin:
    pid, seconds = line.split()
    time.sleep(float(seconds))
    os.kill(int(pid), 2)
"""
# files whose every instruction is tried sooner than those of the host
NEAR = ("interrupts.py", "contextlib.py", "intervention.py", "forward_context.py", "attached_hooks.py", "model_lock.py")


class SpecialTokens:
    """As much of a tokenizer as positions="special" asks for."""

    all_special_ids = (3, 2)
    pad_token_id = None


def blocks_of(model: Any, folder: Path) -> dict[str, Block]:
    """Every block that changes the model, by name; each leaves the model as it was."""
    network = network_of(model)
    reference = random_reference(model)
    design = small_design(n_runs=1)
    scanner = fbn.Scanner(model, batch_size=4)
    battery = fbn.Battery.from_pairs({"a": [((1, 2), (3,)), ((4, 5, 6), (7,))]})
    verbs = {
        "inhibit": lambda at: fbn.inhibit(model, network, positions=at),
        "amplify": lambda at: fbn.amplify(model, network, gain=2.0, positions=at),
        "retain": lambda at: fbn.retain(model, network, positions=at),
        "clamp": lambda at: fbn.clamp(model, network, low=0.0, positions=at),
    }

    def with_pass(made: Any) -> Block:
        def block() -> None:
            with made, torch.no_grad():
                model(IDS[:1, :4])

        return block

    def empty(made: Any) -> Block:
        def block() -> None:
            with made:
                pass

        return block

    blocks = {f"{verb}, {name}": with_pass(make(at)) for verb, make in verbs.items() for name, at in POSITIONS.items()}
    resampled = fbn.inhibit(model, network, method="resample", reference=reference)
    blocks["inhibit, resample"] = with_pass(resampled)
    last = fbn.inhibit(model, network, positions="last")

    def made_anew() -> None:
        with fbn.amplify(model, network, gain=2.0, positions="last"):
            pass

    def nested() -> None:
        with last, resampled, last:
            pass

    def written() -> None:
        with fbn.inhibit(model, network, positions="generated"):
            model.generate(IDS[:1, :3], max_new_tokens=2, do_sample=False, stop_at_eos=False, verbose=False)

    def hooks_of_ones_own() -> None:
        hooks = last.fwd_hooks()
        del hooks

    def read() -> None:
        lease = listen(model)
        with declared(model, [2]), torch.no_grad():
            model(IDS[:1, :4])
        lease.close()

    def watched() -> None:
        with watching(model, allowed=False):
            pass

    def scanned() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as path:
            scanner.scan(design, path, progress=False)

    def streamed() -> None:
        list(scanner.stream(design, progress=False).sums([np.ones((1, 100))[:, :n] for n in [n_rows]]))

    n_rows = scanner.plan(design).n_rows
    blocks |= {
        "empty": empty(last),
        "made anew": made_anew,
        "nested": nested,
        "generate": written,
        "fwd_hooks": hooks_of_ones_own,
        "reader": read,
        "only_network": empty(only_network(model, network)),
        "watching": watched,
        "scan": scanned,
        "stream": streamed,
        "cgvst": lambda: fbn.cgvst(model, [[1, 2, 3, 4]], positions=[[1, 2]], progress=False),
        "battery": lambda: battery.score(model),
    }
    return blocks


def state_of(model: Any) -> dict[str, Any]:
    """All that a block might leave behind, by what it is called."""
    modules = {id(one): one for root in (model, model.original_model) for one in root.modules()}.values()
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "fwd_hooks", "bwd_hooks")
    parameters = [p for root in (model, model.original_model) for p in root.parameters()]
    return {
        "hooks": [list(getattr(one, kind, ())) for one in modules for kind in kinds],
        "functions": [list(one._forward_hooks.values()) for one in modules],
        "attributes": [sorted(vars(one)) for one in (model, model.original_model)],
        "context level": getattr(model, "context_level", None),
        "requires_grad": [p.requires_grad for p in parameters],
        "grad": [p.grad is None for p in parameters],
        "hooks of parameters": [len(p._backward_hooks or ()) for p in parameters],
        "hooks of optimisers": len(torch.optim.optimizer._global_optimizer_post_hooks),
        "gradients on": torch.is_grad_enabled(),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)],
        "signals waiting": len(getattr(interrupts, "_waiting", ())),
    }


def left_behind(model: Any, before: dict[str, Any]) -> list[str]:
    """Names of what is not as it was."""
    after = state_of(model)
    if after["hooks"] != before["hooks"]:
        # a reader whose lease was lost, not closed, takes itself off at the next pass
        with torch.no_grad():
            model.original_model(IDS[:1, :2])
        after = state_of(model)
    return [name for name in before if after[name] != before[name]]


@contextmanager
def sender() -> Iterator[Callable[[int, float], None]]:
    """A function that has a signal of a trial sent to this process after so many seconds."""
    process = subprocess.Popen([sys.executable, "-c", SENDER], stdin=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None

    def send(trial: int, seconds: float) -> None:
        if trial % 2:
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        else:
            print(f"{__import__('os').getpid()} {seconds:.6f}", file=process.stdin)

    try:
        yield send
    finally:
        process.stdin.close()
        process.wait()


def struck_at_random(blocks: dict[str, Block], model: Any, n: int) -> tuple[int, Counter[str]]:
    """How many of n interrupts never came through, and what the others left behind."""
    rng = random.Random(0)
    lost, left = 0, Counter[str]()
    took = {}
    for name, block in blocks.items():
        started = time.monotonic()
        block()
        took[name] = time.monotonic() - started
    before = state_of(model)
    with sender() as send:
        for trial in range(n):
            name = list(blocks)[trial // 2 % len(blocks)]
            try:
                send(trial, rng.uniform(0, 2) * took[name])
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    blocks[name]()
                lost += 1
            except KeyboardInterrupt:
                pass
            left.update(f"{name}: {what}" for what in left_behind(model, before))
    return lost, left


class Stepper:
    """A trace function that counts Python's instructions, and interrupts at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.n = 0
        self.near: list[int] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event in ("call", "opcode"):
            self.n += 1
            if self.at is None and frame.f_code.co_filename.endswith(NEAR):
                self.near.append(self.n)
            if self.n == self.at:
                signal.raise_signal(signal.SIGINT)
        return self

    def run(self, block: Block) -> bool:
        """Whether the interrupt came through."""
        try:
            sys.settrace(self)
            block()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False


def struck_at_steps(blocks: dict[str, Block], model: Any, n: int) -> tuple[int, int, Counter[str]]:
    """How many interrupts there were, how many never came through, and what the others left behind."""
    rng = random.Random(0)
    trials, lost, left = 0, 0, Counter[str]()
    for name, block in blocks.items():
        block()
        before = state_of(model)
        counted = Stepper()
        counted.run(block)
        near = rng.sample(counted.near, min(n - n // 2, len(counted.near)))
        for at in [*near, *rng.sample(range(1, counted.n + 1), min(n // 2, counted.n))]:
            trials += 1
            lost += not Stepper(at).run(block)
            left.update(f"{name}, step {at}: {what}" for what in left_behind(model, before))
    return trials, lost, left


def main(how: str, n: int, *only: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    signal.signal(signal.SIGALRM, lambda *_: signal.default_int_handler(*_))
    unraisable: list[str] = []
    sys.unraisablehook = lambda error: unraisable.append(f"{error.exc_type.__name__} in {error.object!r}")
    torch.set_num_threads(1)
    model = llama_bridge()
    model.tokenizer = SpecialTokens()
    with tempfile.TemporaryDirectory() as folder:
        blocks = blocks_of(model, Path(folder))
        blocks = {name: block for name, block in blocks.items() if not only or name in only}
        if how == "random":
            lost, left = struck_at_random(blocks, model, n)
        else:
            n, lost, left = struck_at_steps(blocks, model, n)
    seen = {"blocks": len(blocks), "interrupts": n, "lost": lost, "unraisable": unraisable, "left": copy.copy(left)}
    print(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
