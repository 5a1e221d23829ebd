"""Scores of a battery under many interventions, kept on disk, and what they say of a task: loss, interval, controls.

Every protocol asks the same of its networks: what do the tasks lose, item by item, when some units are silenced, kept
or strengthened, and what when others are? Losses are in nats a token of the answers, or in exact match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import amplify, inhibit, retain
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    change_interval,
    empirical_p,
    item_counts,
    resamples,
    spans,
)
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.papers.paper_folder import PaperFolder
from tl_fbn.units import Network

N_BOOTSTRAP = 1000  # resamples of items for an interval
Verb = Callable[[HookedModel, Network], AbstractContextManager[Any]]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a battery without and under several interventions.

    Args:
        labels: Names of the interventions.
        tasks: Names of the tasks.
        counts: (task,) number of items of each task.
        before: (item, metric) scores without an intervention: exact match, and log-likelihood in nats a token.
        after: (condition, item, metric) scores under each intervention.
        seed: Seed of the resamples of items.
    """

    labels: Sequence[str]
    tasks: Sequence[str]
    counts: Int[np.ndarray, " task"]
    before: Float[np.ndarray, "item metric"]
    after: Float[np.ndarray, "condition item metric"]
    seed: int

    def losses(self, label: str, task: str, metric: str = "log_likelihood") -> Float[np.ndarray, " item"]:
        """(item,) what each item of a task loses under an intervention.

        Args:
            label: Name of the intervention.
            task: Name of the task.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        items = spans(self.counts)[self.tasks.index(task)]
        place = METRICS.index(metric)
        return self.before[items, place] - self.after[self.labels.index(label), items, place]

    def loss(self, label: str, task: str, metric: str = "log_likelihood") -> float:
        """Mean of :meth:`losses`.

        Args:
            label: Name of the intervention.
            task: Name of the task.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        return float(self.losses(label, task, metric).mean())

    def interval(self, label: str, task: str, metric: str = "log_likelihood") -> tuple[float, float]:
        """95 % interval of :meth:`loss` over items.

        Args:
            label: Name of the intervention.
            task: Name of the task.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        lost = self.losses(label, task, metric)
        return change_interval(lost, metric, resamples(len(lost), N_BOOTSTRAP, self.seed))

    def mean_loss(self, label: str, metric: str = "log_likelihood") -> float:
        """Mean loss over tasks.

        Args:
            label: Name of the intervention.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        return float(np.mean([self.loss(label, task, metric) for task in self.tasks]))

    def mean_score(self, label: str | None, metric: str = "exact_match") -> float:
        """Mean score over tasks under an intervention, or without one.

        Args:
            label: Name of the intervention; None is without one.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        scores = self.before if label is None else self.after[self.labels.index(label)]
        place = METRICS.index(metric)
        return float(np.mean([scores[items, place].mean() for items in spans(self.counts)]))

    def matrix(self, labels: Sequence[str], metric: str = "log_likelihood") -> pd.DataFrame:
        """What every task (column) loses under some of the interventions (rows).

        Args:
            labels: Names of the interventions.
            metric: ``"log_likelihood"`` or ``"exact_match"``.
        """
        lines = [[label, *(self.loss(label, task, metric) for task in self.tasks)] for label in labels]
        return pd.DataFrame(lines, columns=["network", *self.tasks])


def scored(
    folder: PaperFolder,
    part: str,
    model: HookedModel,
    battery: Battery,
    networks: Mapping[str, Network],
    verb: Verb,
    *,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Scored:
    """Score a battery without an intervention and under one on each network; what is done is kept and not done again.

    Args:
        folder: The folder of the protocol.
        part: Name of these scores in it, of letters, digits and hyphens.
        model: The model.
        battery: The tasks.
        networks: Names to the networks.
        verb: Given model and network, makes the intervention: :func:`silenced`, :func:`kept` or ``strengthened(gain)``.
        seed: Seed of the resamples of items in intervals.
        settings: What else decides the scores.
        progress: Show a progress bar.
    """
    place = study_folder(folder.inside("lesions", part), model, networks, battery, {"part": part, **(settings or {})})
    conditions = [Condition(name, partial(verb, model, network)) for name, network in networks.items()]
    with StudyRuns(model, n_conditions=1 + len(conditions), title=part, progress=progress, folder=place) as runs:
        before = runs.untouched(battery)
        after = runs.scores("conditions", battery, conditions)[0]
    return Scored(list(networks), list(battery.tasks), item_counts(battery), before, after, seed)


def silenced(model: HookedModel, network: Network) -> AbstractContextManager[Any]:
    """The network's units set to 0 at every position.

    Args:
        model: The model.
        network: The units.
    """
    return inhibit(model, network)


def kept(model: HookedModel, network: Network) -> AbstractContextManager[Any]:
    """All other units of the network's site set to 0 at every position.

    Args:
        model: The model.
        network: The units.
    """
    return retain(model, network)


def strengthened(gain: float) -> Verb:
    """The network's activations times a gain.

    Args:
        gain: The factor.
    """
    return partial(_amplified, gain=gain)


def added(amount: float) -> Verb:
    """An amount added to the network's activations at every position.

    Args:
        amount: What is added, in the unit of the activations.
    """
    return partial(_increased, amount=amount)


def _increased(model: HookedModel, network: Network, amount: float) -> AbstractContextManager[Any]:
    return amplify(model, network, add=amount)


def _amplified(model: HookedModel, network: Network, gain: float) -> AbstractContextManager[Any]:
    return amplify(model, network, gain=gain)


def own_and_others(found: Scored, names: Sequence[str], controls: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What networks that are named like tasks cost their own task, the worst other, and what their controls cost it.

    Args:
        found: Scores under the networks.
        names: The networks, each named like its task.
        controls: Name of a network to the losses of its own task under each of its controls.

    Returns:
        One line a network: network, own (nats a token that its task loses), low and high (95 % interval over items),
        worst (largest loss of another task), of (that task), control median, control max, p ((1 + controls that cost as
        much) / (1 + controls)), before and after (exact match of the own task), and isolated: own at least .05 nats,
        three times the worst other's, and beyond every control.
    """
    lines = []
    for name in names:
        own, others = found.loss(name, name), {one: found.loss(name, one) for one in found.tasks if one != name}
        worst = max(others, key=lambda one: others[one])
        drops = controls[name]
        exact = [found.before, found.after[found.labels.index(name)]]
        items = spans(found.counts)[found.tasks.index(name)]
        before, after = (float(one[items, METRICS.index("exact_match")].mean()) for one in exact)
        isolated = own >= max(0.05, 3 * others[worst]) and own > drops.max()
        line = (name, own, *found.interval(name, name), others[worst], worst)
        line += (float(np.median(drops)), float(drops.max()), float(empirical_p(own, drops)), before, after)
        lines.append((*line, bool(isolated)))
    columns = ["network", "own", "low", "high", "worst", "of", "control median", "control max", "p"]
    return pd.DataFrame(lines, columns=[*columns, "before", "after", "isolated"])


def control_losses(
    folder: PaperFolder,
    part: str,
    model: HookedModel,
    battery: Battery,
    controls: Mapping[str, Sequence[Network]],
    verb: Verb,
    *,
    seed: int,
    progress: bool = True,
) -> dict[str, Float[np.ndarray, " control"]]:
    """What each task loses under the controls of the network with its name; no other task is scored.

    Args:
        folder: The folder of the protocol.
        part: Name of these scores in it.
        model: The model.
        battery: The tasks.
        controls: Name of a task to the controls of its network.
        verb: What is done to their units.
        seed: Seed of the study.
        progress: Show a progress bar.
    """
    lost = {}
    for task, drawn in controls.items():
        networks = {f"{task} control {number}": one for number, one in enumerate(drawn)}
        own = battery.select([task])
        found = scored(folder, f"{part}-{task}", model, own, networks, verb, seed=seed, progress=progress)
        lost[task] = np.array([found.loss(label, task) for label in found.labels])
    return lost
