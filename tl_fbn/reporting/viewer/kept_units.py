"""Which single units have their course kept in the viewer's page: there is room for some hundreds of them.

First come the units that the caller named; then, in turn, the next strongest unit of every network and of every map,
until there are as many as fit. A unit's strength is the magnitude of its value in a map; in a network it is that of the
network's own map.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.units import Network, UnitMap, UnitSpace

NamedMaps = list[tuple[str, UnitMap]]  # not a mapping: an atlas' map and one of the caller may have the same name


def _pair(layer: Any, unit: Any) -> tuple[int, int]:
    return operator.index(layer), operator.index(unit)


def requested_units(space: UnitSpace, units: Network | Iterable[Any] | None, most: int) -> list[int]:
    """Flat indices of the units whose courses the caller wants kept, in ascending order.

    Args:
        space: The recording's units.
        units: (layer, unit) pairs, flat indices or a network; None names no unit.
        most: Largest number of units that may be named.

    Raises:
        InputError: More units than ``most``, or a network of other units.
        InputIndexError: A unit that is not in the space.
        InputTypeError: ``units`` is of another type than those above.
    """
    if units is None:
        return []
    if isinstance(units, Network):
        space.require_same(units.space, "keep the courses of")
        network = units
    else:
        try:
            # a pair out of an array or of JSON is no tuple
            pairs: list[Any] = [one if np.ndim(one) == 0 else _pair(*one) for one in units]
            network = Network.from_indices(space, pairs)
        except IndexError:
            raise
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"units={units!r} must be (layer, unit) pairs, flat indices or a network, e.g. units=[(3, 17), (4, 2)]"
            ) from error
    if len(network) > most:
        raise InputError(f"units= names {len(network)} units, but max_units={most}; raise max_units, or name fewer")
    return [int(unit) for unit in network.indices]


def ranked_units(
    sets: Mapping[str, Network], all_maps: NamedMaps, own_map: Mapping[str, int], most: int
) -> list[list[int]]:
    """Up to ``most`` units of every network and of every map, the strongest first.

    Args:
        sets: Names to networks. The members of a network without a map have no order of strength; if they are more than
            ``most``, those that are taken are spread evenly over all of them.
        all_maps: Names and maps, of the same units as the networks.
        own_map: Name of a network to the place of its map in ``all_maps``; networks without a map are not in it.
        most: Largest number of units in a ranking.

    Returns:
        Flat indices, a list for each network and then one for each map.
    """
    rankings: list[list[int]] = []
    for name, network in sets.items():
        members = network.indices
        if name in own_map:
            _, its_map = all_maps[own_map[name]]
            members = members[strongest(its_map.values[members], most)]
        elif len(members) > most:
            # members ascend by layer, so that evenly spaced ones come from all layers
            members = members[np.linspace(0, len(members) - 1, most).round().astype(int)]
        rankings.append(members.tolist())
    return rankings + [strongest(one.values, most).tolist() for _, one in all_maps]


def strongest(values: Float[np.ndarray, " some"], most: int) -> Int[np.ndarray, " few"]:
    """Places of the ``most`` largest magnitudes, the largest first; NaN is left out."""
    size = np.where(np.isnan(values), -1.0, np.abs(values))  # -1 is below every magnitude
    # a partition, linear in the number of values, and then a sort of the few. They are put in ascending order of place
    # before the stable sort, so that among equal magnitudes the lower place comes first
    places = np.sort(np.argpartition(-size, most)[:most]) if len(size) > most else np.arange(len(size))
    places = places[np.argsort(-size[places], kind="stable")]
    return places[size[places] >= 0]


def interleaved(requested: Sequence[int], rankings: Sequence[Sequence[int]], most: int) -> list[int]:
    """The units asked for, and the next of each ranking in turn until there are ``most``.

    Args:
        requested: Flat indices of the units that are kept in any case.
        rankings: Flat indices, a list for each network and each map, the strongest unit first.
        most: Number of units to keep; fewer are kept where the rankings hold fewer.

    Returns:
        Flat indices in ascending order.
    """
    chosen = dict.fromkeys(requested)
    for rank in range(most):
        for ranking in rankings:
            if rank < len(ranking) and len(chosen) < most:
                chosen.setdefault(ranking[rank])
    return sorted(chosen)
