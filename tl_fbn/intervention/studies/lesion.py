"""The lesion study: does inhibiting a network break its task, more than random networks of its size, and more than others?

Every source network is inhibited while every task of a battery is scored. Beside it stand ``n_controls`` random networks of each kind asked for
(:mod:`.controls`), drawn anew for each source network, and whatever other chosen networks are to be compared::

    fbn.plan_lesions(model, networks, battery, n_controls=100)            # what it will cost, before it starts
    study = fbn.lesion_study(model, networks, battery, seed=0, controls=("random", "activity"), path="lesions/first",
                             rivals={"lowest": {name: fbn.studies.lowest_ranked(maps[name], networks[name]) for name in networks}})

The items a network is scored on must not be the prompts it was found on: networks remember digests of those prompts, and
an overlap is an error. Where a network does not know its prompts, the table says so.

With ``path=`` results are kept as they come, item by item; the same call goes on where an interrupted one was and runs nothing once all is done. Cost:
(1 + networks x (1 + rivals + kinds x controls)) evaluations of the battery; 100 items a task are plenty. ``joblib.parallel_config`` spreads them over
processes or a cluster (:mod:`.workers`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypedDict, get_args

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.behaviour.output_checks import monitor
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.positions import Positions, where
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import (
    ControlKind,
    Features,
    balance,
    lesions_of,
    matched_controls,
    space_of,
    unit_features,
)
from tl_fbn.intervention.studies.item_statistics import by_item, check_disjoint, metric_of
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.intervention.studies.lesion_tables import MONITORS
from tl_fbn.intervention.studies.resume import Unfinished
from tl_fbn.intervention.studies.workers import in_order
from tl_fbn.units import Network, html_table

Rivals = Mapping[str, Mapping[str, Network]]


@dataclass(frozen=True)
class LesionPlan:
    """What a lesion study will cost.

    Args:
        networks: Source networks.
        lesions: Interventions under which the battery is scored.
        items: Items of the battery.
        passes: Forward passes, of batches, of all evaluations together.
        tokens: Tokens read by them.
        seconds: Time, from one evaluation made for this plan.
    """

    networks: int
    lesions: int
    items: int
    passes: int
    tokens: int
    seconds: float

    def __repr__(self) -> str:
        return (
            f"LesionPlan: {self.lesions:,} lesions of {self.networks} networks, {self.items:,} items each; {self.passes:,} forward passes, "
            f"{self.tokens:,} tokens, about {_duration(self.seconds)}"
        )

    def _repr_html_(self) -> str:
        return html_table(repr(self), ("", ""), [(name, f"{value:,.6g}") for name, value in asdict(self).items()])


def plan_lesions(
    model: HookedModel,
    networks: Mapping[str, Network],
    battery: Battery,
    *,
    n_controls: int = 100,
    controls: Sequence[ControlKind] = ("random",),
    rivals: Rivals | None = None,
    batch_size: int = 128,
) -> LesionPlan:
    """Count what :func:`lesion_study` with these arguments will run; one evaluation of the battery is timed.

    ::

        print(fbn.plan_lesions(model, {"sort": network}, fbn.demo.battery(), n_controls=100))

    Args:
        model, networks, battery, n_controls, controls, rivals, batch_size: As for :func:`lesion_study`.

    Returns:
        Networks, lesions, items, passes, tokens and seconds; its ``repr`` is a sentence.

    Raises:
        InputError: As scoring the battery does: an item that does not fit the model.
    """
    battery.score(model, batch_size=batch_size)  # the first prepares the items and warms up
    started = time.perf_counter()
    battery.score(model, batch_size=batch_size)
    seconds = time.perf_counter() - started
    chosen = sum(name in rival for rival in (rivals or {}).values() for name in networks)
    lesions = len(networks) * (1 + len(controls) * n_controls) + chosen
    sizes = battery.sizes(model, batch_size=batch_size)
    items = sum(len(task.items) for task in battery.tasks.values())
    return LesionPlan(
        len(networks), lesions, items, (1 + lesions) * len(sizes), (1 + lesions) * sum(sizes), (1 + lesions) * seconds
    )


class LesionOptions(TypedDict, total=False):
    """What :func:`lesion_study` takes beside model, networks, battery and seed, for those who pass it on."""

    n_controls: int
    controls: Sequence[ControlKind]
    rivals: Rivals | None
    method: ReplacementMethod
    reference: Recording | None
    positions: Positions
    metric: str | None
    n_bootstrap: int
    batch_size: int
    path: str | os.PathLike | None
    progress: bool


def lesion_study(
    model: HookedModel,
    networks: Mapping[str, Network],
    battery: Battery,
    *,
    seed: int,
    n_controls: int = 100,
    controls: Sequence[ControlKind] = ("random",),
    rivals: Rivals | None = None,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    positions: Positions = "all",
    metric: str | None = None,
    n_bootstrap: int = 1000,
    batch_size: int = 128,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> LesionStudy:
    """Inhibit every network, score every task, and do the same with matched random networks.

    ::

        study = fbn.lesion_study(model, {"sort": network}, fbn.demo.battery(), n_controls=100, seed=0)
        study.summary()

    Args:
        model: A TransformerLens model in eval mode.
        networks: Names to networks; a network named like a task is that task's own.
        battery: What to score, on items that no network was found on.
        seed: Of the random networks.
        n_controls: Random networks of each kind for each source network, with as many units in each layer.
        controls: Kinds of random networks, ``"random"``, ``"activity"`` or ``"rotated"``; see :mod:`.controls`. The first gives the tables' p.
        rivals: Name to networks by source network (not necessarily all): other chosen networks, lesioned beside it.
        method: How units are silenced, as :func:`.hooks.inhibit`.
        reference: A recording of the same units, for methods other than ``"zero"`` and for ``"activity"`` controls.
        positions: Which tokens are touched, as :func:`.hooks.inhibit`; in a battery the prompt ends where the scored answer begins.
        metric: ``"exact_match"`` or ``"log_likelihood"``; by default exact match if every task has one.
        n_bootstrap: Resamplings of the items behind intervals.
        batch_size: Items in a forward pass.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there.
        progress: Show a bar.

    Raises:
        InputError: A network from another space, one that was found on prompts of the battery, fewer than one control, a folder that holds another study.
    """
    if not isinstance(battery, Battery):
        raise InputTypeError(f"lesion_study scores a Battery; got {type(battery).__name__}. Several are joined by |")
    if not networks:
        raise InputError("lesion_study got no networks; give a mapping of names to networks")
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    if n_bootstrap < 1 or seed < 0:
        raise InputError(f"n_bootstrap={n_bootstrap} must be at least 1 and seed={seed} at least 0")
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
    rivals = rivals or {}
    chosen = _chosen(networks, rivals)
    space = space_of(list(chosen.values()))
    if reference is not None:
        space.require_same(reference.space, "take the reference for")
    tokenizer = tokenizer_of(model)
    found = {name: check_disjoint(network, battery, tokenizer, name) for name, network in chosen.items()}
    at = where(positions, model)
    silence = silencer(model, method=method, reference=reference, positions=positions, seed=seed)
    features = unit_features(model, reference) if reference is not None and "activity" in controls else None
    settings = {
        "method": method,
        "positions": at.digest,
        "seed": int(seed),
        "n_controls": int(n_controls),
        "controls": list(controls),
        "reference": None if reference is None else reference.key,
    }
    if path is not None and host.foreign_hooks(model):
        raise InputError(
            "hooks that are not ours are on the model, and what they do cannot be told from a folder of results; take them off, or leave path= out"
        )
    kept = None if path is None else Unfinished(path, _fields(model, networks, rivals, battery, settings))
    total = len(chosen) + len(networks) * len(controls) * n_controls
    with tqdm(total=1 + total, desc="lesions", unit="lesion", disable=not progress) as bar:

        def part(name: str, made: Sequence[Callable[[], AbstractContextManager[Any]]]) -> tuple[np.ndarray, dict]:
            def results_from(start: int) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
                for result in in_order(_lesioned, (model, battery, batch_size, made), range(start, len(made))):
                    bar.update()
                    yield result

            if kept is not None:
                return kept.grow(name, len(made), results_from)
            results = list(results_from(0))
            return np.array([row for row, _ in results]), results[0][1]

        parts = [part("baseline", [nullcontext])]
        done = 1
        for number, (name, network) in enumerate(networks.items()):
            made = [partial(silence, network), *(partial(silence, of[name]) for of in rivals.values() if name in of)]
            for kind in controls:
                made += lesions_of(
                    kind, model, network, n_controls, seed=seed + number, silence=silence, features=features, where=at
                )
            parts.append(part(f"{number:03d}", made))
            done += len(made)
            bar.update(done - bar.n)  # what an earlier call had done already
    items = [results for results, _ in parts]
    split = _by_kind(items[1:], networks, rivals, controls, n_controls, battery)
    about = settings | {
        "model": space.model,
        "site": space.site,
        "n_bootstrap": n_bootstrap,
        "chance": {name: task.chance for name, task in battery.tasks.items()},
        "majority": {name: task.majority for name, task in battery.tasks.items()},
        "flags": dict(zip(["", *networks], (notes["flags"] for _, notes in parts), strict=True)),
        "balance": _balance(networks, controls, n_controls, seed, features),
    }
    return LesionStudy(
        networks=tuple(networks),
        tasks=tuple(battery.tasks),
        counts=np.array([len(task.items) for task in battery.tasks.values()]),
        baseline_items=items[0][0],
        lesioned_items=np.array([part[0] for part in items[1:]]),
        **split,
        monitors=np.array([notes["monitors"] for _, notes in parts], dtype=float),
        metric=metric,
        sizes=np.array([network.per_layer() for network in networks.values()]),
        discovery={name: found[name] for name in networks},
        provenance=about,
    )


def _lesioned(bundle: Any, number: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Item-level scores under one lesion of a part, and what its monitors say of the first; controls go unwatched."""
    model, battery, batch_size, made = bundle
    with made[number]():
        scores = battery.score(model, batch_size=batch_size)
    return by_item(scores), {} if number else _watched(battery, scores)


def _chosen(networks: Mapping[str, Network], rivals: Rivals) -> dict[str, Network]:
    """Source networks and rivals, by what they are called in errors."""
    strangers = sorted({name for rival in rivals.values() for name in rival} - set(networks))
    if strangers:
        raise InputError(
            f"rivals of {', '.join(strangers)}, which are no networks of this study; networks: {', '.join(networks)}"
        )
    of = {f"{rival} of {name}": one for rival, each in rivals.items() for name, one in each.items()}
    return dict(networks) | of


def _fields(
    model: HookedModel, networks: Mapping[str, Network], rivals: Rivals, battery: Battery, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides whether two studies are the same."""
    tasks = [
        [name, task.kind, [[i.prompt, i.alternatives] for i in task.items]] for name, task in battery.tasks.items()
    ]
    lesioned = [
        [name, keys.digest([one.space.site, one.space.widths, one.indices.tolist()])]
        for name, one in [*networks.items(), *((f"{r}/{n}", one) for r, of in rivals.items() for n, one in of.items())]
    ]
    return {
        "weights": host.weights_digest(model),
        "interventions": host.active_edits(model),
        "battery": keys.digest(tasks),
        "tokenizer": keys.tokenizer_digest(tokenizer_of(model)),
        "networks": lesioned,
        **settings,
    }


def _watched(battery: Battery, scores: Mapping[str, Scores]) -> dict[str, Any]:
    seen = {name: monitor(battery.tasks[name], one) for name, one in scores.items()}
    return {
        "monitors": [[float(getattr(one, m)) for m in MONITORS] for one in seen.values()],
        "flags": {name: one.flag for name, one in seen.items()},
    }


def _by_kind(
    parts: Sequence[Float[np.ndarray, "lesion item metric"]],
    networks: Mapping[str, Network],
    rivals: Rivals,
    controls: Sequence[ControlKind],
    n_controls: int,
    battery: Battery,
) -> dict[str, Any]:
    """Results of each network's lesions in a row, told apart: its rivals', and each kind of control's."""
    ends = np.cumsum([len(task.items) for task in battery.tasks.values()])
    scores: dict[str, list[np.ndarray]] = {kind: [] for kind in controls}
    items: dict[str, list[np.ndarray]] = {kind: [] for kind in controls}
    others: dict[str, list[np.ndarray]] = {name: [] for name in rivals}
    for name, part in zip(networks, parts, strict=True):
        rows = iter(part[1:])
        for rival, of in rivals.items():
            others[rival].append(next(rows) if name in of else np.full_like(part[0], np.nan))
        for kind in controls:
            block = np.array([next(rows) for _ in range(n_controls)])
            tasks = np.split(block, ends[:-1], axis=1)
            scores[kind].append(np.stack([of_task.mean(1) for of_task in tasks], axis=1))
            items[kind].append(block.mean(0))
    return {
        "control_scores": {kind: np.array(one) for kind, one in scores.items()},
        "control_items": {kind: np.array(one) for kind, one in items.items()},
        "rivals": {name: np.array(one) for name, one in others.items()},
    }


def _balance(
    networks: Mapping[str, Network],
    controls: Sequence[ControlKind],
    n_controls: int,
    seed: int,
    features: Features | None,
) -> dict[str, Any]:
    """Standardised differences in activity and outgoing norm that the matching left, by network."""
    if features is None:
        return {}
    return {
        name: {
            kind: balance(
                network,
                matched_controls(
                    network, n_controls, seed=seed + number, features=features if kind == "activity" else None
                ),
                features,
            ).tolist()
            for kind in controls
            if kind != "rotated"
        }
        for number, (name, network) in enumerate(networks.items())
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
