"""Which contrasts a design can estimate: combinations of coefficients that every least-squares solution agrees about.

A contrast is estimable if its weights lie in the row space of the design X, that is if ``c (I - X^+ X) = 0``, with X^+
the pseudo-inverse. Where columns are mixed up (a condition that is always the sum of two others), differences between
them are not estimable and others may be. Cost: regressors^2 numbers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ESTIMABLE_TOLERANCE = 1e-6  # share of a contrast that may lie outside the row space of the design
_PROJECTION_ROUNDING = 1e-7  # entries of a projection below this are 0 but for rounding


def is_estimable(
    vector: Float[np.ndarray, " regressor"],
    to_columns: Float[np.ndarray, "regressor rank"],
    to_coordinates: Float[np.ndarray, "rank regressor"],
) -> bool:
    """Whether a combination of coefficients is the same in every least-squares solution of a design.

    Columns are scaled to norm 1 first, so that neither a column of tiny nor one of huge numbers decides.

    Args:
        vector: (regressor,) weights of the columns.
        to_columns: (regressor, rank) maps coordinates to coefficients of the columns.
        to_coordinates: (rank, regressor) maps coefficients to coordinates.
    """
    scale = np.linalg.norm(to_coordinates, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    # I - X^+ X projects onto the combinations of columns that add up to 0 in every row, which no data can tell apart
    unseen = np.eye(len(vector)) - (to_columns * scale[:, None]) @ (to_coordinates / scale)
    unseen[np.abs(unseen) < _PROJECTION_ROUNDING] = 0.0
    weights = vector / scale
    return bool(np.all(np.abs(weights @ unseen) <= _ESTIMABLE_TOLERANCE * (np.abs(weights) @ np.abs(unseen))))
