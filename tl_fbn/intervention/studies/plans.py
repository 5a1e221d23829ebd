"""Plans of the studies beside the lesion study, which has its own (:mod:`.lesion_plan`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.token_layout import Tokens
from tl_fbn.attribution.cgvst import Variant
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.collapse import most_lesions
from tl_fbn.intervention.studies.collapse_screens import beginnings
from tl_fbn.intervention.studies.dose_response import chosen_doses
from tl_fbn.intervention.studies.dose_response_results import NONE
from tl_fbn.intervention.studies.gain_calibration import ControlRule, candidate_amounts, split_items
from tl_fbn.intervention.studies.retention import numbers_of_networks
from tl_fbn.intervention.studies.score_validation import sampled_units
from tl_fbn.intervention.studies.shapley import chosen_coalitions
from tl_fbn.intervention.studies.study_plan import StudyPlan, cost_of
from tl_fbn.intervention.studies.token_ablation import TOKENS, VARIANTS
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitMap

Amounts = Sequence[int | float]


@checked
def plan_dose_response(
    model: HookedModel,
    network: Network | UnitMap,
    battery: Battery,
    *,
    gains: Amounts | None = None,
    adds: Amounts | None = None,
    adds_sd: Amounts | None = None,
    sizes: Amounts | None = None,
    n_controls: int = 20,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.dose_response` will run, and time an evaluation of the battery.

    >>> plan = fbn.studies.plan_dose_response(model, network, battery, gains=(0, 1, 2), n_controls=9)
    >>> plan.runs  # the untouched model, and two doses of ten networks
    21

    Args:
        model: A TransformerLens model in eval mode.
        network: A network, or a map, whose top units are silenced.
        battery: The tasks that would be scored.
        gains: Factors; 1 changes nothing and is not run.
        adds: In the place of gains, amounts in activation units.
        adds_sd: In the place of gains, amounts in each unit's own standard deviations.
        sizes: Shares of all units, for a map.
        n_controls: Number of matched random networks.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: Doses that the study would refuse, or an item that does not fit the model.
    """
    kind, doses = chosen_doses(network, {"gain": gains, "add": adds, "add_sd": adds_sd, "size": sizes})
    n_doses = int((doses != NONE[kind]).sum())
    return StudyPlan("dose-response study", **cost_of(model, [(battery, 1 + n_doses * (1 + n_controls))], batch_tokens))


@checked
def plan_gain_calibration(
    model: HookedModel,
    network: Network,
    battery: Battery,
    *,
    task: str | None = None,
    gains: Amounts | None = None,
    adds: Amounts | None = None,
    adds_sd: Amounts | None = None,
    share: float = 0.5,
    controls: ControlRule = "calibrated",
    n_controls: int = 100,
    seed: int = 0,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.calibrate_gain` will run at most, and time an evaluation of the battery.

    The other tasks are scored only for amounts that help the target, best first, until one is within the tolerance; how
    many these are is not known before.

    >>> plan = fbn.studies.plan_gain_calibration(model, network, battery, task="sort", gains=(1.1, 1.5), n_controls=9)
    >>> plan.at_most, plan.runs
    (True, 53)

    Args:
        model: A TransformerLens model in eval mode.
        network: The network that would be amplified.
        battery: The target task and the others.
        task: Name of the target task; None takes the task named like the network.
        gains: Factors to try.
        adds: In the place of gains, amounts to add to activations.
        adds_sd: In the place of gains, amounts in each unit's own standard deviations.
        share: Share of every task's items that calibrate.
        controls: What matched random networks go through: ``"calibrated"``, ``"chosen"`` or ``"both"``.
        n_controls: Number of matched random networks.
        seed: Seed of the split of the items.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: No such task, too few items to split, or amounts that the study would refuse.
    """
    target = network.name if task is None else task
    one_of(controls, ControlRule, "controls")
    if target not in battery.tasks:
        raise InputError(f"no task {target!r} in this battery; tasks: {', '.join(battery.tasks)}. Give task=")
    others = [name for name in battery.tasks if name != target]
    _, amounts = candidate_amounts({"gain": gains, "add": adds, "add_sd": adds_sd})
    calibration, heldout = split_items(battery.select([target, *others]), share=share, seed=seed)
    # the untouched model, then every candidate that changes something; of each calibrated control again, at most
    searches = 1 + (n_controls if controls in ("calibrated", "both") else 0)
    n_candidates = 1 + (len(amounts) - 1) * searches
    n_heldout = 2 + n_controls * (2 if controls == "both" else 1)
    runs = [(calibration.select([target]), n_candidates), (heldout, n_heldout)]
    if others:
        runs.append((calibration.select(others), n_candidates))
    return StudyPlan("gain calibration", **cost_of(model, runs, batch_tokens), at_most=True)


@checked
def plan_score_validation(
    model: HookedModel,
    scores: Mapping[str, UnitMap],
    battery: Battery,
    task: str,
    *,
    n_units: int | None = None,
    n_groups: int = 100,
    n_controls: int = 100,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.validate_scores` will run, and time an evaluation of the task.

    >>> scores = {"t": contrast.t, "effect": contrast.effect}
    >>> fbn.studies.plan_score_validation(model, scores, battery, "sort", n_units=40, n_groups=5, n_controls=9).runs
    66

    Args:
        model: A TransformerLens model in eval mode.
        scores: Names to the scores.
        battery: A battery that has the task.
        task: Name of the task.
        n_units: Number of units that are silenced one by one; None takes all, up to 2,000.
        n_groups: Number of random sets that are silenced together.
        n_controls: Number of random sets beside each score's top units.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: No scores, an unknown task, or fewer than two units or more than there are.
    """
    if not scores:
        raise InputError("plan_score_validation got no scores; give a mapping of names to maps")
    space = next(iter(scores.values())).space
    tried = len(sampled_units(space, n_units, np.random.default_rng(0)))
    n_runs = 1 + tried + n_groups + len(scores) * (1 + n_controls)
    return StudyPlan("score validation", **cost_of(model, [(battery.select([task]), n_runs)], batch_tokens))


@checked
def plan_retention(
    model: HookedModel,
    atlas: Atlas,
    battery: Battery,
    *,
    sizes: Sequence[int] | None = None,
    n_controls: int = 10,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.studies.retention_curve` will run, and time an evaluation of the battery.

    >>> fbn.studies.plan_retention(model, atlas, battery, sizes=(1, 8), n_controls=2).runs
    7

    Args:
        model: A TransformerLens model in eval mode.
        atlas: The networks.
        battery: The tasks that would be scored.
        sizes: Numbers of networks in the union; None takes 1, 2, 4, ... and all.
        n_controls: Number of random sets beside each union.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: Numbers of networks that the atlas does not have.
    """
    n_runs = 1 + len(numbers_of_networks(atlas, sizes)) * (1 + n_controls)
    return StudyPlan("retention curve", **cost_of(model, [(battery, n_runs)], batch_tokens))


@checked
def plan_shapley(
    model: HookedModel,
    atlas: Atlas,
    battery: Battery,
    *,
    n_permutations: int | None = None,
    seed: int = 0,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.shapley` will run, and time an evaluation of the battery.

    >>> fbn.studies.plan_shapley(model, atlas, battery).runs  # all sets of eight networks
    256
    >>> fbn.studies.plan_shapley(model, atlas, battery, n_permutations=10).runs
    64

    Args:
        model: A TransformerLens model in eval mode.
        atlas: The networks.
        battery: The tasks that would be scored.
        n_permutations: Number of orders of the networks that values would be estimated from; None scores all sets of
            networks.
        seed: Seed of the permutations; another one passes through more or fewer sets.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: More than ten networks without permutations, an odd number of permutations or fewer than four.
    """
    coalitions, _ = chosen_coalitions(atlas, n_permutations, seed)
    return StudyPlan("study of Shapley values", **cost_of(model, [(battery, len(coalitions))], batch_tokens))


@checked
def plan_token_ablation(
    model: HookedModel,
    chats: Mapping[str, Items],
    battery: Battery,
    *,
    tokens: Sequence[Tokens] = TOKENS,
    variants: Sequence[Variant] = VARIANTS,
    n_controls: int = 100,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count the lesions of :func:`tl_fbn.studies.token_ablation`, and time an evaluation of the battery.

    The gradients that find its networks are not counted; :func:`tl_fbn.attribution.plan_gradients` plans those of one
    set of tokens and one task.

    >>> chats = {task: fbn.chats(task)[:8] for task in ("sort", "reverse")}
    >>> settings = {"tokens": ("special",), "variants": ("grad",), "n_controls": 5}
    >>> fbn.studies.plan_token_ablation(model, chats, battery, **settings).runs
    13

    Args:
        model: A TransformerLens model in eval mode.
        chats: Name of a task to the chats its networks would be found on.
        battery: A battery that has tasks of the same names.
        tokens: Sets of tokens that would be scored.
        variants: Variants of the score.
        n_controls: Number of random networks beside each network.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: Tasks without items in the battery.
    """
    n_each = len(tokens) * len(variants)
    runs = [(battery, 1 + n_each * len(chats))]
    runs += [(battery.select([task]), n_each * n_controls) for task in chats]
    return StudyPlan("token ablation", **cost_of(model, runs, batch_tokens))


@checked
def plan_collapse(
    model: HookedModel,
    texts: Sequence[Any],
    *,
    n: int | None = 12,
    max_tokens: int = 32,
    n_candidates: int = 40,
    n_pairs: int = 6,
    n_null: int = 59,
    largest: int = 4,
    batch_tokens: int = 8192,
) -> StudyPlan:
    """Count what :func:`tl_fbn.collapse_neurons` will run at most, and time one reading of the texts.

    The passes with gradients of its screens are not counted; there are at most six, each some six readings long.

    >>> plan = fbn.studies.plan_collapse(model, fbn.prompts("rest", n=12))
    >>> plan.at_most, plan.runs
    (True, 217)

    Args:
        model: A TransformerLens model in eval mode.
        texts: Neutral text that would be read.
        n: Largest number of texts; None reads all.
        max_tokens: Largest number of tokens that are read of each text.
        n_candidates: Number of units that the screens of the untouched model name.
        n_pairs: Number of units of which all pairs are lesioned.
        n_null: Number of random units.
        largest: Largest number of units of a group.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Raises:
        InputError: Fewer than two texts, or too few or too short ones.
    """
    ids, _ = beginnings(model, texts, n, max_tokens)
    runs = [(Battery.from_texts({"texts": ids}), most_lesions(n_candidates, n_pairs, n_null, largest))]
    return StudyPlan("search for collapse neurons", **cost_of(model, runs, batch_tokens), at_most=True)
