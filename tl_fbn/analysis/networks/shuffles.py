"""Maps scaled so that their products are correlations, and units shuffled within layers, which is their null.

For maps x and y that have mean 0 and norm 1 over units, Pearson's correlation is the product x'y, so that all pairs of
two atlases are one matrix product. Shuffling the units of one side gives what correlation chance has. It happens within
layers, because maps of any two tasks agree about which layers are strong, and that alone would make them correlate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tl_fbn.units import Atlas, UnitSpace


def atlas_rows(atlas: Atlas) -> Float[np.ndarray, "map unit"]:
    """The maps of an atlas (memberships where it has none), each centred and of norm 1.

    Args:
        atlas: Networks with or without maps.

    Returns:
        (map, unit) one row a network, in order.
    """
    maps = [one.members for one in atlas.values()] if atlas.maps is None else atlas.maps
    return rows_of_norm_one(np.array(maps, dtype=float))


def rows_of_norm_one(values: Float[np.ndarray, "map unit"]) -> Float[np.ndarray, "map unit"]:
    """Maps, each centred and scaled to norm 1; a constant one becomes zero.

    Args:
        values: (map, unit) maps, all finite.

    Returns:
        (map, unit) maps whose products are Pearson's correlations; a constant map correlates 0 with every other.
    """
    centred = values - values.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norms > 0, norms, 1.0)


def shuffle_within_layers(space: UnitSpace, rng: np.random.Generator) -> np.ndarray:
    """A random order of units that keeps each in its layer.

    Args:
        space: Space of the units.
        rng: Source of randomness; one shuffle a layer is drawn from it.

    Returns:
        (unit,) flat indices: ``values[order]`` are the shuffled values.
    """
    order = np.arange(space.n_units)
    for layer in range(space.n_layers):
        # a slice is a view: shuffling it shuffles this part of the whole
        rng.shuffle(order[space.layer_slice(layer)])
    return order
