"""How behaviour follows the dose: how much a network is amplified, or how many units of a map are silenced.

::

    fbn.dose_response(model, network, battery, gains=(-1, 0, 1, 2), seed=0)  # activations of a network, times each gain
    fbn.dose_response(model, network, battery, adds=(0, 0.5, 1, 2), seed=0)  # ... or plus each amount
    fbn.dose_response(model, network, battery, adds_sd=(0, 1, 2), reference=rest, seed=0)  # ... in each unit's own sd
    fbn.dose_response(model, scores, battery, sizes=(0.001, 0.01, 0.1), seed=0)  # top units of a map, silenced

A single lesion shows that something happens at one strength. A curve shows whether more does more, whether
strengthening does what weakening does not, and at which size the model breaks whatever is cut. Amplification as
published is a point of such a curve: ``adds=(0, 1)`` at ``mlp.out`` is what Liu et al. (2025) released (1 is added to
every member at every token), ``gains=(1, 2)`` at ``mlp.neurons`` is the convention for Song et al. (2024), whose
factor is not known (doubling after Dai et al. 2022). :func:`.calibrate_gain` chooses a dose, tested on other items.

Beside every curve stand those of random networks with as many units in each layer (for ``adds_sd``, with as many
units of each sign); for sizes they are nested too: the top units of the map shuffled within its layers. Intervals are
95 %, over items that are resampled with their whole curve. Two numbers sum a curve up:

- *area* = integral of (score - untouched score) over the doses (over the logarithm of sizes) / range of the doses, by
  trapezoids: the mean change. Its p is the share of matched curves whose area is as low.
- *monotonicity* = Spearman's correlation of the score with the distance of the dose from the dose that changes
  nothing; -1 where every further step does more harm. Its p is the share of matched curves whose correlation is as
  low. Any damage is monotone once it is large, and k doses allow few ranks, so this p is coarse and asks "is it
  steadier than that of random networks?", never "is it larger?": read it beside the area's.

Neither p is corrected for the number of tasks. Cost: doses other than none x (1 + controls) evaluations of the battery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import integrate
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.hooks.intervention import Intervention
from tl_fbn.intervention.hooks.interventions import silencer, strengthened
from tl_fbn.intervention.hooks.positions import Positions
from tl_fbn.intervention.hooks.references import spread_of
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies import study_prose as prose
from tl_fbn.intervention.studies.controls import sham_networks
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    by_item,
    change_interval,
    check_disjoint,
    empirical_p,
    metric_of,
    monotonicity,
    resamples,
    score_interval,
)
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Result

# the doses that are tried unless others are asked for: factors, and shares of all units
GAINS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
SIZES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
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


@checked
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
    allow_other_weights: bool = False,
    positions: Positions = "all",
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    progress: bool = True,
) -> DoseResponse:
    """Score a battery at every gain of a network, or with nested networks of every size silenced.

    >>> curve = fbn.dose_response(model, contrast.effect, battery, sizes=(0.01, 0.02, 0.05),
    ...                           n_controls=9, seed=0, progress=False)
    >>> curve.summary()[["task", "area", "p", "monotonicity"]].round(2)  # cutting these units harms sorting only
          task  area    p  monotonicity
    0     sort -0.32  0.1          -1.0
    1  reverse  0.00  1.0           0.0

    Args:
        model: A TransformerLens model in eval mode.
        network: A network, whose activations are changed (``gains``, ``adds``, ``adds_sd``); or a map, whose top
            units are silenced (``sizes``).
        battery: The tasks to score, with items that the network or map was not found on.
        seed: Seed of the random networks, of the bootstrap, and of the methods ``"resample"`` and ``"noise"``.
        gains: At least two factors, ascending; 1 changes nothing. By default -1, 0, 0.5, 1, 1.5, 2 and 3.
        adds: In the place of gains, at least two amounts in activation units, ascending; 0 changes nothing, Liu et
            al. (2025) add 1.
        adds_sd: In the place of gains, at least two amounts in each unit's own standard deviations over
            ``reference``, along the unit's sign in the network where it has one.
        sizes: At least two shares of all units, ascending, each of at least one unit. By default those of .01, .03,
            .1, .3, 1, 3 and 10 % that hold a unit.
        n_controls: Number of matched random networks; each has a whole curve.
        method: What silenced units are given instead of their activations (``sizes`` only): ``"zero"``, ``"mean"``,
            ``"position_mean"``, ``"resample"`` or ``"noise"``.
        reference: A recording of the same units on other prompts, for ``adds_sd`` and for all methods but ``"zero"``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers (:mod:`.positions`).
        metric: ``"exact_match"`` or ``"log_likelihood"``; by default exact match if every task has one.
        n_bootstrap: Number of times the items are resampled for the intervals.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        progress: Show a progress bar.

    Returns:
        Item-level scores at every dose, means of the controls, and the tables that read them.

    Raises:
        InputError: Gains for a map or sizes for a network, several kinds of dose, doses that are too few or not
            ascending, a missing reference, or items that the network was found on.
    """
    kind, doses = _chosen_doses(network, {"gain": gains, "add": adds, "add_sd": adds_sd, "size": sizes})
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 20")
    metric = metric_of(battery, metric)
    if isinstance(network, UnitMap):
        name = str(network.provenance.get("task") or network.provenance.get("method") or network.kind)
        own = [network.top(float(size), name=name) for size in doses]
        # top units of a map that is shuffled within layers: as many in each layer, and nested like the map's own
        sham = [[one.top(float(size)) for size in doses] for one in _shuffled_maps(network, n_controls, seed)]
        given = {"reference": reference, "allow_other_weights": allow_other_weights}
        silence = silencer(model, method=method, positions=positions, seed=seed, **given)
    else:
        if method != "zero":
            raise InputError(f"method={method!r} says what silenced units become, for sizes=; {kind}s have none")
        name = network.name
        own = [network] * len(doses)
        silence = None
        sham = [[control] * len(doses) for control in sham_networks(network, n_controls, seed=seed)]
    spread = spread_of(model, reference, own[0], allow_other_weights) if kind == "add_sd" else None
    strengthen = amplifier(model, kind, spread=spread, positions=positions)
    discovery = check_disjoint(own[-1], battery, tokenizer_of(model), name)
    untouched = battery.score(model, batch_tokens=batch_tokens)
    with tqdm(total=len(doses) * (1 + n_controls), desc="doses", unit="dose", disable=not progress) as bar:

        def curve(networks: Sequence[Network]) -> Iterator[dict[str, Scores]]:
            for one, dose in zip(networks, doses, strict=True):
                if dose == NONE[kind]:  # known already
                    yield untouched
                else:
                    with silence(one) if silence is not None else strengthen(one, float(dose)):
                        yield battery.score(model, batch_tokens=batch_tokens)
                bar.update()

        # items of the network itself; of controls only the means, which is what their curves are made of
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
        "model_dtype": number_type(model),
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
    """A function of a network and an amount that amplifies it; what a reference gives is read once for all of them.

    Args:
        model: A TransformerLens model in eval mode.
        kind: ``"gain"`` (times an amount), ``"add"`` (plus an amount) or ``"add_sd"`` (plus as many standard
            deviations).
        spread: (unit,) standard deviation of every unit, for ``"add_sd"``, from :func:`.spread_of`.
        positions: The tokens that are touched (:mod:`.positions`).
    """
    return lambda network, amount: strengthened(model, network, kind, amount, spread=spread, positions=positions)


def _chosen_doses(
    network: Network | UnitMap, given: Mapping[DoseKind, Sequence[int | float] | None]
) -> tuple[DoseKind, Float[np.ndarray, " dose"]]:
    """The one kind of dose that was asked for, or the default of a network or map, and its doses."""
    words: dict[DoseKind, str] = {"gain": "gains=", "add": "adds=", "add_sd": "adds_sd=", "size": "sizes="}
    chosen: list[DoseKind] = [kind for kind, values in given.items() if values is not None]
    if isinstance(network, UnitMap):
        if wrong := [words[kind] for kind in chosen if kind != "size"]:
            raise InputError(f"{wrong[0]} are for a network; a map has sizes=. Select a network with .top(...) first")
        n_units = network.space.n_units
        sizes = given["size"]
        kind = "size"
        doses = [size for size in SIZES if size * n_units >= 1] if sizes is None else list(sizes)
        if any(not 0 < size < 1 or size * n_units < 1 - 1e-9 for size in doses):  # 1e-9: shares such as 1 / n_units
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


def _shuffled_maps(scores: UnitMap, n: int, seed: int) -> list[UnitMap]:
    """The map with its values shuffled within layers, ``n`` times: at every size, as many top units in each layer."""
    rng = np.random.default_rng(seed)
    return [replace(scores, values=scores.values[shuffle_within_layers(scores.space, rng)]) for _ in range(n)]
