"""What a lesion study says in words: which networks are needed, and which do nothing beyond chance.

A table of drops leaves the reader to notice that a lesion did nothing. Here it is said, network by network:

- of a network named like a task whose task loses no more than under random networks (p > .05) *nothing shows that it is
  needed*, and maybe its task does not hang on few units;
- one whose task loses more than that, while another task loses at least as much, is needed, and *not for its task
  alone*;
- of one that is no task's own and costs no task more than random networks do nothing shows that any of them needs it.

That is no proof of the contrary, which two one-sided tests are (:meth:`.LesionStudy.equivalence`).

p is that of single cells (:mod:`.lesion_tables`) and not corrected for their number. Fewer than 19 controls cannot give
p <= .05, and then nothing is concluded.
"""

from __future__ import annotations

import numpy as np

from tl_fbn.intervention.studies.item_statistics import METRICS
from tl_fbn.intervention.studies.lesion_tables import LesionMeans
from tl_fbn.units.prose import listed

ALPHA = 0.05


def verdicts(means: LesionMeans) -> list[str]:
    """Sentences on what the lesions of a study did, those on networks that did nothing first.

    Args:
        means: Means and drops of the study (:func:`.lesion_tables.lesion_means`).
    """
    study = means.study
    n_controls = means.control_drops.shape[1]
    if 1 / (1 + n_controls) > ALPHA:
        return [
            f"{n_controls} random networks cannot show that a lesion costs more than chance (p is at least "
            f"{1 / (1 + n_controls):.2g}); take 19 or more."
        ]
    idle, shared, needed = [], [], []
    for i, network in enumerate(study.networks):
        if network not in study.tasks:
            best = int(np.argmin(means.p[i]))
            if float(means.p[i, best]) > ALPHA:
                tasks = f"none of {len(study.tasks)} tasks" if len(study.tasks) > 1 else f"{', '.join(study.tasks)} no"
                idle.append(
                    f"Silencing {network} costs {tasks} more than random networks do (smallest p = "
                    f"{float(means.p[i, best]):.2g}): nothing shows that a task here needs this network."
                )
            continue
        own = study.tasks.index(network)
        drop, p = float(means.drops[i, own]), float(means.p[i, own])
        if p > ALPHA:
            idle.append(
                f"Silencing {network} costs its own task no more than random networks do ({_amount(means, drop)}; "
                f"95 % of them cost at most {_amount(means, float(means.control_p95[i, own]))}; p = {p:.2g}): "
                "nothing shows that this network is needed, and maybe its task does not hang on few units."
            )
            continue
        others = [j for j in range(len(study.tasks)) if j != own]
        worst = max(others, key=lambda j: float(means.drops[i, j]), default=None)
        if worst is not None and means.drops[i, worst] >= drop:
            shared.append(
                f"Silencing {network} costs {study.tasks[worst]} at least as much as its own task "
                f"({_amount(means, float(means.drops[i, worst]))} and {_amount(means, drop)}): it is needed, and not "
                f"for {network} alone."
            )
        else:
            needed.append(network)
    alone = " and more than any other task loses" if len(study.tasks) > 1 else ""
    said = [f"Silencing costs the own task more than random networks do (p <= {ALPHA:g}){alone}: {listed(needed)}."]
    return [*idle, *shared, *(said if needed else [])]


def _amount(means: LesionMeans, drop: float) -> str:
    """A drop with its unit."""
    return f"{100 * drop + 0.0:.0f} points" if METRICS[means.metric] == "exact_match" else f"{drop:.3f} nats a token"
