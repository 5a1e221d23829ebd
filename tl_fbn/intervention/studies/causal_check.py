"""A significant map is not a causal one: what the top units of several maps do when they are silenced.

::

    maps = {"t": contrast.t, "effect": contrast.effect, "gradient x activation": scores}
    fbn.causal_check(model, maps, battery, top=0.03, seed=0)

On a small real language model the units that tell *he* texts from *she* texts most significantly do nothing when they
are silenced, and those that gradient x activation names lose the agreement (``tests/benchmarks/stories_truth.py``). A
t map weighs a difference by how steady it is; it does not ask whether the model uses the unit. So before a map is
called a network *for* something, this is the call to make: the top units of each map are a source network of one
lesion study (:mod:`.lesion`), with layer-matched random networks beside each.

It says nothing about which map finds all units that matter; :func:`tl_fbn.validate_scores` compares whole maps with
lesions of single units. Cost: maps x (1 + controls) evaluations of the battery, and one without a lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.lesion import LesionOptions, lesion_study
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap


@checked
def causal_check(
    model: HookedModel,
    maps: Mapping[str, UnitMap],
    battery: Battery,
    *,
    seed: int,
    top: int | float = 0.05,
    two_sided: bool | None = None,
    **options: Unpack[LesionOptions],
) -> LesionStudy:
    """Silence the top units of every map and score a battery, beside layer-matched random units.

    >>> maps = {"t": contrast.t, "effect": contrast.effect}  # both of *sort - reverse*
    >>> study = fbn.causal_check(model, maps, battery, top=0.02, two_sided=False, n_controls=19, seed=0, progress=False)
    >>> study.to_dataframe()[["network", "task", "drop", "p"]].round(2)  # only one of the maps names units that sort
      network     task  drop     p
    0       t     sort   0.0  1.00
    1       t  reverse   0.0  1.00
    2  effect     sort   0.3  0.05
    3  effect  reverse   0.0  1.00

    Args:
        model: A TransformerLens model in eval mode.
        maps: Names to maps of one unit space, from whatever method.
        battery: The tasks to score, with items that no map was made from.
        seed: Seed of the random networks and of the bootstrap; the same seed gives the same study.
        top: Number of units that are taken from each map, or their share of all units if it is below 1.
        two_sided: True takes the largest magnitudes, False the largest values; None takes magnitudes of maps that are
            :attr:`tl_fbn.UnitMap.signed`.
        **options: Options of :func:`tl_fbn.lesion_study`: ``n_controls``, ``controls``, ``method``, ``metric``,
            ``path`` and so on.

    Returns:
        A lesion study whose networks are called as the maps; ``.to_dataframe()`` has a line a map and task.

    Raises:
        InputError: No maps, maps of different unit spaces, or items that a map was made from.
    """
    if not maps:
        raise InputError("causal_check got no maps; give a mapping of names to maps")
    # top() hands on the digests of the prompts that a map was made from, so the study can refuse to score them
    networks = {name: one.top(top, two_sided=two_sided, name=name) for name, one in maps.items()}
    return lesion_study(model, networks, battery, seed=seed, **options)
