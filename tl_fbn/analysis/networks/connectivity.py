"""Functional connectivity: which networks rise and fall together.

    found = connectivity(recording, atlas, seed=0)
    found.matrix, found.low, found.high

Courses (:mod:`.time_courses`) are centred within runs. ``"pearson"`` correlates each pair; ``"partial"`` what is left of a pair when all others have had
their part (from a covariance shrunk as Ledoit and Wolf 2004 propose, so that it can be inverted where rows are few).

Neighbouring rows are not independent, so intervals come from a bootstrap of stretches of rows: runs keep their lengths, stretches are
drawn from anywhere in a run.

``sliding_connectivity`` does the same in windows of rows, without intervals: a window is one sample, its fluctuations are mostly noise.
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
from tl_fbn.units import Atlas, html_table
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result

CorrelationKind = Literal["pearson", "partial"]


@dataclass(frozen=True, eq=False)
class Connectivity(Result, step="comparison", picture="connectivity"):
    """Correlations of networks, with intervals.

    Args:
        names: Networks.
        kind: ``"pearson"`` or ``"partial"``.
        matrix: (network, network).
        low: Lower ends of 95 % intervals.
        high: Upper ends.
        provenance: Recording, and how courses were made.
    """

    names: tuple[str, ...]
    kind: CorrelationKind
    matrix: Float[np.ndarray, "network network"]
    low: Float[np.ndarray, "network network"]
    high: Float[np.ndarray, "network network"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind",)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a pair: a, b, r, low, high."""
        i, j = np.triu_indices(len(self.names), 1)
        names = np.array(self.names, dtype=object)
        columns = {"a": names[i], "b": names[j], "r": self.matrix[i, j], "low": self.low[i, j], "high": self.high[i, j]}
        return pd.DataFrame(columns)

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Connectivity of {len(self.names)} networks is the {self.kind} correlation of their time courses (by {about.get('how', NOT_RECORDED)}), with 95 % "
            f"block-bootstrap intervals ({about.get('n_bootstrap', NOT_RECORDED)} draws, seed {about.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        table = self.to_dataframe()
        apart = int(np.sum((table["low"].to_numpy() > 0) | (table["high"].to_numpy() < 0)))
        return (
            f"Connectivity ({self.kind}) of {len(self.names)} networks: {apart} of {len(table)} intervals leave out 0"
        )

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        largest = table.iloc[np.argsort(-table["r"].abs().to_numpy(), kind="stable")[:10]]
        rows = [(r.a, r.b, f"{r.r:.2f}", f"{r.low:.2f} to {r.high:.2f}") for r in largest.itertuples()]
        return html_table(repr(self), ("a", "b", "r", "95 %"), rows)


@dataclass(frozen=True, eq=False)
class SlidingConnectivity(Result, step="comparison"):
    """Correlations of networks in windows of rows.

    Args:
        names: Networks.
        kind: ``"pearson"`` or ``"partial"``.
        windows: One line a window: run, start, stop.
        matrices: (window, network, network) correlations.
        provenance: Recording, window, step.
    """

    names: tuple[str, ...]
    kind: CorrelationKind
    windows: pd.DataFrame
    matrices: Float[np.ndarray, "window network network"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("kind",)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a window and pair: run, start, stop, a, b, r."""
        i, j = np.triu_indices(len(self.names), 1)
        names = np.array(self.names, dtype=object)
        table = self.windows.loc[np.repeat(self.windows.index, len(i))].reset_index(drop=True)
        pairs = len(self.windows)
        return table.assign(a=np.tile(names[i], pairs), b=np.tile(names[j], pairs), r=self.matrices[:, i, j].ravel())

    def _methods_(self) -> list[str]:
        about = self.provenance
        return [
            f"Connectivity over time is the {self.kind} correlation of the courses of {len(self.names)} networks in {len(self.windows)} windows of "
            f"{about.get('window', NOT_RECORDED)} rows."
        ]

    def __repr__(self) -> str:
        return f"SlidingConnectivity ({self.kind}) of {len(self.names)} networks in {len(self.windows)} windows"


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
    """Correlate the courses of networks.

    ::

        together = fbn.networks.connectivity(recording, atlas, kind="partial", seed=0)
        together.to_dataframe()

    Args:
        recording: Activations.
        atlas: At least two networks.
        seed: Seed of the bootstrap draws; the same seed gives the same intervals.
        kind: ``"pearson"`` or ``"partial"``.
        how: How courses are made; see :mod:`.time_courses`.
        n_bootstrap: Number of bootstrap draws behind the intervals.
        stretch: Rows drawn together; by default the cube root of a run's rows times four, at least ten.

    Raises:
        InputError: Fewer than two networks, or an unknown kind.
    """
    if n_bootstrap < 1 or (stretch is not None and stretch < 1):
        raise InputError(f"n_bootstrap={n_bootstrap} and stretch={stretch} must be at least 1")
    runs = _courses(recording, atlas, kind, how)
    rng = np.random.default_rng(seed)
    draws = np.array([_matrix([_resampled(run, rng, stretch) for run in runs], kind) for _ in range(n_bootstrap)])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    about = {**recording.provenance, "how": how, "n_bootstrap": n_bootstrap, "seed": seed}
    return Connectivity(tuple(atlas), kind, _matrix(runs, kind), low, high, about)


def sliding_connectivity(
    recording: Recording,
    atlas: Atlas,
    *,
    window: int,
    step: int | None = None,
    kind: CorrelationKind = "pearson",
    how: CourseMethod = "mean",
) -> SlidingConnectivity:
    """Correlations in windows of rows.

    ::

        windows = fbn.networks.sliding_connectivity(recording, atlas, window=128)
        windows.matrices.std(0)  # which pairs change

    Args:
        recording: Activations.
        atlas: At least two networks.
        window: Rows a window, at least 3.
        step: Rows between windows; half a window by default.
        kind: ``"pearson"`` or ``"partial"``.
        how: How courses are made.

    Returns:
        The matrix of every window. Windows never cross runs.

    Raises:
        InputError: A window longer than every run, or shorter than 3 rows.
    """
    runs = _courses(recording, atlas, kind, how)
    step = max(1, window // 2) if step is None else step
    if not 3 <= window <= max(map(len, runs)) or step < 1:
        raise InputError(
            f"window={window} and step={step}; give a window of 3 rows or more that fits into a run of {max(map(len, runs))}, and a step of 1 or more"
        )
    lines = [(i, at, at + window) for i, run in enumerate(runs) for at in range(0, len(run) - window + 1, step)]
    matrices = np.array([_matrix([runs[i][a:b]], kind) for i, a, b in lines])
    about = {**recording.provenance, "how": how, "window": window, "step": step}
    windows = pd.DataFrame(lines, columns=["run", "start", "stop"])
    return SlidingConnectivity(tuple(atlas), kind, windows, matrices, about)


def _courses(recording: Recording, atlas: Atlas, kind: str, how: CourseMethod) -> list[Float[np.ndarray, "_ network"]]:
    one_of(kind, CorrelationKind, "kind")
    if len(atlas) < 2:
        raise InputError(f"connectivity is between networks; this atlas has {len(atlas)}")
    return [np.asarray(run.layer(0)) for run in time_courses(recording, atlas, how=how)]


def _matrix(runs: list[np.ndarray], kind: CorrelationKind) -> Float[np.ndarray, "network network"]:
    x = np.concatenate([run - run.mean(0) for run in runs])
    covariance = x.T @ x / len(x)
    spread = np.sqrt(np.diag(covariance))
    scaled = x / np.where(spread > 0, spread, 1.0)
    if kind == "pearson":
        found = scaled.T @ scaled / len(x)
    else:
        inverse = np.linalg.pinv(ledoit_wolf(scaled, assume_centered=True)[0], hermitian=True)
        size = np.sqrt(np.diag(inverse))
        # partial correlation from the precision matrix P: -P_ij / sqrt(P_ii P_jj)
        found = -inverse / np.outer(size, size)
    found[:, spread == 0] = found[spread == 0] = np.nan  # a course that never varies correlates with nothing
    np.fill_diagonal(found, 1.0)
    return np.clip(found, -1, 1)


def _resampled(run: np.ndarray, rng: np.random.Generator, stretch: int | None) -> np.ndarray:
    n = len(run)
    length = min(n, max(10, round(4 * n ** (1 / 3))) if stretch is None else stretch)
    starts = rng.integers(n - length + 1, size=-(-n // length))
    return run[(starts[:, None] + np.arange(length)).ravel()[:n]]
