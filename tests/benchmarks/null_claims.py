"""Where the demo's claims should fail: ``python -m tests.benchmarks.null_claims [--model MODEL FILES...]``.

Without a model, on the embedded one: the networks of its seven tasks by the demo's own way (a linear model of the answers,
effects, the least difference, 5 % of neurons), and by gradients at answers. With one: the networks of
:func:`tl_fbn.task_networks` for the tasks of the files. Each network is zeroed while held-out items are scored; the
claim is what its own task loses less what the worst other loses (exact match, with a model nats a token). The analysis is
run again on untrained twins, with shuffled labels, in rotated bases and in other orders.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

import tl_fbn as fbn
from tl_fbn.demo.pipeline import condition_maps, formal_experiment
from tl_fbn.intervention.behaviour.task_set import MarkedItems
from tl_fbn.intervention.studies.task_networks import answer_scores, cut_networks, specific_maps

SETTINGS: Any = {"n_controls": 1, "seed": 0, "progress": False}


def embedded(n: int, items: int) -> None:
    """Both kinds of networks on the embedded model."""
    experiment = formal_experiment(n_items=items)

    def linear_model(model: Any, prompts: Any) -> fbn.studies.LesionStudy:
        design = fbn.block_design(prompts, n_runs=4, n_cycles=3, tokens_per_block=64, order="random", seed=0)
        fit = fbn.fit_glm(fbn.Scanner(model, batch_size=32).stream(design, progress=False), phases=experiment.phases)
        maps = condition_maps(fit, [name for name in prompts if name != "rest"], experiment.phase)
        networks = {name: one.top(0.05, name=name) for name, one in maps.items()}
        return fbn.lesion_study(model, networks, experiment.battery, **SETTINGS)

    def gradients(model: Any, pairs: Any) -> fbn.studies.LesionStudy:
        atlas = fbn.task_networks(model, pairs, top=0.05, seed=0, progress=False)
        return fbn.lesion_study(model, atlas, experiment.battery, **SETTINGS)

    pairs = {
        name: [(f"{before}[/INST]", after) for before, _, after in (one.partition("[/INST]") for one in every[:80])]
        for name, every in experiment.conditions.items()
        if name != "rest"
    }
    for analysis, prompts in ((linear_model, experiment.conditions), (gradients, pairs)):
        started = time.monotonic()
        print(fbn.null_check(analysis, experiment.model, prompts, seed=0, n=n, progress=False))
        print(f"{time.monotonic() - started:.0f} s\n")


def real(options: argparse.Namespace) -> None:
    """Networks of word tasks on a model."""
    model = fbn.load_model(options.model)
    tasks = fbn.Tasks(options.tasks, shots=options.shots, head="fixed")
    battery = tasks.battery(model, n=options.items)
    found_on = tasks.items(model, n=options.found_on)
    items = {name: list(zip(*one, strict=True)) for name, one in found_on.items()}  # (token ids, places of the answer)

    def gradients(model: Any, items: Any) -> fbn.studies.LesionStudy:
        marked = {name: MarkedItems(*map(list, zip(*own, strict=True))) for name, own in items.items()}
        scores = answer_scores(model, marked, progress=False)
        atlas = cut_networks(specific_maps(scores, seed=0), options.top)
        return fbn.lesion_study(model, atlas, battery, metric="log_likelihood", **SETTINGS)

    started = time.monotonic()
    print(fbn.null_check(gradients, model, items, seed=0, n=options.n))
    print(f"{time.monotonic() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="task files, with --model")
    parser.add_argument("--model", help="name, checkpoint folder or .gguf file")
    parser.add_argument("--n", type=int, default=3, help="runs of each null")
    parser.add_argument("--found-on", type=int, default=30, help="discovery items a task")
    parser.add_argument("--items", type=int, default=40, help="held-out items a task")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--top", type=float, default=0.002)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    real(options) if options.model else embedded(options.n, options.items)


if __name__ == "__main__":
    main()
