"""The scores that :mod:`tests.benchmarks.localizer_truth` compares, each a map of every task, from discovery rows only.

=================== ===================================================================================================
name                score of a neuron
=================== ===================================================================================================
t                   GLM, task against the mean of the others: t of block means
effect              the same contrast's effect
standardized        its effect in standard deviations of rows (of block means it would have the order of t)
contribution        its effect times the norm of the outgoing weights
welch               Welch's t between last tokens of the task's prompts and of the others', of abs(activations)
difference          mean activation over the task's rows less that over the others'
lape                minus the entropy over tasks of how often it is positive; only where most often in this task
TOKENS-VARIANT      CGVST on chats: TOKENS are special, answer or all, VARIANT row_sum (released), row_l2 or grad_x_act
grad_x_act          gradient of the answer's log-likelihood times activation, texts
integrated          integrated gradients of the same
patch-last          attribution patching of whole answers, at the prompt's last token: corrupted is another question of
                    as many tokens, wrong its answer
patch-all           the same at all tokens of the prompt
patch-shots         at all tokens; corrupted is the same question behind shots whose answers were exchanged, wrong the
                    answer to another question
=================== ===================================================================================================

Gradient scores read ``n`` texts a task behind the same shots; the GLM and the localizers of recordings read as many
prompts with shots drawn anew, since of the same ones a block would show nothing else. LAPE gives each neuron to one
task, so that no two of its maps can be contrasted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

import tl_fbn as fbn
from tl_fbn.attribution.few_shot import first_others

Ids = list[int]
Pair = tuple[Ids, Ids, tuple[Ids, Ids]]  # clean prompt, corrupted prompt, (right, wrong) answer

CONTRASTED = ("t", "effect", "contribution")
TOKEN_SETS = ("special", "answer", "all")
VARIANTS = ("row_sum", "row_l2", "grad_x_act")
ALONE = ("lape",)  # whose maps cannot be contrasted


@dataclass(frozen=True)
class Discovery:
    """What scores are found on.

    Args:
        model: The model.
        tasks: The tasks, of which the discovery half is read.
        drawn: The same tasks with shots drawn for every row, which are scanned.
        folder: Where the recording is kept.
        n: Number of rows a task.
        block: Number of tokens of a block of the scan.
        cycles: Number of blocks of every task in each of two runs.
        n_integrated: Number of rows a task for integrated gradients, which take a pass for every layer and step.
        steps: Number of these steps.
    """

    model: Any
    tasks: fbn.Tasks
    drawn: fbn.Tasks
    folder: Path
    n: int
    block: int
    cycles: int
    n_integrated: int
    steps: int

    @cached_property
    def recording(self) -> fbn.Recording:
        """Two runs of every task's prompts, which also say how active units are that controls are matched by."""
        prompts = self.drawn.prompts(n=self.n)
        size = {"n_runs": 2, "n_cycles": self.cycles, "tokens_per_block": self.block}
        design = fbn.block_design(prompts, **size, order="random", seed=0, reuse=True)
        scanner = fbn.Scanner(self.model, dtype="bfloat16", surprisal=False)
        return scanner.scan(design, self.folder / "recording", progress=False)

    @cached_property
    def contrasts(self) -> dict[str, dict[str, Any]]:
        """Level to the contrast of every task with the mean of the others."""
        fit = fbn.fit_glm(self.recording, progress=False)
        return {level: fit.contrasts_against_others(level=level) for level in ("block", "token")}

    @cached_property
    def items(self) -> dict[str, Any]:
        return self.tasks.items(self.model, n=self.n)

    @cached_property
    def chats(self) -> dict[str, Any]:
        return self.tasks.chats(n=self.n)

    def against(self, task: str) -> tuple[fbn.Recording, str, str]:
        """The recording with two conditions, the task and all others, and the names of both."""
        other = f"not {task}"
        runs = []
        for run in self.recording:
            kinds = [name if name == task else other for name in run.events["trial_type"]]
            tables = {"events": run.events.assign(trial_type=kinds), "rows": run.rows}
            runs.append(replace(run, folder=None, tables=tables))
        return replace(self.recording, runs_of=(tuple(runs),)), task, other

    def texts(self, task: str, tasks: fbn.Tasks | None = None, n: int | None = None) -> list[tuple[Ids, Ids]]:
        """Token ids of the prompts of a task and of the answers to them."""
        scored = (tasks or self.tasks).battery(self.model, half="discovery", n=n).select([task])
        return [(list(ids[:start]), list(ids[start:])) for ids, start in scored.scored_tokens(self.model)[task]]


def _glm(found: Discovery, task: str, *, by: str, level: str = "block") -> fbn.UnitMap:
    return getattr(found.contrasts[level][task], by)


def _lape(found: Discovery, task: str) -> fbn.UnitMap:
    return fbn.glm.lape(found.recording, list(found.tasks.names), condition=task)


def _cgvst(found: Discovery, task: str, *, tokens: Any, variant: Any) -> fbn.UnitMap:
    return fbn.cgvst(found.model, found.chats[task], tokens=tokens, variant=variant, progress=False)


def _integrated(found: Discovery, task: str) -> fbn.UnitMap:
    items, positions = (each[: found.n_integrated] for each in found.items[task])
    return fbn.attribution.integrated_gradients(found.model, items, positions, n_steps=found.steps, progress=False)


def _patched(found: Discovery, task: str, *, pairs: Callable[..., Iterator[Pair]], positions: Any) -> fbn.UnitMap:
    clean, corrupted, answers = zip(*pairs(found, task), strict=True)
    return fbn.attribution.attribution_patching(
        found.model, clean, corrupted, answers, positions=positions, progress=False
    )


def other_questions(found: Discovery, task: str) -> Iterator[Pair]:
    """Each of the first rows beside the next row of as many tokens with another answer; rows without one are left out.

    Args:
        found: What scores are found on.
        task: Name of the task.
    """
    texts = found.texts(task)
    for number, (prompt, answer) in enumerate(texts[: found.n]):
        for other, wrong in texts[number + 1 :] + texts[:number]:
            if len(other) == len(prompt) and differ(answer, wrong):
                yield prompt, other, (answer, wrong)
                break


def exchanged_shots(found: Discovery, task: str) -> Iterator[Pair]:
    """Each of the first rows, and the same behind shots whose answers were moved on; the wrong answer is another row's.

    Args:
        found: What scores are found on.
        task: Name of the task.
    """
    tasks = found.tasks
    if tasks.head != "fixed" or tasks.shots < 2:
        raise fbn.InputError(f"{tasks.shots} {tasks.head} shots cannot exchange answers; show two or more fixed ones")
    rows = tasks.rows(task)
    shots = first_others(list(rows), fbn.attribution.Example("", "", ""), tasks.shots)
    # moved on by so many places that most answers change: of two labels some would stay
    answers = [row.output for row in shots]
    moved = max(
        (answers[k:] + answers[:k] for k in range(1, len(shots))),
        key=lambda order: sum(a != b for a, b in zip(order, answers, strict=True)),
    )
    others = [row for row in rows if row not in shots]
    changed = [replace(row, output=answer) for row, answer in zip(shots, moved, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # inputs that have two outputs now
        halves = {task: [*changed, *others]}, {task: list(tasks.rows(task, "evaluation"))}
        corrupted = fbn.Tasks(
            halves[0], evaluation=halves[1], shots=tasks.shots, head="fixed", template=tasks.template, seed=tasks.seed
        )
    texts = found.texts(task, n=found.n)
    for number, ((prompt, answer), (other, same)) in enumerate(
        zip(texts, found.texts(task, corrupted, found.n), strict=True)
    ):
        wrong = next((one for _, one in texts[number + 1 :] + texts[:number] if differ(answer, one)), None)
        if wrong is not None and same == answer and len(other) == len(prompt):
            yield prompt, other, (answer, wrong)


def differ(answer: Ids, other: Ids) -> bool:
    """Whether neither of two answers begins with the other.

    Args:
        answer: Token ids of an answer.
        other: Token ids of another.
    """
    return any(a != b for a, b in zip(answer, other, strict=False))


Score = Callable[[Discovery, str], fbn.UnitMap]
SCORES: dict[str, Score] = {
    **{name: partial(_glm, by=name) for name in CONTRASTED},
    "standardized": partial(_glm, by="standardized", level="token"),
    "welch": lambda found, task: fbn.glm.welch_t(*found.against(task)),
    "difference": lambda found, task: fbn.glm.activation_difference(*found.against(task)),
    "lape": _lape,
    **{
        f"{tokens}-{variant}": partial(_cgvst, tokens=tokens, variant=variant)
        for tokens in TOKEN_SETS
        for variant in VARIANTS
    },
    "grad_x_act": lambda found, task: fbn.attribution.gradient_x_activation(
        found.model, *found.items[task], progress=False
    ),
    "integrated": _integrated,
    "patch-last": partial(_patched, pairs=other_questions, positions="last"),
    "patch-all": partial(_patched, pairs=other_questions, positions="all"),
    "patch-shots": partial(_patched, pairs=exchanged_shots, positions="all"),
}


def kept_map(found: Discovery, score: str, task: str) -> fbn.UnitMap:
    """The map of a task by a score, read from the folder where it was made before.

    Args:
        found: What scores are found on.
        score: Name of the score, a key of :data:`SCORES`.
        task: Name of the task.
    """
    path = found.folder / "scores" / score / f"{task}.safetensors"
    if path.exists():
        return fbn.UnitMap.load(path)
    made = SCORES[score](found, task)
    # an infinite t is that of a unit that never varies in a task: no value to be first by
    made = replace(made, values=np.where(np.isfinite(made.values), made.values, np.nan))
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return made
