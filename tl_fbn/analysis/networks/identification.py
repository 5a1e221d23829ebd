"""Which task is a model performing? Told from networks found on other runs, or on other prompts altogether.

    result = identify_task({"sort": sort_recording, "add": add_recording}, seed=0)
    result.accuracy, result.chance, result.p, result.confusion

*Leave one run out*: every task's map is averaged over all runs but one; each run left out is given to the task whose map it
resembles most. *Networks from elsewhere* (``networks=``; the claim of Nencka et al. 2023): the maps come from prompts
that no recording here contains, and every run is told from them. Either way, prompts on both sides are refused.

=================== ===================================================================================
method              resemblance of a run's map to a task's
=================== ===================================================================================
``"correlation"``   Pearson over units, each map less the mean map of all tasks
``"dice"``          of their networks (the ``top`` share of units with the largest values)
``"activation"``    mean of the run's map over the task's network, in standard deviations over units
=================== ===================================================================================

Chance is one in the number of tasks; the interval is Wilson's; p is the share of shuffled labels, within every fold, that are
told at least as well.

``reliability`` asks the weaker question whether a task's maps resemble each other more than those of other tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from statsmodels.stats.proportion import proportion_confint

from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.recording.recording import Recording, Run
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table, top_mask
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance, pooled_prompts

IdentificationMethod = Literal["correlation", "dice", "activation"]


@dataclass(frozen=True, eq=False)
class Identification(Result, step="comparison", picture="confusion_matrix", renamed={"n_shuffles": "n_permutations"}):
    """Runs told apart by their maps.

    Args:
        tasks: Names.
        table: (true task, told task) counts.
        method: How maps were compared.
        p: Share of shuffled labels that reach the accuracy, the observed labels among them.
        n_permutations: Number of shuffles of the labels.
        provenance: Seed, recordings and settings.
    """

    tasks: tuple[str, ...]
    table: Int[np.ndarray, "task task"]
    method: IdentificationMethod
    p: float
    n_permutations: int
    provenance: Provenance = field(default_factory=dict)

    _settings_ = ("method", "n_permutations")

    @property
    def confusion(self) -> pd.DataFrame:
        """Counts: a line for each true task, a column for each task told."""
        return pd.DataFrame(self.table, index=pd.Index(self.tasks, name="true"), columns=list(self.tasks))

    @property
    def n(self) -> int:
        """Number of runs told."""
        return int(self.table.sum())

    @property
    def accuracy(self) -> float:
        """Share of runs given to their task."""
        return float(np.trace(self.table) / self.n)

    @property
    def chance(self) -> float:
        """Accuracy of guessing: one over the number of tasks."""
        return 1.0 / len(self.tasks)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson)."""
        low, high = np.asarray(proportion_confint(int(np.trace(self.table)), self.n, 0.05, "wilson"), dtype=float)
        return float(low), float(high)

    def to_dataframe(self) -> pd.DataFrame:
        """The confusion matrix."""
        return self.confusion

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"{self.n} runs of {listed(self.tasks)} were told apart by {self.method}; chance is {self.chance:.3g}, the interval Wilson's, p from "
            f"{self.n_permutations:,} shuffles of the labels (seed {about.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"Identification by {self.method}: {np.trace(self.table)} of {self.n} runs ({self.accuracy:.0%}, 95 % interval {low:.0%} to "
            f"{high:.0%}; chance {self.chance:.0%}, p {self.p:.2g})"
        )

    def _repr_html_(self) -> str:
        rows = [(name, *map(int, line)) for name, line in zip(self.tasks, self.table, strict=True)]
        return html_table(repr(self), ("true", *self.tasks), rows)


def identify_task(
    recordings: Mapping[str, Recording],
    *,
    seed: int,
    networks: Mapping[str, Network | UnitMap] | None = None,
    contrasts: Mapping[str, str] | None = None,
    method: IdentificationMethod = "correlation",
    top: float = 0.05,
    n_permutations: int = 1000,
    progress: bool = True,
) -> Identification:
    """Tell runs of several tasks apart.

    ::

        found = fbn.identify_task({"sort": sort_recording, "add": add_recording}, seed=0)
        found.accuracy, found.chance, found.p

    Args:
        recordings: Task to a recording whose design has that task as one condition and the same others as the rest.
        seed: Seed of the shuffles of the labels; the same seed gives the same p.
        networks: Task to a network or map found on other prompts; None to leave one run out.
        contrasts: Task to its contrast; the default is the task's condition minus the mean of all others.
        method: ``"correlation"``, ``"dice"`` or ``"activation"``; see the module.
        top: Share of units in a network.
        n_permutations: Number of shuffles of the labels.
        progress: Show a bar where it takes longer than some seconds.

    Raises:
        InputError: Fewer than two tasks or (without ``networks``) runs, recordings of different units, or prompts that are on both
            sides of a comparison.
    """
    one_of(method, IdentificationMethod, "method")
    if len(recordings) < 2:
        raise InputError(f"identify_task tells tasks apart; got {len(recordings)}")
    maps = run_maps(recordings, contrasts, progress=progress)
    tasks = tuple(recordings)
    space = next(iter(recordings.values())).space
    prompts = {task: [_prompts(run) for run in recordings[task]] for task in tasks}
    folds = max(map(len, maps.values()))
    told: list[list[tuple[int, int]]] = []
    templates: np.ndarray | None = None
    if networks is not None:
        templates = _given(networks, tasks, space, prompts)
    for fold in range(folds):
        present = [(i, task) for i, task in enumerate(tasks) if fold < len(maps[task])]
        if templates is None:
            if min(map(len, maps.values())) < 2:
                raise InputError(
                    "leaving one run out needs at least two runs of every task; record more, or give networks="
                )
            _check_apart(prompts, fold)
            learnt = np.array([np.delete(maps[task], fold, 0).mean(0) for task in tasks])
        else:
            learnt = templates
        fresh = np.array([maps[task][fold] for _, task in present])
        likeness = _likeness(fresh, learnt, method, top, centre=templates is None)
        told.append([(true, int(guess)) for (true, _), guess in zip(present, likeness.argmax(1), strict=True)])
    table = np.zeros((len(tasks), len(tasks)), dtype=np.int64)
    for pairs in told:
        for true, guess in pairs:
            table[true, guess] += 1
    rng = np.random.default_rng(seed)
    reached = sum(_shuffled_hits(told, rng) >= np.trace(table) for _ in range(n_permutations))
    about = {**origins(recordings), "seed": seed, "contrasts": dict(contrasts or {}), "top": top}
    return Identification(tasks, table, method, (1 + reached) / (1 + n_permutations), n_permutations, about)


def origins(recordings: Mapping[str, Recording]) -> dict[str, Any]:
    """The recordings that tasks were told from, and the prompts in them."""
    sources = {task: recording.provenance for task, recording in recordings.items()}
    keys = {task: source["recording"] for task, source in sources.items()}
    return {"recordings": keys, **pooled_prompts(sources.values())}


def _shuffled_hits(told: list[list[tuple[int, int]]], rng: np.random.Generator) -> int:
    hits = 0
    for pairs in told:
        true, guesses = np.array(pairs).T
        hits += int((rng.permutation(true) == guesses).sum())
    return hits


def run_maps(
    recordings: Mapping[str, Recording], contrasts: Mapping[str, str] | None = None, *, progress: bool = False
) -> dict[str, Float[np.ndarray, "run unit"]]:
    """The t map of every task's contrast in every single run, at the token level: a description, not a test.

    Args:
        recordings: Task to recording.
        contrasts: Task to contrast; the default is the task's condition minus the mean of all others.
        progress: Show a bar where it takes longer than some seconds.
    """
    spaces = [recording.space for recording in recordings.values()]
    for space in spaces[1:]:
        spaces[0].require_same(space, "compare")
    maps = {}
    for task, recording in recordings.items():
        expression = (contrasts or {}).get(task) or _against_the_rest(task, recording)
        fit = fit_glm(recording, progress=progress)
        single = [GLMFit(fit.space, (run,), fit.noise, (x,), {}) for run, x in zip(fit.runs, fit.designs, strict=True)]
        maps[task] = np.array([np.nan_to_num(one.contrast(expression, level="token").t.values) for one in single])
    return maps


def _against_the_rest(task: str, recording: Recording) -> str:
    conditions = sorted(recording.conditions)
    others = [f"`{name}`" for name in conditions if name != task]
    if task not in conditions or not others:
        raise InputError(
            f"the recording of task {task!r} has the conditions {', '.join(conditions)}; name it by its condition, beside at least "
            "one other, or give contrasts="
        )
    return f"`{task}` - ({' + '.join(others)}) / {len(others)}"


def _given(
    networks: Mapping[str, Network | UnitMap],
    tasks: tuple[str, ...],
    space: UnitSpace,
    prompts: Mapping[str, list[set[str]]],
) -> Float[np.ndarray, "task unit"]:
    missing = [task for task in tasks if task not in networks]
    if missing:
        raise InputError(f"no network for {', '.join(missing)}; networks= needs one for every task")
    here = {digest for runs in prompts.values() for run in runs for digest in run}
    learnt = []
    for task in tasks:
        thing = networks[task]
        space.require_same(thing.space, "compare")
        if shared := here & set(thing.provenance.get("prompts") or ()):
            raise InputError(
                f"{len(shared)} prompts of these recordings were used to find the network of {task!r}; identify on other prompts"
            )
        learnt.append(thing.members * thing.signs if isinstance(thing, Network) else np.nan_to_num(thing.values))
    return np.array(learnt, dtype=float)


def _check_apart(prompts: Mapping[str, list[set[str]]], fold: int) -> None:
    held = {digest for runs in prompts.values() for digest in (runs[fold] if fold < len(runs) else ())}
    kept = {digest for runs in prompts.values() for number, run in enumerate(runs) if number != fold for digest in run}
    if shared := held & kept:
        raise InputError(
            f"{len(shared)} prompts of run {fold} are also in other runs, so that telling tasks by them shows nothing; record tasks "
            "with prompts of their own (e.g. other parts of one bank)"
        )


def _prompts(run: Run) -> set[str]:
    """Digests of what a run showed: the token ids of every context that was not cut."""
    rows = run.rows
    if "token_id" not in rows or "prompt" not in rows:
        return set()
    shown = set()
    for _, part in rows.groupby("prompt"):
        if "flags" in part and part["flags"].str.contains("cut|generated").any():
            continue
        ids = part["token_id"].tolist()
        if "flags" in part and "bos" in str(part["flags"].iloc[0]):
            ids = ids[1:]
        shown.add(prompt_digest(ids))
    return shown


def _likeness(
    fresh: Float[np.ndarray, "run unit"],
    learnt: Float[np.ndarray, "task unit"],
    method: IdentificationMethod,
    top: float,
    *,
    centre: bool,
) -> Float[np.ndarray, "run task"]:
    if method == "dice":
        n = max(1, int(top * fresh.shape[1]))
        a, b = (np.array([top_mask(one, n) for one in maps], dtype=float) for maps in (fresh, learnt))
        return 2 * a @ b.T / (a.sum(1)[:, None] + b.sum(1))
    if method == "activation":
        n = max(1, int(top * fresh.shape[1]))
        members = np.array([top_mask(one, min(n, max(1, int((one > 0).sum())))) for one in learnt], dtype=float)
        z = (fresh - fresh.mean(1, keepdims=True)) / np.maximum(fresh.std(1, keepdims=True), 1e-300)
        return z @ members.T / members.sum(1)
    if centre:  # what all tasks share tells none of them
        fresh, learnt = fresh - learnt.mean(0), learnt - learnt.mean(0)
    a, b = (maps - maps.mean(1, keepdims=True) for maps in (fresh, learnt))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / np.where(norms > 0, norms, 1.0)
