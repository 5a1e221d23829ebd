"""From a map to a network: which units belong to it.

================ =======================================================================================================
threshold        members
================ =======================================================================================================
a number         units with \\|z\\| of at least that, z over all units or over those of each layer; with ``one_sided``
                 units with z of at least that (Liu et al. 2025, first version)
``"percentile"`` the share 1/K of largest \\|values\\| of all K maps together, so that a unit is in one network on
                 average (nilearn's CanICA, and the later code of Liu et al. 2025)
``"mixture"``    units that a wide Gaussian explains better than the narrow one of the background; both are fitted to
                 each map
================ =======================================================================================================

Units: maps are z-scores. Cost: negligible but for ``"mixture"``, an expectation-maximisation fit of at most 20,000
units for each map. None of the rules is a test: a map of noise has members too, and whether a network is more than
noise is what its stability (:mod:`.icasso`) says.
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
_MAX_UNITS_FITTED = 20_000  # of larger maps the mixture is fitted to a random part


def cut(
    maps: Float[np.ndarray, "network unit"],
    space: UnitSpace,
    *,
    threshold: int | float | MembershipRule,
    seed: int,
    one_sided: bool = False,
    per_layer: bool = False,
) -> Bool[np.ndarray, "network unit"]:
    """Members of every network, True where a unit belongs to it.

    Args:
        maps: (network, unit) maps, z-scored over units, without NaN.
        space: Unit space of the maps.
        threshold: A number that \\|z\\| has to reach; ``"percentile"`` for the share 1/K of largest magnitudes of all
            K maps; ``"mixture"`` for units that the wide one of two Gaussians explains better than the narrow one.
        seed: Seed of the fit of the mixture; the same seed gives the same members. Other rules do not use it.
        one_sided: Whether only units of positive value can be members.
        per_layer: Whether the rule is applied to every layer by itself, after z-scoring there if it is a number.

    Raises:
        InputError: The threshold is an unknown rule, or a number that is not positive.
    """
    if isinstance(threshold, str) and threshold not in get_args(MembershipRule):
        raise InputError(
            f"threshold={threshold!r} is no number and none of {', '.join(map(repr, get_args(MembershipRule)))}"
        )
    if not isinstance(threshold, str) and not threshold > 0:
        raise InputError(f"threshold={threshold} must be above 0, e.g. 3.0")
    spans = [space.layer_slice(layer) for layer in range(space.n_layers)] if per_layer else [slice(0, space.n_units)]
    members = np.zeros(maps.shape, dtype=bool)
    for span in spans:
        part = maps[:, span]
        if not part.shape[1]:  # a layer that was not decomposed
            continue
        if per_layer and not isinstance(threshold, str):
            spread = part.std(1, keepdims=True)
            part = (part - part.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        size = part if one_sided else np.abs(part)
        if threshold == "percentile":
            # a percentile of magnitudes in both cases: one-sided members are the positive ones of the two-sided
            # (0 is no magnitude to be a member by, also where most units have it)
            members[:, span] = (size >= np.percentile(np.abs(part), 100 - 100 / len(maps))) & (size > 0)
        elif threshold == "mixture":
            in_tails = [_in_wide_gaussian(values, seed) for values in part]
            members[:, span] = np.array(in_tails) & (size > 0)
        else:
            members[:, span] = size >= threshold
    return members


def _in_wide_gaussian(values: Float[np.ndarray, " unit"], seed: int) -> Bool[np.ndarray, " unit"]:
    """Units whose posterior probability of the wide Gaussian of a mixture of two is above one half."""
    spread = values.std()
    if not spread > 0:
        return np.zeros(len(values), dtype=bool)
    fitted = values
    if len(values) > _MAX_UNITS_FITTED:
        fitted = np.random.default_rng(seed).choice(values, _MAX_UNITS_FITTED, replace=False)
    # The fit begins with a background of nine tenths of the units, half as wide as the map (precision 4 / spread^2),
    # and tails three times as wide as the map (0.1 / spread^2). k-means, scikit-learn's own start, would look for two
    # means, where it is the widths that differ.
    start = {
        "weights_init": [0.9, 0.1],
        "means_init": [[0.0], [0.0]],
        "precisions_init": [[[4 / spread**2]], [[0.1 / spread**2]]],
    }
    with warnings.catch_warnings():
        # a fit that has not converged is used as it is: in a nearly Gaussian map there is no second width to find
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(2, random_state=seed, max_iter=200, **start).fit(fitted.reshape(-1, 1).astype(float))
    wide = int(np.argmax(np.asarray(mixture.covariances_)))  # the fit may have swapped them
    return mixture.predict_proba(values.reshape(-1, 1).astype(float))[:, wide] > 0.5
