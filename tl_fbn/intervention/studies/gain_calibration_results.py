"""What calibrating a network's amplification found: the amounts tried, the chosen one, and what it does on other items.

==================== =======================================================================================
``to_dataframe()``   every amount on the calibration items, which is why the chosen one was chosen. The line
                     of the chosen amount looks better than it is
``held_out()``       the chosen amount on items that had no part in the choice: every task, beside matched
                     random networks
``summary()``        one line: the amount, the held-out change with its interval and p, the worst of the
                     other tasks
``intervention()``   the amplification itself, to be entered as a context
==================== =======================================================================================

Changes are after - before: nats a token of log-likelihood, shares of items of exact match; above 0 amplification
helps. How the amount is chosen and what p means is told in :mod:`.gain_calibration`. Every table is made from
item-level scores; none runs the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError, either
from tl_fbn.intervention.hooks.intervention import Intervention
from tl_fbn.intervention.hooks.positions import Positions
from tl_fbn.intervention.studies.dose_response import amplifier
from tl_fbn.intervention.studies.dose_response_results import NONE, DoseKind
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    change_interval,
    check_metric,
    empirical_p,
    resamples,
    spans,
)
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS
from tl_fbn.signatures import checked
from tl_fbn.units import Network, html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Arrays, Described, Result

LIKELIHOOD = METRICS.index("log_likelihood")


@dataclass(frozen=True, eq=False)
class GainCalibration(Result, step="amplification", picture="gain_calibration", renamed={"about": "provenance"}):
    """The amount that helps most, and what it does on other items.

    >>> found = fbn.calibrate_gain(
    ...     model, network, battery, task="sort", gains=(1.1, 1.5), n_controls=9, seed=0, progress=False
    ... )
    >>> found.to_dataframe()[["gain", "task", "change", "allowed", "chosen"]].round(4)
       gain  task  change  allowed  chosen
    0   1.0  sort     0.0     True    True
    1   1.1  sort    -0.0     True   False
    2   1.5  sort    -0.0     True   False

    Args:
        network: The network that is amplified.
        kind: Kind of amount: ``"gain"`` (a factor), ``"add"`` (in activation units) or ``"add_sd"`` (in standard
            deviations of each unit).
        amounts: (candidate,) amounts that were tried, ascending, with the one that changes nothing.
        chosen: The allowed amount that raises the target most on the calibration items.
        tasks: Names of the tasks, the target first.
        metric: What the target is measured by; the other tasks are measured by log-likelihood.
        counts: (half, task) number of items of each task: calibration, held-out.
        calibration: (candidate, calibration item, metric) scores under every amount, task after task; the metrics are
            those of :data:`.item_statistics.METRICS`.
        before: (held-out item, metric) scores of the untouched model.
        after: (held-out item, metric) scores with the chosen amount.
        controls: ``"calibrated"`` and ``"chosen"``, where they were asked for, to (control, task, metric) mean
            held-out changes under matched random networks.
        control_amounts: (control,) amount that each calibrated control chose; empty without calibrated controls.
        spread: (unit,) standard deviations of the units, for ``"add_sd"``; empty for other kinds.
        provenance: Seed, share, tolerance, numbers of controls and bootstrap draws, positions, and whether discovery
            prompts were disjoint.
    """

    network: Network
    kind: DoseKind
    amounts: Float[np.ndarray, " candidate"]
    chosen: float
    tasks: tuple[str, ...]
    metric: str
    counts: Int[np.ndarray, "half task"]
    calibration: Float[np.ndarray, "candidate calibration_item metric"]
    before: Float[np.ndarray, "heldout_item metric"]
    after: Float[np.ndarray, "heldout_item metric"]
    controls: Mapping[str, Float[np.ndarray, "control task metric"]]
    control_amounts: Float[np.ndarray, " calibrated"]
    spread: Float[np.ndarray, " spread"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind", "metric", "amounts", "chosen")
    _measured_ = ("chosen",)

    @property
    def amplifies(self) -> bool:
        """Whether the chosen amount changes anything."""
        return self.chosen != NONE[self.kind]

    def to_dataframe(self) -> pd.DataFrame:
        """The candidates on the calibration items, one line each.

        Columns: network, the kind (gain, add or add_sd), task, metric, value, change (from none), low, high (95 %
        paired interval over items), worst_task and worst_change (the other task that loses most log-likelihood, nats
        a token), allowed, chosen. The chosen line's change is too good: see :meth:`held_out`.
        """
        m = METRICS.index(self.metric)
        target, *others = spans(self.counts[0])  # of the calibration items
        # the amount that changes nothing is always among the candidates
        untouched = self.calibration[list(self.amounts).index(NONE[self.kind])]
        lines = []
        for amount, items in zip(self.amounts, self.calibration, strict=True):
            change = items[target, m] - untouched[target, m]
            # paired by item; every amount is measured on the same bootstrap draws
            low, high = self._interval(change, self.metric, 0, amount)
            # the limit is on each other task's mean log-likelihood, whatever the target's metric
            rest = [float((items - untouched)[span, LIKELIHOOD].mean()) for span in others]
            place = int(np.argmin(rest)) if rest else None
            worst = np.nan if place is None else rest[place]
            lines.append(
                {
                    "network": self.network.name,
                    self.kind: float(amount),
                    "task": self.tasks[0],
                    "metric": self.metric,
                    "value": float(items[target, m].mean()),
                    "change": float(change.mean()),
                    "low": low,
                    "high": high,
                    "worst_task": "" if place is None else self.tasks[1 + place],
                    "worst_change": worst,
                    "allowed": self._tolerable(worst),
                    "chosen": bool(amount == self.chosen),
                }
            )
        return pd.DataFrame(lines)

    def _interval(
        self, change: Float[np.ndarray, " item"], metric: str, number: int, amount: float
    ) -> tuple[float, float]:
        """Interval of a mean change: of the calibration items for number 0, and of each held-out task from 1 on."""
        if amount == NONE[self.kind]:
            return 0.0, 0.0  # nothing is changed, on these items or on others
        draws = resamples(len(change), int(self.provenance["n_bootstrap"]), [int(self.provenance["seed"]), number])
        return change_interval(change, metric, draws)

    @checked
    def held_out(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """The chosen amount on the held-out items, one line a task, the target first.

        Columns: task, target, metric, items, before, after, change, low, high (95 % paired interval over items),
        control_median, control_p05, control_p95, p (share of matched random networks that change the task as much
        upwards; 1 where nothing is amplified).

        Args:
            metric: ``"exact_match"`` or ``"log_likelihood"`` for all tasks, NaN where it is not defined; None takes
                the target's own metric, and log-likelihood for the other tasks.
            control: ``"calibrated"`` or ``"chosen"``, the controls behind p; None takes the first that this
                calibration has.

        Raises:
            InputError: An unknown metric, or controls that were not asked for.
        """
        if metric is not None:
            check_metric(metric)
        rule = next(iter(self.controls)) if control is None else control
        if rule not in self.controls:
            raise InputError(
                f"control must be one of this calibration's, {either(self.controls)}; got {control!r}; "
                'calibrate_gain(controls="both") makes both'
            )
        lines = []
        for number, (task, span) in enumerate(zip(self.tasks, spans(self.counts[1]), strict=True)):
            measure = metric or (self.metric if number == 0 else "log_likelihood")
            m = METRICS.index(measure)
            change = (self.after - self.before)[span, m]
            low, high = self._interval(change, measure, 1 + number, self.chosen)
            # the null is of changes upwards, one-sided: amplification is asked to help
            chance = self.controls[rule][:, number, m]
            p05, median, p95 = np.quantile(chance, [0.05, 0.5, 0.95])
            lines.append(
                {
                    "task": task,
                    "target": number == 0,
                    "metric": measure,
                    "items": len(change),
                    "before": float(self.before[span, m].mean()),
                    "after": float(self.after[span, m].mean()),
                    "change": float(change.mean()),
                    "low": low,
                    "high": high,
                    "control_median": float(median),
                    "control_p05": float(p05),
                    "control_p95": float(p95),
                    "p": float(empirical_p(change.mean(), chance)) if self.amplifies else 1.0,
                }
            )
        return pd.DataFrame(lines)

    def summary(self) -> pd.DataFrame:
        """The result in one line.

        Columns: network, task, kind, amount (chosen), calibration_change, change (held-out) with low and high,
        control_median, p (calibrated controls; NaN without), p_chosen (controls at the chosen amount; NaN without),
        worst_task and worst_change (held-out, nats a token), within_tolerance, and helps: something is amplified, low
        > 0 and, by calibrated controls, p <= .05.
        """
        tables = {rule: self.held_out(control=rule) for rule in self.controls}
        table = next(iter(tables.values()))
        target = table.iloc[0]
        others = table.iloc[1:].reset_index(drop=True)
        calibration = self.to_dataframe()
        p = float(tables["calibrated"]["p"].iloc[0]) if "calibrated" in tables else np.nan
        p_chosen = float(tables["chosen"]["p"].iloc[0]) if "chosen" in tables else np.nan
        # the other task that loses most on the held-out items, by log-likelihood
        place = int(others["change"].argmin()) if len(others) else None
        worst = np.nan if place is None else float(others["change"].iloc[place])
        line = {
            "network": self.network.name,
            "task": self.tasks[0],
            "kind": self.kind,
            "amount": self.chosen,
            "calibration_change": float(calibration.loc[calibration["chosen"], "change"].iloc[0]),
            **{name: float(target[name]) for name in ("change", "low", "high", "control_median")},
            "p": p,
            "p_chosen": p_chosen,
            "worst_task": "" if place is None else str(others["task"].iloc[place]),
            "worst_change": worst,
            "within_tolerance": self._tolerable(worst),
            # a comparison with NaN is false, so without calibrated controls nothing is said to help
            "helps": bool(self.amplifies and target["low"] > 0 and p <= 0.05),
        }
        return pd.DataFrame([line])

    @checked
    def intervention(self, model: HookedModel, *, positions: Positions | None = None) -> Intervention:
        """:func:`.hooks.amplify` with the chosen amount; where that is none, it changes nothing.

        Args:
            model: The model that was calibrated, or another with the same units.
            positions: The tokens that are touched (:mod:`.positions`); None takes those of the calibration.

        Returns:
            An intervention, to be entered as a context.

        Raises:
            InputError: The calibration touched a mask or column numbers, which are not kept, and none are given; or
                the model has other units.
        """
        where = self.provenance["positions"] if positions is None else positions
        if isinstance(where, str) and where == "given":
            raise InputError("this calibration touched positions given as a mask or numbers; give positions= again")
        spread = self.spread if self.kind == "add_sd" else None
        return amplifier(model, self.kind, spread=spread, positions=where)(self.network, self.chosen)

    def _tolerable(self, worst: float) -> bool:
        return allowed(worst, self.provenance["tolerance"])

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        if "rules" not in about:
            return arrays, about
        # version 0.1 wrote the network's parts beside the other arrays
        arrays |= {f"network/{part}": arrays.pop(part) for part in ("members", "signs")}
        return arrays, {**about, "order": {"controls": about["rules"]}}

    def _methods_(self) -> list[str]:
        about = self.provenance
        rules = ", ".join(f"{len(changes)} {rule}" for rule, changes in self.controls.items()) or "none"
        amounts = listed([f"{amount:g}" for amount in self.amounts])
        return [
            f"Amplification of {self.network.name} ({self.kind}; tried: {amounts}) was calibrated on "
            f"{int(self.counts[0, 0])} items of {self.tasks[0]} (share {about.get('share', NOT_RECORDED)}; no other "
            f"task may lose more than {about.get('tolerance', NOT_RECORDED)} nats) and measured on "
            f"{int(self.counts[1, 0])} others by {METRIC_IN_WORDS[self.metric]}, with controls: {rules} (calibrated "
            f"ones go through the same search); {P_FORMULA}; seed {about.get('seed', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self!r}\n\nThe amount was chosen on {int(self.counts[0, 0])} items of {self.tasks[0]!r}; the first "
            f"table is of {int(self.counts[1, 0])} others, "
            "the second, of the items it was chosen on, is too good for the chosen line."
        )
        return [
            {
                "title": f"Calibrated amplification: {self.network.name}",
                "text": text,
                "picture": "gain_calibration",
                "table": self.held_out(),
            },
            {"title": f"Amounts tried: {self.network.name}", "table": self.to_dataframe()},
        ]

    def __repr__(self) -> str:
        line = self.summary().iloc[0]
        what = f"GainCalibration of {self.network.name} on {self.tasks[0]!r}"
        if not self.amplifies:
            return f"{what}: no amplification helps ({len(self.amounts) - 1} amounts tried)"
        named = "p" if "calibrated" in self.controls else "p_chosen"
        p = line[named]
        return (
            f"{what}: {self.kind} {self.chosen:g}, held-out {self.metric} {line['change']:+.3g} [{line['low']:.3g}, "
            f"{line['high']:.3g}], {named} = {p:.3g}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.held_out())


def allowed(worst: float, tolerance: float | None) -> bool:
    """Whether the change of the task that loses most is within the tolerance.

    Args:
        worst: Change of that task, in nats a token; NaN is not within any tolerance.
        tolerance: Nats a token that it may lose; None allows everything.
    """
    return tolerance is None or bool(worst >= -tolerance)
