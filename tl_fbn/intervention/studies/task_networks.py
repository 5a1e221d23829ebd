"""The network of every task in one call: scores at answers, contrasted with the other tasks', cut.

::

    atlas = fbn.task_networks(model, tasks, top=0.002, seed=0)  # a Tasks, or {"plural": pairs or chats, ...}
    study = fbn.lesion_study(model, atlas, tasks.battery(model, n=30), n_controls=100, seed=0)

1. The score of a neuron is gradient times activation at the tokens of the answers: the log-likelihood that zeroing it
   would cost, to first order, in nats a token (:func:`.gradient_x_activation`).
2. The items of each task are dealt into two halves. In each half the maps of all tasks are scaled by rank and the
   largest value on any other task is taken off (:func:`.specific_scores`, ``"least"``), so that neurons that everything
   needs cancel. What a neuron has is the smaller of its two values: a large score on one half alone is an accident of
   its items.
3. The network of a task is the ``top`` share of all neurons.

These are choices of this package, made by lesions on items that found none of the networks, and read off other items
yet: on SmolLM2-135M-Instruct, nine word tasks, networks of .2 %, the smaller of two halves' log ranks isolates 7 tasks
on the items it was chosen on and 9 on the others; without halves 7 and 8; means in the place of ranks 6 and 6
(``python -m tests.benchmarks.specific_networks``). That a network is a task's own is what a lesion study has to show,
on other items: they are refused if they are these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.analysis.networks.specificity import Scaling, Specificity, specific_scores
from tl_fbn.attribution.aggregation import ItemScores
from tl_fbn.attribution.cgvst import item_scores
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.task_set import MarkedItems, Tasks, marked_items
from tl_fbn.intervention.studies.exclusion import Exclude, excluded_units
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, UnitMap


@checked
def task_networks(
    model: HookedModel,
    tasks: Tasks | Mapping[str, Sequence[Any]],
    *,
    seed: int,
    top: int | float = 0.002,
    how: Specificity = "least",
    scale: Scaling | None = "rank",
    halves: bool = True,
    n: int | None = None,
    exclude: Exclude = None,
    batch_tokens: int = 8192,
    progress: bool = True,
) -> Atlas:
    """Find one network for each of several tasks, of the neurons that its answers need and the other tasks' do not.

    >>> chats = {task: fbn.chats(task, n=16) for task in ("sort", "reverse", "add")}
    >>> atlas = fbn.task_networks(model, chats, top=0.02, seed=0, progress=False)
    >>> atlas
    Atlas of 3 networks in tl_fbn-demo mlp.neurons (3 x 384): sort (23), reverse (23), add (23)

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        tasks: A :class:`tl_fbn.Tasks`, of which the half that networks are found on is read; or a name for each of at
            least two tasks to its items: pairs of prompt and answer, or chats that end with the assistant's answer.
        seed: Seed of the two halves.
        top: Number of neurons in a network, or their share of all neurons if it is below 1.
        how: What is taken off: ``"least"`` (the largest score on any other task), ``"difference"`` (their mean) or
            ``"z"``, as :func:`tl_fbn.specific_scores` defines them.
        scale: What is done to each map before: ``"rank"``, ``"mean"``, ``"rms"``, or None for nothing.
        halves: Whether the smaller of the two halves' values counts, which wants some 30 items a half; False makes one
            map of all items.
        n: Largest number of items of each task; None takes all.
        exclude: Neurons that are in no network: what :func:`tl_fbn.collapse_neurons` found, or a network.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        progress: Show a progress bar.

    Returns:
        One network a task, named like it, with provenance that knows its prompts.

    Raises:
        InputError: Fewer than two tasks, a task of fewer than two items where halves are asked for, items that are
            neither pairs nor chats, excluded units of another space, or a model without gradients.
    """
    marked = _marked(model, tasks, n)
    if len(marked) < 2:
        raise InputError(f"a network is a task's own beside other tasks; got {len(marked)}, give at least two")
    if short := [name for name, items in marked.items() if halves and len(items.items) < 2]:
        raise InputError(
            f"{', '.join(short)} has one item, which cannot be dealt into two halves; give more, or halves=False"
        )
    scores = answer_scores(model, marked, batch_tokens=batch_tokens, progress=progress)
    maps = specific_maps(scores, seed=seed, how=how, scale=scale, halves=halves, exclude=exclude)
    return cut_networks(maps, top)


def answer_scores(
    model: HookedModel, marked: Mapping[str, MarkedItems], *, batch_tokens: int = 8192, progress: bool = True
) -> dict[str, ItemScores]:
    """Gradient times activation at the answers, item by item, for every task; negative where a neuron helps.

    Args:
        model: A TransformerLens model in eval mode.
        marked: Name of a task to its items with the answers marked.
        batch_tokens: Largest number of tokens in a pass, padding counted.
        progress: Show a progress bar.
    """
    return {
        name: item_scores(
            model,
            items.items,
            items.positions,
            variant="grad_x_act",
            site="mlp.neurons",
            groups=None,
            batch_tokens=batch_tokens,
            progress=False,
        )
        for name, items in tqdm(marked.items(), desc="task networks", disable=not progress)
    }


def cut_networks(maps: Mapping[str, UnitMap], top: int | float) -> Atlas:
    """The units of largest value of every map, each a network with its name.

    Args:
        maps: Name of a task to its map.
        top: Number of neurons in a network, or their share of all neurons if it is below 1.
    """
    return Atlas.from_networks({name: one.top(top, name=name) for name, one in maps.items()})


def specific_maps(
    scores: Mapping[str, ItemScores],
    *,
    seed: int,
    how: Specificity = "least",
    scale: Scaling | None = "rank",
    halves: bool = True,
    exclude: Exclude = None,
) -> dict[str, UnitMap]:
    """What every neuron scores on a task beyond the other tasks, from the scores of items.

    Args:
        scores: Name of a task to what :func:`answer_scores` gives of it, at least two tasks.
        seed: Seed of the two halves.
        how: What is taken off.
        scale: What is done to each map before.
        halves: Whether the smaller of two halves' values counts.
        exclude: Neurons that are in no network.
    """
    out = excluded_units(exclude, next(iter(scores.values())).space)
    maps: list[dict[str, UnitMap]] = [{}, {}] if halves else [{}]
    for number, (name, found) in enumerate(scores.items()):
        order = np.random.default_rng([seed, number]).permutation(len(found.values))
        for of_half, chosen in zip(maps, np.array_split(order, len(maps)), strict=True):
            # the loss is minus log p: positive where the neuron helps
            mean = -found.values[chosen].mean(0, dtype=float)
            of_half[name] = UnitMap(found.space, mean, "attribution", found.provenance)
    specific = [specific_scores(each, how, scale=scale) for each in maps]
    about: dict[str, Any] = {"method": "task_networks", "score": "grad_x_act", "halves": halves, "seed": seed}
    about |= {} if out is None else {"excluded": len(out)}
    contrasted: dict[str, UnitMap] = {}
    for name, first in specific[0].items():
        values = np.min([each[name].values for each in specific], axis=0)
        if out is not None:
            values[out.members] = np.nan  # no value is never among the largest
        contrasted[name] = UnitMap(first.space, values, first.kind, {**first.provenance, **about})
    return contrasted


def _marked(model: HookedModel, tasks: Tasks | Mapping[str, Sequence[Any]], n: int | None) -> dict[str, MarkedItems]:
    """Token ids of every task's items, with the answers marked."""
    if isinstance(tasks, Tasks):
        return tasks.items(model, n=n)
    marked: dict[str, MarkedItems] = {}
    for name, given in tasks.items():
        items = list(given)[:n]
        if not items:
            raise InputError(f"task {name!r} has no items; give pairs of prompt and answer, or chats")
        if all(isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], str) for one in items):
            battery = Battery.from_pairs({name: [tuple(one) for one in items]})
        else:
            battery = Battery.from_chats({name: items}, model)
        marked |= marked_items(battery, model)
    return marked
