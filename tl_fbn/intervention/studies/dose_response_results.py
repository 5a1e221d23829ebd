"""What came of a dose-response study: scores at every dose, and the numbers that sum a curve up.

:mod:`.dose_response` makes it, and says what area and monotonicity are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import integrate

from tl_fbn.intervention.studies import study_prose as prose
from tl_fbn.intervention.studies.item_statistics import (
    change_interval,
    empirical_p,
    monotonicity,
    resamples,
    score_interval,
)
from tl_fbn.units import html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Result

DoseKind = Literal["gain", "add", "add_sd", "size"]
NONE: dict[DoseKind, float] = {"gain": 1.0, "add": 0.0, "add_sd": 0.0, "size": 0.0}  # the dose that changes nothing


@dataclass(frozen=True, eq=False)
class DoseResponse(Result, step="amplification", picture="dose_response", renamed={"about": "provenance"}):
    """Scores of every task at every dose, with matched controls.

    >>> drivers = contrast.effect.top(0.02)  # the units that *sort* drives most beyond *reverse*
    >>> curve = fbn.dose_response(model, drivers, battery, gains=(0, 1, 2), n_controls=9, seed=0, progress=False)
    >>> curve.to_dataframe().query("task == 'sort'")[["gain", "value", "control_p05"]]
       gain  value  control_p05
    0   0.0    0.7          1.0
    1   1.0    1.0          1.0
    2   2.0    1.0          1.0

    Args:
        network: Name of the network, or of the map.
        kind: Kind of dose: ``"gain"`` (a factor), ``"add"`` (an amount in activation units), ``"add_sd"`` (an amount
            in standard deviations of each unit) or ``"size"`` (a share of all units).
        doses: (dose,) doses of that kind, ascending.
        units: (dose,) number of units that were changed at each dose.
        tasks: Names of the tasks.
        counts: (task,) number of items of each task.
        metric: ``"exact_match"`` or ``"log_likelihood"``, what the scores are.
        baseline: (item,) scores of the untouched model, task after task.
        items: (dose, item) scores at each dose, task after task.
        controls: (control, dose, task) means over items of matched random networks.
        provenance: Seed, numbers of controls and bootstrap draws, method, positions, and whether discovery prompts
            were disjoint.
    """

    network: str
    kind: DoseKind
    doses: Float[np.ndarray, " dose"]
    units: Int[np.ndarray, " dose"]
    tasks: tuple[str, ...]
    counts: Int[np.ndarray, " task"]
    metric: str
    baseline: Float[np.ndarray, " item"]
    items: Float[np.ndarray, "dose item"]
    controls: Float[np.ndarray, "control dose task"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind", "metric", "doses")

    def to_dataframe(self) -> pd.DataFrame:
        """One line a task and dose.

        Columns: network, the kind of dose (gain, add, add_sd or size), units, task, metric, baseline, value, low and
        high (95 % interval over items), control_median, control_p05, control_p95.
        """
        lines = []
        for number, (task, span, seed) in enumerate(self._spans()):
            for place, dose in enumerate(self.doses):
                # the interval is of the score at this dose, not of its change
                own = self.items[place, span]
                p05, median, p95 = np.quantile(self.controls[:, place, number], [0.05, 0.5, 0.95])
                first = (self.network, float(dose), int(self.units[place]), task, self.metric)
                interval = score_interval(own, self.metric, resamples(len(own), self._n_bootstrap, seed))
                lines.append((*first, self.baseline[span].mean(), own.mean(), *interval, median, p05, p95))
        columns = ["network", self.kind, "units", "task", "metric", "baseline", "value", "low", "high"]
        return pd.DataFrame(lines, columns=[*columns, "control_median", "control_p05", "control_p95"])

    def summary(self) -> pd.DataFrame:
        """One line a task: area and monotonicity with 95 % intervals over items, area of the controls, and p.

        Columns: task, area, area_low, area_high, control_area_median, p (share of matched random networks whose area
        is as low), monotonicity, monotonicity_low, monotonicity_high, monotonicity_p (share of matched random
        networks whose rank correlation is as low).
        """
        lines = []
        distance = np.abs(self.doses - NONE[self.kind])  # from the dose that changes nothing
        for number, (task, span, seed) in enumerate(self._spans()):
            before = self.baseline[span]
            curves = self.items[:, span]
            # an item is drawn with its whole curve, so that its scores at different doses stay together
            picks = resamples(len(before), self._n_bootstrap, seed)
            drawn = np.array([curves[:, pick].mean(1) for pick in picks])  # (draw, dose)
            chance = self.controls[:, :, number]
            # of changes from the untouched model, linear in them: the area of a mean is the mean of the items' areas
            areas = self._area((curves - before).T)
            area, null = float(areas.mean()), self._area(chance - before.mean())
            low, high = change_interval(areas, self.metric, picks)
            # of -area and -null: the share of controls at least as low
            found = (area, low, high, float(np.median(null)), float(empirical_p(-area, -null)))
            # ranks are the same with and without what is taken off; rho is no mean over items, so by percentiles
            rho = float(monotonicity(distance, curves.mean(1)))
            rho_low, rho_high = np.quantile(monotonicity(distance, drawn), [0.025, 0.975])
            rho_p = float(empirical_p(-rho, -monotonicity(distance, chance)))
            lines.append((task, *found, rho, float(rho_low), float(rho_high), rho_p))
        columns = ["task", "area", "area_low", "area_high", "control_area_median", "p"]
        columns += ["monotonicity", "monotonicity_low", "monotonicity_high", "monotonicity_p"]
        return pd.DataFrame(lines, columns=columns)

    def _area(self, changes: np.ndarray) -> Any:
        """Mean change over the doses: integral by trapezoids / range; over the logarithm of sizes."""
        at = np.log(self.doses) if self.kind == "size" else self.doses
        return integrate.trapezoid(changes, at, axis=-1) / (at[-1] - at[0])

    def _spans(self) -> Iterator[tuple[str, slice, list[int]]]:
        """Each task, its items, and the seed of their resampling, which is the same at every dose."""
        for task, end, n in zip(self.tasks, np.cumsum(self.counts), self.counts, strict=True):
            yield task, slice(int(end - n), int(end)), [int(self.provenance["seed"]), int(end)]

    @property
    def _n_bootstrap(self) -> int:
        return int(self.provenance["n_bootstrap"])

    def _methods_(self) -> list[str]:
        about = self.provenance
        doses = listed([f"{dose:g}" for dose in self.doses])
        how = f", {prose.method_in_words(about)}" if self.kind == "size" else ""
        return [
            f"Dose and response of {self.network}: {prose.DOSES_IN_WORDS[self.kind]} {doses}{how} at "
            f"{about.get('positions', NOT_RECORDED)} positions, scored by {prose.METRIC_IN_WORDS[self.metric]} on "
            f"{listed(self.tasks)} ({prose.items_in_words(self.counts)}), beside {len(self.controls)} layer-matched "
            f"random networks; {P_FORMULA}; 95 % intervals over items ({prose.intervals_in_words(about)}); "
            f"seed {about.get('seed', NOT_RECORDED)}; discovery prompts: "
            f"{about.get('discovery', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        about = (
            "Area is the mean change from the untouched model over the doses, monotonicity the rank correlation of "
            "score and distance from the harmless dose. Both p are shares of matched random networks whose value is "
            "as low, counting the network itself."
        )
        text = (
            f"{self!r}. {prose.UNTOUCHED_IN_WORDS[self.kind]} Low and high are 95 % intervals over items; controls "
            "are networks with as many units in each layer."
        )
        title = f"Dose response: {self.network}"
        return [
            {"title": title, "text": text, "picture": "dose_response", "table": self.to_dataframe()},
            {"title": f"What the doses of {self.network} amount to", "text": about, "table": self.summary()},
        ]

    def __repr__(self) -> str:
        first, last = (f"{dose:g}" for dose in (self.doses[0], self.doses[-1]))
        words = {"gain": "gains", "add": "amounts", "add_sd": "amounts in sd", "size": "sizes"}[self.kind]
        return (
            f"DoseResponse of {self.network}: {self.metric} of {len(self.tasks)} tasks at {len(self.doses)} {words} "
            f"from {first} to {last}, {len(self.controls)} matched random controls"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())
