"""How long a condition goes on in the activations: the leak of an exponential kernel, by cross-validation over runs.

The kernel ``h(k) = (1 - leak) * leak**k`` lets the response to a condition build up over the rows of a context
(``leak`` 0 is the plain boxcar; at 0.9 the response has reached two thirds of its height after ten rows). For every
leak of a grid, each run is predicted from the coefficients that the other runs have together,

    beta = (sum_r X_r'X_r)^-1 sum_r X_r'Y_r,      over all runs r but the one predicted,

and scored by the log-likelihood of its T rows under Gaussian noise with a variance of each unit's own, at its best
value,

    log L = -T / 2 * log(sum (y - X beta)**2 / T)     (constants that all leaks share are left out).

The constant, position, first tokens and drift are taken off the activations and the kernels of each run first, so that
only the conditions predict. Units are treated as independent and so are rows: likelihoods compare leaks, they are no
test.

Cost: one pass over the activations; rows x units x (leaks x conditions + nuisance columns). Memory: a (condition, unit)
array for every leak and run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.glm.design_matrix import design_matrix, leaky
from tl_fbn.analysis.glm.moments import SHIFT_ROWS, Basis
from tl_fbn.analysis.parallel import each
from tl_fbn.analysis.unit_blocks import pieces
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units.prose import listed
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class LeakEstimate(TableResult, step="fit"):
    """The leaks that :func:`estimate_leak` compared, one line each, best first.

    >>> fbn.glm.estimate_leak(recording).to_dataframe().round(2).head(1)
       leak  log_likelihood  share
    0   0.2            0.06   0.23

    Columns: ``leak`` (what is left of the response after one row); ``log_likelihood`` (of runs left out, in nats a
    row and unit, relative to the boxcar's where 0 is on the grid, else to the best leak's); ``share`` (share of the
    units that this leak predicts best).

    Args:
        table: (leak,) the columns named here.
        provenance: The recording, its prompts, and the grid of leaks.
    """

    @property
    def best(self) -> float:
        """The leak with the highest log-likelihood of the runs left out."""
        return float(self.table["leak"].iloc[0])

    def _methods_(self) -> list[str]:
        return [
            f"Leaks of {listed(sorted(self.table['leak'].tolist()))} were compared by the log-likelihood of runs "
            f"left out; best: {self.best:g}."
        ]

    def __repr__(self) -> str:
        return f"LeakEstimate: {self.best:g} predicts runs left out best, of {len(self)} leaks tried"


@checked
def estimate_leak(
    recording: Recording, *, grid: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)
) -> LeakEstimate:
    """Compare how well exponential kernels predict runs that were left out.

    >>> best = fbn.glm.estimate_leak(recording).best
    >>> best
    0.2
    >>> fbn.fit_glm(recording, kernel="leak", leak=best, progress=False).contrast("sort - reverse")
    Contrast "sort - reverse" at block level, 14 degrees of freedom, runs [0, 1]: tl_fbn-demo mlp.neurons (3 x 384)

    Args:
        recording: A recording of at least two runs, since each run is predicted from the others.
        grid: Leaks to try, each at least 0 and below 1: the share of the response that is left after one row. 0 is the
            plain boxcar (if that is best, fit with ``kernel="none"``).

    Returns:
        A table with one line a leak, best first: ``leak``, ``log_likelihood`` and ``share``.

    Raises:
        InputError: A single run, an empty grid, or a leak outside 0 to 1.
    """
    if len(recording) < 2:
        raise InputError(f"estimate_leak leaves runs out; this recording has {len(recording)}")
    if not grid or any(not 0 <= leak < 1 for leak in grid):
        raise InputError(f"grid={tuple(grid)} must hold leaks of at least 0 and below 1")
    score = _held_out_log_likelihoods(recording, grid)
    rows = sum(run.n_rows for run in recording)
    # a unit that is constant within a run has no likelihood there and speaks for no leak
    varies = np.isfinite(score).all(0)
    means = score[:, varies].sum(1) / rows / max(int(varies.sum()), 1)
    # nats a row and unit, relative to the boxcar
    base = means[list(grid).index(0.0)] if 0.0 in grid else means.max()
    best = np.bincount(score[:, varies].argmax(0), minlength=len(grid)) / max(int(varies.sum()), 1)
    table = pd.DataFrame({"leak": list(grid), "log_likelihood": means - base, "share": best})
    table = table.sort_values("log_likelihood", ascending=False, ignore_index=True)
    return LeakEstimate(table, {**recording.provenance, "grid": list(grid)})


def _held_out_log_likelihoods(recording: Recording, grid: Sequence[float]) -> Float[np.ndarray, "leak unit"]:
    """Log-likelihoods, summed over runs that are predicted from the others; -inf where a unit never varies."""
    conditions = sorted(recording.conditions)
    # runs are summed once: predicting a run from the others then only adds small matrices
    sums = [_run_sums(run, conditions, grid) for run in recording]
    total = np.zeros((len(grid), recording.space.n_units))
    for i, (grams, crosses, squares) in enumerate(sums):
        n_rows = recording[i].n_rows
        others = [one for j, one in enumerate(sums) if j != i]
        for leak in range(len(grid)):
            gram = sum(one[0][leak] for one in others)
            # pinv, for the kernels of all conditions may add up to the constant that was taken off
            beta = np.linalg.pinv(gram, hermitian=True) @ sum(one[1][leak] for one in others)
            # |y - X beta|^2 = y'y - 2 beta'X'y + beta'X'X beta, of the run left out
            error = squares - 2 * (beta * crosses[leak]).sum(0) + (beta * (grams[leak] @ beta)).sum(0)
            # the variance at its best value, error / n_rows, leaves the logarithm alone
            likelihood = -n_rows / 2 * np.log(np.maximum(error, 1e-300) / n_rows)
            total[leak] += np.where(squares > 0, likelihood, -np.inf)
    return total


def _run_sums(
    run: Run, conditions: Sequence[str], grid: Sequence[float]
) -> tuple[
    Float[np.ndarray, "leak condition condition"], Float[np.ndarray, "leak condition unit"], Float[np.ndarray, " unit"]
]:
    """X'X and X'Y for every leak, and y'y, with nuisance off; the activations are read once."""
    matrix = design_matrix(run)
    plain = [matrix[name].to_numpy(float) if name in matrix else np.zeros(run.n_rows) for name in conditions]
    rest = matrix[[name for name in matrix.columns if name not in conditions]].to_numpy(float)
    starts = run.segment_starts
    nuisance_basis = Basis.of(np.column_stack([np.ones(run.n_rows), rest]), starts).q  # orthonormal, Q
    columns = [[leaky(column, starts, leak) if leak else column for column in plain] for leak in grid]
    x = np.array(columns).reshape(-1, run.n_rows).T  # (row, leak x condition)
    x = x - nuisance_basis @ (nuisance_basis.T @ x)
    # X'Y and Q'Y in one pass: Q'Y is what must come off y'y
    found = each(
        partial(_layer_sums, np.hstack([x, nuisance_basis])), run.layers.values(), size=run.n_rows * run.space.n_units
    )
    products = np.concatenate([one for one, _ in found], axis=1)
    cross = products[: x.shape[1]]
    nuisance = products[x.shape[1] :]
    total = np.concatenate([squares for _, squares in found])
    # y'y without nuisance is y'y - |Q'y|^2; X'Y needs no such step, X being orthogonal to Q already
    square = total - np.square(nuisance).sum(0)
    square = np.where(square > 1e-12 * total, square, 0.0)  # below is rounding: the unit never varies
    shape = (len(grid), len(conditions))
    kernels = x.T.reshape(*shape, run.n_rows)
    return kernels @ kernels.transpose(0, 2, 1), cross.reshape(*shape, -1), square


def _layer_sums(
    functionals: Float[np.ndarray, "row functional"], array: np.ndarray | HalfArray
) -> tuple[Float[np.ndarray, "functional unit"], Float[np.ndarray, " unit"]]:
    """Products with every unit of a layer, and the unit's sum of squares.

    The unit's mean over the first rows is taken off before, for precision; the nuisance columns span the constant, so
    that changes nothing that is used.
    """
    shift = array[:SHIFT_ROWS].mean(0, dtype=np.float64)
    products = np.zeros((functionals.shape[1], array.shape[1]))
    squares = np.zeros(array.shape[1])
    for rows, units, y in pieces(array, shift):
        products[:, units] += functionals[rows].T @ y
        squares[units] += np.einsum("tn,tn->n", y, y)
    return products, squares
