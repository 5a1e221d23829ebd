"""Functional connectivity: which networks rise and fall together.

::

    found = fbn.networks.connectivity(recording, atlas, seed=0)
    found.matrix, found.low, found.high

The time course of each network (:mod:`.time_courses`) is centred within runs, so that differences between runs do not
count. Two networks are then compared over all rows by one of two correlations:

- ``"pearson"``: Pearson's correlation r of their courses;
- ``"partial"``: the correlation of what is left of both courses once all other networks are accounted for, which is
  ``-P_ij / sqrt(P_ii P_jj)`` for the precision matrix P, the inverse of the covariance. The covariance is shrunk as
  Ledoit and Wolf (2004) propose, so that it can be inverted where rows are few.

Neighbouring rows are not independent, so that the usual interval of a correlation is too narrow. The 95 % intervals
come from a bootstrap of stretches of neighbouring rows (the moving blocks of Künsch 1989): in every draw each run is
replaced by stretches taken from anywhere in it, as many as make up its length, and the intervals are the 2.5th and
97.5th percentiles over draws.

:func:`sliding_connectivity` computes the same correlations in windows of rows, without intervals. A window is one
sample of few rows, so most of its fluctuation is noise.

No p values are computed, and intervals are not corrected for the number of pairs. Cost: the time courses once, then
``n_bootstrap`` products (network, row) x (row, network).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.time_courses import CourseMethod, time_courses
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, html_table
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result

CorrelationKind = Literal["pearson", "partial"]


@dataclass(frozen=True, eq=False)
class Connectivity(Result, step="comparison", picture="connectivity"):
    """Correlations between the time courses of networks, with intervals.

    >>> found = fbn.networks.connectivity(recording, atlas, seed=0, n_bootstrap=99)
    >>> found.names[:2], found.matrix[:2, :2].round(1).tolist()
    (('N00', 'N01'), [[1.0, -0.1], [-0.1, 1.0]])
    >>> list(found.to_dataframe().columns)
    ['a', 'b', 'r', 'low', 'high']

    Args:
        names: Names of the networks, in the order of the rows and columns of the matrices.
        kind: Correlation that was computed: ``"pearson"``, or ``"partial"`` (freed of all other networks).
        matrix: (network, network) correlations from -1 to 1, with 1 on the diagonal; NaN between a network whose
            time course never varies and any other.
        low: (network, network) lower ends of the 95 % bootstrap intervals.
        high: (network, network) upper ends of the 95 % bootstrap intervals.
        provenance: Where the numbers came from: recording, how time courses were made, number of draws, and seed.
    """

    names: tuple[str, ...]
    kind: CorrelationKind
    matrix: Float[np.ndarray, "network network"]
    low: Float[np.ndarray, "network network"]
    high: Float[np.ndarray, "network network"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind",)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a pair of networks: a, b, r (the correlation), low and high (its 95 % interval)."""
        i, j = np.triu_indices(len(self.names), 1)  # each pair once, without the diagonal
        names = np.array(self.names, dtype=object)
        columns = {"a": names[i], "b": names[j], "r": self.matrix[i, j], "low": self.low[i, j], "high": self.high[i, j]}
        return pd.DataFrame(columns)

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Connectivity of {len(self.names)} networks is the {self.kind} correlation of their time courses (by "
            f"{about.get('how', NOT_RECORDED)}), with 95 % "
            f"block-bootstrap intervals ({about.get('n_bootstrap', NOT_RECORDED)} draws, seed "
            f"{about.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        table = self.to_dataframe()
        n_without_zero = int(np.sum((table["low"].to_numpy() > 0) | (table["high"].to_numpy() < 0)))
        return (
            f"Connectivity ({self.kind}) of {len(self.names)} networks: {n_without_zero} of {len(table)} intervals "
            "leave out 0"
        )

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        largest = table.iloc[np.argsort(-table["r"].abs().to_numpy(), kind="stable")[:10]]
        rows = [(r.a, r.b, f"{r.r:.2f}", f"{r.low:.2f} to {r.high:.2f}") for r in largest.itertuples()]
        return html_table(repr(self), ("a", "b", "r", "95 %"), rows)


@dataclass(frozen=True, eq=False)
class SlidingConnectivity(Result, step="comparison"):
    """Correlations between the time courses of networks, in windows of rows.

    >>> found = fbn.networks.sliding_connectivity(recording, atlas, window=64)
    >>> found
    SlidingConnectivity (pearson) of 8 networks in 46 windows
    >>> found.to_dataframe().head(2).round(1)
       run  start  stop    a    b    r
    0    0      0    64  N00  N01 -0.1
    1    0      0    64  N00  N02 -0.1

    Args:
        names: Names of the networks, in the order of the rows and columns of each matrix.
        kind: Correlation that was computed: ``"pearson"``, or ``"partial"`` (freed of all other networks).
        windows: One line a window: run, start (its first row within the run) and stop (the row after its last).
        matrices: (window, network, network) correlations from -1 to 1, with 1 on the diagonals; NaN between a network
            whose time course does not vary within the window and any other.
        provenance: Where the numbers came from: recording, how time courses were made, window, and step.
    """

    names: tuple[str, ...]
    kind: CorrelationKind
    windows: pd.DataFrame
    matrices: Float[np.ndarray, "window network network"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind",)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a window and pair of networks: run, start and stop (of the window), a, b, r (the correlation)."""
        i, j = np.triu_indices(len(self.names), 1)  # each pair once, without the diagonal
        names = np.array(self.names, dtype=object)
        # every window's line once for each pair, in the order in which ravel() gives (window, pair)
        table = self.windows.loc[np.repeat(self.windows.index, len(i))].reset_index(drop=True)
        n_windows = len(self.windows)
        return table.assign(
            a=np.tile(names[i], n_windows), b=np.tile(names[j], n_windows), r=self.matrices[:, i, j].ravel()
        )

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Connectivity over time is the {self.kind} correlation of the courses of {len(self.names)} networks in "
            f"{len(self.windows)} windows of "
            f"{about.get('window', NOT_RECORDED)} rows."
        ]

    def __repr__(self) -> str:
        return f"SlidingConnectivity ({self.kind}) of {len(self.names)} networks in {len(self.windows)} windows"


@checked
def connectivity(
    recording: Recording,
    atlas: Atlas,
    *,
    seed: int,
    kind: CorrelationKind = "pearson",
    how: CourseMethod = "mean",
    n_bootstrap: int = 1000,
    stretch: int | None = None,
) -> Connectivity:
    """Correlate the time courses of networks, with bootstrap intervals.

    >>> fbn.networks.connectivity(recording, atlas, kind="partial", seed=0, n_bootstrap=99)  # doctest: +ELLIPSIS
    Connectivity (partial) of 8 networks: ... of 28 intervals leave out 0

    Args:
        recording: Activations of one site.
        atlas: Networks of the recording's space, at least two.
        seed: Seed of the bootstrap draws; the same seed gives the same intervals.
        kind: ``"pearson"`` for Pearson's correlation; ``"partial"`` for the correlation of two networks that is left
            once all other networks are accounted for.
        how: How time courses are made: ``"mean"`` averages the members of a network, less those with a negative sign;
            ``"regression"`` regresses every row on all maps of the atlas together, and needs an atlas with maps.
        n_bootstrap: Number of bootstrap draws behind the intervals, at least 1.
        stretch: Number of neighbouring rows that are drawn together, at least 1. It should be longer than activations
            stay alike. By default four times the cube root of the rows of a run, at least ten.

    Returns:
        The matrix of correlations with its 95 % intervals.

    Raises:
        InputError: Fewer than two networks, networks of another space, an unknown kind, or numbers below 1.
    """
    if n_bootstrap < 1 or (stretch is not None and stretch < 1):
        raise InputError(f"n_bootstrap={n_bootstrap} and stretch={stretch} must be at least 1")
    runs = _courses(recording, atlas, kind, how)
    rng = np.random.default_rng(seed)
    # (draw, network, network): every run is resampled by itself, so that no stretch crosses from run to run
    draws = np.array(
        [_correlations([_resampled_run(run, rng, stretch) for run in runs], kind) for _ in range(n_bootstrap)]
    )
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    about = {**recording.provenance, "how": how, "n_bootstrap": n_bootstrap, "seed": seed}
    return Connectivity(tuple(atlas), kind, _correlations(runs, kind), low, high, about)


@checked
def sliding_connectivity(
    recording: Recording,
    atlas: Atlas,
    *,
    window: int,
    step: int | None = None,
    kind: CorrelationKind = "pearson",
    how: CourseMethod = "mean",
) -> SlidingConnectivity:
    """Correlate the time courses of networks in windows of rows.

    >>> found = fbn.networks.sliding_connectivity(recording, atlas, window=128)
    >>> found.matrices.shape
    (22, 8, 8)
    >>> bool(found.matrices.std(0).max() < 0.5)  # how much each pair changes from window to window
    True

    Args:
        recording: Activations of one site.
        atlas: Networks of the recording's space, at least two.
        window: Number of rows in a window, at least 3 and at most the rows of the longest run.
        step: Number of rows from the start of one window to the start of the next; half a window by default.
        kind: ``"pearson"`` for Pearson's correlation; ``"partial"`` for the correlation of two networks that is left
            once all other networks are accounted for.
        how: How time courses are made: ``"mean"`` averages the members of a network, less those with a negative sign;
            ``"regression"`` regresses every row on all maps of the atlas together, and needs an atlas with maps.

    Returns:
        The matrix of every window. Windows never cross runs; a run shorter than the window has none.

    Raises:
        InputError: A window longer than every run or shorter than 3 rows, a step below 1, fewer than two networks,
            networks of another space, or an unknown kind.
    """
    runs = _courses(recording, atlas, kind, how)
    step = max(1, window // 2) if step is None else step
    if not 3 <= window <= max(map(len, runs)) or step < 1:
        raise InputError(
            f"window={window} and step={step}; give a window of 3 rows or more that fits into a run of "
            f"{max(map(len, runs))}, and a step of 1 or more"
        )
    # whole windows only: what is left at the end of a run belongs to none
    lines = [(i, at, at + window) for i, run in enumerate(runs) for at in range(0, len(run) - window + 1, step)]
    matrices = np.array([_correlations([runs[i][start:stop]], kind) for i, start, stop in lines])
    about = {**recording.provenance, "how": how, "window": window, "step": step}
    windows = pd.DataFrame(lines, columns=["run", "start", "stop"])
    return SlidingConnectivity(tuple(atlas), kind, windows, matrices, about)


def _courses(recording: Recording, atlas: Atlas, kind: str, how: CourseMethod) -> list[Float[np.ndarray, "_ network"]]:
    """For every run the (row, network) time courses."""
    one_of(kind, CorrelationKind, "kind")
    if len(atlas) < 2:
        raise InputError(f"connectivity is between networks; this atlas has {len(atlas)}")
    return [np.asarray(run.layer(0)) for run in time_courses(recording, atlas, how=how)]


def _correlations(runs: list[np.ndarray], kind: CorrelationKind) -> Float[np.ndarray, "network network"]:
    """Correlations over the rows of all runs together, each run centred by itself."""
    x = np.concatenate([run - run.mean(0) for run in runs])
    covariance = x.T @ x / len(x)  # the mean of x is 0, run by run
    spread = np.sqrt(np.diag(covariance))
    scaled = x / np.where(spread > 0, spread, 1.0)
    if kind == "pearson":
        # columns have mean 0 and standard deviation 1: r = X'X / n
        found = scaled.T @ scaled / len(x)
    else:
        # precision matrix P: inverse of the shrunk correlation matrix
        precision = np.linalg.pinv(ledoit_wolf(scaled, assume_centered=True)[0], hermitian=True)
        size = np.sqrt(np.diag(precision))
        # partial correlation: -P_ij / sqrt(P_ii P_jj)
        found = -precision / np.outer(size, size)
    found[:, spread == 0] = found[spread == 0] = np.nan  # a course that never varies correlates with nothing
    np.fill_diagonal(found, 1.0)  # the partial formula gives -1 there
    return np.clip(found, -1, 1)  # rounding may go beyond by some 1e-16


def _resampled_run(run: np.ndarray, rng: np.random.Generator, stretch: int | None) -> np.ndarray:
    """A run of the same length, put together from stretches of neighbouring rows of this one."""
    n = len(run)
    # 4 n^(1/3) grows with the run, but slower than it, as the bootstrap needs; at least 10 rows, at most all of them
    length = min(n, max(10, round(4 * n ** (1 / 3))) if stretch is None else stretch)
    n_stretches = -(-n // length)  # n / length, rounded up
    starts = rng.integers(n - length + 1, size=n_stretches)
    # (stretch, row of the stretch) numbers of rows, one after the other, cut to the length of the run
    return run[(starts[:, None] + np.arange(length)).ravel()[:n]]
