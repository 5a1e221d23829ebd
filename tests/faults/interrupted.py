"""^C in every block that changes a model: what is left behind? ``python -m tests.faults.interrupted random 1000``

``random N``: N times SIGINT, sent by another process, at random moments of a loop of one block, all blocks in turn.

``steps N``: ^C at N of the instructions at which each block is being entered or left, as Python's tracing counts them.

Not among the blocks: a list from ``fwd_hooks()`` that is forgotten. Python drops an error in its finaliser, and the
next pass takes its hooks off (``tests/acquisition/model/test_forward_context.py``). Nor is the gradient mode after the
host's own ``generate``, whose ``torch.no_grad()`` ^C may leave by half.

What was found is printed as JSON: how many interrupts there were, how many never came through, how many fell into a
finaliser (where Python prints an error and goes on), and what each of those that left something behind left.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.interventions import IDS, llama_bridge, network_of, random_reference
from tl_fbn import interrupts
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.acquisition.model.forward_context import declared, listen

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
# whose bodies are the host's own passes, which use torch.no_grad() (transformers' rotary positions, generate), beside
# all of the name "..., a pass"; what these blocks of this package touch is restored by it
# where TransformerLens's generate() puts the cache between two passes, and takes it away itself, unless interrupted
OF_THE_HOST = {"_last_hf_cache", "_capture_hf_cache"}
WITHOUT_GRADIENTS = {"generate", "reader", "inhibit, resample"}
SENDER = """
import os, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    os.kill(int(sys.argv[1]), 2)
"""


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

    def look(tensor: Any, hook: Any) -> None:
        pass

    def around(made: AbstractContextManager[Any], body: Block = lambda: None) -> Block:
        def block() -> None:
            with made:
                body()

        return block

    # with gradients: ^C between torch.no_grad()'s __enter__ and its body leaves them off, which is torch's doing
    def one_pass() -> None:
        model(IDS[:1, :4])

    def written() -> None:
        model.generate(IDS[:1, :3], max_new_tokens=2, do_sample=False, stop_at_eos=False, verbose=False)

    last = fbn.inhibit(model, network, positions="last")
    resampled = fbn.inhibit(model, network, method="resample", reference=reference)

    def made_anew() -> None:
        with fbn.amplify(model, network, gain=2.0, positions="last"):
            pass

    def nested() -> None:
        with last, resampled, last:
            pass

    @interrupts.uninterrupted
    def listening(undo: ExitStack) -> None:
        undo.callback(listen(model).close)  # as interventions do: nobody may lose the lease

    def read() -> None:
        with listening(), declared(model, [2]):
            one_pass()

    def scanned() -> None:
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as path:
            scanner.scan(design, path, progress=False)

    def streamed() -> None:
        list(scanner.stream(design, progress=False).sums([np.ones((1, n_rows))]))

    n_rows = scanner.plan(design).n_rows
    verbs = {
        "inhibit": lambda at: fbn.inhibit(model, network, positions=at),
        "amplify": lambda at: fbn.amplify(model, network, gain=2.0, positions=at),
        "retain": lambda at: fbn.retain(model, network, positions=at),
        "clamp": lambda at: fbn.clamp(model, network, low=0.0, positions=at),
    }
    model.tokenizer = SpecialTokens()  # for this line only: a scan asks more of a tokenizer
    blocks = {
        f"{verb}, {name}{', a pass' if body is one_pass else ''}": around(make(at), body)
        for verb, make in verbs.items()
        for name, at in POSITIONS.items()
        for body in (lambda: None, one_pass)
    }
    model.tokenizer = None
    return blocks | {
        "inhibit, resample": around(resampled, one_pass),
        "made anew": made_anew,
        "nested": nested,
        "generate": around(fbn.inhibit(model, network, positions="generated"), written),
        "reader": read,
        "only_network": around(fbn.only_network(model, network)),
        "hooked": around(hooked(model, [("blocks.0.mlp.hook_post", look)], "a test")),
        "watching": around(watching(model, allowed=False)),
        "scan": scanned,
        "stream": streamed,
        "cgvst": lambda: fbn.cgvst(model, [[1, 2, 3, 4]], positions=[[1, 2]], progress=False),
        "battery": lambda: battery.score(model),
    }


def state_of(model: Any) -> dict[str, Any]:
    """All that a block might leave behind, by what it is called."""
    modules = {id(one): one for root in (model, model.original_model) for one in root.modules()}.values()
    parameters = [p for root in (model, model.original_model) for p in root.parameters()]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "hooks": [dict(getattr(one, kind)) for one in modules for kind in kinds],
        "hooks of the host": [len(getattr(one, kind, ())) for one in modules for kind in ("fwd_hooks", "bwd_hooks")],
        "attributes": [sorted(vars(one).keys() - OF_THE_HOST) for one in (model, model.original_model)],
        "context level": getattr(model, "context_level", None),
        "requires_grad": [p.requires_grad for p in parameters],
        "grad": [p.grad is None for p in parameters],
        "hooks of parameters": [len(p._backward_hooks or ()) for p in parameters],
        "hooks of optimisers": len(_global_optimizer_post_hooks),
        "gradients on": torch.is_grad_enabled(),
        "handler": signal.getsignal(signal.SIGINT),
        "interrupts waiting": list(interrupts._waiting),
    }


def left_behind(model: Any, before: dict[str, Any], name: str) -> list[str]:
    """Names of what is not as it was after the block of this name; what it did to gradients ends here."""
    if name in WITHOUT_GRADIENTS or name.endswith(", a pass"):
        torch.set_grad_enabled(before["gradients on"])
    after = state_of(model)
    if after != before:  # an error's traceback may hold what it fell into, in a cycle
        gc.collect()
        after = state_of(model)
    torch.set_grad_enabled(before["gradients on"])  # else the blocks that follow are blamed, too
    return [
        f"{what} {_difference(before[what], after[what])}" if what == "attributes" else what
        for what in before
        if after[what] != before[what]
    ]


def _difference(before: list[list[str]], after: list[list[str]]) -> str:
    """Names of attributes that came or went."""
    return ", ".join(sorted({name for one, other in zip(before, after, strict=True) for name in {*one} ^ {*other}}))


@contextmanager
def sender() -> Iterator[Callable[[float], None]]:
    """A function that has SIGINT sent to this process after so many seconds."""
    process = subprocess.Popen([sys.executable, "-c", SENDER, str(os.getpid())], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    with process.stdin as line:
        yield lambda seconds: print(f"{seconds:.6f}", file=line, flush=True)
    process.wait()


def struck_at_random(
    blocks: dict[str, Block], model: Any, n: int, unraisable: list[str]
) -> tuple[int, int, Counter[str]]:
    """How many interrupts there were, how many never came through, and what the others left behind."""
    rng = random.Random(0)
    lost, left = 0, Counter[str]()
    took = {}
    for name, block in blocks.items():
        block()
        started = time.monotonic()
        block()
        took[name] = time.monotonic() - started
    before = state_of(model)
    with sender() as send:
        for trial in range(n):
            name = list(blocks)[trial % len(blocks)]
            n_unraisable = len(unraisable)
            try:
                send(0.001 + rng.uniform(0, 2) * took[name])
                until = time.monotonic() + 5
                while time.monotonic() < until and len(unraisable) == n_unraisable:
                    blocks[name]()
                lost += len(unraisable) == n_unraisable
            except KeyboardInterrupt:
                pass
            if found := left_behind(model, before, name):
                left.update(f"{name}: {what}" for what in found)
                before = state_of(model)  # the blocks that follow are blamed for their own only
    return n, lost, left


class Stepper:
    """A trace function that counts instructions while blocks are entered and left, and interrupts at one of them."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.n = 0

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        at_work = frame.f_code in interrupts._CODES_AT_WORK or (frame.f_back is not None and frame.f_back.f_trace)
        if event == "call" and not at_work:
            return None
        frame.f_trace_opcodes = True
        if event in ("call", "opcode"):
            self.n += 1
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


def struck_at_steps(
    blocks: dict[str, Block], model: Any, n: int, unraisable: list[str]
) -> tuple[int, int, Counter[str]]:
    """How many interrupts there were, how many never came through, and what the others left behind."""
    rng = random.Random(0)
    trials, lost, left = 0, 0, Counter[str]()
    for name, block in blocks.items():
        block()
        before = state_of(model)
        counted = Stepper()
        counted.run(block)
        for at in rng.sample(range(1, counted.n + 1), min(n, counted.n)):
            trials += 1
            n_unraisable = len(unraisable)
            if not Stepper(at).run(block) and len(unraisable) == n_unraisable:
                lost += 1
                print(f"lost: {name}, step {at} of {counted.n}", file=sys.stderr)
            left.update(f"{name}, step {at} of {counted.n}: {what}" for what in left_behind(model, before, name))
    return trials, lost, left


def main(how: str, n: int, *only: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    unraisable: list[str] = []
    sys.unraisablehook = lambda error: unraisable.append(f"{error.exc_type.__name__} in {error.object!r}")
    torch.set_num_threads(1)
    model = llama_bridge()
    model.add_hook("blocks.1.mlp.hook_post", lambda tensor, hook: None)  # the user's own, which stays
    with tempfile.TemporaryDirectory() as folder:
        blocks = blocks_of(model, Path(folder))
        blocks = {name: block for name, block in blocks.items() if not only or name in only}
        strike = {"random": struck_at_random, "steps": struck_at_steps}[how]
        n, lost, left = strike(blocks, model, n, unraisable)
    seen = {"blocks": len(blocks), "interrupts": n, "lost": lost, "in finalisers": unraisable, "left": left}
    print(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
