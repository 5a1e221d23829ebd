"""What calibrating a network's amplification found: the amounts tried, the chosen one, and what it does on other items.

==================== =======================================================================================================
``to_dataframe()``   every amount on the calibration items: why the chosen one was chosen. Its own line there is too good
``held_out()``       the chosen amount on items that had no part in the choice: every task, beside matched random networks
``summary()``        one line: the amount, the held-out change with its interval and p, the worst of the other tasks
``intervention()``   the amplification itself, to be entered
==================== =======================================================================================================

Changes are after - before: nats a token of log-likelihood, shares of items of exact match. How the amount is chosen and what p means: :mod:`.calibration`.
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
from tl_fbn.intervention.hooks.interventions import Intervention
from tl_fbn.intervention.hooks.positions import Positions
from tl_fbn.intervention.studies.dose_response import NONE, DoseKind, amplifier
from tl_fbn.intervention.studies.item_statistics import METRICS, check_metric, empirical_p, paired_interval, spans
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS
from tl_fbn.units import Network, html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Arrays, Described, Result

LIKELIHOOD = METRICS.index("log_likelihood")


@dataclass(frozen=True, eq=False)
class GainCalibration(Result, step="amplification", picture="gain_calibration", renamed={"about": "provenance"}):
    """The amount that helps most, and what it does on other items.

    Args:
        network: What is amplified.
        kind: ``"gain"``, ``"add"`` or ``"add_sd"``.
        amounts: (candidate,) ascending, with the one that changes nothing.
        chosen: The best allowed one on the calibration items.
        tasks: The target, then the others.
        metric: What the target is measured by; the others by log-likelihood.
        counts: (half, task) items: calibration, held-out.
        calibration: (candidate, calibration item, metric), task after task; metrics as in :data:`.evidence.METRICS`.
        before: (held-out item, metric) of the untouched model.
        after: (held-out item, metric) with the chosen amount.
        controls: ``"calibrated"`` and ``"chosen"``, where asked for, to (control, task, metric) held-out changes under matched random networks.
        control_amounts: (control,) what each calibrated control chose; none without them.
        spread: (unit,) standard deviations behind ``add_sd``; none for other kinds.
        provenance: Seeds, share, tolerance, positions, whether discovery prompts were disjoint.
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
        """Whether any amount was better than none."""
        return self.chosen != NONE[self.kind]

    def to_dataframe(self) -> pd.DataFrame:
        """The candidates on the calibration items, one line each.

        Columns: network, the kind (gain, add or add_sd), task, metric, value, change (from none), low, high (95 % paired interval over items), worst_task and
        worst_change (the other task that loses most log-likelihood, nats a token), allowed, chosen. The chosen line's change is too good: see :meth:`held_out`.
        """
        m, (target, *others) = METRICS.index(self.metric), spans(self.counts[0])
        untouched = self.calibration[list(self.amounts).index(NONE[self.kind])]
        lines = []
        for amount, items in zip(self.amounts, self.calibration, strict=True):
            change = items[target, m] - untouched[target, m]
            low, high = paired_interval(change, int(self.provenance["n_bootstrap"]), [int(self.provenance["seed"]), 0])
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

    def held_out(self, *, metric: str | None = None, control: str | None = None) -> pd.DataFrame:
        """The chosen amount on the held-out items, one line a task, the target first.

        Columns: task, target, metric, items, before, after, change, low, high (95 % paired interval over items), control_median, control_p05, control_p95, p (share
        of matched random networks that change the task as much upwards; 1 where nothing is amplified).

        Args:
            metric: One metric for all tasks, NaN where it is not defined; by default the target's own, and log-likelihood for the others.
            control: ``"calibrated"`` or ``"chosen"``; by default the first there is.

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
            low, high = paired_interval(
                change, int(self.provenance["n_bootstrap"]), [int(self.provenance["seed"]), 1 + number]
            )
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
        """One line.

        Columns: network, task, kind, amount (chosen), calibration_change, change (held-out) with low and high, control_median, p (calibrated controls; NaN
        without), p_chosen (controls at the chosen amount; NaN without), worst_task and worst_change (held-out, nats a token), within_tolerance, and helps: something
        is amplified, low > 0 and, by calibrated controls, p <= .05.
        """
        tables = {rule: self.held_out(control=rule) for rule in self.controls}
        table = next(iter(tables.values()))
        target = table.iloc[0]
        others = table.iloc[1:].reset_index(drop=True)
        calibration = self.to_dataframe()
        p, p_chosen = (float(tables[r]["p"].iloc[0]) if r in tables else np.nan for r in ("calibrated", "chosen"))
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
            "helps": bool(self.amplifies and target["low"] > 0 and p <= 0.05),
        }
        return pd.DataFrame([line])

    def intervention(self, model: HookedModel, *, positions: Positions | None = None) -> Intervention:
        """:func:`.hooks.amplify` with the chosen amount; where that is none, it changes nothing.

        Args:
            model: The model, or another with the same units.
            positions: By default those of the calibration.

        Raises:
            InputError: Positions of the calibration that were a mask or numbers, which are not kept; a model with other units.
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
        arrays |= {f"network/{part}": arrays.pop(part) for part in ("members", "signs")}  # version 0.1
        return arrays, {**about, "order": {"controls": about["rules"]}}

    def _methods_(self) -> list[str]:
        about = self.provenance
        rules = ", ".join(f"{len(changes)} {rule}" for rule, changes in self.controls.items()) or "none"
        amounts = listed([f"{amount:g}" for amount in self.amounts])
        return [
            f"Amplification of {self.network.name} ({self.kind}; tried: {amounts}) was calibrated on {int(self.counts[0, 0])} items of {self.tasks[0]} "
            f"(share {about.get('share', NOT_RECORDED)}; no other task may lose more than {about.get('tolerance', NOT_RECORDED)} nats) and measured on "
            f"{int(self.counts[1, 0])} others by {METRIC_IN_WORDS[self.metric]}, with controls: {rules} (calibrated ones go through the same search); "
            f"{P_FORMULA}; seed {about.get('seed', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self!r}\n\nThe amount was chosen on {int(self.counts[0, 0])} items of {self.tasks[0]!r}; the first table is of {int(self.counts[1, 0])} others, "
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
        p, named = (line["p"], "p") if "calibrated" in self.controls else (line["p_chosen"], "p_chosen")
        return (
            f"{what}: {self.kind} {self.chosen:g}, held-out {self.metric} {line['change']:+.3g} [{line['low']:.3g}, {line['high']:.3g}], "
            f"{named} = {p:.3g}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.held_out())


def allowed(worst: float, tolerance: float | None) -> bool:
    """Whether the change of the task that loses most is within the tolerance; with no tolerance everything is, with one NaN is not."""
    return tolerance is None or bool(worst >= -tolerance)
