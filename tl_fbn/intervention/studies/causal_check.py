"""A significant map is not a causal one: what the top units of several maps do when they are silenced.

::

    fbn.causal_check(model, {"t": contrast.t, "effect": contrast.effect, "gradient x activation": scores}, battery, top=0.03, seed=0)

On a small real language model the units that tell *he* texts from *she* texts most significantly do nothing when they are silenced, and those that gradient x
activation names lose the agreement (``tests/benchmarks/stories_truth.py``). A t map weighs a difference by how steady it is; whether the model uses the
unit it does not ask. So before a map is called a network *for* something, this is the call to make: each map's top units are a source network of one
lesion study, with layer-matched random networks beside each.

It says nothing about which map finds all units that matter; :func:`tl_fbn.validate_scores` compares whole maps with single-unit lesions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.lesion import LesionOptions, lesion_study
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.units import UnitMap


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

    ::

        fbn.causal_check(model, {"t": contrast.t, "effect": contrast.effect}, fbn.demo.battery(), top=0.03, seed=0)

    Args:
        model: A TransformerLens model in eval mode.
        maps: Names to maps of one space, from whatever method.
        battery: What to score, on items that no map was made from.
        seed: Of the random networks.
        top: How many units of each map, or what share.
        two_sided: Take the largest magnitudes; by default of maps that are :attr:`tl_fbn.UnitMap.signed`.
        **options: Options of :func:`tl_fbn.lesion_study`: ``n_controls``, ``controls``, ``method``, ``metric``, ``path`` and so on.

    Returns:
        A study whose networks are called as the maps; ``.to_dataframe()`` has a line a map and task.

    Raises:
        InputError: No maps, maps of different spaces, or items a map was made from.
    """
    if not maps:
        raise InputError("causal_check got no maps; give a mapping of names to maps")
    networks = {name: one.top(top, two_sided=two_sided, name=name) for name, one in maps.items()}
    return lesion_study(model, networks, battery, seed=seed, **options)
