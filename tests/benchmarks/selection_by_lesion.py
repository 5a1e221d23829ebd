"""Which map of a contrast finds units that its task needs: ``python -m tests.benchmarks.selection_by_lesion``.

Without arguments it studies the embedded model on its seven tasks; with a model and task files, that model::

    python -m tests.benchmarks.selection_by_lesion --model MODEL singular-plural.json capitalize.json

Prompts of the discovery half (:class:`tl_fbn.Tasks`) are scanned, and a GLM is fitted. For every task the contrast
``task - others`` gives five maps: t, effect, effect in standard deviations of block means, contribution and z within
layer. Of each the largest positive values are taken, of the map itself (``plain``) and of its least difference to the
maps of the other tasks (``least``, :func:`tl_fbn.specific_scores`). They are zeroed, and items of the evaluation half
are scored: what the own task loses, what the task that is hurt most of all others loses, and what the own task loses by
the worst of some random networks with as many units in each layer. All in nats a token of the answer.

A network *isolates* its task if the own loss is larger than those of all other tasks and of all controls by at least
.05 nats. The last column is the mean share of its units that lie in the last layer. At the level of blocks effects in
standard deviations have the order of t, so that their networks are the same; what is the same is scored once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch

import tl_fbn as fbn

LEAST_MARGIN = 0.05  # nats a token: less is no difference
MAPS = ("t", "effect", "standardized", "contribution", "z_within_layer")


def contrasts_of(model: Any, tasks: fbn.Tasks, *, rows: int, n_cycles: int) -> dict[str, Any]:
    """Every task's contrast with the mean of the others, from a scan of two runs that is not kept.

    Args:
        model: The model.
        tasks: The tasks, of which the discovery half is shown.
        rows: Number of tokens of a block.
        n_cycles: Number of blocks of every task in a run.
    """
    design = fbn.block_design(
        tasks.prompts(), n_runs=2, n_cycles=n_cycles, tokens_per_block=rows, order="random", seed=0, reuse=True
    )
    with tempfile.TemporaryDirectory() as folder:
        recording = fbn.Scanner(model, surprisal=False).scan(design, f"{folder}/scan", progress=sys.stderr.isatty())
        contrasts = fbn.fit_glm(recording, progress=False).contrasts_against_others()
    return {name: contrasts[name] for name in tasks.names}


def selections(contrasts: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, fbn.UnitMap]]]:
    """How units are chosen: ``plain`` or ``least``, the name of the map, and for every task the map itself.

    Args:
        contrasts: Name of a task to its contrast.
    """
    for by in MAPS:
        maps = {task: getattr(contrast, by) for task, contrast in contrasts.items()}
        yield "plain", by, maps
        yield "least", by, fbn.specific_scores(maps, how="least", scale="mean")


def lesions(
    model: Any,
    battery: fbn.Battery,
    contrasts: dict[str, Any],
    *,
    shares: list[float],
    n_controls: int,
) -> pd.DataFrame:
    """One line a share, selection and task: own loss, worst other loss and its task, and the largest of the controls.

    Args:
        model: The model.
        battery: Held-out items of the tasks.
        contrasts: Name of a task to its contrast.
        shares: Sizes of networks, as shares of all units.
        n_controls: Number of matched random networks for each network.
    """
    names = list(contrasts)
    alone = {name: battery.select([name]) for name in names}

    def scores(items: fbn.Battery, network: fbn.Network) -> dict[str, float]:
        with fbn.inhibit(model, network):
            return log_likelihoods(model, items)

    known: dict[tuple[str, bytes], tuple[dict[str, float], list[float]]] = {}  # of networks that come again

    def losses(name: str, network: fbn.Network, seed: int) -> tuple[dict[str, float], list[float]]:
        """What every task loses, and what the own task loses by each control."""
        key = name, network.members.tobytes()
        if key not in known:
            after = scores(battery, network)
            controls = fbn.matched_controls(network, n_controls, seed=seed)
            own = [before[name] - scores(alone[name], control)[name] for control in controls]
            known[key] = {task: before[task] - after[task] for task in names}, own
        return known[key]

    before = log_likelihoods(model, battery)
    lines = []
    for share, (how, by, maps) in product(shares, list(selections(contrasts))):
        for number, name in enumerate(names):
            network = maps[name].top(share, name=name)
            loss, controls = losses(name, network, number)
            own = loss[name]
            others = [loss[task] for task in names if task != name]
            lines.append(
                {
                    "top": share,
                    "of": how,
                    "by": by,
                    "task": name,
                    "own": own,
                    "worst_other": max(others),
                    "control_worst": max(controls),
                    "isolated": own > max(*others, *controls) + LEAST_MARGIN,
                    "last_layer": network.per_layer()[-1] / len(network),
                }
            )
            print(
                ", ".join(f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in lines[-1].values()),
                file=sys.stderr,
                flush=True,
            )
    return pd.DataFrame(lines)


def log_likelihoods(model: Any, battery: fbn.Battery) -> dict[str, float]:
    """Log-likelihood of every task, in nats a token."""
    return {name: found.of("log_likelihood") for name, found in battery.score(model).items()}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line a share and selection: ``own / worst other`` of every task, means over tasks, and isolated tasks."""
    keys = ["top", "of", "by"]
    cells = table.assign(cell=table["own"].map("{:.2f}".format) + " / " + table["worst_other"].map("{:.2f}".format))
    tasks = list(dict.fromkeys(table["task"]))
    frame = cells.pivot(index=keys, columns="task", values="cell")[tasks]
    grouped = table.groupby(keys)
    frame["own"] = grouped["own"].mean()
    frame["worst other"] = grouped["worst_other"].mean()
    frame["margin"] = frame["own"] - frame["worst other"]
    frame["controls"] = grouped["control_worst"].mean()
    frame[f"isolated of {len(tasks)}"] = grouped["isolated"].sum()
    frame["last layer"] = grouped["last_layer"].mean()
    order = dict.fromkeys(map(tuple, table[keys].itertuples(index=False)))
    return frame.loc[list(order)].reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="task files; without them the embedded model's own tasks")
    parser.add_argument("--model", help="name, checkpoint folder or .gguf file; without it the embedded model")
    parser.add_argument("--items", type=int, help="held-out items a task: 16, of the embedded model 60")
    parser.add_argument("--shots", type=int, default=3, help="rows shown before the one that is asked")
    parser.add_argument("--template", help="how a row is shown, with {input}; by default that of fbn.Tasks")
    parser.add_argument("--top", type=float, nargs="+", help=".002 .01, of the embedded model also .05")
    parser.add_argument("--controls", type=int, default=5, help="matched random networks for each network")
    parser.add_argument("--cycles", type=int, default=4, help="blocks of each task in a run, of 128 rows")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if (options.model is None) != (not options.tasks):
        parser.error("give a model and task files, or neither")
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    embedded = options.model is None
    model = fbn.demo.load_model() if embedded else fbn.load_model(options.model)
    # behind the same shots texts begin alike
    how = {} if options.template is None else {"template": options.template}
    tasks = fbn.demo.tasks() if embedded else fbn.Tasks(options.tasks, shots=options.shots, head="fixed", **how)
    battery = tasks.battery(model, n=options.items or (60 if embedded else 16))
    shares = options.top or ([0.002, 0.01, 0.05] if embedded else [0.002, 0.01])
    contrasts = contrasts_of(model, tasks, rows=128, n_cycles=options.cycles)
    table = lesions(model, battery, contrasts, shares=shares, n_controls=options.controls)
    n_items = ", ".join(f"{name} {len(battery.tasks[name].items)}" for name in contrasts)
    print(f"{fbn.Scanner(model).space.describe()}; items: {n_items}; log-likelihood lost a token: own / worst other\n")
    print(summary(table).to_string(index=False, float_format="{:.3g}".format))
    print(f"\n{np.ceil(time.monotonic() - started):.0f} s")


if __name__ == "__main__":
    main()
