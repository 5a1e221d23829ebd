"""How alike the maps of a task are from run to run, beside the maps of other tasks.

    fbn.networks.reliability({"sort": sort_recording, "add": add_recording}).to_dataframe()

A network that is not found again in the next run is no property of the model. Maps are t maps of single runs (:func:`.identification.run_maps`), compared
within a task and between tasks; ICC(2,1) is that of Shrout and Fleiss (1979), with units as targets and runs as raters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.identification import origins, run_maps
from tl_fbn.errors import InputError
from tl_fbn.units import top_mask
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class Reliability(TableResult, step="comparison"):
    """One line a task: correlation and dice, each within (pairs of its runs) and between (its runs and those of others),
    discriminability (share of within-pairs that beat a between-pair; 0.5 by chance), icc, and split_half (odd against even runs,
    stepped up by Spearman and Brown)."""

    def __repr__(self) -> str:
        icc = self.table["icc"]
        return f"Reliability of {len(self)} tasks: ICC(2,1) {icc.min():.2f} to {icc.max():.2f}"


def reliability(
    recordings: Mapping[str, Recording],
    *,
    contrasts: Mapping[str, str] | None = None,
    top: float = 0.05,
) -> Reliability:
    """How alike a task's maps are from run to run, beside maps of other tasks.

    ::

        fbn.networks.reliability({"sort": sort_recording, "add": add_recording})

    Args:
        recordings: Task to a recording of at least two runs.
        contrasts: As in :func:`identify_task`.
        top: Share of units in a network, for Dice.

    Returns:
        One line a task; :class:`Reliability` says which columns.

    Raises:
        InputError: A task with fewer than two runs.
    """
    maps = run_maps(recordings, contrasts)
    if short := [task for task, runs in maps.items() if len(runs) < 2]:
        raise InputError(f"reliability compares runs of one task; {', '.join(short)} has fewer than two")
    owner = np.concatenate([np.full(len(runs), i) for i, runs in enumerate(maps.values())])
    stacked = np.concatenate(list(maps.values()))
    r = np.corrcoef(stacked)
    n = max(1, int(top * stacked.shape[1]))
    masks = np.array([top_mask(one, n) for one in stacked], dtype=float)
    dice = masks @ masks.T / n
    lines = []
    for i, (task, runs) in enumerate(maps.items()):
        mine = np.flatnonzero(owner == i)
        pairs = np.triu_indices(len(mine), 1)
        within = (mine[pairs[0]], mine[pairs[1]])
        between = np.ix_(mine, np.flatnonzero(owner != i))
        inside = r[within]
        outside = r[between].ravel()
        order = inside[:, None] - outside
        lines.append(
            {
                "task": task,
                "correlation_within": float(inside.mean()),
                "correlation_between": float(outside.mean()) if outside.size else float("nan"),
                "dice_within": float(dice[within].mean()),
                "dice_between": float(dice[between].mean()) if outside.size else float("nan"),
                "discriminability": float(((order > 0) + (order == 0) / 2).mean()) if outside.size else float("nan"),
                "icc": icc_2_1(runs.T),
                "split_half": _split_half(runs),
            }
        )
    return Reliability(pd.DataFrame(lines), {**origins(recordings), "contrasts": dict(contrasts or {}), "top": top})


def icc_2_1(ratings: Float[np.ndarray, "target rater"]) -> float:
    """Intraclass correlation, two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979)."""
    n, k = ratings.shape
    mean = ratings.mean()
    between_targets = k * np.square(ratings.mean(1) - mean).sum() / (n - 1)
    between_raters = n * np.square(ratings.mean(0) - mean).sum() / (k - 1)
    rest = np.square(ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + mean).sum() / ((n - 1) * (k - 1))
    total = between_targets + (k - 1) * rest + k * (between_raters - rest) / n
    return float((between_targets - rest) / total)


def _split_half(runs: Float[np.ndarray, "run unit"]) -> float:
    r = float(np.corrcoef(runs[::2].mean(0), runs[1::2].mean(0))[0, 1])
    return 2 * r / (1 + r)
