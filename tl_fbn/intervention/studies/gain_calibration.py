"""Does amplifying a network help a task, how much helps most, and does that hold on items that did not choose it?

::

    found = fbn.calibrate_gain(model, networks["add"], battery, seed=0)  # task "add"; all other tasks beside it
    found.summary()  # chosen amount, held-out change with interval and p
    with found.intervention(model): ...  # fbn.amplify with the chosen amount

Liu et al. (2025, later version) report that "carefully calibrated amplification" of a network improves performance,
and release neither factor nor calibration; Song et al. (2024) amplify task neurons by a factor that is not known. The
best of several amounts looks better than it is, and almost any network has a best amount. Therefore:

1. The items of each task are split at random into *calibration* and *held-out* items; items with the same prompt stay
   together.
2. Every candidate amount is scored on the calibration items. It is allowed if no other task of the battery (plain
   text counts) loses more than ``tolerance`` nats of mean log-likelihood a token there. The allowed candidate with
   the largest mean change of the target is chosen; if none is above 0, the amount that changes nothing is (gain 1,
   add 0), and every held-out change is 0 by construction.
3. The chosen amount alone is scored on the held-out items: change = mean after - mean before, with a paired interval,
   for the target and for every other task.
4. p = (1 + matched random networks whose held-out change is as large) / (1 + all). Under ``controls="calibrated"``
   each of them goes through step 2 with the same items, candidates and tolerance, so that the search is part of the
   null, and p is valid for a network that is exchangeable with them (of 650 random networks of a random model under
   two settings, p <= .05 in 6 % of 400 and 4 % of 250). Under ``"chosen"`` each gets the network's own amount, which
   is about three times cheaper. That p has no such guarantee, and held-out items do not give it one: in the same test
   it was at most .05 in 4 % and 1 %, but if each of five amounts suits another fifth of all networks, a random
   network is the best of 20 in a quarter of cases. Only the first counts in ``helps``.

The interval speaks of other such items, p of other such networks. The tolerance is held on the calibration items;
``within_tolerance`` says whether it is held on the others. p is of one network and task, not corrected for several.
The items must not have found the network either, which is checked where its prompts are known.

Cost in evaluations of the battery: about .5 x (candidates + 1), and for each calibrated control .5 + .5 x (candidates
x the target's share of items + about one).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task, Text
from tl_fbn.intervention.hooks.positions import Positions, where
from tl_fbn.intervention.hooks.references import spread_of
from tl_fbn.intervention.studies.controls import sham_networks
from tl_fbn.intervention.studies.dose_response import amplifier
from tl_fbn.intervention.studies.dose_response_results import NONE, DoseKind
from tl_fbn.intervention.studies.engine import StudyRuns
from tl_fbn.intervention.studies.gain_calibration_results import GainCalibration
from tl_fbn.intervention.studies.gain_search import Amplified, Bench
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    check_disjoint,
    check_metric,
    item_counts,
    metric_of,
    task_means,
)
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.signatures import checked
from tl_fbn.units import Network

# the gains that are tried unless others are asked for
GAINS = (1.1, 1.25, 1.5, 2.0, 3.0)
TOLERANCE = 0.1  # nats a token: about a tenth of the probability of each token
ControlRule = Literal["calibrated", "chosen", "both"]


@checked
def calibrate_gain(
    model: HookedModel,
    network: Network,
    battery: Battery,
    *,
    seed: int,
    task: str | None = None,
    gains: Sequence[int | float] | None = None,
    adds: Sequence[int | float] | None = None,
    adds_sd: Sequence[int | float] | None = None,
    share: float = 0.5,
    tolerance: float | None = TOLERANCE,
    controls: ControlRule = "calibrated",
    n_controls: int = 100,
    metric: str = "log_likelihood",
    reference: Recording | None = None,
    allow_other_weights: bool = False,
    positions: Positions = "all",
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> GainCalibration:
    """Choose how much to amplify a network on some items of a battery, and test it on the others.

    >>> found = fbn.calibrate_gain(
    ...     model, network, battery, task="sort", gains=(1.1, 1.5), n_controls=9, seed=0, progress=False
    ... )
    >>> found  # this model sorts these items without a mistake
    GainCalibration of sort - reverse on 'sort': no amplification helps (2 amounts tried)
    >>> found.summary()[["task", "amount", "change", "p", "helps"]]
       task  amount  change    p  helps
    0  sort     1.0     0.0  1.0  False

    Args:
        model: A TransformerLens model in eval mode.
        network: The network to amplify.
        battery: The target task and, to see what amplification costs them, other tasks or plain text; all of items
            that the network was not found on.
        seed: Seed of the split, of the random networks and of the bootstrap; the same seed gives the same calibration.
        task: Name of the target task; None takes the task named like the network.
        gains: Factors to try; 1, which changes nothing, is always among them. By default 1.1, 1.25, 1.5, 2 and 3.
        adds: In the place of gains, amounts to add to activations, in their units; Liu et al. (2025) add 1.
        adds_sd: In the place of gains, amounts in each unit's own standard deviations over ``reference``, along the
            unit's sign in the network where it has one.
        share: Share of every task's items that calibrate; the others are held out.
        tolerance: Nats a token that the mean log-likelihood of each other task may fall by on the calibration items;
            None for no limit.
        controls: What matched random networks go through: ``"calibrated"`` (the same choice of an amount),
            ``"chosen"`` (the network's own amount; cheaper, but its p is not valid in general), or ``"both"``.
        n_controls: Number of matched random networks; p cannot be below 1 / (1 + n_controls).
        metric: What the target is scored by: ``"log_likelihood"`` (nats a token, finer) or ``"exact_match"``.
        reference: A recording of the same units on other prompts; needed by ``adds_sd``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        positions: The tokens that are touched: ``"all"``, ``"prompt"``, ``"generated"``, ``"last"``, ``"special"``, a
            mask or column numbers (:mod:`.positions`).
        n_bootstrap: Number of times the items are resampled for the intervals.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        The chosen amount, what it does on the held-out items, and what the controls do there.

    Raises:
        InputError: No such task, too few items to split, no other task to hold the tolerance on, amounts that are not
            finite or all none, several kinds of amount, a missing reference, or items that the network was found on.
    """
    target = network.name if task is None else task
    if target not in battery.tasks:
        what = f"task={target!r} is" if task is not None else f"network {target!r} is named like"
        raise InputError(f"{what} none of the battery's tasks: {', '.join(battery.tasks)}. Give task=")
    others = [name for name in battery.tasks if name != target]
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"tolerance={tolerance} must be 0 or more nats a token, or None for no limit")
    if tolerance is not None and not others:
        raise InputError(
            f"tolerance={tolerance} needs other tasks than {target!r}, to see what amplification costs them; add tasks "
            "or plain text to the battery, or give tolerance=None"
        )
    one_of(controls, ControlRule, "controls")
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    check_metric(metric)
    metric_of(battery.select([target]), metric)  # refuses a metric that the target does not have
    kind, amounts = candidate_amounts({"gain": gains, "add": adds, "add_sd": adds_sd})
    spread = spread_of(model, reference, network, allow_other_weights) if kind == "add_sd" else None
    discovery = check_disjoint(network, battery, tokenizer_of(model), network.name)
    # step 1: the target first, so that its items decide how shared prompts are split
    calibration, heldout = split_items(battery.select([target, *others]), share=share, seed=seed)
    counts = np.array([item_counts(half) for half in (calibration, heldout)])
    parts = {"target": calibration.select([target])}
    if others:
        parts["others"] = calibration.select(others)
    strengthen = amplifier(model, kind, spread=spread, positions=positions)
    rules = [rule for rule in ("calibrated", "chosen") if controls in (rule, "both")]
    settings = {
        "study": "gain calibration",
        "target": target,
        "kind": kind,
        "amounts": amounts,
        "signs": network.signs[network.indices].tolist(),
        "share": share,
        "tolerance": tolerance,
        "controls": controls,
        "n_controls": n_controls,
        "metric": metric,
        "reference": None if reference is None else reference.key,
        "positions": where(positions, model).digest,
        "seed": seed,
    }
    folder = study_folder(path, model, {network.name: network}, battery, settings)
    total = len(parts) * (1 + len(amounts)) + 2 + len(rules) * n_controls
    with StudyRuns(
        model,
        n_conditions=total,
        title=f"calibrating {network.name}",
        unit="amount",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        untouched = {
            name: runs.untouched(items, f"untouched-{name}") for name, items in (parts | {"heldout": heldout}).items()
        }
        bench = Bench(
            model,
            parts["target"],
            parts.get("others"),
            (untouched["target"], untouched.get("others")),
            METRICS.index(metric),
            kind,
            amounts,
            tolerance,
            strengthen,
            batch_tokens,
        )
        own = [Amplified(bench, network, f"{network.name} by {amount:g}", amount) for amount in amounts]
        # step 2: all candidates on all calibration items, which the table shows, allowed or not
        table = {
            name: runs.scores(f"candidates-{name}", items, [o.condition() for o in own], untouched=untouched[name])[0]
            for name, items in parts.items()
        }
        chosen = bench.choose(
            list(table["target"]), lambda amount: table["others"][amounts.index(amount)] if others else None
        )
        # step 3: the chosen amount alone on the held-out items; step 4: the null, with the search in it (calibrated) or
        # without (chosen)
        sham = list(enumerate(sham_networks(network, n_controls, seed=seed)))
        amplified = [Amplified(bench, network, network.name, chosen)]
        for rule in rules:
            amount = None if rule == "calibrated" else chosen
            amplified += [Amplified(bench, one, f"{rule} control {number}", amount) for number, one in sham]
        before = untouched["heldout"]
        scores, notes = runs.scores("heldout", heldout, [a.condition() for a in amplified], untouched=before)
    changes = np.split(task_means(scores[1:] - before, counts[1]), len(rules))
    calibrated = [notes[f"calibrated control {number}"] for number, _ in sham if "calibrated" in rules]
    about = {"seed": seed, "share": share, "tolerance": tolerance, "n_controls": n_controls, "n_bootstrap": n_bootstrap}
    about["model_dtype"] = number_type(model)
    about |= {"discovery": discovery, "positions": positions if isinstance(positions, str) else "given"}
    return GainCalibration(
        network=network,
        kind=kind,
        amounts=np.array(amounts),
        chosen=chosen,
        tasks=(target, *others),
        metric=metric,
        counts=counts,
        # items of the target, then of the others: the order of the tasks
        calibration=np.concatenate(list(table.values()), axis=1),
        before=before,
        after=scores[0],
        controls=dict(zip(rules, changes, strict=True)),
        control_amounts=np.array(calibrated, dtype=float),
        spread=np.zeros(0) if spread is None else spread,
        provenance=about,
    )


def split_items(battery: Battery, *, share: float = 0.5, seed: int) -> tuple[Battery, Battery]:
    """Split every task's items at random; items with the same prompt stay together, also across tasks.

    Args:
        battery: The tasks, of at least four items each.
        share: Share of each task's items in the first half; it is met as nearly as equal prompts and two items a half
            allow.
        seed: Seed of the random split; the same seed gives the same halves.

    Returns:
        The first half and the second, each with all tasks.

    Raises:
        InputError: A share that is not between 0 and 1, or a task that cannot give two items to either half.
    """
    if not 0 < share < 1:
        raise InputError(f"share={share} must be between 0 and 1: the part of the items that calibrates")
    first: dict[Text, bool] = {}  # whether a prompt is in the first half; tasks that come later follow those before
    halves: tuple[dict[str, Task], dict[str, Task]] = {}, {}
    for number, (name, task) in enumerate(battery.tasks.items()):
        keys = [_unsplittable_part(item) for item in task.items]
        times = Counter(keys)  # how many items have this prompt
        different = list(times)
        # items of the first half: the share, but at least 2 for either half
        wanted = min(max(round(share * len(keys)), 2), len(keys) - 2)
        # items that an earlier task has put into the first half already
        inside = sum(first.get(key, False) for key in keys)
        for place in np.random.default_rng([seed, number]).permutation(len(different)):
            key = different[place]
            if key not in first:
                first[key] = inside < wanted
                inside += times[key] if first[key] else 0
        for half, side in zip(halves, (True, False), strict=True):
            items = tuple(item for item, key in zip(task.items, keys, strict=True) if first[key] is side)
            if len(items) < 2:
                raise InputError(
                    f"task {name!r} has {len(keys)} items with {len(different)} different prompts; calibration and "
                    "held-out items are different ones, at least 2 each. Give more items, or leave the task out with "
                    "battery.select"
                )
            half[name] = Task(name, task.kind, items)
    return tuple(Battery(half, prepend_bos=battery.prepend_bos) for half in halves)  # pyright: ignore[reportReturnType]


def _unsplittable_part(item: BatteryItem) -> Text:
    """The part of an item that must not be in both halves: the question, the prompt or, where there is none, the
    passage."""
    return item.texts[0] if item.texts else item.prompt or item.alternatives[0]


def candidate_amounts(given: Mapping[DoseKind, Sequence[int | float] | None]) -> tuple[DoseKind, list[float]]:
    """The kind of amount that was asked for, and the candidates, ascending, with the amount that changes nothing.

    Args:
        given: Each kind of amount to those that were asked for; None for a kind that was not.

    Raises:
        InputError: Several kinds, or amounts that are not finite or all change nothing.
    """
    kinds: list[DoseKind] = [kind for kind, values in given.items() if values is not None]
    if len(kinds) > 1:
        raise InputError(f"a calibration tries one kind of amount; got {', '.join(f'{kind}s=' for kind in kinds)}")
    kind: DoseKind = kinds[0] if kinds else "gain"
    values = given[kind]
    tried = sorted({float(value) for value in (GAINS if values is None else values)} | {NONE[kind]})
    if len(tried) < 2 or not np.isfinite(tried).all():
        raise InputError(f"amounts must be finite numbers, at least one other than {NONE[kind]:g}; got {values}")
    return kind, tried
