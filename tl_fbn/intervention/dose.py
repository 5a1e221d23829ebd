"""How behaviour follows the dose: the gain of a network, or the size of nested networks.

::

    fbn.dose_response(model, network, battery, gains=(-1, 0, 0.5, 1, 1.5, 2, 3), seed=0)     # a network: its activations times each gain
    fbn.dose_response(model, scores, battery, sizes=(0.001, 0.003, 0.01, 0.03, 0.1), seed=0)  # a map: its top units, more and more of them, silenced

A single lesion shows that something happens at one strength. A curve shows whether more does more, whether strengthening does what weakening does not, and at
which size the model breaks whatever is cut. Beside it stand the curves of random networks with as many units in each layer; of sizes, nested ones: the map
shuffled within its layers.

Intervals are of the items, resampled with each item's whole curve. Two numbers sum a curve up: its *area*, the mean change from the untouched model over the
doses (over the gains as they are, over the logarithm of sizes), and its *monotonicity*, Spearman's correlation of the score with the distance of the dose from
none. Cost: doses x (1 + controls) evaluations of the battery.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import integrate, stats
from tqdm.auto import tqdm

from tl_fbn import files
from tl_fbn.analysis.overlap import shuffle_within_layers
from tl_fbn.intervention.battery import Battery, Scores
from tl_fbn.intervention.controls import matched_controls
from tl_fbn.intervention.evidence import check_disjoint, empirical_p, metric_of
from tl_fbn.intervention.hooks import amplify, inhibit
from tl_fbn.units import Network, UnitMap, html_table

GAINS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
SIZES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
Kind = Literal["gain", "size"]


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """Scores of every task at every dose, with matched controls.

    Args:
        network: Name of the network, or of the map.
        kind: ``"gain"`` or ``"size"``.
        doses: (dose,) gains, or shares of all units.
        units: (dose,) units that were changed.
        tasks: Names of the tasks.
        counts: (task,) items of each.
        metric: What is scored.
        baseline: (item,) of the untouched model, task after task.
        items: (dose, item) likewise under each dose.
        controls: (control, dose, task) means under matched random networks.
        about: Seeds and settings.
    """

    network: str
    kind: Kind
    doses: Float[np.ndarray, " dose"]
    units: Int[np.ndarray, " dose"]
    tasks: tuple[str, ...]
    counts: Int[np.ndarray, " task"]
    metric: str
    baseline: Float[np.ndarray, " item"]
    items: Float[np.ndarray, "dose item"]
    controls: Float[np.ndarray, "control dose task"]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a task and dose.

        Columns: network, gain or size, units, task, metric, baseline, value, low and high (95 % interval over items), control_median, control_p05, control_p95.
        """
        lines = []
        for number, (task, span, picks) in enumerate(self._resampled()):
            for place, dose in enumerate(self.doses):
                own = self.items[place, span]
                low, high = np.quantile(own[picks].mean(1), [0.025, 0.975])
                chance = self.controls[:, place, number]
                p05, median, p95 = np.quantile(chance, [0.05, 0.5, 0.95])
                first = (self.network, float(dose), int(self.units[place]), task, self.metric)
                lines.append((*first, self.baseline[span].mean(), own.mean(), low, high, median, p05, p95))
        columns = ["network", self.kind, "units", "task", "metric", "baseline", "value", "low", "high"]
        return pd.DataFrame(lines, columns=[*columns, "control_median", "control_p05", "control_p95"])

    def summary(self) -> pd.DataFrame:
        """One line a task: area and monotonicity with 95 % intervals over items, area of the controls, and p.

        Columns: task, area, area_low, area_high, control_area_median, p (share of matched random networks whose area is as low), monotonicity, monotonicity_low,
        monotonicity_high.
        """
        lines = []
        distance = np.abs(self.doses - 1) if self.kind == "gain" else self.doses
        for number, (task, span, picks) in enumerate(self._resampled()):
            before, curves = self.baseline[span], self.items[:, span]
            area = self._area(curves.mean(1) - before.mean())
            drawn = np.array([curves[:, pick].mean(1) - before[pick].mean() for pick in picks])  # (draw, dose)
            areas = self._area(drawn)
            chance = self._area(self.controls[:, :, number] - before.mean())
            rho, rhos = float(_monotone(distance, curves.mean(1))), _monotone(distance, drawn)
            p = empirical_p(-area, -chance)
            lines.append(
                (
                    task,
                    area,
                    *np.quantile(areas, [0.025, 0.975]),
                    np.median(chance),
                    p,
                    rho,
                    *np.quantile(rhos, [0.025, 0.975]),
                )
            )
        columns = ["task", "area", "area_low", "area_high", "control_area_median", "p"]
        return pd.DataFrame(lines, columns=[*columns, "monotonicity", "monotonicity_low", "monotonicity_high"])

    def _area(self, changes: np.ndarray) -> Any:
        """Mean of a curve over the doses, by trapezoids; over the logarithm of sizes."""
        at = self.doses if self.kind == "gain" else np.log(self.doses)
        return integrate.trapezoid(changes, at, axis=-1) / (at[-1] - at[0])

    def _resampled(self) -> Iterator[tuple[str, slice, np.ndarray]]:
        """Each task, its items, and (draw, item) resamplings of them."""
        ends = np.cumsum(self.counts)
        for task, end, n in zip(self.tasks, ends, self.counts, strict=True):
            rng = np.random.default_rng([int(self.about["seed"]), int(end)])
            yield task, slice(int(end - n), int(end)), rng.integers(0, n, (int(self.about["n_bootstrap"]), n))

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        names = ("doses", "units", "counts", "baseline", "items", "controls")
        about = {name: getattr(self, name) for name in ("network", "kind", "tasks", "metric")} | {
            "about": dict(self.about)
        }
        files.write_result(path, "DoseResponse", {name: getattr(self, name) for name in names}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> DoseResponse:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "DoseResponse")
        return cls(
            network=about["network"],
            kind=about["kind"],
            tasks=tuple(about["tasks"]),
            metric=about["metric"],
            about=about["about"],
            **arrays,
        )

    def __repr__(self) -> str:
        first, last = (f"{dose:g}" for dose in (self.doses[0], self.doses[-1]))
        return (
            f"DoseResponse of {self.network}: {self.metric} of {len(self.tasks)} tasks at {len(self.doses)} {self.kind}s from {first} to {last}, "
            f"{len(self.controls)} matched random controls"
        )

    def _repr_html_(self) -> str:
        table = self.summary()
        rows = [tuple(f"{x:.3g}" if isinstance(x, float) else x for x in row) for row in table.itertuples(index=False)]
        return html_table(repr(self), tuple(table.columns), rows)


def dose_response(
    model: Any,
    network: Network | UnitMap,
    battery: Battery,
    *,
    seed: int,
    gains: Sequence[int | float] | None = None,
    sizes: Sequence[int | float] | None = None,
    n_controls: int = 20,
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_size: int = 128,
    progress: bool = True,
) -> DoseResponse:
    """Score a battery at every gain of a network, or with nested networks of every size silenced.

    Args:
        model: A TransformerLens model in eval mode.
        network: A network, for gains; or a map, whose top units are silenced, for sizes.
        battery: Tasks of items that it was not found on.
        seed: Of controls and intervals.
        gains: At least two factors, ascending; 1 changes nothing. By default -1, 0, 0.5, 1, 1.5, 2 and 3.
        sizes: At least two shares of all units, ascending, with at least one unit each. By default .01 to 10 %, those that hold a unit.
        n_controls: Matched random networks, of which each has a whole curve.
        metric: ``"exact_match"`` or ``"log_likelihood"``; by default exact match if every task has one.
        n_bootstrap: Resamplings of the items behind intervals.
        batch_size: Items in a pass.
        progress: Show a bar.

    Raises:
        ValueError: Gains for a map or sizes for a network, doses that are too few or not ascending, items the network was found on.
    """
    kind: Kind = "size" if isinstance(network, UnitMap) else "gain"
    doses = _doses(network, gains, sizes)
    if n_controls < 1:
        raise ValueError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 20")
    metric = metric_of(battery, metric)
    if isinstance(network, UnitMap):
        name = str(network.provenance.get("task") or network.provenance.get("method") or network.kind)
        own = [network.top(float(size), name=name) for size in doses]
        shuffled = _shuffled(network, n_controls, seed)
        sham = [[one.top(float(size)) for size in doses] for one in shuffled]
    else:
        name, own = network.name, [network] * len(doses)
        sham = [[control] * len(doses) for control in matched_controls(network, n_controls, seed=seed)]
    discovery = check_disjoint(own[-1], battery, getattr(model, "tokenizer", None), name)
    before = _flat(battery.score(model, batch_size=batch_size), metric)
    with tqdm(total=len(doses) * (1 + n_controls), desc="doses", unit="dose", disable=not progress) as bar:

        def curve(networks: Sequence[Network]) -> Iterator[dict[str, Scores]]:
            for one, dose in zip(networks, doses, strict=True):
                with _applied(model, one, kind, float(dose)):
                    yield battery.score(model, batch_size=batch_size)
                bar.update()

        items = np.array([_flat(scores, metric) for scores in curve(own)])
        controls = np.array(
            [[[scores[task].of(metric) for task in battery.tasks] for scores in curve(networks)] for networks in sham]
        )
    counts = np.array([len(task.items) for task in battery.tasks.values()])
    about = {"seed": seed, "n_controls": n_controls, "n_bootstrap": n_bootstrap, "discovery": discovery}
    units = np.array([len(one) for one in own])
    return DoseResponse(name, kind, doses, units, tuple(battery.tasks), counts, metric, before, items, controls, about)


def _doses(
    network: Network | UnitMap, gains: Sequence[int | float] | None, sizes: Sequence[int | float] | None
) -> Float[np.ndarray, " dose"]:
    if isinstance(network, UnitMap):
        if gains is not None:
            raise ValueError("gains= are for a network; a map has sizes=. Select a network with .top(...) first")
        n_units = network.space.n_units
        doses = np.array([size for size in SIZES if size * n_units >= 1] if sizes is None else sizes, dtype=float)
        if ((doses <= 0) | (doses >= 1) | (doses * n_units < 1 - 1e-9)).any():
            raise ValueError(f"sizes={list(doses)} must be shares of {n_units} units, each of at least one unit")
    else:
        if sizes is not None:
            raise ValueError("sizes= are for a map, whose top units are nested; a network has gains=")
        doses = np.array(GAINS if gains is None else gains, dtype=float)
    if len(doses) < 2 or not np.isfinite(doses).all() or (np.diff(doses) <= 0).any():
        raise ValueError(f"doses must be at least two finite numbers, ascending; got {doses.tolist()}")
    return doses


def _applied(model: Any, network: Network, kind: Kind, dose: float) -> AbstractContextManager[Any]:
    return amplify(model, network, gain=dose) if kind == "gain" else inhibit(model, network)


def _shuffled(scores: UnitMap, n: int, seed: int) -> list[UnitMap]:
    """The map with its values shuffled within layers: its top units, at every size, are as many in each layer."""
    rng = np.random.default_rng(seed)
    return [replace(scores, values=scores.values[shuffle_within_layers(scores.space, rng)]) for _ in range(n)]


def _flat(scores: Mapping[str, Scores], metric: str) -> Float[np.ndarray, " item"]:
    """Item by item, task after task."""
    return np.concatenate([np.asarray(getattr(one, metric), dtype=float) for one in scores.values()])


def _monotone(distance: Float[np.ndarray, " dose"], curves: Float[np.ndarray, "*draw dose"]) -> Any:
    """Rank correlation of each curve with the distance of the dose from none; 0 where a curve never varies."""
    a, b = stats.rankdata(distance), stats.rankdata(curves, axis=-1)
    a, b = a - a.mean(), b - b.mean(-1, keepdims=True)
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=-1)
    return np.where(lengths > 0, (b * a).sum(-1) / np.where(lengths > 0, lengths, 1.0), 0.0)
