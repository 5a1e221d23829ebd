"""From a map to a network: which units belong.

=============== =========================================================================================
threshold       members
=============== =========================================================================================
a number        \\|z\\| at least that, z over all units or over each layer's; ``one_sided``: z at least that (S0)
``"percentile"`` the share 1/K of largest \\|values\\| of all K maps together, so that a unit is in one network on average (nilearn's
                CanICA and S0's later code)
``"mixture"``   units that a wide Gaussian explains better than the narrow one of the background, fitted to each map
=============== =========================================================================================
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace

MembershipRule = Literal["percentile", "mixture"]
_FITTED = 20_000


def cut(
    maps: Float[np.ndarray, "network unit"],
    space: UnitSpace,
    *,
    threshold: int | float | MembershipRule,
    seed: int,
    one_sided: bool = False,
    per_layer: bool = False,
) -> Bool[np.ndarray, "network unit"]:
    """Members of every network.

    Args:
        maps: z-scored over units; NaN-free.
        space: Unit space of the maps.
        threshold: See the module.
        one_sided: Only the positive tail.
        per_layer: Score and cut within every layer.
        seed: Seed of the mixture's fit.

    Raises:
        InputError: An unknown rule, or a number that is not positive.
    """
    if isinstance(threshold, str) and threshold not in get_args(MembershipRule):
        raise InputError(
            f"threshold={threshold!r} is no number and none of {', '.join(map(repr, get_args(MembershipRule)))}"
        )
    if not isinstance(threshold, str) and not threshold > 0:
        raise InputError(f"threshold={threshold} must be above 0, e.g. 3.0")
    layers = [space.layer_slice(layer) for layer in range(space.n_layers)] if per_layer else [slice(0, space.n_units)]
    members = np.zeros(maps.shape, dtype=bool)
    for span in layers:
        part = maps[:, span]
        if not part.shape[1]:
            continue
        if per_layer and not isinstance(threshold, str):
            spread = part.std(1, keepdims=True)
            part = (part - part.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        size = part if one_sided else np.abs(part)
        if threshold == "percentile":
            members[:, span] = size >= np.percentile(np.abs(part), 100 - 100 / len(maps))
        elif threshold == "mixture":
            members[:, span] = [_apart(values, seed) & (side > 0) for values, side in zip(part, size, strict=True)]
        else:
            members[:, span] = size >= threshold
    return members


def _apart(values: Float[np.ndarray, " unit"], seed: int) -> Bool[np.ndarray, " unit"]:
    """Units beyond the point where the wide Gaussian of a mixture of two outweighs the narrow one."""
    spread = values.std()
    if not spread > 0:
        return np.zeros(len(values), dtype=bool)
    few = values if len(values) <= _FITTED else np.random.default_rng(seed).choice(values, _FITTED, replace=False)
    start = {
        "weights_init": [0.9, 0.1],
        "means_init": [[0.0], [0.0]],
        "precisions_init": [[[4 / spread**2]], [[0.1 / spread**2]]],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(2, random_state=seed, max_iter=200, **start).fit(few.reshape(-1, 1).astype(float))
    wide = int(np.argmax(np.asarray(mixture.covariances_)))
    return mixture.predict_proba(values.reshape(-1, 1).astype(float))[:, wide] > 0.5
