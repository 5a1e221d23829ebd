"""How alike the maps of a task are from run to run, beside the maps of other tasks.

::

    fbn.networks.reliability({"sort": sort_recording, "add": add_recording}).to_dataframe()

A network that is not found again in the next run is no property of the model. The map of a task in a run is the t map
of the task's contrast in this run alone (:func:`.identification.run_maps`). Maps are compared within a task (every two
of its runs) and between tasks (each of its runs with each run of the others), by Pearson's correlation over units and
by Dice of the units with the largest t. Three numbers sum that up:

- *discriminability*: the share of comparisons of a within-pair with a between-pair in which the within-pair correlates
  more (ties count half); 0.5 by chance;
- *ICC(2,1)*, the intraclass correlation of Shrout and Fleiss (1979), with units as targets and runs as raters: the
  share of variance that is between units, where runs that differ in level count as disagreement;
- *split half*: r of the mean map of even runs with that of odd runs, stepped up to the reliability of all runs by
  ``2 r / (1 + r)`` (Spearman and Brown).

They describe; there are no p values and no intervals. :func:`.identification.identify_task` tests the stronger claim
that a run tells its task. Cost: one fit of each recording, and a contrast of every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.identification import origins, run_maps
from tl_fbn.arguments import share
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import top_mask
from tl_fbn.units.result import TableResult


@dataclass(frozen=True, eq=False)
class Reliability(TableResult, step="comparison"):
    """How reliable the maps of several tasks are.

    >>> found = fbn.networks.reliability({task: recording for task in tasks})
    >>> found.table.set_index("task")[["dice_within", "dice_between", "discriminability"]].round(1)
             dice_within  dice_between  discriminability
    task...
    sort             0.8           0.0               1.0
    reverse          0.8           0.0               1.0
    add              0.8           0.0               1.0

    Args:
        table: One line a task: task, correlation_within and dice_within (means over pairs of its runs),
            correlation_between and dice_between (means over pairs of its runs with runs of other tasks),
            discriminability (share of within-pairs that beat a between-pair; 0.5 by chance), icc (ICC(2,1) over its
            runs), split_half (even against odd runs, stepped up by Spearman and Brown's formula). What needs other
            tasks is NaN where there is one task.
        provenance: Where the numbers came from: recordings, prompts, contrasts, and share of units in a network.
    """

    def __repr__(self) -> str:
        icc = self.table["icc"]
        return f"Reliability of {len(self)} tasks: ICC(2,1) {icc.min():.2f} to {icc.max():.2f}"


@checked
def reliability(
    recordings: Mapping[str, Recording],
    *,
    contrasts: Mapping[str, str] | None = None,
    top: float = 0.05,
) -> Reliability:
    """How alike the maps of a task are from run to run, beside maps of other tasks.

    >>> fbn.networks.reliability({task: recording for task in tasks})
    Reliability of 3 tasks: ICC(2,1) 0.94 to 0.98

    Args:
        recordings: Task to a recording of at least two runs, all of one space. The design of each recording has the
            task as one condition; several tasks may share a recording.
        contrasts: Task to the contrast that gives its map in a run, e.g. ``{"sort": "sort - reverse"}``. A task that is
            not named gets its condition minus the mean of all other conditions of its recording.
        top: Share of units, between 0 and 1, that makes the network of a map for Dice: those with the largest t.

    Returns:
        One line a task; :class:`Reliability` says which columns.

    Raises:
        InputError: A task with fewer than two runs, recordings of different units, or a task that is no condition of
            its recording and has no contrast.
    """
    share(top, "top")
    maps = run_maps(recordings, contrasts)
    if not maps:
        raise InputError("reliability compares runs of at least one task; got no recording")
    if short := [task for task, runs in maps.items() if len(runs) < 2]:
        raise InputError(f"reliability compares runs of one task; {', '.join(short)} has fewer than two")
    # maps of all tasks below each other, (map, unit), and the number of the task that each is of
    task_of_map = np.concatenate([np.full(len(runs), i) for i, runs in enumerate(maps.values())])
    stacked = np.concatenate(list(maps.values()))
    r = np.corrcoef(stacked)
    n = max(1, int(top * stacked.shape[1]))
    layers = next(iter(recordings.values())).space.layer_of
    masks = np.array([top_mask(one, n, layers=layers) for one in stacked], dtype=float)
    dice = masks @ masks.T / n  # 2 |A and B| / (|A| + |B|), where all networks have n units
    lines = []
    for i, (task, runs) in enumerate(maps.items()):
        own = np.flatnonzero(task_of_map == i)
        pairs = np.triu_indices(len(own), 1)  # every two runs once
        within = (own[pairs[0]], own[pairs[1]])
        between = np.ix_(own, np.flatnonzero(task_of_map != i))
        inside = r[within]
        outside = r[between].ravel()
        difference = inside[:, None] - outside  # (pair within, pair between): above 0 where the one within wins
        lines.append(
            {
                "task": task,
                "correlation_within": float(inside.mean()),
                "correlation_between": float(outside.mean()) if outside.size else float("nan"),
                "dice_within": float(dice[within].mean()),
                "dice_between": float(dice[between].mean()) if outside.size else float("nan"),
                "discriminability": float(((difference > 0) + (difference == 0) / 2).mean())
                if outside.size
                else float("nan"),
                "icc": icc_2_1(runs.T),
                "split_half": _split_half(runs),
            }
        )
    return Reliability(pd.DataFrame(lines), {**origins(recordings), "contrasts": dict(contrasts or {}), "top": top})


def icc_2_1(ratings: Float[np.ndarray, "target rater"]) -> float:
    """Intraclass correlation, two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979).

    Args:
        ratings: (target, rater) ratings: here the t of units in runs. At least two of each.

    Returns:
        1 for raters that agree in everything, about 0 for raters that have nothing in common.
    """
    n, k = ratings.shape
    mean = ratings.mean()
    # mean squares of a two-way analysis of variance: targets (BMS), raters (JMS) and what is left (EMS)
    between_targets = k * np.square(ratings.mean(1) - mean).sum() / (n - 1)
    between_raters = n * np.square(ratings.mean(0) - mean).sum() / (k - 1)
    rest = np.square(ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + mean).sum() / ((n - 1) * (k - 1))
    # ICC(2,1) = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)
    total = between_targets + (k - 1) * rest + k * (between_raters - rest) / n
    return float((between_targets - rest) / total)


def _split_half(runs: Float[np.ndarray, "run unit"]) -> float:
    """Correlation of the mean maps of both halves of the runs, as that of all runs would be."""
    r = float(np.corrcoef(runs[::2].mean(0), runs[1::2].mean(0))[0, 1])
    return 2 * r / (1 + r)  # Spearman and Brown: reliability of a test twice as long
