"""Collapse neurons of a model, what the search misses, and what leaving them out changes.

::

    python -m tests.benchmarks.collapse_truth --model MODEL present-past.json capitalize.json

Printed are what :func:`tl_fbn.collapse_neurons` finds on the package's own stories, and how long it takes; the first
240 neurons that its screens name, lesioned one by one, of which those that cost more than the threshold are listed with
their place; and, with task files, what each task's first neurons by plain gradient x activation lose on their own task
and on the worst other one, as they are and without collapse neurons (nats a token of the answer, held-out items).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

import tl_fbn as fbn
from tl_fbn.intervention.studies.collapse_screens import beginnings, interleaved, screens

STORIES = ("topic/rest", "topic/food")


def screened_costs(model: Any, texts: Sequence[str], n: int) -> list[tuple[int, int, float]]:
    """Place, flat index and cost of the first units that the screens name.

    Args:
        model: The model.
        texts: Neutral text, of which the search's defaults are read.
        n: Number of units.
    """
    ids, _ = beginnings(model, texts, 12, 32)
    space = fbn.Scanner(model).space
    battery = fbn.Battery.from_texts({"texts": ids})
    tokens = np.array([len(one) - 1 for one in ids])

    def loss() -> float:
        return -float((battery.score(model)["texts"].log_likelihood * tokens).sum() / tokens.sum())

    untouched, found = loss(), []
    for place, unit in enumerate(interleaved(screens(model, ids, 8192), n), 1):
        with fbn.inhibit(model, fbn.Network.from_indices(space, [unit])):
            found.append((place, unit, loss() - untouched))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("tasks", nargs="*", type=Path)
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--top", type=float, nargs="+", default=[0.002, 0.01])
    chosen = parser.parse_args()
    model = fbn.load_model(chosen.model, progress=False)
    texts = [text for name in STORIES for text in fbn.prompts(name)[:40]]
    started, spent = time.perf_counter(), time.process_time()
    found = fbn.collapse_neurons(model, texts, progress=False)
    print(f"{found}\n{time.perf_counter() - started:.0f} s, {time.process_time() - spent:.0f} s of processors")
    print(found.to_dataframe().query("found").round(3).to_string(index=False), f"\n{found.chance_in_words()}")
    for place, unit, cost in screened_costs(model, texts, 240):
        if cost > found.threshold:
            print("place {:3d}: {}.{} costs {:.3f}".format(place, *found.space.locate(unit), cost))
    if not chosen.tasks:
        return
    tasks = fbn.Tasks([str(path) for path in chosen.tasks])
    battery = tasks.battery(model, n=chosen.items)
    maps = {
        name: fbn.attribution.gradient_x_activation(model, one.items, one.positions, progress=False)
        for name, one in tasks.items(model, n=16).items()
    }
    for top in chosen.top:
        networks = {name: one.top(top, name=name) for name, one in maps.items()}
        for exclude in (None, found):
            study = fbn.lesion_study(
                model,
                networks,
                battery,
                n_controls=1,
                metric="log_likelihood",
                exclude=exclude,
                seed=0,
                progress=False,
            )
            print(f"first {top:.1%}, {'as they are' if exclude is None else study.provenance['excluded']['of']}")
            print(study.summary()[["network", "own", "other_worst", "worst_task"]].round(2).to_string(index=False))


if __name__ == "__main__":
    main()
