"""What a design matrix can show, before any model runs: collinearity, efficiency, the cost of drift.

*Efficiency* of a contrast c is ``1 / (c (X'X)^-1 c')``: its inverse variance for noise of variance 1, independent
from row to row. It is a number to compare designs by, not a power: that depends on the effect and the noise.

The *variance inflation factor* (VIF) of a column is ``1 / (1 - R2)`` of its regression on the other columns and a
constant: 1 where no other column resembles it, 5 a reason to look closer, infinite where the others add up to it.
Boxcars of all conditions add up to a constant, so their factors are infinite; that costs a *difference* of conditions
nothing, so look at the contrast's efficiency, not at a boxcar's factor.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Float
from statsmodels.stats.outliers_influence import variance_inflation_factor

from tl_fbn.analysis.glm.estimability import is_estimable
from tl_fbn.analysis.glm.expressions import as_vector, contrast_weights
from tl_fbn.analysis.glm.moments import Basis
from tl_fbn.analysis.glm.others import condition_columns
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked

_IMPLIED = 1e10  # a variance inflation factor beyond this is infinite but for rounding


@checked
def vif(design: pd.DataFrame) -> pd.Series:
    """Variance inflation factor of every column, centred; a constant column has none (NaN).

    >>> vif(pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "c": [0, 0, 1, 2]})).round(1).to_dict()
    {'a': 10.0, 'b': 2.0, 'c': 11.0}

    Args:
        design: (row, regressor) design matrix with named columns.

    Returns:
        One number for each column: 1 where no other column resembles it, infinite where others add up to it.
    """
    x = matrix_of(design)
    sizes = np.linalg.norm(x - x.mean(0), axis=0)
    varies = sizes > 1e-10 * np.linalg.norm(x, axis=0)
    scaled = (x - x.mean(0)) / np.where(varies, sizes, 1.0)
    with_constant = np.column_stack([np.ones(len(x)), scaled])  # then R2 is that of centred columns
    factors = np.full(x.shape[1], np.nan)
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that others add up to, which are to be found, not warned about
        for column in np.flatnonzero(varies):
            factors[column] = variance_inflation_factor(with_constant, column + 1)
    factors[factors > _IMPLIED] = np.inf
    return pd.Series(factors, index=design.columns, name="vif")


def matrix_of(design: pd.DataFrame) -> Float[np.ndarray, "row regressor"]:
    """The numbers of a design matrix.

    Args:
        design: (row, regressor) design matrix with named columns.

    Raises:
        InputError: A column holds something else than numbers; the message names it.
    """
    for name in design.columns:
        if not pd.api.types.is_numeric_dtype(design[name]) or pd.api.types.is_complex_dtype(design[name]):
            raise InputError(f"column {name!r} of the design holds {design[name].dtype}, no numbers; give real numbers")
    return design.to_numpy(float)


def collinearity_table(design: pd.DataFrame) -> pd.DataFrame:
    """One line a column: its mean, standard deviation, largest correlation with another column and which, and VIF."""
    names = [str(name) for name in design.columns]
    values = matrix_of(design)
    r = np.abs(correlations(values))
    np.fill_diagonal(r, np.nan)
    # a constant column has no correlations: NaN in its row and column, and no partner
    known = [bool(np.isfinite(line).any()) for line in r]
    partner = np.where(np.isfinite(r), r, -1.0).argmax(1)
    return pd.DataFrame(
        {
            "column": names,
            "mean": values.mean(0),
            "sd": values.std(0),
            "largest |r|": np.where(known, np.take_along_axis(r, partner[:, None], 1)[:, 0], np.nan),
            "with": [names[i] if ok else "" for i, ok in zip(partner, known, strict=True)],
            "vif": vif(design).to_numpy(),
        }
    )


def correlations(values: Float[np.ndarray, "row regressor"]) -> Float[np.ndarray, "regressor regressor"]:
    """Correlations of columns; NaN where one never varies."""
    centred = values - values.mean(0)
    sizes = np.linalg.norm(centred, axis=0)
    # what is left of a constant after centring is rounding
    sizes = np.where(sizes > 1e-10 * np.linalg.norm(values, axis=0), sizes, np.nan)
    return np.clip((centred / sizes).T @ (centred / sizes), -1, 1)


@checked
def efficiency(design: pd.DataFrame, expression: str) -> float:
    """Efficiency of a contrast, 0 where the design cannot estimate it.

    >>> round(fbn.glm.efficiency(fbn.design_matrix(recording[0]), "sort - reverse"), 1)
    126.3

    Half the rows have half the efficiency:

    >>> blocks = pd.DataFrame({"a": [1, 1, 0, 0, 1, 1, 0, 0], "b": [0, 0, 1, 1, 0, 0, 1, 1]})
    >>> round(efficiency(blocks, "a - b"), 3), round(efficiency(blocks[:4], "a - b"), 3)
    (2.0, 1.0)

    Args:
        design: (row, regressor) design matrix with named columns.
        expression: Contrast over the columns: sums and differences of their names, times or divided by numbers, e.g.
            ``"sort - (add + reverse) / 2"``.

    Returns:
        One over the variance of the contrast's estimate, for noise of variance 1; twice as much is worth as much as
        twice the rows.

    Raises:
        InputError: The expression cannot be read, or names something that is no column of the design.
    """
    columns = [str(name) for name in design.columns]
    vector = as_vector(contrast_weights(expression, columns, conditions=condition_columns(design)), columns)
    assert vector is not None
    return _efficiency(_basis(design.to_numpy(float)), vector)


def _basis(x: Float[np.ndarray, "row regressor"]) -> Basis:
    return Basis.of(x, np.ones(len(x), dtype=bool))  # links between rows play no part


def _efficiency(basis: Basis, vector: Float[np.ndarray, " regressor"]) -> float:
    """Efficiency of a contrast given as one weight a column; 0 where the design cannot estimate it."""
    if not is_estimable(vector, basis.to_columns, basis.to_coordinates):
        return 0.0
    w = basis.to_columns.T @ vector  # c in orthonormal coordinates, where (X'X)^-1 is the identity
    return float(1.0 / (w @ w))


def drift_cost(
    conditions: Float[np.ndarray, "row condition"], drift: Float[np.ndarray, "row regressor"]
) -> Float[np.ndarray, "condition condition"]:
    """Share of its efficiency that the difference of every two conditions loses when drift is fitted as well.

    Args:
        conditions: (row, condition) one column for each condition.
        drift: (row, regressor) columns of slow drift.

    Returns:
        (condition, condition) shares between 0 and 1; 0 where the difference cannot be estimated even without drift.
    """
    n = conditions.shape[1]
    cost = np.zeros((n, n))
    without_drift = _basis(conditions)
    with_drift = _basis(np.column_stack([conditions, drift]))
    for i in range(n):
        for j in range(i + 1, n):
            vector = np.zeros(n)
            vector[[i, j]] = 1.0, -1.0
            before = _efficiency(without_drift, vector)
            after = _efficiency(with_drift, np.append(vector, np.zeros(drift.shape[1])))
            cost[i, j] = cost[j, i] = 1.0 - after / before if before > 0 else 0.0
    return cost
