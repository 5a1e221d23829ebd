"""Which scaling and which cut give networks of a task's own: ``python -m tests.benchmarks.specific_networks``.

::

    python -m tests.benchmarks.specific_networks --model MODEL singular-plural.json capitalize.json ...

Every neuron is scored by gradient times activation at the answers of the discovery half. For each way of scaling maps
(``mean``, ``rms``, ``rank``), with and without taking the smaller of two halves' values, and for each size, the networks
of :func:`tl_fbn.task_networks` are zeroed, and items of the evaluation half are scored: what the own task loses, and
what the task that is hurt most of all others loses, in nats a token of the answer.

A task counts as isolated if the own loss is at least .05 nats and at least three times the worst other. The default is
chosen on the first half of the held-out items and read off the second.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from itertools import product

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch

import tl_fbn as fbn
from tl_fbn.intervention.studies.task_networks import answer_scores, cut_networks, specific_maps

LEAST, TIMES = 0.05, 3.0  # nats a token; own loss over the worst other's


def isolated(own: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Which tasks are isolated, given what they and the worst other task lose."""
    return (own >= LEAST) & (own >= TIMES * np.maximum(worst, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", help="task files")
    parser.add_argument("--model", required=True, help="name, checkpoint folder or .gguf file")
    parser.add_argument("--found-on", type=int, default=60, help="discovery items a task")
    parser.add_argument("--items", type=int, default=20, help="held-out items a task")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--top", type=float, nargs="+", default=[0.001, 0.002, 0.005])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    model = fbn.load_model(options.model)
    tasks = fbn.Tasks(options.tasks, shots=options.shots, head="fixed")
    marked = tasks.items(model, n=options.found_on)
    battery = tasks.battery(model, n=options.items)
    scores = answer_scores(model, marked)

    def likelihoods() -> np.ndarray:
        """(half, task) log-likelihood of the held-out items of each half."""
        found = battery.score(model)
        halves = [[one.log_likelihood[half::2].mean() for one in found.values()] for half in (0, 1)]
        return np.array(halves)

    before = likelihoods()
    known: dict[bytes, np.ndarray] = {}
    lines = []
    names = list(battery.tasks)
    for share, scale, halves in product(options.top, ("mean", "rms", "rank"), (False, True)):
        atlas = cut_networks(specific_maps(scores, seed=0, scale=scale, halves=halves), share)
        lost = []
        for network in atlas.values():
            key = network.members.tobytes()
            if key not in known:
                with fbn.inhibit(model, network):
                    known[key] = before - likelihoods()
            lost.append(known[key])
        losses = np.array(lost)  # (network, half, task)
        for half in (0, 1):
            own = np.array([losses[i, half, i] for i in range(len(names))])
            worst = np.array([np.delete(losses[i, half], i).max() for i in range(len(names))])
            cells = [f"{a:.2f}/{b:.2f}" for a, b in zip(own, worst, strict=True)]
            lines.append(
                (share, scale, halves, "first" if half == 0 else "second", int(isolated(own, worst).sum()), *cells)
            )
            print(lines[-1], f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    table = pd.DataFrame(lines, columns=["top", "scale", "smaller half", "held-out half", "isolated", *names])
    print(table.sort_values(["held-out half", "top"]).to_string(index=False))
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
