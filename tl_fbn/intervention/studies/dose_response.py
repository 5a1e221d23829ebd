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

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.shuffles import shuffle_within_layers
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.intervention import Intervention
from tl_fbn.intervention.hooks.interventions import silencer, strengthened
from tl_fbn.intervention.hooks.positions import Positions, where
from tl_fbn.intervention.hooks.references import spread_of
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import sham_networks
from tl_fbn.intervention.studies.dose_response_results import NONE, DoseKind, DoseResponse
from tl_fbn.intervention.studies.engine import Condition, StudyRuns, unchanged
from tl_fbn.intervention.studies.item_statistics import METRICS, check_disjoint, item_counts, metric_of, task_means
from tl_fbn.intervention.studies.resume import map_digest, study_folder
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap

# the doses that are tried unless others are asked for: factors, and shares of all units
GAINS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
SIZES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


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
    path: str | os.PathLike | None = None,
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
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        Item-level scores at every dose, means of the controls, and the tables that read them.

    Raises:
        InputError: Gains for a map or sizes for a network, several kinds of dose, doses that are too few or not
            ascending, a missing reference, or items that the network was found on.
    """
    kind, doses = chosen_doses(network, {"gain": gains, "add": adds, "add_sd": adds_sd, "size": sizes})
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 20")
    metric = metric_of(battery, metric)
    if isinstance(network, UnitMap):
        name = str(network.provenance.get("task") or network.provenance.get("method") or network.kind)
        own = [network.top(float(size), name=name) for size in doses]
        source = {"map": map_digest(network), "signs": None}
        # top units of a map that is shuffled within layers: as many in each layer, and nested like the map's own
        sham = [[one.top(float(size)) for size in doses] for one in _shuffled_maps(network, n_controls, seed)]
        given = {"reference": reference, "allow_other_weights": allow_other_weights}
        silence = silencer(model, method=method, positions=positions, seed=seed, **given)
    else:
        if method != "zero":
            raise InputError(f"method={method!r} says what silenced units become, for sizes=; {kind}s have none")
        name = network.name
        own = [network] * len(doses)
        source = {"map": None, "signs": network.signs[network.indices].tolist()}
        silence = None
        sham = [[control] * len(doses) for control in sham_networks(network, n_controls, seed=seed)]
    spread = spread_of(model, reference, own[0], allow_other_weights) if kind == "add_sd" else None
    strengthen = amplifier(model, kind, spread=spread, positions=positions)
    discovery = check_disjoint(own[-1], battery, tokenizer_of(model), name)
    curves = [own, *sham]

    def changed(one: Network, dose: float) -> Callable[[], Intervention | None]:
        if dose == NONE[kind]:
            return unchanged  # known already
        return partial(strengthen, one, dose) if silence is None else partial(silence, one)

    conditions = [
        Condition(f"{kind} {dose:g} of {name}" + (f", control {number - 1}" if number else ""), changed(one, dose))
        for number, curve in enumerate(curves)
        for one, dose in zip(curve, doses.tolist(), strict=True)
    ]
    settings = {
        "study": "dose response",
        "kind": kind,
        "doses": doses.tolist(),
        **source,
        "method": method,
        "positions": where(positions, model).digest,
        "seed": seed,
        "n_controls": n_controls,
        "reference": None if reference is None else reference.key,
    }
    folder = study_folder(path, model, {name: own[-1]}, battery, settings)
    with StudyRuns(
        model,
        n_conditions=1 + len(conditions),
        title="doses",
        unit="dose",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        untouched = runs.untouched(battery)
        scores, _ = runs.scores("curves", battery, conditions, untouched=untouched)
    by_curve = scores[..., METRICS.index(metric)].reshape(len(curves), len(doses), -1)
    counts = item_counts(battery)
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
    # items of the network itself; of controls only the means, which is what their curves are made of
    return DoseResponse(
        network=name,
        kind=kind,
        doses=doses,
        units=units,
        tasks=tuple(battery.tasks),
        counts=counts,
        metric=metric,
        baseline=untouched[:, METRICS.index(metric)],
        items=by_curve[0],
        controls=task_means(by_curve[1:, ..., None], counts)[..., 0],
        provenance=about,
    )


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


def chosen_doses(
    network: Network | UnitMap, given: Mapping[DoseKind, Sequence[int | float] | None]
) -> tuple[DoseKind, Float[np.ndarray, " dose"]]:
    """The one kind of dose that was asked for, or the default of a network or map, and its doses.

    Args:
        network: A network, or a map, which has sizes.
        given: Each kind of dose to the doses that were asked for; None for a kind that was not.

    Raises:
        InputError: A kind that network or map does not have, several kinds, or doses that are too few or not ascending.
    """
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
