"""One study of any model: which neurons does each task need, and does any other task need them, too?

The subject is a set of tasks from files (:class:`tl_fbn.Tasks`), or topics of short English stories where there are
none. Networks are found on one half of the rows or passages and tested on the other:

1. a block design of the prompts, recorded run by run; it shows when networks are active, and a linear model of it says
   which neurons differ in activity between the tasks;
2. every neuron's score: gradient times activation at the tokens of the answers (of a passage: at all tokens), the
   log-likelihood that setting the neuron to zero costs to first order. The network of a task is the ``share`` of all
   neurons whose score exceeds their largest score on the other tasks by most, by log ranks
   (:func:`tl_fbn.specific_scores`). Neurons that every task needs are in the top lists of all scores, and a lesion of
   them breaks everything;
3. a lesion study with random networks of as many neurons in every layer, on rows that were not read before.

:mod:`tl_fbn.demo.task_story` says what came out. The recording and finished lesions are kept in the folder, so that the
same call goes on where an interrupted one was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tl_fbn import files
from tl_fbn.acquisition.design.block_design import BlockDesign, block_design
from tl_fbn.acquisition.design.stimuli import topics
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan.scanner import Scanner
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.task_set import MarkedItems, Tasks, marked_items
from tl_fbn.intervention.studies.lesion import lesion_study
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.intervention.studies.task_networks import answer_scores, cut_networks, specific_maps
from tl_fbn.units import Atlas, UnitMap
from tl_fbn.units.prose import duration_in_words

DISCOVERY_PASSAGES = 40  # of each topic; the other passages are scored
BATCH_SIZE = 16  # of a scan
_ROWS = 64  # of a block
_N_WORDS = 5  # neurons of a network whose words are listed
_BACKWARD = 2  # a backward pass costs about twice a forward pass
Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What a model is studied on: for every task prompts to record, items to score neurons on, and held-out items.

    Args:
        prompts: Name of a task to the prompts that are recorded.
        items: Name of a task to the token ids, and the positions of the answers, that neurons are scored on.
        battery: Items that lesions are scored on, none of them among the others.
        noun: What a task is called in sentences: "task" or "topic".
        about: A sentence that says where prompts and items come from.
    """

    prompts: Mapping[str, list]
    items: Mapping[str, MarkedItems]
    battery: Battery
    noun: str
    about: str


@dataclass(frozen=True, eq=False)
class TaskStudy:
    """What a study of tasks found, and the folder it wrote.

    Args:
        folder: Folder with the recording and all saved results.
        subject: The tasks that the model was studied on.
        design: The block design that was recorded.
        recording: Activations of the model during the design.
        fit: The GLM of the recording.
        maps: Name of a task to its specific scores, in units of -log(1 - rank).
        atlas: The network of every task.
        study: The lesion study of the networks, with their matched controls.
        words: What the neurons of largest score of each network promote, in one table; None without a tokenizer.
        share: Size of each network, as a share of all neurons.
        seconds: Duration of all steps together, in seconds.
    """

    folder: Path
    subject: Subject
    design: BlockDesign
    recording: Recording
    fit: GLMFit
    maps: Mapping[str, UnitMap]
    atlas: Atlas
    study: LesionStudy
    words: pd.DataFrame | None
    share: float
    seconds: float


def subject_of_tasks(tasks: Tasks, model: HookedModel, *, n_items: int, n_discovery: int = 30) -> Subject:
    """A subject whose tasks are rows of files.

    Args:
        tasks: The tasks.
        model: The model whose tokenizer makes the tokens.
        n_items: Number of held-out items of each task.
        n_discovery: Number of rows of each task that neurons are scored on.
    """
    return Subject(
        tasks.prompts(),
        tasks.items(model, n=n_discovery),
        tasks.battery(model, n=n_items),
        "task",
        f"{tasks!r}. Halves are dealt by a hash of the input, so that no question is in both.",
    )


def subject_of_topics(model: HookedModel, *, n_items: int, n_discovery: int = 16) -> Subject:
    """A subject whose tasks are topics of short English stories, for a model that has learnt English.

    Args:
        model: The model whose tokenizer makes the tokens.
        n_items: Number of held-out passages of each topic.
        n_discovery: Number of passages of each topic that neurons are scored on.
    """
    bank = {name: list(passages) for name, passages in topics().items()}
    found = {name: passages[:DISCOVERY_PASSAGES] for name, passages in bank.items()}
    tested = {name: passages[DISCOVERY_PASSAGES:][:n_items] for name, passages in bank.items()}
    return Subject(
        found,
        marked_items(Battery.from_texts({name: texts[:n_discovery] for name, texts in found.items()}), model),
        Battery.from_texts(tested),
        "topic",
        f"Topics of short English stories that come with the package; the first {DISCOVERY_PASSAGES} passages of each "
        "serve to find networks, others to test them.",
    )


def planned_design(subject: Subject, seed: int) -> BlockDesign:
    """The block design that is recorded: two runs, each task in two blocks of a run.

    Args:
        subject: What the model is studied on.
        seed: Seed of the order of blocks.
    """
    return block_design(
        subject.prompts, n_runs=2, n_cycles=2, tokens_per_block=_ROWS, order="random", seed=seed, reuse=True
    )


def plan(subject: Subject, model: HookedModel, design: BlockDesign, n_controls: int) -> str:
    """What a study will cost, in words, from one evaluation of the battery, which is timed.

    Args:
        subject: What the model is studied on.
        model: The model.
        design: The block design that is recorded.
        n_controls: Number of matched random networks for each network.
    """
    n_tokens = sum(subject.battery.sizes(model))
    started = time.perf_counter()
    subject.battery.score(model)
    speed = n_tokens / (time.perf_counter() - started)
    n_lesions = len(subject.items) * (1 + n_controls)
    recorded = Scanner(model, batch_size=BATCH_SIZE).plan(design).n_rows
    scored = (1 + _BACKWARD) * sum(len(ids) for one in subject.items.values() for ids in one.items)
    steps = {"recording": recorded, "scores": scored, f"{n_lesions} lesions": (1 + n_lesions) * n_tokens}
    parts = ", ".join(f"{name} {duration_in_words(n / speed)}" for name, n in steps.items())
    return (
        f"plan: about {duration_in_words(sum(steps.values()) / speed)} at {speed:,.0f} tokens a second ({parts}); the "
        "same command goes on where an interrupted one was"
    )


def run_study(
    subject: Subject,
    model: HookedModel,
    folder: Path,
    *,
    share: float = 0.002,
    n_controls: int = 19,
    seed: int = 0,
    progress: bool = True,
    say: Say = lambda line: None,
) -> TaskStudy:
    """Run all steps and save their results.

    Args:
        subject: What the model is studied on.
        model: A TransformerLens model in eval mode.
        folder: Folder that the recording and the results are written to.
        share: Size of each network, as a share of all neurons.
        n_controls: Number of matched random networks for each network.
        seed: Seed of the order of blocks and of the draws of control networks.
        progress: Whether to show progress bars.
        say: A function that is called with a line of text at the start of every step.
    """
    started = time.monotonic()

    def step(text: str) -> None:
        say(f"{text} ({duration_in_words(time.monotonic() - started)} so far)")

    design = planned_design(subject, seed)
    say(plan(subject, model, design, n_controls))
    scanner = Scanner(model, batch_size=BATCH_SIZE)
    step(f"1/3 scan: {scanner.plan(design, folder).n_rows:,} tokens of {len(subject.prompts)} {subject.noun}s")
    recording = scanner.scan(design, folder / f"recording-{scanner.space.model}", progress=progress)
    fit = fit_glm(recording)
    step(f"2/3 scores of {scanner.space.n_units:,} neurons by gradients, networks of {share:.2%} of them")
    # a study of few items: halves of them would be too small to agree
    maps = specific_maps(answer_scores(model, subject.items, progress=progress), seed=seed, halves=False)
    atlas = cut_networks(maps, share)
    atlas.save(folder / "atlas.safetensors")
    fit.save(folder / "glm.safetensors")
    words = _words(atlas, maps, model)
    step(f"3/3 lesions: {len(atlas)} networks and {n_controls} matched random networks for each")
    study = lesion_study(
        model,
        atlas,
        subject.battery,
        n_controls=n_controls,
        metric="log_likelihood",
        seed=seed,
        path=folder / "lesions.parts",
        progress=progress,
    )
    study.save(folder / "lesions.safetensors")
    files.write_atomically(folder / "lesions.csv", study.to_dataframe().to_csv(index=False).encode())
    seconds = time.monotonic() - started
    return TaskStudy(folder, subject, design, recording, fit, maps, atlas, study, words, share, seconds)


def overlap_with_activity(result: TaskStudy) -> pd.DataFrame:
    """How many members of each network are also among the neurons whose activity differs most between tasks.

    Args:
        result: What the study found.

    Returns:
        One line a network: network, units, shared (with as many neurons of the largest t of the task against the mean
        of the others) and by_chance (expected number of shared ones).
    """
    contrasts = result.fit.contrasts_against_others(level="token")
    lines = []
    for name, network in result.atlas.items():
        t = contrasts[name].t.values
        largest = np.argsort(-t, kind="stable")[: len(network)]  # stable: of equal values the lower index comes first
        shared = int(network.members[largest].sum())
        lines.append((name, len(network), shared, len(network) ** 2 / network.space.n_units))
    return pd.DataFrame(lines, columns=["network", "units", "shared", "by_chance"])


def _words(atlas: Atlas, maps: Mapping[str, UnitMap], model: HookedModel) -> pd.DataFrame | None:
    """Words that the five neurons of largest score of every network promote, the largest first."""
    if getattr(model, "tokenizer", None) is None:
        return None
    tables = []
    for name, network in atlas.items():
        scores = maps[name]
        words = promoted_tokens(scores.top(min(_N_WORDS, len(network)), name=name), model, n_tokens=6)
        words = words[words["layer"] >= 0].assign(network=name)  # the row of layer -1 is all units together
        units = list(zip(words["layer"], words["unit"], strict=True))
        words["score"] = [float(scores.values[scores.space.index(layer, unit)]) for layer, unit in units]
        tables.append(words.sort_values("score", ascending=False, kind="stable"))
    columns = ["network", "layer", "unit", "score", "promotes", "suppresses"]
    return pd.concat(tables, ignore_index=True).reindex(columns=columns)
