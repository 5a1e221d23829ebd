"""Maps as rows of norm 1, whose products are correlations, and units shuffled within layers, which is their null."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tl_fbn.units import Atlas, UnitSpace


def atlas_rows(atlas: Atlas) -> Float[np.ndarray, "map unit"]:
    """The maps of an atlas (memberships where it has none), each centred and of norm 1."""
    maps = [one.members for one in atlas.values()] if atlas.maps is None else atlas.maps
    return rows_of_norm_one(np.array(maps, dtype=float))


def rows_of_norm_one(values: Float[np.ndarray, "map unit"]) -> Float[np.ndarray, "map unit"]:
    """Maps, each centred and scaled to norm 1; a constant one becomes zero."""
    centred = values - values.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norms > 0, norms, 1.0)


def shuffle_within_layers(space: UnitSpace, rng: np.random.Generator) -> np.ndarray:
    """A random order of units that keeps each in its layer."""
    order = np.arange(space.n_units)
    for layer in range(space.n_layers):
        rng.shuffle(order[space.layer_slice(layer)])
    return order
