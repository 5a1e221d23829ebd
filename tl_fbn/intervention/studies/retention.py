"""S0's two questions of an atlas, as one table: what is left when its networks are masked, and when only they are kept?

    retention_curve(model, atlas, fbn.demo.battery(), seed=0)

The union of the first k networks is inhibited, or all else is (``mode="retain"``), for each k; every task is scored. S0 calls the first inhibition and
the second preservation, and has one random mask beside them; here each line has the median and the 5th to 95th percentile of random sets with as many units
in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.item_statistics import check_disjoint
from tl_fbn.intervention.studies.study_prose import method_in_words
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
    """One line a size and task: mode (retain or inhibit), networks (how many), units, share (of all units), task, metric, baseline
    (the untouched model), value, and control_median, control_p05, control_p95 of random sets with as many units in every layer."""

    def _methods_(self) -> list[str]:
        about = self.provenance
        done = "all units but those of" if about.get("mode") == "retain" else "the units of"
        return [
            f"{done[0].upper()}{done[1:]} the union of the first networks of an atlas were {method_in_words(about)}, for "
            f"{self.table['networks'].nunique()} numbers of networks, beside {about.get('n_controls', NOT_RECORDED)} random sets of as many units in every layer "
            f"(seed {about.get('seed', NOT_RECORDED)})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = "What is left of each task as networks are kept (or masked) one after the other, beside as many units chosen at random in each layer."
        return [{"title": "Retention", "text": text, "picture": "retention_curve", "table": self.table}]

    def __repr__(self) -> str:
        sizes = self.table["networks"]
        return f"Retention ({self.table['mode'].iloc[0]}) of {self.table['task'].nunique()} tasks with {sizes.min()} to {sizes.max()} networks"


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
    batch_size: int = 128,
    progress: bool = True,
) -> Retention:
    """Score a battery while the union of the first networks of an atlas is kept, or masked.

    ::

        fbn.studies.retention_curve(model, atlas, fbn.demo.battery(), seed=0)  # one line a size, beside random sets

    Args:
        model: The model.
        atlas: Networks, in order.
        battery: Tasks of items that the networks were not found on.
        seed: Of the random sets.
        mode: ``"retain"``: everything else at the site is inhibited; ``"inhibit"``: the union is.
        sizes: Numbers of networks; by default 1, 2, 4, ... and all.
        n_controls: Random sets a line.
        method: As for :func:`.hooks.inhibit`.
        reference: A recording for the methods that need one, as for :func:`.hooks.inhibit`.
        batch_size: Sequences a forward pass.
        progress: Show a bar.

    Returns:
        One line a size and task; :class:`Retention` says which columns.

    Raises:
        InputError: Sizes that the atlas does not have, or items among the discovery prompts.
    """
    one_of(mode, RetentionMode, "mode")
    doubled = [2**i for i in range(len(atlas).bit_length())]
    tried = sorted({n for n in doubled if n < len(atlas)} | {len(atlas)}) if sizes is None else sorted(set(sizes))
    if not tried or tried[0] < 1 or tried[-1] > len(atlas):
        raise InputError(f"sizes={sizes} must be numbers of networks from 1 to {len(atlas)}")
    for name, network in atlas.items():
        check_disjoint(network, battery, tokenizer_of(model), name)
    baseline = battery.evaluate(model, batch_size=batch_size).set_index("task")
    silence = silencer(model, method=method, reference=reference, seed=seed)
    lines = []
    bar = tqdm(total=len(tried) * (1 + n_controls), desc="retention", disable=not progress)
    for n in tried:
        union = atlas.union(list(atlas)[:n])
        found = []
        for network in (union, *matched_controls(union, n_controls, seed=seed + n)):
            target = ~network if mode == "retain" else network
            with silence(target):
                found.append(battery.evaluate(model, batch_size=batch_size).set_index("task"))
            bar.update()
        for task in baseline.index:
            metric = "exact_match" if np.isfinite(baseline.loc[task, "exact_match"]) else "log_likelihood"
            own, *controls = (float(one.loc[task, metric]) for one in found)
            low, middle, high = np.quantile(controls, [0.05, 0.5, 0.95]) if controls else (np.nan,) * 3
            lines.append(
                (
                    mode,
                    n,
                    len(union),
                    union.share,
                    task,
                    metric,
                    float(baseline.loc[task, metric]),
                    own,
                    middle,
                    low,
                    high,
                )
            )
    bar.close()
    about = {**pooled_origins(atlas), "method": method, "seed": seed, "n_controls": n_controls, "mode": mode}
    return Retention(pd.DataFrame(lines, columns=list(COLUMNS)), about)
