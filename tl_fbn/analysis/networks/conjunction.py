"""The conjunction of maps: what every one of several contrasts shows, as the smallest value of each unit.

    conjunction(u) = min over maps m of m(u)

It is the minimum statistic of Nichols et al. (2005): a unit is high in the conjunction only if it is high in each map.
The contrasts of a task against each other task, conjoined, are therefore large only for units that respond more to
this task than to any other. A contrast against the mean of the others does not show that: a unit may exceed the mean
and still respond more to one of them.

Signs matter: the minimum of negative values is the most negative one, so conjoin contrasts that point the same way. No
p values are computed; the conjunction of t maps is a map of t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap
from tl_fbn.units.space import pooled_prompts


@checked
def conjunction(maps: Sequence[UnitMap]) -> UnitMap:
    """The smallest value over maps, unit by unit (the minimum-statistic conjunction of Nichols et al. 2005).

    Units that respond more to sorting than to either other task:

    >>> fit = fbn.fit_glm(recording)
    >>> both = fbn.conjunction([fit.contrast(f"sort - {other}").t for other in ("reverse", "add")])
    >>> both  # doctest: +ELLIPSIS
    UnitMap of t: tl_fbn-demo mlp.neurons (3 x 384), ... to ...
    >>> bool((both.values <= fit.contrast("sort - add").t.values).all())
    True

    Args:
        maps: At least one map; all are of one space and of one kind (e.g. all of t).

    Returns:
        A map of the same kind, (unit,) smallest values; NaN where any map has NaN. Its provenance lists that of every
        map under ``"of"``, and the prompts of all of them.

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
    for name in ("prompts", "contrast", "contrast_name"):  # those of the first map alone
        provenance.pop(name, None)
    if pooled:
        # the prompts of all maps are kept once, at the top, and not again in every part
        provenance["of"] = [
            {key: value for key, value in part.items() if key != "prompts"} for part in provenance["of"]
        ]
    provenance |= pooled
    return UnitMap(maps[0].space, np.min([each.values for each in maps], axis=0), maps[0].kind, provenance)
