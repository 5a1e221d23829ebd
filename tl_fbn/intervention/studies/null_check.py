"""Where a claim should fail: the same analysis on an untrained twin, shuffled labels, a rotated basis, another order.

A dead salmon shows activity if one only looks often enough (Bennett et al. 2009). Whatever an analysis finds in a
model, a rich enough method finds something like it where there is nothing to find. So run it there::

    def sort_units(model, prompts):
        design = fbn.block_design(prompts, n_runs=4, n_cycles=6, seed=0)
        return fbn.fit_glm(fbn.Scanner(model).stream(design)).contrast("sort - reverse")

    check = fbn.null_check(sort_units, model, {"sort": sort_prompts, "reverse": reverse_prompts}, seed=0)
    print(check)          # what the claim's numbers are in each, and which of them stand

=============== ================================================================================================
``"untrained"`` the same architecture with new random weights: what is found owes nothing to training
``"shuffled"``  all prompts dealt anew to conditions of the same sizes: what is found is not about conditions
``"rotated"``   neurons seen along random directions of their layer (:func:`tl_fbn.studies.rotated`): what is
                found is not about neurons
``"reordered"`` conditions and prompts in another order: no null; what is found should be found again
=============== ================================================================================================

The analysis may do anything: a GLM, ICA, gradients, a lesion study. It is a function of a model and prompts, and must
keep nothing between its runs: a folder that holds a recording of one model is refused for another, so that it should
stream (``scanner.stream(design)``) or scan into a temporary folder. Which numbers a result claims is told in
:mod:`.null_numbers`; ``number=`` reads others.

Cost: 1 + nulls x n runs of the analysis; :func:`tl_fbn.studies.plan_null_check` says how long they take. An untrained
twin is a second model in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel, model_label
from tl_fbn.errors import InputError, InputTypeError, one_of
from tl_fbn.intervention.studies.null_check_results import Null, NullCheck
from tl_fbn.intervention.studies.null_numbers import Numbers, agreement, maps_of, numbers_of
from tl_fbn.intervention.studies.rotated_model import rotated
from tl_fbn.intervention.studies.untrained_model import untrained
from tl_fbn.signatures import checked
from tl_fbn.units import html_table
from tl_fbn.units.prose import duration_in_words

Prompts = Mapping[str, Sequence[Any]]
_NEED_PROMPTS = ("shuffled", "reordered")


@checked
def null_check(
    analysis: Any,
    model: HookedModel,
    prompts: Prompts | None = None,
    *,
    seed: int,
    number: Callable[[Any], Any] | None = None,
    nulls: Sequence[Null] | None = None,
    n: int = 3,
    progress: bool = True,
) -> NullCheck:
    """Run an analysis on a model, and again where its claim should fail.

    >>> def sort_units(model, prompts):
    ...     design = fbn.block_design(prompts, n_runs=2, n_cycles=3, tokens_per_block=64, seed=0)
    ...     return fbn.fit_glm(fbn.Scanner(model).stream(design, progress=False)).contrast("sort - reverse")
    >>> prompts = {task: fbn.prompts(task, n=60) for task in ("sort", "reverse")}
    >>> check = fbn.null_check(sort_units, model, prompts, seed=0, n=2, progress=False)
    >>> check
    NullCheck of sort_units: 2 numbers, 2 runs each of untrained, shuffled, rotated, reordered

    Args:
        analysis: A function of a model and of prompts, a mapping like the one given here; without prompts, of the model
            alone. It returns a number, a map, a network, an atlas, a contrast, a lesion study, a table, or a mapping of
            names to these; with ``number``, anything.
        model: A TransformerLens model in eval mode.
        prompts: Name of each condition to its prompts, of any kind that the analysis can use. None leaves out the
            checks that exchange prompts.
        seed: Seed of the random weights, labels, directions and orders; the same seed gives the same ones.
        number: Reads the numbers that are claimed off what the analysis returns: one, or a mapping of names to
            numbers. Larger should mean a stronger claim. None reads what :mod:`.null_numbers` says.
        nulls: Which to run; None runs all four, or without prompts ``"untrained"`` and ``"rotated"``.
        n: Number of runs of each. A number without cause is above all runs of one null once in n + 1.
        progress: Show a progress bar.

    Raises:
        InputError: Prompts that cannot be exchanged, nulls that need prompts where there are none, or ``n`` below 1.
        InputTypeError: Something that is no function, such as a result, or an analysis that returns no number.
    """
    nulls = _checked_nulls(analysis, prompts, nulls, n)
    if "untrained" in nulls:
        untrained(model, seed=seed)  # a host that cannot be made again is refused before the analysis has run for hours
    read = numbers_of if number is None else lambda returned: numbers_of(number(returned))
    with tqdm(total=1 + len(nulls) * n, desc="null check", disable=not progress) as bar:
        started = time.monotonic()
        first = _run(analysis, model, prompts)
        seconds = time.monotonic() - started
        own, maps = read(first), maps_of(first)
        bar.update()
        values = np.full((len(nulls), n, len(own)), np.nan)
        agreements = np.full((len(nulls), n, len(maps)), np.nan)
        for i, null in enumerate(nulls):
            for run in range(n):
                bar.set_postfix_str(null)
                with _under(null, model, prompts, seed + run) as (subject, shown):
                    returned = _run(analysis, subject, shown)
                values[i, run] = _like(read(returned), own, null)
                if null != "rotated":  # whose units are other ones
                    found = maps_of(returned)
                    agreements[i, run] = [
                        agreement(one, found[name]) if name in found else np.nan for name, one in maps.items()
                    ]
                bar.update()
    about = {"analysis": _name(analysis), "model": model_label(model), "seed": seed, "n": n, "seconds": seconds}
    return NullCheck(tuple(own), np.array(list(own.values())), tuple(nulls), values, tuple(maps), agreements, about)


@dataclass(frozen=True)
class NullPlan:
    """What a null check will cost, from one run of its analysis.

    >>> def score(model, prompts):
    ...     return fbn.cgvst(model, prompts["sort"], progress=False)
    >>> chats = {task: fbn.chats(task, n=4) for task in ("sort", "reverse")}
    >>> fbn.studies.plan_null_check(score, model, chats, n=2)  # doctest: +ELLIPSIS
    NullPlan: 9 runs of the analysis, about ...; ... MB for an untrained twin

    Args:
        runs: Number of runs of the analysis.
        seconds: Expected time in seconds, if all take as long as the one that was timed.
        bytes: Memory of an untrained twin beside the model; 0 where none is made.
    """

    runs: int
    seconds: float
    bytes: int

    def __repr__(self) -> str:
        twin = f"; {self.bytes / 1e6:,.0f} MB for an untrained twin" if self.bytes else ""
        return f"NullPlan: {self.runs:,} runs of the analysis, about {duration_in_words(self.seconds)}{twin}"

    def _repr_html_(self) -> str:
        return html_table(repr(self), ("", ""), [(name, f"{value:,.6g}") for name, value in asdict(self).items()])


@checked
def plan_null_check(
    analysis: Any,
    model: HookedModel,
    prompts: Prompts | None = None,
    *,
    nulls: Sequence[Null] | None = None,
    n: int = 3,
) -> NullPlan:
    """Run an analysis once and time it, to tell what :func:`tl_fbn.null_check` will cost.

    >>> def size(model):
    ...     return sum(one.numel() for one in model.parameters())
    >>> fbn.studies.plan_null_check(size, model, n=5)  # doctest: +ELLIPSIS
    NullPlan: 11 runs of the analysis, about ...

    Args:
        analysis: The function that :func:`tl_fbn.null_check` will be given.
        model: A TransformerLens model in eval mode.
        prompts: Name of each condition to its prompts, or None.
        nulls: Which to run; None runs all that are possible.
        n: Number of runs of each.

    Raises:
        InputError: As :func:`tl_fbn.null_check`.
        InputTypeError: Something that is no function.
    """
    nulls = _checked_nulls(analysis, prompts, nulls, n)
    started = time.monotonic()
    _run(analysis, model, prompts)
    runs = 1 + len(nulls) * n
    twin = sum(one.nbytes for one in model.parameters()) if "untrained" in nulls else 0
    return NullPlan(runs, (time.monotonic() - started) * runs, twin)


def _checked_nulls(analysis: Any, prompts: Prompts | None, nulls: Sequence[Null] | None, n: int) -> list[Null]:
    """The nulls that are run, once analysis and prompts are known to allow them."""
    if not callable(analysis) or isinstance(analysis, type):
        raise InputTypeError(
            f"analysis must be a function of a model and prompts; got {type(analysis).__name__}. A result cannot be "
            "found again elsewhere: give the function that made it"
        )
    if n < 1:
        raise InputError(f"n is the number of runs of each null, at least 1; got {n}")
    if nulls is None:
        nulls = [one for one in get_args(Null) if prompts is not None or one not in _NEED_PROMPTS]
    for one in nulls:
        one_of(one, Null, "nulls")
    if not nulls or len(set(nulls)) < len(nulls):
        raise InputError(f"nulls names each of {', '.join(get_args(Null))} at most once, and one at least; got {nulls}")
    if prompts is None:
        if needing := [one for one in nulls if one in _NEED_PROMPTS]:
            raise InputError(f"{' and '.join(needing)} exchange prompts; give prompts={{condition: prompts, ...}}")
    elif len(prompts) < 2 or any(len(own) == 0 for own in prompts.values()):
        sizes = ", ".join(f"{name} {len(own)}" for name, own in prompts.items()) or "none"
        raise InputError(f"prompts need two conditions or more, each with prompts, to be exchanged; got {sizes}")
    return list(nulls)


def _run(analysis: Callable[..., Any], model: HookedModel, prompts: Prompts | None) -> Any:
    return analysis(model) if prompts is None else analysis(model, {name: list(own) for name, own in prompts.items()})


@contextmanager
def _under(
    null: Null, model: HookedModel, prompts: Prompts | None, seed: int
) -> Iterator[tuple[HookedModel, Prompts | None]]:
    """Model and prompts of one run."""
    if null == "untrained":
        yield untrained(model, seed=seed), prompts
    elif null == "rotated":
        with rotated(model, seed=seed):
            yield model, prompts
    else:
        assert prompts is not None
        yield model, (shuffled if null == "shuffled" else reordered)(prompts, seed)


def shuffled(prompts: Prompts, seed: int) -> dict[str, list[Any]]:
    """All prompts dealt anew to conditions of the same sizes.

    Args:
        prompts: Name of each condition to its prompts.
        seed: Seed of the deal.
    """
    every = [one for own in prompts.values() for one in own]
    order = iter(np.random.default_rng([seed, 1]).permutation(len(every)))
    return {name: [every[next(order)] for _ in own] for name, own in prompts.items()}


def reordered(prompts: Prompts, seed: int) -> dict[str, list[Any]]:
    """The conditions in another order, and the prompts of each, too.

    Args:
        prompts: Name of each condition to its prompts.
        seed: Seed of the orders.
    """
    rng = np.random.default_rng([seed, 2])
    names = list(prompts)
    while (order := [names[i] for i in rng.permutation(len(names))]) == names:
        pass  # at least two conditions: half of all orders or more are other ones
    return {name: [prompts[name][i] for i in rng.permutation(len(prompts[name]))] for name in order}


def _like(found: Numbers, own: Numbers, null: str) -> list[float]:
    """Numbers in the order of the model's; NaN where a run has none of a name."""
    if not found.keys() & own.keys():
        raise InputError(
            f"the analysis named its numbers {', '.join(list(own)[:5])} for the model and {', '.join(list(found)[:5])} "
            f"for {null}; names must be the same to be compared"
        )
    return [found.get(name, np.nan) for name in own]


def _name(analysis: Any) -> str:
    return str(getattr(analysis, "__name__", type(analysis).__name__))
