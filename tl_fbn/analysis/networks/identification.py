"""Which task is a model performing? It is told from networks found on other runs, or on other prompts altogether.

::

    result = fbn.identify_task({"sort": sort_recording, "add": add_recording}, seed=0)
    result.accuracy, result.chance, result.p, result.confusion

The map of a task in a run is the t map of the task's contrast in this run alone. A run is given to the task whose
learnt map it resembles most. Maps are learnt in one of two ways:

- *leave one run out*: each task's map is averaged over all its runs but one, and the run that was left out is told;
- *networks from elsewhere* (``networks=``; the claim of Nencka et al. 2023): the maps come from prompts that no
  recording here contains, and every run is told from them.

Either way, a prompt that is on both sides is an error: it would be recognised by itself, and not by its task. So is
the very recording that a map was found in (:mod:`.circular_use`).

=================== ================================================================================================
method              resemblance of a run's map to a task's map
=================== ================================================================================================
``"correlation"``   Pearson's correlation over units; with one run left out, of maps from which the mean of all
                    tasks' learnt maps was taken
``"dice"``          Dice coefficient of their networks (the ``top`` share of units with the largest values)
``"activation"``    mean of the run's map over the task's network, in standard deviations over units
=================== ================================================================================================

Accuracy is the share of runs given to their task, and chance is one over the number of tasks. The 95 % interval is
Wilson's. p is the share of ``n_permutations`` shuffles in which at least as many runs are told; labels are shuffled
within each fold (the runs of the same number), and the observed labels count as one shuffle.

:func:`.reliability.reliability` asks the weaker question whether a task's maps resemble each other more than those of
other tasks. Cost: one fit of each recording, and a contrast of every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from statsmodels.stats.proportion import proportion_confint

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.networks.circular_use import require_other_rows, require_prompts_of_their_own, shown
from tl_fbn.analysis.networks.map_likeness import likeness_of_maps
from tl_fbn.analysis.networks.prepared import preparation_of, prepared
from tl_fbn.arguments import share
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace, html_table
from tl_fbn.units.preparation import Preparation
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance, pooled_prompts
from tl_fbn.units.ties import without_infinity

IdentificationMethod = Literal["correlation", "dice", "activation"]


@dataclass(frozen=True, eq=False)
class Identification(Result, step="comparison", picture="confusion_matrix", renamed={"n_shuffles": "n_permutations"}):
    """How well the task of a run is told from the run's map.

    Every run of the recording is told from the others, once for each task:

    >>> result = fbn.identify_task({task: recording for task in tasks}, seed=0, progress=False)
    >>> result.confusion
             sort  reverse  add
    true...
    sort        2        0    0
    reverse     0        2    0
    add         0        0    2
    >>> result.accuracy, round(result.chance, 2), bool(result.p < 0.05)
    (1.0, 0.33, True)

    Args:
        tasks: Names of the tasks, in the order of the rows and columns of the table.
        table: (true task, told task) number of runs.
        method: How maps were compared: ``"correlation"``, ``"dice"`` or ``"activation"``.
        p: Share of shuffled labels that reach the accuracy, the observed labels among them.
        n_permutations: Number of shuffles of the labels.
        provenance: Where the numbers came from: recordings, prompts, contrasts, share of units in a network, and seed.
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
        """Number of runs: a line for each true task, a column for each task that they were given to."""
        return pd.DataFrame(self.table, index=pd.Index(self.tasks, name="true"), columns=list(self.tasks))

    @property
    def n(self) -> int:
        """Number of runs that were given to a task."""
        return int(self.table.sum())

    @property
    def accuracy(self) -> float:
        """Share of runs that were given to their own task, 0 to 1."""
        return float(np.trace(self.table) / self.n)

    @property
    def chance(self) -> float:
        """Accuracy of guessing: one over the number of tasks."""
        return 1.0 / len(self.tasks)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy: its lower and its upper end, 0 to 1."""
        low, high = np.asarray(proportion_confint(int(np.trace(self.table)), self.n, 0.05, "wilson"), dtype=float)
        return float(low), float(high)

    def to_dataframe(self) -> pd.DataFrame:
        """The confusion matrix: a line for each true task, a column for each task that its runs were given to."""
        return self.confusion

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"{self.n} runs of {listed(self.tasks)} were told apart by {self.method}; chance is {self.chance:.3g}, the "
            "interval Wilson's, p from "
            f"{self.n_permutations:,} shuffles of the labels (seed {about.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"Identification by {self.method}: {np.trace(self.table)} of {self.n} runs ({self.accuracy:.0%}, 95 % "
            f"interval {low:.0%} to "
            f"{high:.0%}; chance {self.chance:.0%}, p {self.p:.2g})"
        )

    def _repr_html_(self) -> str:
        rows = [(name, *map(int, line)) for name, line in zip(self.tasks, self.table, strict=True)]
        return html_table(repr(self), ("true", *self.tasks), rows)


@checked
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
    """Tell which task each run shows, from the maps of other runs or from networks found on other prompts.

    Maps of one recording tell the tasks of another, whose prompts are others:

    >>> texts = {name: fbn.prompts(name, seed=1) for name in tasks}
    >>> other = fbn.block_design(texts, n_runs=2, n_cycles=2, seed=1)
    >>> later = fbn.Scanner(model).scan(other, "recordings/later", progress=False)
    >>> fit = fbn.fit_glm(recording)
    >>> maps = {
    ...     "sort": fit.contrast("sort - (reverse + add) / 2").t,
    ...     "reverse": fit.contrast("reverse - (sort + add) / 2").t,
    ... }
    >>> recordings = {"sort": later, "reverse": later}
    >>> fbn.identify_task(recordings, networks=maps, seed=0, progress=False)  # doctest: +ELLIPSIS
    Identification by correlation: 4 of 4 runs (100%, 95 % interval 51% to 100%; chance 50%, p 0.2...)

    Four runs are too few for a small p; the design of a study has more.

    Args:
        recordings: Task to its recording, at least two tasks. The design of each recording has the task as one
            condition, and the same other conditions as the others have; several tasks may share a recording.
        seed: Seed of the shuffles of the labels; the same seed gives the same p.
        networks: Task to a network or a map that was found on other prompts, for every task. By default None: maps are
            learnt from all runs but one, which needs two runs of every task. An atlas whose networks are named by
            tasks (:meth:`tl_fbn.Atlas.rename`) brings the preparation of its activations, which is applied.
        contrasts: Task to the contrast that gives its map in a run, e.g. ``{"sort": "sort - reverse"}``. A task that is
            not named gets its condition minus the mean of all other conditions of its recording.
        method: How the map of a run is compared with that of a task: ``"correlation"`` (Pearson, over units),
            ``"dice"`` (overlap of the units with the largest values) or ``"activation"`` (mean of the run's map over
            the task's network, in standard deviations over units).
        top: Share of units, between 0 and 1, that makes a network of a map, for ``"dice"`` and ``"activation"``.
            Networks are taken as they are given: their members without a negative sign, however many.
        n_permutations: Number of shuffles of the labels. The smallest possible p is ``1 / (1 + n_permutations)``.
        progress: Show a bar where it takes longer than some seconds.

    Returns:
        The confusion matrix, with accuracy, chance, interval and p.

    Raises:
        InputError: Fewer than two tasks or (without ``networks``) runs, recordings of different units, a task without
            its network or condition, or prompts that are on both sides of a comparison (of written rows: those that
            the model wrote after), or a recording that a network was found in.
    """
    share(top, "top")
    one_of(method, IdentificationMethod, "method")
    if len(recordings) < 2:
        raise InputError(f"identify_task tells tasks apart; got {len(recordings)}")
    preparation = None if networks is None else preparation_of(networks)
    sources = origins(recordings)  # as they were recorded
    recordings = _each_prepared(recordings, preparation)
    maps = run_maps(recordings, contrasts, progress=progress)
    tasks = tuple(recordings)
    space = next(iter(recordings.values())).space
    prompts = {
        task: [shown(run, recordings[task].about.get("prompts") or ()) for run in recordings[task]] for task in tasks
    }
    n_folds = max(map(len, maps.values()))
    rng = np.random.default_rng(seed)
    # for every fold the (true, predicted) task of its runs, as numbers of tasks
    predicted_by_fold: list[list[tuple[int, int]]] = []
    templates: np.ndarray | None = None
    members: list[np.ndarray | None] = [None] * len(tasks)
    if networks is not None:
        templates = _maps_from_elsewhere(networks, tasks, space)
        for task in tasks:
            everything = [run for runs in prompts.values() for run in runs]
            require_other_rows(task, networks[task].provenance, everything, sources["recordings"])
        members = [_members_above_rest(networks[task]) for task in tasks]
    for fold in range(n_folds):
        # tasks may have different numbers of runs
        present = [(i, task) for i, task in enumerate(tasks) if fold < len(maps[task])]
        if templates is None:
            if min(map(len, maps.values())) < 2:
                raise InputError(
                    "leaving one run out needs at least two runs of every task; record more, or give networks="
                )
            require_prompts_of_their_own(prompts, fold)
            # a task of fewer runs than others has none to leave out of its mean in the last folds
            learnt = np.array([maps[task][np.arange(len(maps[task])) != fold].mean(0) for task in tasks])
        else:
            learnt = templates
        fresh = np.array([maps[task][fold] for _, task in present])
        # only maps learnt here are on the scale of the run's map, so that their mean can be taken off it
        likeness = likeness_of_maps(fresh, learnt, method, top, members, centre=templates is None)
        predictions = [_most_alike(row, rng) for row in likeness]  # a task for each run
        predicted_by_fold.append(
            [(true, int(predicted)) for (true, _), predicted in zip(present, predictions, strict=True)]
        )
    table = np.zeros((len(tasks), len(tasks)), dtype=np.int64)
    for pairs in predicted_by_fold:
        for true, predicted in pairs:
            table[true, predicted] += 1
    n_as_good = sum(_shuffled_hits(predicted_by_fold, rng) >= np.trace(table) for _ in range(n_permutations))
    about = {**sources, "seed": seed, "contrasts": dict(contrasts or {}), "top": top}
    return Identification(tasks, table, method, (1 + n_as_good) / (1 + n_permutations), n_permutations, about)


def _each_prepared(recordings: Mapping[str, Recording], preparation: Preparation | None) -> dict[str, Recording]:
    """Task to its recording, prepared as an atlas was; recordings that tasks share stay shared."""
    laid = {id(recording): prepared(recording, preparation) for recording in recordings.values()}
    return {task: laid[id(recording)] for task, recording in recordings.items()}


def origins(recordings: Mapping[str, Recording]) -> dict[str, Any]:
    """The recordings that tasks were told from, and the prompts in them, as entries of provenance.

    Args:
        recordings: Task to its recording.

    Returns:
        ``"recordings"``: task to the key of its recording; ``"prompts"``: digests of the prompts of all of them, absent
        where one of them does not say its prompts.
    """
    sources = {task: recording.provenance for task, recording in recordings.items()}
    keys = {task: source["recording"] for task, source in sources.items()}
    return {"recordings": keys, **pooled_prompts(sources.values())}


def _most_alike(likeness: Float[np.ndarray, " task"], rng: np.random.Generator) -> int:
    """The task whose map is most alike; of several that are equally so, one that is drawn."""
    best = np.flatnonzero(likeness == likeness.max())
    return int(best[0] if len(best) == 1 else rng.choice(best))


def _shuffled_hits(predicted_by_fold: list[list[tuple[int, int]]], rng: np.random.Generator) -> int:
    """How many runs are told if true tasks are shuffled within every fold."""
    hits = 0
    for pairs in predicted_by_fold:
        true, predicted = np.array(pairs).T
        hits += int((rng.permutation(true) == predicted).sum())
    return hits


def run_maps(
    recordings: Mapping[str, Recording], contrasts: Mapping[str, str] | None = None, *, progress: bool = False
) -> dict[str, Float[np.ndarray, "run unit"]]:
    """The t map of every task's contrast in every single run, with tokens as observations: a description, not a test.

    Args:
        recordings: Task to its recording; all are of one space.
        contrasts: Task to its contrast, e.g. ``{"sort": "sort - reverse"}``. A task that is not named gets its
            condition minus the mean of all other conditions of its recording.
        progress: Show a bar where it takes longer than some seconds.

    Returns:
        Task to (run, unit) t; 0 for a unit that never varies, and the largest finite magnitude of the run for one whose
        t is infinite.

    Raises:
        InputError: Recordings of different units, or a task that is no condition of its recording and has no contrast.
    """
    spaces = [recording.space for recording in recordings.values()]
    for space in spaces[1:]:
        spaces[0].require_same(space, "compare")
    maps = {}
    for task, recording in recordings.items():
        expression = (contrasts or {}).get(task) or _contrast_with_all_others(task, recording)
        fit = fit_glm(recording, progress=progress)
        # runs are fitted by themselves and only combined in a contrast: each becomes a fit of one run
        fits = [GLMFit(fit.space, (run,), fit.noise, (x,), {}) for run, x in zip(fit.runs, fit.designs, strict=True)]
        # one run is one observation at the level of runs, which gives no t: rows are taken as observations
        ts = [one.contrast(expression, level="token").t.values for one in fits]
        # infinite for a unit that the design explains without error: finite, or it would be all of a correlation
        maps[task] = np.array([np.nan_to_num(without_infinity(t)) for t in ts])
    return maps


def _contrast_with_all_others(task: str, recording: Recording) -> str:
    """The task's condition minus the mean of all other conditions, as an expression."""
    conditions = sorted(recording.conditions)
    others = [f"`{name}`" for name in conditions if name != task]
    if task not in conditions or not others:
        raise InputError(
            f"the recording of task {task!r} has the conditions {', '.join(conditions)}; name it by its condition, "
            "beside at least one other, or give contrasts="
        )
    # backticks, as names of conditions may hold spaces and operators
    return f"`{task}` - ({' + '.join(others)}) / {len(others)}"


def _maps_from_elsewhere(
    networks: Mapping[str, Network | UnitMap], tasks: tuple[str, ...], space: UnitSpace
) -> Float[np.ndarray, "task unit"]:
    """The maps given as ``networks=``, in the order of tasks; a network as its members with their signs."""
    missing = [task for task in tasks if task not in networks]
    if missing:
        raise InputError(f"no network for {', '.join(missing)}; networks= needs one for every task")
    learnt = []
    for task in tasks:
        source = networks[task]
        space.require_same(source.space, "compare")
        if isinstance(source, Network):  # a member whose sign is not known counts as one that rises with the task
            learnt.append(source.members * np.where(source.signs < 0, -1, 1))
        else:
            # a unit that a score rules out has none: 0 where scores are signed, else the lowest there is
            values = without_infinity(source.values)
            lowest = 0.0 if source.signed or np.isnan(values).all() else float(np.nanmin(values))
            learnt.append(np.nan_to_num(values, nan=lowest))
    return np.array(learnt, dtype=float)


def _members_above_rest(source: Network | UnitMap) -> np.ndarray | None:
    """(unit,) members of a network that do not fall with its task; None of a map, which has no members yet."""
    return source.members & (source.signs >= 0) if isinstance(source, Network) else None
