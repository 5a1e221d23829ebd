"""The whole argument in one call: scan, find networks, break them, strengthen them, write it down.

On the embedded model the conditions are its formal tasks and the measure is exact match; on any other model they are
topics of short English stories and the measure is the log-likelihood of other stories on the topic. The steps are the
same:

1. a block design over all conditions and ``rest``, recorded by run (and reused if it is there already);
2. a GLM; the network of a condition is the ``share`` of units with the largest *conjunction of effects*: the smallest
   difference of cell means between this condition and every other one. Neither ``task - rest`` nor significance isolates
   a task: hundreds of units differ between any two conditions with certainty, and most of them for other reasons than the
   task. On the embedded model only answers are compared with answers (a phase of the design): while a question is
   read, units answer to its letters and digits, and networks of the whole text broke two tasks of seven where those of the
   answers broke four (on items set apart for that choice);
3. a lesion study on held-out items, with random networks matched for units in each layer;
4. amplification: ``ADD`` is added to every member's activation, and the same is done to matched random networks. On the embedded model the question then asks for another task (``copy``), and what is measured is the
   log-likelihood of the answer that the network's own task would give.

Everything random is seeded; results are saved beside the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tl_fbn import demo
from tl_fbn.acquisition.design.block_design import BlockDesign, block_design
from tl_fbn.acquisition.design.stimuli import formal, prompts, topics
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan.scanner import Scanner
from tl_fbn.analysis.glm.design_matrix import Phases, from_token
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.networks.conjunction import conjunction
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import amplify
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.lesion import lesion_study
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.units import Atlas, UnitMap

ADD = 0.5  # chosen among 0.5, 1 and 2 sd, gain 2 and 3, on items set apart
DISCOVERY_PASSAGES = 40
Say = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """What differs between the embedded model and any other.

    Args:
        model: The model.
        conditions: Condition name to discovery prompts; with ``rest``.
        battery: Held-out items, one task a condition that has a network.
        amplified: The items amplification is measured on; a task named like a network is that network's.
        amplification_note: What those items are, in a sentence.
        n_cycles: Cycles a run.
        phases: Phases of the prompts, for the design matrix.
        phase: The phase that is compared between conditions; ``rest`` has none.
        batch_size: Items in a forward pass.
    """

    model: HookedModel
    conditions: Mapping[str, list[str]]
    battery: Battery
    amplified: Battery
    amplification_note: str
    n_cycles: int
    phases: Phases | None = None
    phase: str = ""
    batch_size: int = 32


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What a demo found, and the folder it wrote."""

    folder: Path
    design: BlockDesign
    recording: Recording
    reused: bool
    fit: GLMFit
    maps: Mapping[str, UnitMap]
    atlas: Atlas
    plain: Atlas
    baseline: pd.DataFrame
    study: LesionStudy
    amplification: pd.DataFrame
    seconds: float


def formal_experiment(*, n_items: int = 100) -> Experiment:
    """The embedded model on its own tasks."""
    battery = demo.battery(n=n_items)
    conflicting = {
        name: [(item.prompt.replace(f" {name} : ", " copy : ", 1), item.alternatives[0]) for item in task.items[:50]]  # pyright: ignore[reportAttributeAccessIssue]
        for name, task in battery.tasks.items()
        if name != "copy"
    }
    note = (
        'Every question asks for "copy"; scored is the answer that the network\'s own task would give to the same words. '
        "Held-out items."
    )
    conditions = {name: prompts(name) for name in (*formal.TASKS, "rest")}
    return Experiment(
        demo.load_model(),
        conditions,
        battery,
        Battery.from_pairs(conflicting),
        note,
        n_cycles=3,
        phases=from_token(formal.USER_CLOSE, "answer"),
        phase="answer",
        batch_size=256,
    )


def topic_experiment(model: HookedModel) -> Experiment:
    """Any model on topics of short English stories, the first 40 passages to find networks and the rest to score them."""
    bank = topics()
    conditions = {name: list(passages[:DISCOVERY_PASSAGES]) for name, passages in bank.items()}
    battery = Battery.from_texts({name: list(passages[DISCOVERY_PASSAGES:]) for name, passages in bank.items()})
    networks = battery.select([name for name in bank if name != "rest"])
    return Experiment(model, conditions, battery, networks, "Held-out passages of the network's own topic.", n_cycles=3)


def run_demo(
    experiment: Experiment,
    folder: Path,
    *,
    share: float = 0.05,
    n_controls: int = 100,
    seed: int = 0,
    progress: bool = True,
    say: Say = lambda line: None,
) -> DemoResult:
    """Run all steps and save their results.

    Args:
        experiment: :func:`formal_experiment` or :func:`topic_experiment`.
        folder: Where recording, results and page go.
        share: Size of each network, as a share of all units.
        n_controls: Matched random networks for each network and step.
        seed: Seed of the order of blocks in the design and of the draw of control networks.
        progress: Show bars.
        say: Called with a line of text at every step.
    """
    started = time.monotonic()
    model = experiment.model
    design = block_design(
        experiment.conditions,
        n_runs=4,
        n_cycles=experiment.n_cycles,
        tokens_per_block=64,
        order="random",
        seed=seed,
    )
    scanner = Scanner(model, batch_size=32)
    path = folder / f"recording-{scanner.space.model}"
    say(f"1/4 scan: {scanner.plan(design, folder)!r}")
    reused = len(store.committed_runs(path)) == design.n_runs
    recording = scanner.scan(design, path, progress=progress)
    if reused:
        say(f"    reused the recording at {path}: same weights, prompts and site, so no forward pass was run")
    say(f"2/4 GLM over {recording.n_rows:,} rows, networks of {share:.0%} of the units")
    fit = fit_glm(recording, phases=experiment.phases)
    maps = condition_maps(fit, [name for name in experiment.conditions if name != "rest"], experiment.phase)
    atlas = Atlas.from_networks({name: each.top(share, name=name) for name, each in maps.items()})
    against_rest = {
        name: fit.contrast(f"{_column(name, experiment.phase)} - rest", level="token").effect.top(share, name=name)
        for name in maps
    }
    baseline = experiment.battery.evaluate(model, batch_size=experiment.batch_size)
    say(
        f"3/4 lesions: {len(atlas)} networks and {n_controls} matched random networks for each, scored on {len(baseline)} tasks"
    )
    study = lesion_study(
        model,
        atlas,
        experiment.battery,
        n_controls=n_controls,
        seed=seed,
        progress=progress,
        batch_size=experiment.batch_size,
    )
    say(f"4/4 amplification: {ADD:g} added to every member, with matched random networks")
    amplification = amplification_table(experiment, atlas, n_controls=n_controls, seed=seed, progress=progress)
    atlas.save(folder / "atlas.safetensors")
    fit.save(folder / "glm.safetensors")
    study.save(folder / "lesions.safetensors")
    study.to_dataframe().to_csv(folder / "lesions.csv", index=False)
    amplification.to_csv(folder / "amplification.csv", index=False)
    seconds = time.monotonic() - started
    return DemoResult(
        folder,
        design,
        recording,
        reused,
        fit,
        maps,
        atlas,
        Atlas.from_networks(against_rest),
        baseline,
        study,
        amplification,
        seconds,
    )


def condition_maps(fit: GLMFit, names: list[str], phase: str = "") -> dict[str, UnitMap]:
    """For each condition, the conjunction of its effects against every other condition and ``rest``, in one phase.

    Effects are differences of means; the level of a contrast decides its error, which is not used here.
    """

    return {
        name: conjunction(
            [
                fit.contrast(f"{_column(name, phase)} - {_column(other, phase)}", level="token").effect
                for other in (*names, "rest")
                if other != name
            ]
        )
        for name in names
    }


def _column(name: str, phase: str) -> str:
    """The design's column of a condition in a phase, quoted; rest has no phases."""
    return f"`{name}_{phase}`" if phase and name != "rest" else f"`{name}`"


def amplification_table(
    experiment: Experiment, atlas: Atlas, *, n_controls: int, seed: int, progress: bool
) -> pd.DataFrame:
    """One line a network: log-likelihood of its items before and under amplification, and the same for random networks.

    p is (1 + number of random networks that raise it at least as much) / (1 + number of random networks).
    """
    model = experiment.model
    lines = []
    names = [name for name in atlas if name in experiment.amplified.tasks]
    with tqdm(total=len(names) * (1 + n_controls), desc="amplifications", unit="run", disable=not progress) as bar:
        for number, name in enumerate(names):
            items = experiment.amplified.select([name])
            before = items.score(model, batch_size=experiment.batch_size)[name]
            scores = []
            for network in (atlas[name], *matched_controls(atlas[name], n_controls, seed=seed + 1000 + number)):
                with amplify(model, network, add=ADD):
                    scores.append(items.score(model, batch_size=experiment.batch_size)[name])
                bar.update()
            changes = np.array([each.of("log_likelihood") for each in scores]) - before.of("log_likelihood")
            lines.append(
                {
                    "network": name,
                    "log_likelihood": before.of("log_likelihood"),
                    "amplified": scores[0].of("log_likelihood"),
                    "change": changes[0],
                    "control_median": np.median(changes[1:]),
                    "control_p95": np.quantile(changes[1:], 0.95),
                    "p": (1 + (changes[1:] >= changes[0]).sum()) / (1 + n_controls),
                    "exact_match": before.of("exact_match"),
                    "exact_match_amplified": scores[0].of("exact_match"),
                }
            )
    return pd.DataFrame(lines).dropna(axis="columns", how="all")
