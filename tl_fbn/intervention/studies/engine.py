"""The runs of every controlled study: a battery that is scored under one condition after the other.

A condition is an intervention, or none. What a study asks decides which conditions there are and how their scores are
read; how they are scored is the same for all::

    with StudyRuns(model, n_conditions=101, title="lesions", folder=folder) as runs:
        scores, _ = runs.scores("sort", battery, [Condition("sort", partial(inhibit, model, network)), *controls])

``scores`` is an array (condition, item, metric). Conditions are independent of each other, so that joblib's workers can
share them (:mod:`.workers`), and each is scored item by item, so that any table can be made later. With a folder
(:mod:`.resume`) results are kept as they come, part by part: the same study goes on where it was interrupted, and runs
nothing once all is there.

An intervention is made when its condition is due, on the process that scores it. It may run the model to do so: a
condition of :func:`.calibrate_gain` first finds the amount by which it amplifies. None says that nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import visible
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.studies.item_statistics import by_item
from tl_fbn.intervention.studies.resume import Unfinished
from tl_fbn.intervention.studies.workers import Packed, in_order
from tl_fbn.units import Network, UnitSpace

ItemScores = Float[np.ndarray, "item metric"]
Scored = tuple[ItemScores, dict[str, Any]]  # scores under one condition, and notes
Order = Callable[[Callable[[Any, int], Scored], Any, Sequence[ItemScores], int, Packed], Iterable[Scored]]


def unchanged() -> None:
    """The intervention of a condition in which the model is as it is."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Something under which a battery is scored.

    Args:
        label: What it is called where it fails.
        intervention: Makes the intervention, which is entered while the battery is scored; None changes nothing.
        note: Given the battery and its scores (none where known ones were taken), what is kept beside them: names to
            values that JSON can hold. None keeps nothing.
    """

    label: str
    intervention: Callable[[], AbstractContextManager[Any] | None] = unchanged
    note: Callable[[Battery, Mapping[str, Scores]], dict[str, Any]] | None = None

    @classmethod
    def each(
        cls, silence: Callable[[Network], AbstractContextManager[Any]], networks: Iterable[Network]
    ) -> list[Condition]:
        """A condition for each network.

        Args:
            silence: Given a network, makes the intervention.
            networks: The networks.
        """
        return [cls(network.name, partial(silence, network)) for network in networks]


def silenced_units(
    silence: Callable[[Network], AbstractContextManager[Any]], space: UnitSpace, units: Any
) -> AbstractContextManager[Any]:
    """The intervention on some units; as a condition's it is made when due, as thousands of networks fill memory.

    Args:
        silence: Given a network, makes the intervention.
        space: The units of the model.
        units: Indices of those that are silenced.
    """
    return silence(Network.from_indices(space, units))


class StudyRuns:
    """Scores of batteries under the conditions of one study, with one progress bar.

    Args:
        model: A TransformerLens model in eval mode.
        n_conditions: Number of conditions of the whole study, for the bar.
        title: What the bar says.
        unit: What the bar counts.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.
        progress: Whether to show the bar.
        folder: Keeps results as they come; None keeps none.
    """

    def __init__(
        self,
        model: HookedModel,
        *,
        n_conditions: int,
        title: str,
        unit: str = "lesion",
        batch_tokens: int = 8192,
        progress: bool = True,
        folder: Unfinished | None = None,
    ) -> None:
        self._model = Packed(model)
        self._batch_tokens = batch_tokens
        self._folder = folder
        self._done = 0
        self._bar = tqdm(total=n_conditions, desc=visible(title), unit=unit, disable=not progress)

    def __enter__(self) -> StudyRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def scores(
        self,
        part: str,
        battery: Battery,
        conditions: Sequence[Condition],
        *,
        untouched: ItemScores | None = None,
        order: Order | None = None,
    ) -> tuple[Float[np.ndarray, "condition item metric"], dict[str, Any]]:
        """Score a battery under every condition, or read what an earlier call of the study kept.

        Args:
            part: Name of these conditions in the study's folder.
            battery: The tasks.
            conditions: At least one condition.
            untouched: (item, metric) scores of the battery without an intervention, which conditions that change
                nothing are then given. None scores those, too.
            order: Makes the results behind those that are known, in order, given a function of a bundle and the number
                of a condition, the bundle, the known results, the number of conditions, and the model. None makes all
                of them, on workers where joblib is configured for some.

        Returns:
            Scores, NaN for items that have none by a metric, and all notes of the conditions together.
        """
        model: Any = self._model.thing
        bundle = (model, battery, self._batch_tokens, conditions, untouched)
        make = order or _all_of_them

        def results_from(known: Sequence[ItemScores]) -> Iterator[Scored]:
            self._catch_up(len(known))
            for result in make(_scores_under, bundle, known, len(conditions), self._model):
                self._bar.update()
                yield result

        if self._folder is not None:
            rows, notes = self._folder.grow(part, len(conditions), results_from)
        else:
            rows, notes = _gathered(results_from(()))
        self._catch_up(len(conditions))  # what an earlier call had done already
        self._done += len(conditions)
        return rows, notes

    def untouched(self, battery: Battery, part: str = "untouched") -> ItemScores:
        """(item, metric) scores of a battery without an intervention.

        Args:
            battery: The tasks.
            part: Name of these scores in the study's folder.
        """
        return self.scores(part, battery, [Condition("no intervention")])[0][0]

    def _catch_up(self, n: int) -> None:
        """Set the bar to what was done before this part, and ``n`` conditions of it."""
        self._bar.update(self._done + n - self._bar.n)


def _gathered(results: Iterable[Scored]) -> tuple[np.ndarray, dict[str, Any]]:
    """Results as one array, and all their notes."""
    rows, notes = [], {}
    for row, noted in results:
        rows.append(row)
        notes |= noted
    return np.array(rows), notes


def _all_of_them(
    score: Callable[[Any, int], Scored], bundle: Any, known: Sequence[ItemScores], n: int, model: Packed
) -> Iterator[Scored]:
    return in_order(score, bundle, range(len(known), n), model)


def _scores_under(bundle: Any, number: int) -> tuple[Any, dict[str, Any]]:
    """Item-level scores under one condition of a part, and what is noted of it."""
    model, battery, batch_tokens, conditions, untouched = bundle
    condition = conditions[number]
    try:
        intervention = condition.intervention()
        scores: Mapping[str, Scores] = {}
        if intervention is not None or untouched is None:
            with intervention or nullcontext(), watching(model, allowed=True) as watch:
                scores = battery.score(model, batch_tokens=batch_tokens)
                watch.check()
    except Exception as error:
        error.add_note(f"(while scoring under {visible(condition.label)!r}, condition {number} of {len(conditions)})")
        raise
    notes = {} if condition.note is None else condition.note(battery, scores)
    return (by_item(scores) if scores else untouched), notes
