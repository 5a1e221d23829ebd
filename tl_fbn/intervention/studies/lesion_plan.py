"""What a lesion study will cost, counted and timed before it starts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.controls import ControlKind
from tl_fbn.signatures import checked
from tl_fbn.units import Network, html_table
from tl_fbn.units.prose import duration_in_words

Rivals = Mapping[str, Mapping[str, Network]]


@dataclass(frozen=True)
class LesionPlan:
    """What a lesion study will cost.

    >>> plan = fbn.plan_lesions(model, {"sort": network}, battery, n_controls=100)
    >>> plan.lesions, plan.passes
    (101, 102)

    Args:
        networks: Number of source networks.
        lesions: Number of interventions under which the whole battery is scored.
        items: Number of items of the battery, all tasks together.
        passes: Number of forward passes (one a batch) of all evaluations together, that without a lesion included.
        tokens: Number of tokens that these passes read.
        seconds: Expected time in seconds, from one evaluation that was timed for this plan.
        at_most: True where controls may stop earlier, and all numbers are the most that can be.
    """

    networks: int
    lesions: int
    items: int
    passes: int
    tokens: int
    seconds: float
    at_most: bool = False

    def __repr__(self) -> str:
        most = "at most " if self.at_most else ""
        return (
            f"LesionPlan: {most}{self.lesions:,} lesions of {self.networks} networks, {self.items:,} items each; "
            f"{self.passes:,} forward passes, {self.tokens:,} tokens, about {duration_in_words(self.seconds)}"
        )

    def _repr_html_(self) -> str:
        numbers = {name: value for name, value in asdict(self).items() if name != "at_most"}
        return html_table(repr(self), ("", ""), [(name, f"{value:,.6g}") for name, value in numbers.items()])


@checked
def plan_lesions(
    model: HookedModel,
    networks: Mapping[str, Network],
    battery: Battery,
    *,
    n_controls: int = 100,
    stop: int | None = None,
    controls: Sequence[ControlKind] = ("random",),
    rivals: Rivals | None = None,
    batch_tokens: int = 8192,
) -> LesionPlan:
    """Count what :func:`lesion_study` will run; two evaluations of the battery are made, and the second is timed.

    >>> fbn.plan_lesions(model, {"sort": network}, battery, n_controls=100)  # doctest: +ELLIPSIS
    LesionPlan: 101 lesions of 1 networks, 20 items each; 102 forward passes, 34,680 tokens, about ...

    Args:
        model: A TransformerLens model in eval mode.
        networks: Names to the source networks that the study will lesion.
        battery: The tasks that the study will score under every lesion.
        n_controls: Number of random networks of each kind for each source network.
        stop: Number of controls that cost the own task as much, after which no more are lesioned; the plan then is the
            most that the study can cost. None lesions all.
        controls: Kinds of random networks, ``"random"``, ``"activity"`` or ``"rotated"``.
        rivals: Name of a rival to networks by the name of their source network; each costs one more lesion.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.

    Returns:
        Networks, lesions, items, passes, tokens and seconds; its ``repr`` is a sentence.

    Raises:
        InputError: An item of the battery does not fit the model, for example by its length.
    """
    battery.score(model, batch_tokens=batch_tokens)  # not timed: the first evaluation also prepares the items
    started = time.perf_counter()
    battery.score(model, batch_tokens=batch_tokens)
    seconds = time.perf_counter() - started
    # every source network once, its controls of every kind, and the rivals it has
    chosen = sum(name in rival for rival in (rivals or {}).values() for name in networks)
    lesions = len(networks) * (1 + len(controls) * n_controls) + chosen
    sizes = battery.sizes(model, batch_tokens=batch_tokens)  # tokens of each forward pass
    items = sum(len(task.items) for task in battery.tasks.values())
    n_evaluations = 1 + lesions  # one without a lesion
    return LesionPlan(
        networks=len(networks),
        lesions=lesions,
        items=items,
        passes=n_evaluations * len(sizes),
        tokens=n_evaluations * sum(sizes),
        seconds=n_evaluations * seconds,
        at_most=stop is not None,
    )
