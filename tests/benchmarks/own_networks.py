"""How many tasks have a network of their own: ``python -m tests.benchmarks.own_networks --model MODEL FILES...``.

Networks are those of :func:`tl_fbn.task_networks` (.2 % of the neurons by default), found on the discovery half of the rows.
On rows of the other half, in nats a token of the answer:

1. every network is zeroed while all tasks are scored: own loss, and that of the worst other task, with 95 % intervals;
2. beside each stand random networks of as many units in every layer and of like activity and outgoing norm, scored on its
   own task; p is from their number;
3. of the ``--pairs`` tasks that are isolated best, networks and controls are scored on all of these tasks: double
   dissociations (p < .01 and intervals apart).

A task is isolated if its own loss is at least .05 nats, at least three times the worst other's, and beyond all controls.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch

import tl_fbn as fbn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", help="task files")
    parser.add_argument("--model", required=True, help="name, checkpoint folder or .gguf file")
    parser.add_argument("--found-on", type=int, default=60, help="discovery items a task")
    parser.add_argument("--items", type=int, default=40, help="held-out items a task")
    parser.add_argument("--pair-items", type=int, default=16, help="held-out items a task for double dissociations")
    parser.add_argument("--pairs", type=int, default=4, help="number of tasks for double dissociations")
    parser.add_argument("--controls", type=int, default=100)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--top", type=float, default=0.002)
    parser.add_argument("--folder", help="where finished lesions are kept")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    folder = options.folder or tempfile.mkdtemp()
    model = fbn.load_model(options.model)
    tasks = fbn.Tasks(options.tasks, shots=options.shots, head="fixed")
    atlas = fbn.task_networks(model, tasks, n=options.found_on, top=options.top, seed=0, progress=False)
    battery = tasks.battery(model, n=options.items)
    design = fbn.block_design(tasks.prompts(), n_runs=1, n_cycles=1, tokens_per_block=256, seed=0)
    recording = fbn.Scanner(model).scan(design, f"{folder}/recording", progress=False)  # whose activity controls match
    given = {"metric": "log_likelihood", "seed": 0, "progress": False}
    lesions = fbn.lesion_study(model, atlas, battery, n_controls=1, path=f"{folder}/all", **given)
    table = lesions.summary().set_index("network")
    exact = lesions.to_dataframe(metric="exact_match").query("network == task").set_index("network")
    lines = []
    matched = {"n_controls": options.controls, "controls": ("activity",), "reference": recording, **given}
    for name, network in atlas.items():
        own_only = fbn.lesion_study(
            model, {name: network}, battery.select([name]), path=f"{folder}/controls-{name}", **matched
        )
        control = own_only.to_dataframe().iloc[0]
        line = table.loc[name]
        isolated = line["own"] >= max(0.05, 3 * line["other_worst"]) and control["p"] < 1.5 / (options.controls + 1)
        scores = f"{exact['baseline'][name]:.2f} -> {exact['lesioned'][name]:.2f}"
        lines.append((name, line["own"], control["low"], control["high"], line["other_worst"], line["worst_task"]))
        lines[-1] += (control["control_p95"], control["p"], scores, bool(isolated))
        print(lines[-1], f"{time.monotonic() - started:.0f} s", flush=True)
    columns = ["network", "own", "low", "high", "worst", "of", "control_p95", "p", "exact match", "isolated"]
    found = pd.DataFrame(lines, columns=columns)
    print(found.round(3).to_string(index=False))
    print(f"{found['isolated'].sum()} of {len(found)} isolated, {time.monotonic() - started:.0f} s", flush=True)
    best = list(found.assign(ratio=found["own"] - 3 * found["worst"]).nlargest(options.pairs, "ratio")["network"])
    few = tasks.battery(model, n=options.pair_items).select(best)
    networks = {name: atlas[name] for name in best}
    pairs = fbn.lesion_study(model, networks, few, path=f"{folder}/pairs", **matched).dissociations()
    print(pairs.round(3).to_string(index=False))
    print(f"{pairs['double'].sum()} of {len(pairs)} pairs dissociate doubly, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
