"""Two questions about an atlas, as one table: what is left when its networks are silenced, and when only they are kept?

::

    fbn.studies.retention_curve(model, atlas, fbn.demo.battery(), seed=0)  # kept; mode="inhibit" silences them

For each k the union of the first k networks of the atlas is inhibited (``mode="inhibit"``), or everything else at the
site is (``mode="retain"``), and every task is scored. Liu et al. (2025) call the former inhibition and the latter
preservation, and have one random set of units beside them; here each line has the median and the 5th and 95th
percentile of several random sets with as many units in every layer.

The table has no p values: with 10 random sets none could be below 1 / 11. Cost: (numbers of networks) x (1 +
controls) evaluations of the battery, and one without an intervention.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import METRICS, check_disjoint, item_counts, task_means
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.intervention.studies.study_prose import method_in_words
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import TableResult
from tl_fbn.units.space import pooled_origins

RetentionMode = Literal["retain", "inhibit"]
COLUMNS = (
    *("mode", "networks", "units", "share", "task", "metric", "baseline", "value"),
    *("control_median", "control_p05", "control_p95"),
)


@dataclass(frozen=True, eq=False)
class Retention(TableResult, step="lesions", picture="retention_curve"):
    """Scores of every task while the first networks of an atlas are kept, or silenced.

    >>> curve = fbn.studies.retention_curve(model, atlas, battery, sizes=(1, 8), n_controls=2, seed=0, progress=False)
    >>> curve
    Retention (retain) of 2 tasks with 1 to 8 networks
    >>> curve.table[["networks", "units", "task", "baseline", "value", "control_median"]]
       networks  units     task  baseline  value  control_median
    0         1     24     sort       1.0    0.0             0.0
    1         1     24  reverse       1.0    0.0             0.0
    2         8    111     sort       1.0    0.0             0.0
    3         8    111  reverse       1.0    0.0             0.0

    Args:
        table: One line a number of networks and task: mode (retain or inhibit), networks (how many of them), units
            (in their union), share (of all units), task, metric, baseline (score of the untouched model), value
            (score under the intervention), and control_median, control_p05, control_p95 of random sets with as many
            units in every layer.
        provenance: Mode, method, seed, number of random sets, and the origins of the atlas.
    """

    def _methods_(self) -> list[str]:
        about = self.provenance
        done = "all units but those of" if about.get("mode") == "retain" else "the units of"
        return [
            f"{done[0].upper()}{done[1:]} the union of the first networks of an atlas were {method_in_words(about)}, "
            f"for {self.table['networks'].nunique()} numbers of networks, beside "
            f"{about.get('n_controls', NOT_RECORDED)} random sets of as many units in every layer (seed "
            f"{about.get('seed', NOT_RECORDED)})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            "What is left of each task as networks are kept (or masked) one after the other, beside as many units "
            "chosen at random in each layer."
        )
        return [{"title": "Retention", "text": text, "picture": "retention_curve", "table": self.table}]

    def __repr__(self) -> str:
        sizes = self.table["networks"]
        mode = self.table["mode"].iloc[0]
        n_tasks = self.table["task"].nunique()
        return f"Retention ({mode}) of {n_tasks} tasks with {sizes.min()} to {sizes.max()} networks"


@checked
def retention_curve(
    model: HookedModel,
    atlas: Atlas,
    battery: Battery,
    *,
    seed: int,
    mode: RetentionMode = "retain",
    sizes: Sequence[int] | None = None,
    n_controls: int = 10,
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    allow_other_weights: bool = False,
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> Retention:
    """Score a battery while the union of the first networks of an atlas is kept, or silenced.

    >>> curve = fbn.studies.retention_curve(model, atlas, battery, mode="inhibit", n_controls=2, seed=0, progress=False)
    >>> curve.table.query("task == 'sort'")[["networks", "units", "value", "control_median"]]
       networks  units  value  control_median
    0         1     24    1.0             1.0
    2         2     30    1.0             1.0
    4         4     49    1.0             1.0
    6         8    111    1.0             1.0

    Args:
        model: A TransformerLens model in eval mode.
        atlas: The networks, in the order in which they are added to the union.
        battery: The tasks to score, with items that the networks were not found on.
        seed: Seed of the random sets, and of the methods ``"resample"`` and ``"noise"``; the same seed gives the same
            table.
        mode: ``"retain"`` inhibits everything else at the site; ``"inhibit"`` inhibits the union.
        sizes: Numbers of networks in the union; None takes 1, 2, 4, ... and all.
        n_controls: Number of random sets beside each union; with 0 their columns are NaN.
        method: What silenced units are given instead of their activations: ``"zero"``, ``"mean"``,
            ``"position_mean"``, ``"resample"`` or ``"noise"``.
        reference: A recording of the same units on other prompts, for all methods but ``"zero"``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.

    Returns:
        One line a number of networks and task. Scores are exact match where a task has it, else log-likelihood in
        nats a token.

    Raises:
        InputError: Numbers of networks that the atlas does not have, or items that a network was found on.
    """
    one_of(mode, RetentionMode, "mode")
    tried = numbers_of_networks(atlas, sizes)
    # every network of the atlas, also those that no union reaches
    for name, network in atlas.items():
        check_disjoint(network, battery, tokenizer_of(model), name)
    silence = silencer(model, method=method, reference=reference, seed=seed, allow_other_weights=allow_other_weights)
    unions = [atlas.union(list(atlas)[:n]) for n in tried]
    conditions = []
    for n, union in zip(tried, unions, strict=True):
        # the union first, then its controls: each is kept or silenced in the same way
        for number, network in enumerate((union, *matched_controls(union, n_controls, seed=seed + n))):
            # the complement within the site: what is not kept
            target = ~network if mode == "retain" else network
            label = f"{mode} {n} networks" + (f", control {number - 1}" if number else "")
            conditions.append(Condition(label, partial(silence, target)))
    settings = {
        "study": "retention",
        "mode": mode,
        "sizes": tried,
        "method": method,
        "seed": seed,
        "n_controls": n_controls,
        "reference": None if reference is None else reference.key,
    }
    folder = study_folder(path, model, atlas, battery, settings)
    with StudyRuns(
        model,
        n_conditions=1 + len(conditions),
        title="retention",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        untouched = runs.untouched(battery)
        scores = runs.scores("unions", battery, conditions)[0]
    counts = item_counts(battery)
    before = task_means(untouched, counts)
    means = task_means(scores, counts).reshape(len(tried), 1 + n_controls, len(counts), len(METRICS))
    lines = []
    for n, union, of_union in zip(tried, unions, means, strict=True):
        for number, task in enumerate(battery.tasks):
            metric = METRICS[0] if np.isfinite(before[number, 0]) else METRICS[1]
            own, *controls = of_union[:, number, METRICS.index(metric)].tolist()
            # percentiles of the random sets; no p, which so few could not give
            low, middle, high = np.quantile(controls, [0.05, 0.5, 0.95]) if controls else (np.nan,) * 3
            baseline = float(before[number, METRICS.index(metric)])
            lines.append((mode, n, len(union), union.share, task, metric, baseline, own, middle, low, high))
    about = {**pooled_origins(atlas), "method": method, "seed": seed, "n_controls": n_controls, "mode": mode}
    about["model_dtype"] = number_type(model)
    return Retention(pd.DataFrame(lines, columns=list(COLUMNS)), about)


def numbers_of_networks(atlas: Atlas, sizes: Sequence[int] | None) -> list[int]:
    """How many networks are kept or silenced, ascending.

    Args:
        atlas: The networks.
        sizes: Those that were asked for; None takes 1, 2, 4, ... and all.

    Raises:
        InputError: Numbers that the atlas does not have.
    """
    # 1, 2, 4, ... below the number of networks, and that number
    doubled = [2**i for i in range(len(atlas).bit_length())]
    tried = sorted({n for n in doubled if n < len(atlas)} | {len(atlas)}) if sizes is None else sorted(set(sizes))
    if not tried or tried[0] < 1 or tried[-1] > len(atlas):
        raise InputError(f"sizes={sizes} must be numbers of networks from 1 to {len(atlas)}")
    return tried
