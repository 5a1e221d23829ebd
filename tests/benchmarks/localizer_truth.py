"""Which score should I use to localize a task's neurons: ``python -m tests.benchmarks.localizer_truth``.

::

    python -m tests.benchmarks.localizer_truth --model MODEL present-past.json capitalize.json ... --folder F --out T.csv

Every score of :mod:`tests.benchmarks.localizer_scores` makes a map of every task, on discovery rows. Networks are the
first neurons of the map itself (``plain``) and of its least difference to the maps of the other tasks (``least``, the
defaults of :func:`tl_fbn.specific_scores`), at several shares of all neurons. Each is zeroed while evaluation rows of
all tasks are scored, in nats a token of the answer:

- *own* is what its task loses, *worst* what the other task loses that is hurt most; both with the network's task in the
  long table, with 95 % intervals over items of own and of own - worst (whichever task is truly the worst: the smallest
  lower end of own less each other, and the smallest upper end, corrected for the number of others);
- *isolated* are tasks with own >= .05 and own >= 3 worst; *beyond* those whose interval of own - worst is above 0;
- *ratio* is the median of own / worst, where worst counts as at least .01;
- *collapse* is the mean share of a network's neurons that are collapse neurons (:func:`tl_fbn.collapse_neurons`);
- *p < 0.02* counts networks of ``--control-share`` that cost their task more than random networks do, which match them
  in layers, activity and outgoing norm. No more are lesioned once ten cost as much (:mod:`tl_fbn.intervention.studies.
  stopping`).

One table is printed for each share, and that of the control share once more at the end, with p. What is done is kept in ``--folder``: the same
call goes on where it stopped, and other ``--scores`` and ``--shares`` may be added to a folder.

On SmolLM2-135M in bfloat16, nine tasks of 10 items, a lesion takes some 4 s of one busy processor, half of them for the
news of one task, and there are 18 lesions a score and share; a control takes .3 s. Integrated gradients and CGVST take
the most time of the scores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch

import tl_fbn as fbn
from tests.benchmarks.localizer_scores import ALONE, SCORES, Discovery, kept_map
from tests.benchmarks.specific_networks import isolated
from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import METRICS, check_disjoint, item_counts, resamples, spans
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.intervention.studies.stopping import StoppingRule, stopped_p

METRIC = "log_likelihood"
STORIES = ("topic/rest", "topic/food")  # neutral text, in which collapse neurons are looked for
LEAST_WORST = 0.01  # nats a token; what others lose counts as at least this in a ratio
STOP = 10
ALPHA = 0.02
LEAST_CONTROLS = 50  # of which none costs as much: p = 1 / 51
Networks = dict[tuple[str, str], fbn.Network]  # (plain or least, task) to a network


@dataclass(frozen=True)
class Bench:
    """The model, what it is tested on, and where results are kept.

    Args:
        model: The model.
        battery: Evaluation rows of all tasks.
        folder: Where results are kept.
        started: When the run began, as ``time.monotonic`` says.
    """

    model: Any
    battery: fbn.Battery
    folder: Path
    started: float

    def say(self, what: str) -> None:
        """Print a line of progress, with the seconds since the run began."""
        print(f"{time.monotonic() - self.started:7.0f} s  {what}", file=sys.stderr, flush=True)

    @property
    def scored(self) -> Path:
        """Folder of what these items said, beside those of other numbers of items."""
        return self.folder / f"items-{max(item_counts(self.battery))}"

    @cached_property
    def untouched(self) -> np.ndarray:
        """(item,) log-likelihood of all items without a lesion."""
        with StudyRuns(self.model, n_conditions=1, title="untouched", progress=False) as runs:
            return runs.untouched(self.battery)[:, METRICS.index(METRIC)]

    @cached_property
    def collapse(self) -> fbn.Network:
        """Collapse neurons of the model."""
        path = self.folder / "collapse.safetensors"
        if not path.exists():
            texts = [text for name in STORIES for text in fbn.prompts(name)[:40]]
            fbn.collapse_neurons(self.model, texts, progress=False).save(path)
        return fbn.load(path).network

    def lesioned(self, part: str, networks: Networks) -> dict[tuple[str, str], np.ndarray]:
        """(item,) log-likelihood of all items while each network is zero; the same units are zeroed once.

        Args:
            part: Name of these networks in the folder.
            networks: The networks.
        """
        keys = {name: one.members.tobytes() for name, one in networks.items()}
        first = {key: name for name, key in reversed(keys.items())}
        distinct = {" ".join(name): networks[name] for name in first.values()}
        for name, one in distinct.items():
            check_disjoint(one, self.battery, self.model.tokenizer, name)
        kept = study_folder(self.scored / "lesions" / part, self.model, distinct, self.battery, {})
        silence = partial(fbn.inhibit, self.model)
        conditions = [Condition(name, partial(silence, one)) for name, one in distinct.items()]
        with StudyRuns(self.model, n_conditions=len(conditions), title=part, progress=False, folder=kept) as runs:
            scores = runs.scores("networks", self.battery, conditions)[0][..., METRICS.index(METRIC)]
        of = dict(zip(first, scores, strict=True))
        return {name: of[key] for name, key in keys.items()}

    def control_p(self, part: str, networks: Mapping[str, fbn.Network], features: Any, n: int) -> dict[str, tuple]:
        """Task to p of its network on its own task against matched controls, and the number of these.

        Args:
            part: Name of these networks in the folder.
            networks: Task to its network.
            features: What controls are matched by, beside layers.
            n: Largest number of controls.
        """
        settings = {"n_controls": n, "stop": STOP, "seed": 0}
        kept = study_folder(self.scored / f"controls-{n}" / part, self.model, networks, self.battery, settings)
        silence = partial(fbn.inhibit, self.model)
        found = {}
        total = len(networks) * (n + 1)
        with StudyRuns(self.model, n_conditions=total, title=part, progress=False, folder=kept) as runs:
            for number, (task, network) in enumerate(networks.items()):
                alone = self.battery.select([task])
                controls = fbn.matched_controls(network, n, seed=number, features=features)
                conditions = [Condition(task, partial(silence, network)), *Condition.each(silence, controls)]
                rule = StoppingRule.of(STOP, {task: network}, alone, METRIC)
                order = rule.order(task, n_chosen=1, n_controls=n)
                scores = runs.scores(task, alone, conditions, order=order)[0][..., METRICS.index(METRIC)].mean(1)
                null = -scores[1:][np.isfinite(scores[1:])]
                p = stopped_p(-scores[:1], null[:, None], 0, STOP, n)
                found[task] = float(p[0]), len(null)
        return found


def cut(maps: Mapping[str, fbn.UnitMap], share: float, *, alone: bool) -> Networks:
    """The networks of a score at one share, of its maps as they are and of their least differences.

    Args:
        maps: Task to its map.
        share: Share of all neurons.
        alone: Whether the maps cannot be contrasted.
    """
    made = {"plain": maps} if alone else {"plain": maps, "least": fbn.specific_scores(maps)}
    return {(how, task): one.top(share, name=task) for how, of in made.items() for task, one in of.items()}


def lines_of(bench: Bench, share: float, score: str, networks: Networks) -> list[dict[str, Any]]:
    """Lines of the long table, one a network.

    Args:
        bench: What networks are tested on.
        share: Their share of all neurons.
        score: The score that they are of.
        networks: The networks.
    """
    names = list(bench.battery.tasks)
    where = dict(zip(names, spans(item_counts(bench.battery)), strict=True))
    draws = {name: resamples(len(bench.battery.tasks[name].items), 1000, [0, i]) for i, name in enumerate(names)}
    lines = []
    for (how, task), scores in bench.lesioned(f"{share:g}-{score}", networks).items():
        network = networks[how, task]
        lost = {name: (bench.untouched - scores)[where[name]] for name in names}

        def term(name: str, level: float, lost: Any = lost) -> tuple[float, intervals.Interval]:
            return float(lost[name].mean()), intervals.of_mean(lost[name], draws[name], level=level)

        others = [name for name in names if name != task]
        own, (low, high) = term(task, 0.95)
        worst_task = max(others, key=lambda name: float(lost[name].mean()), default="")
        worst = float(lost[worst_task].mean()) if others else np.nan
        ends = []
        for level in (0.95, 1 - 0.05 / max(len(others), 1)):
            less = [intervals.scaled(*term(name, level), -1.0) for name in others]
            ends.append(np.array([intervals.of_sum([term(task, level), one]) for one in less]))
        lines.append(
            {
                "share": share,
                "score": score,
                "how": how,
                "task": task,
                "units": len(network),
                "own": own,
                "own_low": low,
                "own_high": high,
                "worst": worst,
                "worst_task": worst_task,
                "margin_low": float(ends[0][:, 0].min()) if others else np.nan,
                "margin_high": float(ends[1][:, 1].min()) if others else np.nan,
                "isolated": bool(isolated(np.array(own), np.array(worst))),
                "collapse": float((network.members & bench.collapse.members).sum()) / len(network),
                "p": np.nan,
                "controls": 0,
            }
        )
    return lines


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line a score and way of cutting, those that isolate most tasks first.

    Args:
        table: Lines of one share.
    """
    ratio = table["own"] / np.maximum(table["worst"], LEAST_WORST)
    given = table.assign(ratio=ratio, beyond=table["margin_low"] > 0, sure=(table["p"] < ALPHA).astype(float))
    given.loc[given["controls"] == 0, "sure"] = np.nan
    grouped = given.groupby(["score", "how"], sort=False)
    frame = grouped[["isolated", "beyond"]].sum()
    frame = frame.join(grouped[["own", "worst", "ratio"]].median()).join(grouped["collapse"].mean())
    if (table["controls"] > 0).any():
        frame[f"p < {ALPHA:g}"] = grouped["sure"].sum(min_count=1)
    frame["tasks"] = grouped.size()
    return frame.reset_index().sort_values(["isolated", "ratio"], ascending=False)


def show(table: pd.DataFrame, share: float) -> None:
    """Print the table of one share.

    Args:
        table: The long table.
        share: The share of all neurons.
    """
    lines = table[table["share"] == share]
    units = int(lines["units"].iloc[0])
    print(f"\n{share:.2%} of all neurons ({units:,}); nats a token, medians over tasks")
    print(summary(lines).to_string(index=False, float_format="{:.3g}".format), flush=True)


def same_settings(folder: Path, settings: dict[str, Any]) -> list[str]:
    """Settings in which a folder that was begun before differs; they are noted where it is new.

    Args:
        folder: The folder.
        settings: What decides the maps that it keeps.
    """
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1))
        return []
    known = json.loads(path.read_text())
    return [f"{name}: {known.get(name)} there, {value} now" for name, value in settings.items() if known[name] != value]


def parsed() -> tuple[argparse.Namespace, Path]:
    """What the command line says, and the folder in which results are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="task files; with the embedded model none")
    parser.add_argument("--model", default="demo", help="name, checkpoint folder or .gguf file; the embedded model")
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=list(SCORES), metavar="SCORE")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.001, 0.002, 0.005, 0.01])
    parser.add_argument("--control-share", type=float, default=0.002, help="share whose networks have controls")
    parser.add_argument("--controls", type=int, default=100, help="matched random networks at most; 0 makes none")
    parser.add_argument("--found-on", type=int, default=40, help="discovery rows a task")
    parser.add_argument("--items", type=int, default=20, help="evaluation rows a task")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--block", type=int, default=256, help="tokens of a block of the scan")
    parser.add_argument("--cycles", type=int, default=3, help="blocks of every task in each of two runs")
    parser.add_argument("--integrated-on", type=int, default=6, help="discovery rows a task of integrated gradients")
    parser.add_argument("--steps", type=int, default=5, help="steps of integrated gradients")
    parser.add_argument("--folder", type=Path, help="where results are kept; the same call goes on there")
    parser.add_argument("--out", type=Path, help="CSV file of the whole table; by default in the folder")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if (options.model == "demo") != (not options.tasks):
        parser.error("give a model and task files, or neither")
    folder = options.folder or Path(tempfile.mkdtemp())
    if 0 < options.controls < LEAST_CONTROLS:
        parser.error(f"{options.controls} controls cannot give p < {ALPHA}; give --controls {LEAST_CONTROLS}, or 0")
    names = ("model", "tasks", "found_on", "shots", "block", "cycles", "integrated_on", "steps")
    if different := same_settings(folder, {name: getattr(options, name) for name in names}):
        parser.error(f"{folder} holds maps of other settings ({'; '.join(different)}); give another --folder")
    return options, folder


def main() -> None:
    options, folder = parsed()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    model = fbn.load_model(options.model, progress=False)
    if options.tasks:
        tasks = fbn.Tasks(options.tasks, shots=options.shots, head="fixed")
        drawn = fbn.Tasks(options.tasks, shots=options.shots, head="drawn")
    else:
        tasks = drawn = fbn.demo.tasks()
    size = options.found_on, options.block, options.cycles, options.integrated_on, options.steps
    found = Discovery(model, tasks, drawn, folder, *size)
    bench = Bench(model, tasks.battery(model, n=options.items), folder, started)
    bench.say(f"{bench.battery!r}; {len(bench.collapse)} collapse neurons")
    maps: dict[str, dict[str, fbn.UnitMap]] = {}
    for score in options.scores:
        try:
            maps[score] = {task: kept_map(found, score, task) for task in tasks.names}
            bench.say(f"map {score}")
        except fbn.InputError as error:
            bench.say(f"left out: {score}: {error}")
    lines: list[dict[str, Any]] = []
    networks: dict[tuple[float, str], Networks] = {}
    out = options.out or folder / "localizers.csv"
    for share in options.shares:
        for score, of_tasks in maps.items():
            try:
                networks[share, score] = cut(of_tasks, share, alone=score in ALONE)
            except fbn.InputError as error:  # fewer neurons have a value than the share asks for
                bench.say(f"left out: {score} at {share:g}: {error}")
                continue
            lines += lines_of(bench, share, score, networks[share, score])
            bench.say(f"lesions {score} at {share:g}")
        pd.DataFrame(lines).to_csv(out, index=False)
        show(pd.DataFrame(lines), share)
    if options.controls and options.control_share in options.shares:
        for _ in add_p(bench, found, lines, networks, options):
            pd.DataFrame(lines).to_csv(out, index=False)
        show(pd.DataFrame(lines), options.control_share)
    print(f"\n{time.monotonic() - started:.0f} s; the whole table is in {out}", flush=True)


def add_p(
    bench: Bench,
    found: Discovery,
    lines: list[dict[str, Any]],
    networks: dict[tuple[float, str], Networks],
    options: argparse.Namespace,
) -> Iterator[None]:
    """Put p against matched controls into the lines of one share, those that isolate most tasks first.

    Args:
        bench: What networks are tested on.
        found: Whose recording says how active units are.
        lines: Lines of the long table, which are changed.
        networks: The networks by share and score.
        options: What the command line says.
    """
    share = options.control_share
    features = fbn.studies.unit_features(bench.model, found.recording)
    here = [line for line in lines if line["share"] == share]
    best_first = summary(pd.DataFrame(here))
    for score, how in best_first[["score", "how"]].itertuples(index=False):
        chosen = {task: one for (which, task), one in networks[share, score].items() if which == how}
        p = bench.control_p(f"{share:g}-{score}-{how}", chosen, features, options.controls)
        for line in here:
            if (line["score"], line["how"]) == (score, how):
                line["p"], line["controls"] = p[line["task"]]
        sure, lesioned = sum(one < ALPHA for one, _ in p.values()), sum(n for _, n in p.values())
        bench.say(f"controls of {score} {how}: p < {ALPHA:g} of {sure}, {lesioned} lesions")
        yield


if __name__ == "__main__":
    main()
