"""A whole analysis in one call: record, find networks, silence them, strengthen them, save what was found.

This is the demo of the embedded model: conditions are its formal tasks, and the measure is exact match. Any other model
is studied by :mod:`tl_fbn.demo.task_study`. The steps are:

1. a block design over all conditions and ``rest``, recorded run by run; runs that are there already are used again;
2. a GLM. The network of a condition is the ``share`` of units with the largest *conjunction of effects*: the smallest
   difference of cell means between this condition and every other one. Neither ``task - rest`` nor significance
   isolates a task: hundreds of units differ between any two conditions with certainty, and most of them for other
   reasons than the task. On the embedded model only answers are compared with answers (a phase of the design): while a
   question is read, units respond to its letters and digits. Networks of the whole text broke two tasks of seven where
   those of the answers broke four (on items set apart for that choice);
3. a lesion study on held-out items, with random networks matched for the number of units in each layer;
4. amplification: ``ADD`` is added to every member's activation, and the same is done to matched random networks. On the
   embedded model the question then asks for another task (``copy``), and what is measured is the log-likelihood of the
   answer that the network's own task would give.

Everything random is seeded; results are saved in one folder. :mod:`tl_fbn.demo.story` makes tables and a page of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tl_fbn import demo, files
from tl_fbn.acquisition.design.block_design import BlockDesign, block_design
from tl_fbn.acquisition.design.stimuli import formal, prompts
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
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import METRICS, empirical_p
from tl_fbn.intervention.studies.lesion import lesion_study
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.units import Atlas, UnitMap

ADD = 0.5  # activation units; chosen among 0.5, 1 and 2 sd, gain 2 and 3, on items set apart
Say = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """A model with the prompts and items it is analysed on: all that differs between the embedded model and another.

    Args:
        model: The TransformerLens model that is analysed.
        conditions: Name of a condition to the prompts in which its network is found; ``rest`` is one of them.
        battery: Held-out items that lesions are scored on; a task has the name of the condition it belongs to.
        amplified: Items that amplification is scored on; a network is amplified while the task of its name is scored.
        amplification_note: A sentence that says what the items of ``amplified`` are; tables and page print it.
        n_cycles: Number of cycles in a run of the design; a cycle shows every condition once.
        phases: A function that names the phase of every row of a run, for the design matrix; None does not divide
            prompts into phases.
        phase: Name of the phase in which conditions are compared; ``rest`` has no phases, and "" compares all rows.
    """

    model: HookedModel
    conditions: Mapping[str, list[str]]
    battery: Battery
    amplified: Battery
    amplification_note: str
    n_cycles: int
    phases: Phases | None = None
    phase: str = ""


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What a demo found, and the folder it wrote.

    Args:
        folder: Folder with the recording and all saved results.
        design: The block design that was shown.
        recording: Activations of the model during the design.
        reused: Whether all runs were recorded before, so that the model did not have to read the prompts again.
        fit: The GLM of the recording.
        maps: Name of a condition to its conjunction of effects, in activation units.
        atlas: The network of every condition.
        plain: For comparison, networks of the same size cut from the plain contrasts ``condition - rest``.
        baseline: What the model scores on the battery without any intervention, one line a task.
        study: The lesion study of the networks, with their matched controls.
        amplification: What amplification changes, one line a network (:func:`amplification_table`).
        seconds: Duration of all steps together, in seconds.
    """

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
    """The embedded model on its own tasks.

    Args:
        n_items: Number of held-out items of each task.
    """
    battery = demo.battery(n=n_items)
    # items that ask for copy, but whose right answer is that of the network's own task: 50 are enough for a mean
    # log-likelihood. copy itself has no such conflict
    conflicting = {
        name: [(item.prompt.replace(f" {name} : ", " copy : ", 1), item.alternatives[0]) for item in task.items[:50]]  # pyright: ignore[reportAttributeAccessIssue]
        for name, task in battery.tasks.items()
        if name != "copy"
    }
    note = (
        'Every question asks for "copy"; scored is the answer that the network\'s own task would give to the same '
        "words. Held-out items."
    )
    conditions = {name: prompts(name) for name in (*formal.TASKS, "rest")}
    return Experiment(
        demo.load_model(),
        conditions,
        battery,
        Battery.from_pairs(conflicting),
        note,
        n_cycles=3,
        # the answer begins behind the token that ends the question
        phases=from_token(formal.USER_CLOSE, "answer"),
        phase="answer",
    )


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
        experiment: Model, prompts and items, from :func:`formal_experiment`.
        folder: Folder that the recording and the results are written to.
        share: Size of each network, as a share of all units.
        n_controls: Number of matched random networks for each network, in the lesions and in the amplification.
        seed: Seed of the order of blocks in the design and of the random draws of control networks; the same seed gives
            the same design and the same controls.
        progress: Whether to show progress bars.
        say: A function that is called with a line of text at the start of every step.
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
    # named after the model, so that the recordings of two models can lie in one folder
    path = folder / f"recording-{scanner.space.model}"
    say(f"1/4 scan: {scanner.plan(design, folder)!r}")
    reused = len(store.committed_runs(path)) == design.n_runs
    recording = scanner.scan(design, path, progress=progress)  # runs that are there already are not recorded again
    if reused:
        say(f"    reused the recording at {path}: same weights, prompts and site, so no forward pass was run")
    say(f"2/4 GLM over {recording.n_rows:,} rows, networks of {share:.0%} of the units")
    fit = fit_glm(recording, phases=experiment.phases)
    maps = condition_maps(fit, [name for name in experiment.conditions if name != "rest"], experiment.phase)
    atlas = Atlas.from_networks({name: each.top(share, name=name) for name, each in maps.items()})
    # the rival definition, for the page: it finds what conditions have in common
    against_rest = {
        name: fit.contrast(f"{_regressor_name(name, experiment.phase)} - rest", level="token").effect.top(
            share, name=name
        )
        for name in maps
    }
    baseline = experiment.battery.evaluate(model, columns="all")
    say(
        f"3/4 lesions: {len(atlas)} networks and {n_controls} matched random networks for each, "
        f"scored on {len(baseline)} tasks"
    )
    study = lesion_study(
        model,
        atlas,
        experiment.battery,
        n_controls=n_controls,
        seed=seed,
        progress=progress,
    )
    say(f"4/4 amplification: {ADD:g} added to every member, with matched random networks")
    amplification = amplification_table(experiment, atlas, n_controls=n_controls, seed=seed, progress=progress)
    atlas.save(folder / "atlas.safetensors")
    fit.save(folder / "glm.safetensors")
    study.save(folder / "lesions.safetensors")
    for name, frame in {"lesions": study.to_dataframe(), "amplification": amplification}.items():
        files.write_atomically(folder / f"{name}.csv", frame.to_csv(index=False).encode())
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

    Args:
        fit: The GLM of the recording.
        names: Names of the conditions, without ``rest``.
        phase: Name of the phase in which conditions are compared; "" compares all rows.

    Returns:
        Name of a condition to a map of the smallest of its differences, in activation units.
    """
    # only effects are used, which are differences of means; the level of a contrast would decide about their error
    return {
        name: conjunction(
            [
                fit.contrast(f"{_regressor_name(name, phase)} - {_regressor_name(other, phase)}", level="token").effect
                for other in (*names, "rest")
                if other != name
            ]
        )
        for name in names
    }


def _regressor_name(name: str, phase: str) -> str:
    """Name of the regressor of a condition in a phase, quoted for a contrast; ``rest`` has no phases."""
    return f"`{name}_{phase}`" if phase and name != "rest" else f"`{name}`"


def amplification_table(
    experiment: Experiment, atlas: Atlas, *, n_controls: int, seed: int, progress: bool
) -> pd.DataFrame:
    """What amplifying each network does to the log-likelihood of its items, beside matched random networks.

    Args:
        experiment: Model and items.
        atlas: The networks; those without a task of their name in ``experiment.amplified`` are passed over.
        n_controls: Number of matched random networks for each network.
        seed: Seed of the random draws of control networks; the same seed gives the same controls.
        progress: Whether to show a progress bar.

    Returns:
        One line a network: log_likelihood of its items (nats a token), amplified (the same while ``ADD`` is added),
        change, control_median and control_p95 (of the changes by random networks), p, exact_match and
        exact_match_amplified; p is (1 + number of random networks that raise the log-likelihood at least as much)
        / (1 + number of random networks). Columns without a number are left out.
    """
    model = experiment.model
    lines = []
    names = [name for name in atlas if name in experiment.amplified.tasks]
    likelihood = METRICS.index("log_likelihood")
    with StudyRuns(
        model, n_conditions=len(names) * (2 + n_controls), title="amplifications", unit="run", progress=progress
    ) as runs:
        for number, name in enumerate(names):
            items = experiment.amplified.select([name])
            # a lesion study draws the controls of its k-th network with seed + k; 1000 on, these are other ones
            networks = (atlas[name], *matched_controls(atlas[name], n_controls, seed=seed + 1000 + number))
            before = runs.untouched(items, f"untouched {name}").mean(0)
            amplified = Condition.each(partial(amplify, model, add=ADD), networks)
            after = runs.scores(name, items, amplified)[0].mean(1)  # (network, metric): itself, then its controls
            changes = after[:, likelihood] - before[likelihood]
            lines.append(
                {
                    "network": name,
                    "log_likelihood": before[likelihood],
                    "amplified": after[0, likelihood],
                    "change": changes[0],
                    "control_median": np.median(changes[1:]),
                    "control_p95": np.quantile(changes[1:], 0.95),
                    "p": float(empirical_p(changes[0], changes[1:])),
                    "exact_match": before[METRICS.index("exact_match")],
                    "exact_match_amplified": after[0, METRICS.index("exact_match")],
                }
            )
    return pd.DataFrame(lines).dropna(axis="columns", how="all")  # texts have no exact match
