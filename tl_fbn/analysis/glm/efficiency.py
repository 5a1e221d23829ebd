"""What a design matrix can show, before any model runs: collinearity, efficiency, the cost of drift.

    fbn.vif(matrix), fbn.efficiency(matrix, "sort - rest")

*Efficiency* of a contrast is ``1 / (c (X'X)^-1 c')``: its inverse variance in units of the noise, per unit of effect. It is
a number to compare designs by. The *variance inflation factor* of a column is 1 / (1 - R2) of its regression on the others:
1 alone, 5 a worry, infinite where the others imply it (boxcars of all conditions and a constant do, which costs a *difference*
of conditions nothing: look at the contrast's efficiency, not at a boxcar's factor).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.glm.expressions import as_vector, contrast_weights
from tl_fbn.analysis.glm.moments import Basis
from tl_fbn.analysis.glm.run_fit import is_estimable


def vif(design: pd.DataFrame) -> pd.Series:
    """Variance inflation factor of every column, centred; a constant column has none (NaN).

    >>> vif(pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "c": [0, 0, 1, 2]})).round(1).to_dict()
    {'a': 10.0, 'b': 2.0, 'c': 11.0}

    Args:
        design: (row, regressor).

    Returns:
        One number a column: 1 where no other column resembles it, infinite where others make it up.
    """
    x = design.to_numpy(float)
    x = x - x.mean(0)
    sizes = np.square(x).sum(0)
    factors = []
    for i in range(x.shape[1]):
        if sizes[i] <= 1e-20 * len(x):
            factors.append(np.nan)
            continue
        others = np.delete(x, i, 1)
        left = _basis(others).q if np.square(others).sum() > 0 else others[:, :0]
        rest = np.square(x[:, i] - left @ (left.T @ x[:, i])).sum() / sizes[i]
        factors.append(1 / rest if rest > 1e-10 else np.inf)
    return pd.Series(factors, index=design.columns, name="vif")


def efficiency(design: pd.DataFrame, expression: str) -> float:
    """Efficiency of a contrast, 0 where the design cannot estimate it.

    >>> blocks = pd.DataFrame({"a": [1, 1, 0, 0, 1, 1, 0, 0], "b": [0, 0, 1, 1, 0, 0, 1, 1]})
    >>> round(efficiency(blocks, "a - b"), 3), round(efficiency(blocks[:4], "a - b"), 3)
    (2.0, 1.0)

    Args:
        design: (row, regressor).
        expression: As for :meth:`.glm.GLMFit.contrast`.

    Returns:
        One over the variance of the estimate for noise of variance 1; twice as much is as good as twice the rows.

    Raises:
        ValueError: The expression is none, or names no column of the design.
    """
    columns = [str(name) for name in design.columns]
    vector = as_vector(contrast_weights(expression, columns), columns)
    assert vector is not None
    return _efficiency(_basis(design.to_numpy(float)), vector)


def _basis(x: Float[np.ndarray, "row regressor"]) -> Basis:
    return Basis.of(x, np.ones(len(x), dtype=bool))  # links between rows play no part


def _efficiency(basis: Basis, vector: Float[np.ndarray, " regressor"]) -> float:
    if not is_estimable(vector, basis.to_columns, basis.to_coordinates):
        return 0.0
    w = basis.to_columns.T @ vector
    return float(1.0 / (w @ w))


def drift_cost(
    conditions: Float[np.ndarray, "row condition"], drift: Float[np.ndarray, "row regressor"]
) -> Float[np.ndarray, "condition condition"]:
    """Share of efficiency that drift columns take from the difference of every two conditions (cell means)."""
    n = conditions.shape[1]
    cost = np.zeros((n, n))
    alone, beside = _basis(conditions), _basis(np.column_stack([conditions, drift]))
    for i in range(n):
        for j in range(i + 1, n):
            vector = np.zeros(n)
            vector[[i, j]] = 1.0, -1.0
            before = _efficiency(alone, vector)
            after = _efficiency(beside, np.append(vector, np.zeros(drift.shape[1])))
            cost[i, j] = cost[j, i] = 1.0 - after / before if before > 0 else 0.0
    return cost
