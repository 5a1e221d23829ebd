"""The lesion study: does inhibiting a network break its task, more than random networks and more than other tasks?

Every source network is inhibited while every task of a battery is scored. Beside it stand ``n_controls`` random
networks of each kind asked for (:mod:`.controls`), drawn anew for each source network, and whatever other chosen
networks are to be compared (*rivals*)::

    fbn.plan_lesions(model, networks, battery, n_controls=100)  # what it will cost, before it starts
    lowest = {name: fbn.studies.lowest_ranked(maps[name], networks[name]) for name in networks}
    study = fbn.lesion_study(model, networks, battery, seed=0, controls=("random", "activity"),
                             reference=recording, path="lesions/first", rivals={"lowest": lowest})

The items a network is scored on must not be the prompts it was found on: networks remember digests of those prompts,
and an overlap is an error. Where a network does not know its prompts, the tables say so.

With ``path=`` item-level results are kept as they come. The same call goes on where an interrupted one stopped, and
runs nothing once all is done. ``joblib.parallel_config`` spreads the lesions over processes or a cluster
(:mod:`.workers`).

Cost: 1 + networks x (1 + rivals + kinds x n_controls) evaluations of the battery; 100 items a task are plenty. What
the results mean, and their tables, are in :mod:`.lesion_results`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, get_args

import numpy as np

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.massive import massive_units_of
from tl_fbn.acquisition.recording.massive_units import units_of_provenance, warn_of_massive_units
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.behaviour.output_checks import monitor
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.positions import Positions, where
from tl_fbn.intervention.hooks.references import require_same_weights
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.control_units import ControlDraws
from tl_fbn.intervention.studies.controls import ControlKind, rotated_lesions, space_of, unit_features
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.exclusion import (
    Exclude,
    excluded_units,
    exclusion_counts,
    exclusion_setting,
    exclusion_table,
    without_units,
)
from tl_fbn.intervention.studies.item_statistics import check_disjoint, item_counts, metric_of
from tl_fbn.intervention.studies.lesion_plan import Rivals
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.intervention.studies.lesion_tables import MONITORS
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.intervention.studies.stopping import StoppingRule, lesioned_controls
from tl_fbn.signatures import checked
from tl_fbn.units import Network


class LesionOptions(TypedDict, total=False):
    """Options of :func:`lesion_study` beside model, networks, battery and seed, for functions that pass them on."""

    n_controls: int
    stop: int | None
    controls: Sequence[ControlKind]
    rivals: Rivals | None
    exclude: Exclude
    method: ReplacementMethod
    reference: Recording | None
    allow_other_weights: bool
    positions: Positions
    metric: str | None
    n_bootstrap: int
    batch_tokens: int
    path: str | os.PathLike | None
    progress: bool


@checked
def lesion_study(
    model: HookedModel,
    networks: Mapping[str, Network],
    battery: Battery,
    *,
    seed: int,
    n_controls: int = 100,
    stop: int | None = None,
    controls: Sequence[ControlKind] = ("random",),
    rivals: Rivals | None = None,
    exclude: Exclude = None,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    allow_other_weights: bool = False,
    positions: Positions = "all",
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> LesionStudy:
    """Inhibit every network, score every task, and do the same with matched random networks.

    >>> networks = {"sort": contrast.effect.top(0.02)}  # the units that *sort* drives most beyond *reverse*
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=19, seed=0, progress=False)
    >>> study
    LesionStudy of exact_match: 1 networks (sort) x 2 tasks, 19 random controls each
    >>> study.summary()[["network", "own", "other_worst", "selectivity", "control_p95", "p"]].round(2)
      network  own  other_worst  selectivity  control_p95     p
    0    sort  0.3          0.0          0.3          0.0  0.05

    Args:
        model: A TransformerLens model in eval mode.
        networks: Names to the source networks; a network that is named like a task counts as that task's own.
        battery: The tasks to score, with items that no network was found on.
        seed: Seed of the random networks, of the bootstrap, and of the methods ``"resample"`` and ``"noise"``; the
            same seed gives the same study.
        n_controls: Number of random networks of each kind for each source network, each with as many units in each
            layer.
        stop: Number of controls that cost the network's own task at least as much as the network does, after which no
            more are drawn for it, so that a network that does nothing costs about so many controls instead of all
            (:mod:`.stopping`); 10 is common. Every network must then be named like a task. None draws all controls.
        controls: Kinds of random networks, ``"random"``, ``"activity"`` or ``"rotated"``, as :mod:`.controls` defines
            them. The p values of tables come from the first kind.
        rivals: Name of a rival to networks by the name of their source network (not necessarily all): other chosen
            networks that are lesioned in the place of the source network.
        exclude: Units that are taken out of networks, rivals and controls alike: what :func:`tl_fbn.collapse_neurons`
            found, or a network. The study says how many, and what they cost. None takes none out.
        method: What silenced units are given instead of their activations: ``"zero"``, ``"mean"``, ``"position_mean"``,
            ``"resample"`` or ``"noise"``; all but the first take their values from ``reference``.
        reference: A recording of the same units, for methods other than ``"zero"`` and for ``"activity"`` controls.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers (:mod:`.positions`); in a battery the prompt ends where the scored answer begins.
        metric: ``"exact_match"`` or ``"log_likelihood"``, what tables show; by default exact match if every task has
            one.
        n_bootstrap: Number of times the items are resampled for the intervals.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        Item-level scores without a lesion, under each network and under its controls, with the tables that read them.
        A warning names massive units that networks hold, as their provenance or ``reference`` tells.

    Raises:
        InputError: Networks of different unit spaces, a network that was found on prompts of the battery, one of which
            ``exclude`` leaves nothing, fewer than one control, or a folder that holds another study.
    """
    if not isinstance(battery, Battery):
        raise InputTypeError(f"lesion_study scores a Battery; got {type(battery).__name__}. Several are joined by |")
    if not networks:
        raise InputError("lesion_study got no networks; give a mapping of names to networks")
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    if n_bootstrap < 1 or seed < 0:
        raise InputError(f"n_bootstrap={n_bootstrap} must be at least 1 and seed={seed} at least 0")
    # a kind twice would draw the same controls twice
    unknown = [kind for kind in controls if kind not in get_args(ControlKind)]
    if unknown or not controls or len(set(controls)) < len(controls):
        raise InputError(
            f"controls={tuple(controls)} must be different ones of {', '.join(map(repr, get_args(ControlKind)))}"
        )
    if "activity" in controls and reference is None:
        raise InputError('controls="activity" needs reference=, a recording of the same units, to match their activity')
    if "rotated" in controls and method != "zero":
        raise InputError(f'controls="rotated" projects directions out, to zero; it is no control for method={method!r}')
    metric = metric_of(battery, metric)
    rule = None if stop is None else StoppingRule.of(stop, networks, battery, metric)
    rivals = rivals or {}
    # source networks and rivals alike must share one unit space, and must not have been found on the items
    chosen = _networks_and_rivals(networks, rivals)
    space = space_of(list(chosen.values()))
    whole, out = chosen, excluded_units(exclude, space)
    networks, rivals = without_units(networks, rivals, out)
    chosen = _networks_and_rivals(networks, rivals)
    if reference is not None:
        space.require_same(reference.space, "take the reference for")
        require_same_weights(model, reference, allow_other_weights=allow_other_weights)
    tokenizer = tokenizer_of(model)
    discovery = {name: check_disjoint(network, battery, tokenizer, name) for name, network in chosen.items()}
    at = where(positions, model)
    # known of networks that were found in a scan, and of the reference; units chosen otherwise may be massive unsaid
    of_reference = [] if reference is None else massive_units_of(reference.runs)
    massive = {name: [*of_reference, *units_of_provenance(one.provenance)] for name, one in chosen.items()}
    warn_of_massive_units(chosen, massive, stacklevel=3)  # of the caller, above @checked
    # a reference of other weights was refused above
    silence = silencer(
        model, method=method, reference=reference, positions=positions, seed=seed, allow_other_weights=True
    )
    features = unit_features(model, reference) if reference is not None and "activity" in controls else None
    # all that decides the results beside model, networks and items; a folder goes on only with the same
    settings = {
        "method": method,
        "positions": at.digest,
        "seed": int(seed),
        "n_controls": int(n_controls),
        "controls": list(controls),
        "reference": None if reference is None else reference.key,
        **({} if rule is None else {"stop": rule.stop, "stop_metric": metric}),
        **exclusion_setting(out),
    }
    folder = study_folder(path, model, networks, battery, settings, rivals)
    draws = ControlDraws(n_controls, features, out)
    total = 1 + len(chosen) + len(networks) * len(controls) * n_controls
    with StudyRuns(
        model, n_conditions=total, title="lesions", batch_tokens=batch_tokens, progress=progress, folder=folder
    ) as runs:
        parts = [runs.scores("baseline", battery, [Condition("no lesion", note=_monitor_notes)])]
        for number, (name, network) in enumerate(networks.items()):
            # one part a source network: itself, its rivals, its controls kind after kind; _split_by_kind needs this
            # order
            of_rivals = [(rival, of[name]) for rival, of in rivals.items() if name in of]
            lesions = [
                Condition(name, partial(silence, network), _monitor_notes),
                *(Condition(f"{rival} of {name}", partial(silence, one)) for rival, one in of_rivals),
            ]
            order = None if rule is None else rule.order(name, n_chosen=len(lesions), n_controls=n_controls)
            for kind in controls:
                if kind == "rotated":
                    made = rotated_lesions(model, network, n_controls, seed=seed + number, where=at, out=out)
                else:
                    made = [partial(silence, one) for one in draws.draw(kind, name, network, seed=seed + number)]
                lesions += [Condition(f"{kind} control {i} of {name}", lesion) for i, lesion in enumerate(made)]
            parts.append(runs.scores(f"{number:03d}", battery, lesions, order=order))
    items = [results for results, _ in parts]  # (lesion, item, metric) of the baseline, then of each source network
    split = _split_by_kind(items[1:], networks, rivals, controls, n_controls, battery)
    about = settings | {
        "model": space.model,
        "model_dtype": number_type(model),
        "site": space.site,
        "n_bootstrap": n_bootstrap,
        "chance": {name: task.chance for name, task in battery.tasks.items()},
        "majority": {name: task.majority for name, task in battery.tasks.items()},
        # what the monitors say in words, under "" of the model without a lesion
        "flags": dict(zip(["", *networks], (notes["flags"] for _, notes in parts), strict=True)),
        "balance": draws.balance,
        **exclusion_counts(exclude, out, whole),
    }
    return LesionStudy(
        networks=tuple(networks),
        tasks=tuple(battery.tasks),
        counts=item_counts(battery),
        baseline_items=items[0][0],
        lesioned_items=np.array([part[0] for part in items[1:]]),
        **split,
        monitors=np.array([notes["monitors"] for _, notes in parts], dtype=float),
        metric=metric,
        sizes=np.array([network.per_layer() for network in networks.values()]),
        discovery={name: discovery[name] for name in networks},
        excluded=exclusion_table(exclude, out, whole),
        provenance=about,
        space=space,
        control_units=draws.units(),
        digests={task: sorted(found) for task, found in battery.digests(tokenizer).items()},
    )


def _networks_and_rivals(networks: Mapping[str, Network], rivals: Rivals) -> dict[str, Network]:
    """Source networks and their rivals, all of them under the names that error messages use."""
    unknown_names = sorted({name for rival in rivals.values() for name in rival} - set(networks))
    if unknown_names:
        raise InputError(
            f"rivals of {', '.join(unknown_names)}, which are no networks of this study; "
            f"networks: {', '.join(networks)}"
        )
    of = {f"{rival} of {name}": one for rival, each in rivals.items() for name, one in each.items()}
    return dict(networks) | of


def _monitor_notes(battery: Battery, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Whether the model still answers: the numbers of each task's monitors, and their verdict in words."""
    monitors = {name: monitor(battery.tasks[name], one) for name, one in scores.items()}
    return {
        "monitors": [[float(getattr(one, m)) for m in MONITORS] for one in monitors.values()],
        "flags": {name: one.flag for name, one in monitors.items()},
    }


def _split_by_kind(
    parts: Sequence[np.ndarray],
    networks: Mapping[str, Network],
    rivals: Rivals,
    controls: Sequence[ControlKind],
    n_controls: int,
    battery: Battery,
) -> dict[str, Any]:
    """Split the results of each network's part, (lesion, item, metric): those of its rivals, of each kind of control.

    Items are kept for the network and its rivals; of controls only means over items and means over controls are kept,
    which is what their tests read, at a fraction of the size.
    """
    ends = np.cumsum(item_counts(battery))
    scores: dict[str, list[np.ndarray]] = {kind: [] for kind in controls}
    items: dict[str, list[np.ndarray]] = {kind: [] for kind in controls}
    others: dict[str, list[np.ndarray]] = {name: [] for name in rivals}
    for name, part in zip(networks, parts, strict=True):
        rows = iter(part[1:])  # the first row is the network itself
        for rival, of in rivals.items():
            # a rival need not have a network for every source network
            others[rival].append(next(rows) if name in of else np.full_like(part[0], np.nan))
        for kind in controls:
            block = np.array([next(rows) for _ in range(n_controls)])  # (control, item, metric)
            tasks = np.split(block, ends[:-1], axis=1)
            scores[kind].append(np.stack([of_task.mean(1) for of_task in tasks], axis=1))
            items[kind].append(block[lesioned_controls(block)].mean(0))
    return {
        "control_scores": {kind: np.array(one) for kind, one in scores.items()},
        "control_items": {kind: np.array(one) for kind, one in items.items()},
        "rivals": {name: np.array(one) for name, one in others.items()},
    }
