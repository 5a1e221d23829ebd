"""How behaviour follows the dose: how much a network is amplified, or how many units of a map are silenced.

::

    fbn.dose_response(model, network, battery, gains=(-1, 0, 0.5, 1, 1.5, 2, 3), seed=0)     # a network: its activations times each gain
    fbn.dose_response(model, network, battery, adds=(0, 0.5, 1, 2), seed=0)                   # ... or plus each amount
    fbn.dose_response(model, network, battery, adds_sd=(0, 1, 2), reference=rest, seed=0)     # ... in each unit's standard deviations
    fbn.dose_response(model, scores, battery, sizes=(0.001, 0.003, 0.01, 0.03, 0.1), seed=0)  # a map: its top units, more and more of them, silenced

A single lesion shows that something happens at one strength. A curve shows whether more does more, whether strengthening does what weakening does not, and at
which size the model breaks whatever is cut. Both seeds' amplification is a point of such a curve: ``adds=(0, 1)`` is what S0 released (Liu et al. 2025: 1 is added to
every member at every token; at ``mlp.out``), ``gains=(1, 2)`` at ``mlp.neurons`` is the convention for S1, whose factor is not known (Song et al. 2024; doubling
after Dai et al. 2022). To choose an amount, and test it on other items, take :func:`.calibration.calibrate_gain`.

Beside every curve stand those of random networks with as many units in each layer (for ``adds_sd``, with as many units of each sign); of sizes, nested ones: the
map shuffled within its layers. Intervals are of the items, resampled with each item's whole curve. Two numbers sum a curve up. Its *area* is the mean change from the
untouched model over the doses (over the logarithm of sizes); its p is the share of matched curves whose area is as low. Its *monotonicity* is Spearman's
correlation of the score with the distance of the dose from none, -1 where every further step does more harm; its p is the share of matched curves that are at least as
monotone in that direction. Any damage is monotone once it is large, and k doses allow few ranks, so this p is coarse and asks "is it steadier than that of random
networks?", never "is it larger?": read it beside the area's. Neither is corrected for the number of tasks.

Cost: doses other than none x (1 + controls) evaluations of the battery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import integrate, stats
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.hooks.interventions import Intervention, silencer, strengthened
from tl_fbn.intervention.hooks.positions import Positions
from tl_fbn.intervention.hooks.replacements import ReplacementMethod, standard_deviation
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    by_item,
    check_disjoint,
    empirical_p,
    metric_of,
    paired_interval,
    resamples,
)
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS, items_in_words, method_in_words
from tl_fbn.units import Network, UnitMap, html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Result

GAINS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
SIZES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
DoseKind = Literal["gain", "add", "add_sd", "size"]
_DOSES_IN_WORDS: dict[DoseKind, str] = {
    "gain": "activations multiplied by gains of",
    "add": "amounts added to activations (activation units) of",
    "add_sd": "amounts added (standard deviations of each unit) of",
    "size": "nested networks, of shares of all units of",
}
_UNTOUCHED: dict[DoseKind, str] = {
    "gain": "Activations of the network are multiplied by the gain; a gain of 1 is the untouched model.",
    "add": "The amount is added to every member; 0 is the untouched model.",
    "add_sd": "The amount is added to every member, in its standard deviations; 0 is the untouched model.",
    "size": "The dose is the share of all units that is changed.",
}
NONE: dict[DoseKind, float] = {"gain": 1.0, "add": 0.0, "add_sd": 0.0, "size": 0.0}  # the dose that changes nothing


@dataclass(frozen=True, eq=False)
class DoseResponse(Result, step="amplification", picture="dose_response", renamed={"about": "provenance"}):
    """Scores of every task at every dose, with matched controls.

    Args:
        network: Name of the network, or of the map.
        kind: ``"gain"``, ``"add"``, ``"add_sd"`` or ``"size"``.
        doses: (dose,) gains, amounts added (activation units, or standard deviations), or shares of all units.
        units: (dose,) units that were changed.
        tasks: Names of the tasks.
        counts: (task,) items of each.
        metric: What is scored.
        baseline: (item,) of the untouched model, task after task.
        items: (dose, item) likewise under each dose.
        controls: (control, dose, task) means under matched random networks.
        provenance: Seeds and settings.
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

        Columns: network, the kind of dose (gain, add, add_sd or size), units, task, metric, baseline, value, low and high (95 % interval over items),
        control_median, control_p05, control_p95.
        """
        lines = []
        for number, (task, span, seed) in enumerate(self._spans()):
            for place, dose in enumerate(self.doses):
                own = self.items[place, span]
                p05, median, p95 = np.quantile(self.controls[:, place, number], [0.05, 0.5, 0.95])
                first = (self.network, float(dose), int(self.units[place]), task, self.metric)
                interval = paired_interval(own, self._n_bootstrap, seed)
                lines.append((*first, self.baseline[span].mean(), own.mean(), *interval, median, p05, p95))
        columns = ["network", self.kind, "units", "task", "metric", "baseline", "value", "low", "high"]
        return pd.DataFrame(lines, columns=[*columns, "control_median", "control_p05", "control_p95"])

    def summary(self) -> pd.DataFrame:
        """One line a task: area and monotonicity with 95 % intervals over items, area of the controls, and p.

        Columns: task, area, area_low, area_high, control_area_median, p (share of matched random networks whose area is as low), monotonicity, monotonicity_low,
        monotonicity_high, monotonicity_p (share of matched random networks whose rank correlation is as low).
        """
        lines = []
        distance = np.abs(self.doses - NONE[self.kind])
        for number, (task, span, seed) in enumerate(self._spans()):
            before = self.baseline[span]
            curves = self.items[:, span]
            picks = resamples(len(before), self._n_bootstrap, seed)
            drawn = np.array([curves[:, pick].mean(1) - before[pick].mean() for pick in picks])  # (draw, dose)
            chance = self.controls[:, :, number]
            statistics: list[float] = []
            for measure, offset in ((self._area, before.mean()), (partial(_monotone, distance), 0.0)):
                own = float(measure(curves.mean(1) - offset))
                null = measure(chance - offset)
                low, high = np.quantile(measure(drawn), [0.025, 0.975])
                statistics += [own, low, high, float(np.median(null)), float(empirical_p(-own, -null))]
            area, low, high, median, p, rho, rho_low, rho_high, _, rho_p = statistics
            lines.append((task, area, low, high, median, p, rho, rho_low, rho_high, rho_p))
        columns = ["task", "area", "area_low", "area_high", "control_area_median", "p"]
        columns += ["monotonicity", "monotonicity_low", "monotonicity_high", "monotonicity_p"]
        return pd.DataFrame(lines, columns=columns)

    def _area(self, changes: np.ndarray) -> Any:
        """Mean of a curve over the doses, by trapezoids; over the logarithm of sizes."""
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
        how = f", {method_in_words(about)}" if self.kind == "size" else ""
        return [
            f"Dose and response of {self.network}: {_DOSES_IN_WORDS[self.kind]} {doses}{how} at {about.get('positions', NOT_RECORDED)} positions, "
            f"scored by {METRIC_IN_WORDS[self.metric]} on {listed(self.tasks)} ({items_in_words(self.counts)}), beside {len(self.controls)} layer-matched "
            f"random networks; {P_FORMULA}; 95 % bootstrap over items ({about.get('n_bootstrap', NOT_RECORDED)} draws); seed "
            f"{about.get('seed', NOT_RECORDED)}; discovery prompts: {about.get('discovery', NOT_RECORDED)}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        about = (
            "Area is the mean change from the untouched model over the doses, monotonicity the rank correlation of score and distance from the "
            "harmless dose. Both p are shares of matched random networks whose value is as low, counting the network itself."
        )
        text = f"{self!r}. {_UNTOUCHED[self.kind]} Low and high are 95 % intervals over items; controls are networks with as many units in each layer."
        return [
            {
                "title": f"Dose response: {self.network}",
                "text": text,
                "picture": "dose_response",
                "table": self.to_dataframe(),
            },
            {"title": f"What the doses of {self.network} amount to", "text": about, "table": self.summary()},
        ]

    def __repr__(self) -> str:
        first, last = (f"{dose:g}" for dose in (self.doses[0], self.doses[-1]))
        words = {"gain": "gains", "add": "amounts", "add_sd": "amounts in sd", "size": "sizes"}[self.kind]
        return (
            f"DoseResponse of {self.network}: {self.metric} of {len(self.tasks)} tasks at {len(self.doses)} {words} from {first} to {last}, "
            f"{len(self.controls)} matched random controls"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.summary())


def dose_response(
    model: HookedModel,
    network: Network | UnitMap,
    battery: Battery,
    *,
    seed: int,
    gains: Sequence[int | float] | None = None,
    adds: Sequence[int | float] | None = None,
    adds_sd: Sequence[int | float] | None = None,
    sizes: Sequence[int | float] | None = None,
    n_controls: int = 20,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_size: int = 128,
    progress: bool = True,
) -> DoseResponse:
    """Score a battery at every gain of a network, or with nested networks of every size silenced.

    ::

        curve = fbn.dose_response(model, network, fbn.demo.battery(), gains=(0, 0.5, 1, 2), seed=0)

    Args:
        model: A TransformerLens model in eval mode.
        network: A network, for gains and amounts; or a map, whose top units are silenced, for sizes.
        battery: Tasks of items that it was not found on.
        seed: Of controls, intervals, and of methods that draw.
        gains: At least two factors, ascending; 1 changes nothing. By default -1, 0, 0.5, 1, 1.5, 2 and 3.
        adds: Instead, at least two amounts in activation units, ascending; 0 changes nothing, 1 is S0's.
        adds_sd: Instead, amounts in each unit's own standard deviations over ``reference``, along its sign in the network where it has one.
        sizes: At least two shares of all units, ascending, with at least one unit each. By default .01 to 10 %, those that hold a unit.
        n_controls: Matched random networks, of which each has a whole curve.
        method: What silenced units become, for sizes, as for :func:`.hooks.inhibit`.
        reference: A recording of the same units, of other prompts; for ``adds_sd`` and for methods but ``"zero"``.
        positions: Which tokens are touched (:mod:`.positions`).
        metric: ``"exact_match"`` or ``"log_likelihood"``; by default exact match if every task has one.
        n_bootstrap: Resamplings of the items behind intervals.
        batch_size: Items in a pass.
        progress: Show a bar.

    Raises:
        InputError: Gains for a map or sizes for a network, several kinds of dose, doses that are too few or not ascending, a missing reference, items the
            network was found on.
    """
    kind, doses = _doses(network, {"gain": gains, "add": adds, "add_sd": adds_sd, "size": sizes})
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 20")
    metric = metric_of(battery, metric)
    if isinstance(network, UnitMap):
        name = str(network.provenance.get("task") or network.provenance.get("method") or network.kind)
        own = [network.top(float(size), name=name) for size in doses]
        shuffled = _shuffled(network, n_controls, seed)
        sham = [[one.top(float(size)) for size in doses] for one in shuffled]
        silence = silencer(model, method=method, reference=reference, positions=positions, seed=seed)
    else:
        if method != "zero":
            raise InputError(f"method={method!r} says what silenced units become, for sizes=; {kind}s have none")
        name = network.name
        own = [network] * len(doses)
        silence = None
        sham = [[control] * len(doses) for control in sham_networks(network, n_controls, seed=seed)]
    spread = spread_of(reference, own[0]) if kind == "add_sd" else None
    strengthen = amplifier(model, kind, spread=spread, positions=positions)
    discovery = check_disjoint(own[-1], battery, tokenizer_of(model), name)
    untouched = battery.score(model, batch_size=batch_size)
    with tqdm(total=len(doses) * (1 + n_controls), desc="doses", unit="dose", disable=not progress) as bar:

        def curve(networks: Sequence[Network]) -> Iterator[dict[str, Scores]]:
            for one, dose in zip(networks, doses, strict=True):
                if dose == NONE[kind]:
                    yield untouched
                else:
                    with silence(one) if silence is not None else strengthen(one, float(dose)):
                        yield battery.score(model, batch_size=batch_size)
                bar.update()

        items = np.array([by_item(scores)[:, METRICS.index(metric)] for scores in curve(own)])
        controls = np.array(
            [[[scores[task].of(metric) for task in battery.tasks] for scores in curve(networks)] for networks in sham]
        )
    counts = np.array([len(task.items) for task in battery.tasks.values()])
    about = {
        "seed": seed,
        "n_controls": n_controls,
        "n_bootstrap": n_bootstrap,
        "discovery": discovery,
        "method": method,
    }
    about["positions"] = positions if isinstance(positions, str) else "given"
    units = np.array([len(one) for one in own])
    before = by_item(untouched)[:, METRICS.index(metric)]
    return DoseResponse(name, kind, doses, units, tuple(battery.tasks), counts, metric, before, items, controls, about)


def amplifier(
    model: HookedModel,
    kind: DoseKind,
    *,
    spread: Float[np.ndarray, " unit"] | None = None,
    positions: Positions = "all",
) -> Callable[[Network, float], Intervention]:
    """:func:`.hooks.amplify` for many networks and amounts of one kind, without reading a reference for each.

    Args:
        model: The model.
        kind: ``"gain"``, ``"add"`` or ``"add_sd"``.
        spread: (unit,) standard deviations, for ``"add_sd"``, from :func:`spread_of`.
        positions: As for :func:`.hooks.amplify`.
    """

    def strengthen(network: Network, amount: float) -> Intervention:
        return strengthened(model, network, kind, amount, spread=spread, positions=positions)

    return strengthen


def spread_of(reference: Recording | None, network: Network) -> Float[np.ndarray, " unit"]:
    """Standard deviation of every unit over a recording; ValueError without one, or with one of other units."""
    if reference is None:
        raise InputError(f"adds_sd= needs reference=, a recording of {network.space.describe()}")
    network.space.require_same(reference.space, "take the reference for")
    return standard_deviation(reference)


def sham_networks(network: Network, n: int, *, seed: int) -> list[Network]:
    """:func:`.controls.matched_controls` that have, in each layer, the network's signs too, dealt out at random."""
    drawn = matched_controls(network, n, seed=seed)
    rng = np.random.default_rng([seed, 1])
    dealt = []
    for control in drawn if network.signs.any() else ():
        signs = np.zeros(network.space.n_units, dtype=np.int8)
        for span in map(network.space.layer_slice, range(network.space.n_layers)):
            signs[span][control.members[span]] = rng.permutation(network.signs[span][network.members[span]])
        dealt.append(replace(control, signs=signs))
    return dealt or drawn


def _doses(
    network: Network | UnitMap, given: Mapping[DoseKind, Sequence[int | float] | None]
) -> tuple[DoseKind, Float[np.ndarray, " dose"]]:
    words: dict[DoseKind, str] = {"gain": "gains=", "add": "adds=", "add_sd": "adds_sd=", "size": "sizes="}
    chosen: list[DoseKind] = [kind for kind, values in given.items() if values is not None]
    if isinstance(network, UnitMap):
        if wrong := [words[kind] for kind in chosen if kind != "size"]:
            raise InputError(f"{wrong[0]} are for a network; a map has sizes=. Select a network with .top(...) first")
        n_units = network.space.n_units
        sizes = given["size"]
        kind = "size"
        doses = [size for size in SIZES if size * n_units >= 1] if sizes is None else list(sizes)
        if any(not 0 < size < 1 or size * n_units < 1 - 1e-9 for size in doses):
            raise InputError(f"sizes={doses} must be shares of {n_units} units, each of at least one unit")
    else:
        if "size" in chosen:
            raise InputError(
                "sizes= are for a map, whose top units are nested; a network has gains=, adds= or adds_sd="
            )
        if len(chosen) > 1:
            raise InputError(f"one curve has one kind of dose; got {', '.join(words[kind] for kind in chosen)}")
        kind = chosen[0] if chosen else "gain"
        values = given[kind]
        doses = list(GAINS if values is None else values)
    ascending = np.array(doses, dtype=float)
    if len(doses) < 2 or not np.isfinite(ascending).all() or (np.diff(ascending) <= 0).any():
        raise InputError(f"doses must be at least two finite numbers, ascending; got {doses}")
    return kind, ascending


def _shuffled(scores: UnitMap, n: int, seed: int) -> list[UnitMap]:
    """The map with its values shuffled within layers: its top units, at every size, are as many in each layer."""
    rng = np.random.default_rng(seed)
    return [replace(scores, values=scores.values[shuffle_within_layers(scores.space, rng)]) for _ in range(n)]


def _monotone(distance: Float[np.ndarray, " dose"], curves: Float[np.ndarray, "*draw dose"]) -> Any:
    """Rank correlation of each curve with the distance of the dose from none; 0 where a curve never varies."""
    a = stats.rankdata(distance)
    b = stats.rankdata(curves, axis=-1)
    a, b = a - a.mean(), b - b.mean(-1, keepdims=True)
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=-1)
    return np.where(lengths > 0, (b * a).sum(-1) / np.where(lengths > 0, lengths, 1.0), 0.0)
