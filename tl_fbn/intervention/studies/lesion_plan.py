"""What a lesion study will cost, counted and timed before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.controls import ControlKind
from tl_fbn.intervention.studies.exclusion import Exclude, excluded_units, without_units
from tl_fbn.intervention.studies.study_plan import StudyPlan, cost_of
from tl_fbn.signatures import checked
from tl_fbn.units import Network

Rivals = Mapping[str, Mapping[str, Network]]


@dataclass(frozen=True, repr=False)
class LesionPlan(StudyPlan):
    """What a lesion study will cost.

    >>> plan = fbn.plan_lesions(model, {"sort": network}, battery, n_controls=100)
    >>> plan.lesions, plan.passes
    (101, 102)

    Args:
        study: What kind of study it is, in words.
        runs: Number of times that items are scored, that without a lesion included.
        items: Number of items of the battery, all tasks together.
        passes: Number of forward passes (one a batch) of all runs together.
        tokens: Number of tokens that these passes read.
        seconds: Expected time in this process, in seconds.
        bytes: Size of what ``path=`` keeps.
        processes: Number of processes of one thread that were compared with this one.
        seconds_in_processes: Expected time in so many processes, in seconds, at best.
        at_most: True where controls may stop earlier, and all numbers are the most that can be.
        networks: Number of source networks.
        lesions: Number of interventions under which the whole battery is scored.
    """

    networks: int = 0
    lesions: int = 0

    def _counts(self) -> str:
        most = "at most " if self.at_most else ""
        return f"LesionPlan: {most}{self.lesions:,} lesions of {self.networks} networks, {self.items:,} items each"


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
    exclude: Exclude = None,
    batch_tokens: int = 8192,
) -> LesionPlan:
    """Count what :func:`lesion_study` will run, and time an evaluation of the battery (:mod:`.study_plan`).

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
        exclude: Units that the study will take out of networks, rivals and controls; they change no number here, and
            are refused where the study would refuse them.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.

    Returns:
        Networks, lesions, items, passes, tokens, bytes and seconds; its ``repr`` is a sentence, and says where workers
        would be faster.

    Raises:
        InputError: An item of the battery does not fit the model, for example by its length, or ``exclude`` is of
            another space or leaves nothing of a network.
    """
    for one in networks.values():
        without_units(networks, rivals or {}, excluded_units(exclude, one.space))
    # every source network once, its controls of every kind, and the rivals it has
    chosen = sum(name in rival for rival in (rivals or {}).values() for name in networks)
    lesions = len(networks) * (1 + len(controls) * n_controls) + chosen
    cost = cost_of(model, [(battery, 1 + lesions)], batch_tokens)  # one without a lesion
    return LesionPlan(study="lesion study", **cost, at_most=stop is not None, networks=len(networks), lesions=lesions)
