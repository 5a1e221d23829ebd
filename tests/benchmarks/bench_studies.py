"""What scoring costs, of which every controlled study is made: ``python -m tests.benchmarks.bench_studies``.

Two threads, two idle cores, one run. Without a model it takes one of GPT-2 small's shape with random weights, and six
tasks of random tokens, 30 items each behind a beginning of 75 tokens; with ``--model MODEL --tasks FILES`` that model
and five fixed shots of those tasks. Beside one another, in turn:

- a battery whose items begin alike, and bare forward passes over all its tokens, without logits (at most .30);
- the same battery with nothing shared, and those passes with logits (at most .95);
- peak memory of the evaluation in a process of its own, above that of the model and one pass;
- a lesion study of six networks on eight tasks, in this process and on two workers of one thread each, and as many bare
  passes as it has runs (at most .32). ``--controls`` says how many are timed: one of 100 takes as long;
- six networks drawn at random that are named like tasks, with 100 controls each on the embedded model, and the same with
  ``stop=10`` (at most .2).
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import joblib
import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.bench_cgvst import gpt2
from tests.benchmarks.lines import Line
from tests.benchmarks.measure import apart, medians, peak_memory
from tests.helpers.models import bridged

HEAD = 75  # tokens of a beginning: five shots of a word task


def subject(model: str | None, files: list[str], n_tasks: int, n_items: int) -> tuple[Any, fbn.Battery]:
    """A model and a battery whose items begin alike."""
    if model is not None:
        tasks = fbn.Tasks(files, shots=5, head="fixed")
        return fbn.load_model(model), tasks.battery(n=n_items)
    rng = np.random.default_rng(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.integers(5, 50_000, n).tolist())

    heads = {f"task {i}": ids(HEAD) for i in range(n_tasks)}
    pairs = {
        name: [((*head, *ids(int(rng.integers(5, 12)))), ids(2)) for _ in range(n_items)]
        for name, head in heads.items()
    }
    return bridged(gpt2()), fbn.Battery.from_pairs(pairs)


def bare(model: Any, batches: list[torch.Tensor], *, logits: bool) -> None:
    """Forward passes of the model as it is; without logits the unembedding is left out."""
    inner = model.original_model
    run = inner if logits else inner.base_model
    with torch.no_grad():
        for ids in batches:
            run(ids, use_cache=False)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    model, battery = subject(options.model, options.tasks, 6, 30)
    whole = [batch.ids for batch in battery._prepared(model, 8192).whole.rests]
    took = medians(
        {
            "shared": lambda: battery.score(model),
            "whole": lambda: battery.score(model, share_prefixes=False),
            "bare": partial(bare, model, whole, logits=False),
            "bare with logits": partial(bare, model, whole, logits=True),
        },
        options.repeats,
    )
    scores, expected = battery.score(model), battery.score(model, share_prefixes=False)
    apart_by = max(float(np.abs(scores[t].log_likelihood - expected[t].log_likelihood).max()) for t in scores)
    peaks = [apart("bench_studies", "--peak", mode, *_again(options))["peak"] for mode in ("model", "evaluate")]
    return {
        "seconds": took,
        "tokens": [sum(battery.sizes(model)), sum(battery.sizes(model, share_prefixes=False))],
        "largest difference": apart_by,
        "other exact matches": sum(int((scores[t].exact_match != expected[t].exact_match).sum()) for t in scores),
        "peak MB": {"model": peaks[0], "evaluate": peaks[1]},
    }


def _again(options: argparse.Namespace) -> list[str]:
    return [] if options.model is None else ["--model", options.model, "--tasks", *options.tasks]


def studied(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a lesion study, of its bare passes, and of the same study on two workers; runs of a null study."""
    model, battery = subject(options.model, options.tasks, 8, 30)
    space = fbn.Scanner(model).space
    rng = np.random.default_rng(0)

    def drawn(space: fbn.UnitSpace, names: list[str]) -> dict[str, fbn.Network]:
        size = max(2, space.n_units // 500)
        return {name: fbn.Network.from_indices(space, rng.choice(space.n_units, size, replace=False)) for name in names}

    networks = drawn(space, list(battery.tasks)[:6])
    n_runs = 1 + len(networks) * (1 + options.controls)
    whole = [batch.ids for batch in battery._prepared(model, 8192).whole.rests]

    def study(**settings: Any) -> None:
        fbn.lesion_study(model, networks, battery, seed=0, progress=False, **settings)

    def on_workers() -> None:
        with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
            study(n_controls=options.controls)

    with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
        study(n_controls=1)  # starts the workers, which is not timed
    took = medians(
        {
            "study": lambda: study(n_controls=options.controls),
            "on workers": on_workers,
            "bare": partial(bare, model, whole, logits=False),
        },
        options.repeats,
    )
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    embedded, tasks = fbn.demo.load_model(), fbn.demo.battery(n=20)
    nulls = drawn(fbn.Scanner(embedded).space, list(tasks.tasks)[:6])
    tasks = tasks.select(list(nulls))
    null = {"n_controls": 100, "metric": "log_likelihood", "seed": 0, "progress": False}
    took |= medians(
        {
            "all controls": lambda: fbn.lesion_study(embedded, nulls, tasks, **null),
            "stopped": lambda: fbn.lesion_study(embedded, nulls, tasks, stop=10, **null),
        },
        1,
    )
    plan = fbn.plan_lesions(model, networks, battery, n_controls=100)
    return {"seconds": took, "runs": n_runs, "plan": repr(plan)}


def peak(options: argparse.Namespace) -> dict[str, float]:
    """Peak memory in MB of the model with a pass over one item, or of an evaluation of 14 tasks of 40 items."""
    model, battery = subject(options.model, options.tasks, 14, 40)
    if options.peak == "evaluate":
        battery.evaluate(model)
    else:
        with torch.no_grad():
            model(torch.tensor([list(range(5, 90))]))
    return {"peak": peak_memory()}


def study_lines(found: dict[str, Any]) -> list[Line]:
    """The figures of whole studies as lines of the table of all benchmarks."""
    took, n_runs = found["seconds"], found["runs"]
    beside = n_runs * took["bare"]
    return [
        Line("studies", what, took[key], "s", other, against, took[key] / against, "ours / that", goal)
        for what, key, other, against, goal in (
            (
                f"study of 6 networks x 8 tasks x 30 items, {n_runs} runs",
                "study",
                "as many bare passes",
                beside,
                "<= 0.32",
            ),
            ("the same on two workers of one thread", "on workers", "as many bare passes", beside, "<= 0.32"),
            ("6 null networks, 100 controls, stop=10", "stopped", "all controls", took["all controls"], "<= 0.2"),
        )
    ]


def lines(found: dict[str, Any]) -> list[Line]:
    """The figures as lines of the table of all benchmarks."""
    took, peaks = found["seconds"], found["peak MB"]
    return [
        Line(
            "studies",
            "battery of 6 tasks x 30 items that begin alike",
            took["shared"],
            "s",
            "bare passes over all tokens",
            took["bare"],
            took["shared"] / took["bare"],
            "ours / bare",
            "<= 0.3",
        ),
        Line(
            "studies",
            "the same, nothing shared",
            took["whole"],
            "s",
            "bare passes with logits",
            took["bare with logits"],
            took["whole"] / took["bare with logits"],
            "ours / bare",
            "<= 0.95",
        ),
        Line(
            "studies",
            "peak memory of an evaluation",
            peaks["evaluate"],
            "MB",
            "the model and one pass",
            peaks["model"],
            peaks["evaluate"] - peaks["model"],
            "MB more",
            "<= 1000",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model")
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--controls", type=int, default=3, help="of each network of the study that is timed")
    parser.add_argument("--part", choices=("batteries", "studies"), help="one of both; by default both")
    parser.add_argument("--peak", choices=("model", "evaluate"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.peak:
        found: dict[str, Any] = peak(options)
    else:
        found = {"lines": []}
        for part, measure, table in (("batteries", measured, lines), ("studies", studied, study_lines)):
            if options.part in (None, part):
                found[part] = measure(options)
                found["lines"] += [line.to_dict() for line in table(found[part])]
    if options.json:
        options.json.write_text(json.dumps(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
