"""How much faster and smaller a pruned model is: ``python -m tests.benchmarks.bench_prune``.

Two threads on two idle cores (threads that wait for a busy core measure the waiting; ``--threads 1`` where cores are
shared), medians of interleaved
repetitions, a model of GPT-2 small's shape with random weights, pruned to a random half of its neurons, layers of
unequal width. Timed are its twelve MLPs themselves, on the same input as the intact model's, and a whole forward pass;
sizes are those of the
folders that ``save_pretrained`` writes, in which every layer is padded to the widest. The target is that the MLPs run
at least 1.6 times faster.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.bench_cgvst import gpt2
from tests.benchmarks.measure import medians
from tests.helpers.models import bridged
from tl_fbn.intervention.pruning.mlp_surgery import inner
from tl_fbn.intervention.pruning.prune import prune

SHAPES = ((1, 128), (4, 128))
TARGET = 1.6


def pruned_mlp_speed(
    *, share: float = 0.5, shapes: tuple[tuple[int, int], ...] = SHAPES, repeats: int = 5, threads: int = 2
) -> dict[str, float]:
    """Seconds of the MLPs and of a forward pass, intact and pruned, by shape; and megabytes on disk.

    Args:
        share: Of the neurons that stay.
        shapes: Texts and tokens of the inputs.
        repeats: Repetitions whose median is taken.
        threads: Of PyTorch.
    """
    torch.set_num_threads(threads)
    model = bridged(gpt2()).eval()
    space = fbn.Scanner(model).space
    small = prune(model, keep=fbn.Network(space, np.random.default_rng(0).random(space.n_units) < share))
    found: dict[str, float] = {"parameters": small.pruned.n_before, "parameters, pruned": small.pruned.n_after}
    for shape in shapes:
        hidden, ids = torch.randn(*shape, model.cfg.d_model), torch.randint(0, 50_000, shape)

        def mlps(which: Any, hidden: torch.Tensor = hidden) -> None:
            with torch.inference_mode():
                for block in which.blocks:
                    inner(block.mlp)(hidden)

        def whole(which: Any, ids: torch.Tensor = ids) -> None:
            with torch.inference_mode():
                which(ids)

        variants = {
            f"{what}{', pruned' if which is small else ''}": lambda f=f, which=which: f(which)
            for what, f in (("MLPs", mlps), ("forward", whole))
            for which in (model, small)
        }
        took = medians(variants, repeats)
        found |= {f"{name} {shape[0]}x{shape[1]}": seconds for name, seconds in took.items()}
    with tempfile.TemporaryDirectory() as folder:
        gpt2().save_pretrained(Path(folder, "intact"))
        small.save_pretrained(Path(folder, "pruned"))
        for name, key in (("intact", "MB"), ("pruned", "MB, pruned")):
            found[key] = sum(file.stat().st_size for file in Path(folder, name).glob("*.safetensors")) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    found = pruned_mlp_speed(repeats=options.repeats, threads=options.threads)
    print("| | intact | pruned to half | ratio |")
    print("|---|---|---|---|")
    for shape in (f" {texts}x{tokens}" for texts, tokens in SHAPES):
        for what in ("MLPs", "forward"):
            one, other = found[what + shape], found[f"{what}, pruned{shape}"]
            print(f"| {what}, {shape.strip()} | {one * 1e3:.0f} ms | {other * 1e3:.0f} ms | {one / other:.2f} |")
    for what, unit in (("parameters", 1e6), ("MB", 1)):
        one, other = found[what] / unit, found[f"{what}, pruned"] / unit
        print(f"| {what}{', million' if unit > 1 else ' on disk'} | {one:.1f} | {other:.1f} | {one / other:.2f} |")
    ratios = [found[f"MLPs {texts}x{tokens}"] / found[f"MLPs, pruned {texts}x{tokens}"] for texts, tokens in SHAPES]
    assert min(ratios) >= TARGET, ratios


if __name__ == "__main__":
    main()
