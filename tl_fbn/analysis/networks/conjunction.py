"""Maps and networks against each other.

``conjunction`` asks for what *every* one of several contrasts shows: the smallest value of each unit. The effect of a task
against each other task, conjoined, is large only for units that respond to this task more than to any other, which
a contrast against the others' mean is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_fbn.errors import InputError
from tl_fbn.units import UnitMap
from tl_fbn.units.space import pooled_prompts


def conjunction(maps: Sequence[UnitMap]) -> UnitMap:
    """The minimum over maps, unit by unit (the minimum-statistic conjunction of Nichols et al. 2005).

    >>> from tl_fbn.units import UnitSpace
    >>> space = UnitSpace("mlp.neurons", (3,))
    >>> conjunction([UnitMap(space, np.array([1.0, 5.0, 2.0]), "t"), UnitMap(space, np.array([3.0, -1.0, 4.0]), "t")]).values
    array([ 1., -1.,  2.])

    Args:
        maps: Maps in one space and of one kind.

    Raises:
        InputError: No maps, or maps of different kinds or spaces.
    """
    if not maps:
        raise InputError("conjunction got no maps; give at least one")
    for other in maps[1:]:
        maps[0].space.require_same(other.space)
    kinds = {each.kind for each in maps}
    if len(kinds) > 1:
        raise InputError(
            f"conjunction of different kinds of map ({', '.join(sorted(kinds))}) has no meaning; give maps of one kind"
        )
    provenance = {**maps[0].provenance, "method": "conjunction", "of": [dict(each.provenance) for each in maps]}
    pooled = pooled_prompts(each.provenance for each in maps)
    for name in ("prompts", "contrast"):  # those of the first map alone
        provenance.pop(name, None)
    if pooled:
        provenance["of"] = [
            {key: value for key, value in part.items() if key != "prompts"} for part in provenance["of"]
        ]
    provenance |= pooled
    return UnitMap(maps[0].space, np.min([each.values for each in maps], axis=0), maps[0].kind, provenance)
