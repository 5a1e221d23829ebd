"""The search for the amount that amplifies a network best, which the calibrated network and its controls go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.intervention import Intervention
from tl_fbn.intervention.studies.dose_response_results import NONE, DoseKind
from tl_fbn.intervention.studies.engine import Condition, ItemScores
from tl_fbn.intervention.studies.gain_calibration_results import LIKELIHOOD, allowed
from tl_fbn.intervention.studies.item_statistics import by_item, item_counts, task_means
from tl_fbn.units import Network

BETTER = 1e-6  # smallest mean change that counts as above 0; logits have the rounding of float32


@dataclass(frozen=True, eq=False)
class Bench:
    """The items and candidates of one calibration: the same for the network that is tested and for random ones."""

    model: HookedModel
    target: Battery  # calibration items of the target, and of the other tasks, if there are any
    others: Battery | None
    untouched: tuple[np.ndarray, np.ndarray | None]  # (item, metric) scores of the untouched model on both
    metric: int  # place of the target's metric in METRICS
    kind: DoseKind
    amounts: list[float]
    tolerance: float | None  # nats a token
    strengthen: Callable[[Network, float], Intervention]
    batch_tokens: int

    def search(self, network: Network) -> float:
        """The allowed candidate that raises the target most; the amount that changes nothing if there is none.

        Args:
            network: The network to amplify.
        """
        # the target alone first: the other tasks need not be scored for amounts that do not help it
        on_target = [self._items(self.target, self.untouched[0], network, amount) for amount in self.amounts]
        return self.choose(on_target, lambda amount: self._items(self.others, self.untouched[1], network, amount))

    def choose(self, on_target: Sequence[ItemScores], on_others: Callable[[float], ItemScores | None]) -> float:
        """The allowed candidate that raises the target most; the amount that changes nothing if there is none.

        Args:
            on_target: Scores of the target's calibration items under each candidate.
            on_others: Given a candidate, scores of the other tasks' calibration items under it.
        """
        before = self.untouched[0]
        gains = {
            a: float((items - before)[:, self.metric].mean()) for a, items in zip(self.amounts, on_target, strict=True)
        }
        better = [amount for amount in self.amounts if gains[amount] > BETTER]
        # the best first, of equals the weaker; the other tasks are scored only until one candidate is allowed
        for amount in sorted(better, key=lambda a: (-gains[a], abs(a - NONE[self.kind]))):
            if self.tolerance is None or allowed(self._worst(on_others(amount)), self.tolerance):
                return amount
        return NONE[self.kind]

    def _worst(self, items: ItemScores | None) -> float:
        """Change of the other task that loses most log-likelihood on the calibration items; NaN without others."""
        if self.others is None or items is None or self.untouched[1] is None:
            return float("nan")
        return float(np.min(task_means(items - self.untouched[1], item_counts(self.others))[:, LIKELIHOOD]))

    def _items(self, battery: Battery | None, untouched: Any, network: Network, amount: float) -> Any:
        """Scores of the items of a battery while a network is amplified; those of no amount are known."""
        if battery is None or amount == NONE[self.kind]:
            return untouched
        with self.strengthen(network, amount):
            return by_item(battery.score(self.model, batch_tokens=self.batch_tokens))


@dataclass
class Amplified:
    """Amplification of a network: by a given amount, or by the one that its own calibration finds when it is due."""

    bench: Bench
    network: Network
    name: str
    amount: float | None = None

    def __call__(self) -> Intervention | None:
        if self.amount is None:
            self.amount = self.bench.search(self.network)
        return None if self.amount == NONE[self.bench.kind] else self.bench.strengthen(self.network, self.amount)

    def condition(self) -> Condition:
        return Condition(self.name, self, lambda battery, scores: {self.name: self.amount})
