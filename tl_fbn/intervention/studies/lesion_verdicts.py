"""What a lesion study says in words: which networks are isolated, which are needed, which do nothing beyond chance.

First comes the claim that a reader wants to make. A network is *isolated* where its own task loses more than any other,
by the lower end of the interval of its isolation (:mod:`.isolation`), and more than under random networks (p <= .05).
Then the pairs that dissociate doubly (:mod:`.dissociations`), and of each network that is not isolated what stands
against it.

A table of drops leaves the reader to notice that a lesion did nothing. That is said next, network by network:

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

from tl_fbn.intervention.studies import dissociations
from tl_fbn.intervention.studies.item_statistics import METRICS
from tl_fbn.intervention.studies.lesion_tables import LesionMeans, isolated
from tl_fbn.units.prose import listed

ALPHA = 0.05


def verdicts(means: LesionMeans) -> list[str]:
    """Sentences on what the lesions of a study did: isolated networks, then those that did nothing, then the others.

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
    return [*_isolation(means), *idle, *shared, *(said if needed else [])]


def _isolation(means: LesionMeans) -> list[str]:
    """How many networks are isolated, how many pairs dissociate doubly, and why the other networks are not isolated;
    nothing without another task."""
    study = means.study
    named = [i for i, name in enumerate(study.networks) if name in study.tasks]
    if not named or len(study.tasks) < 2:
        return []
    found = {i: isolated(means, i) for i in named}
    against = {i: _against(means, i, found[i]) for i in named}
    # the strongest claim first
    yes = sorted((i for i in named if not against[i]), key=lambda i: -found[i][0])
    which = ", ".join(f"{study.networks[i]} {found[i][0]:.2f} [{found[i][1]:.2f}, {found[i][2]:.2f}]" for i in yes)
    said = [
        f"{len(yes)} of {len(named)} networks {'is' if len(yes) == 1 else 'are'} isolated (the own task loses more "
        "than any other, by the 95 % interval of isolation, and more than under random networks, "
        f"p <= {ALPHA:g}){': ' if yes else ''}{which}."
    ]
    if len(named) > 1:
        said.append(_pairs(means, len(named) * (len(named) - 1) // 2))
    if len(yes) < len(named):
        said.append(f"Not isolated: {'; '.join(f'{study.networks[i]} ({against[i]})' for i in named if against[i])}.")
    return said


def _against(means: LesionMeans, network: int, found: tuple[float, float, float]) -> str:
    """What stands against the isolation of a network; nothing where it is isolated."""
    study = means.study
    own = study.tasks.index(study.networks[network])
    others = [j for j in range(len(study.tasks)) if j != own]
    worst = max(others, key=lambda j: float(means.drops[network, j]))
    if np.isnan(found[0]):
        return "no task loses"
    if found[0] <= 0:
        return f"{study.tasks[worst]} loses {'more' if found[0] < 0 else 'as much'}"
    if not found[1] > 0:
        return f"by its interval {study.tasks[worst]} may lose as much"
    return "" if means.p[network, own] <= ALPHA else "random networks cost its task as much"


def _pairs(means: LesionMeans, n_pairs: int) -> str:
    """How many pairs of networks dissociate doubly."""
    double, tested = dissociations.double_dissociations(means)
    alpha = f"p < {dissociations.ALPHA:g}"
    if not tested:
        return f"No double dissociation can be shown ({alpha}): that takes 100 controls that were all lesioned."
    left_out = f"; controls of the other {n_pairs - tested} stopped" if tested < n_pairs else ""
    return f"{double} of {tested} pairs {'dissociates' if double == 1 else 'dissociate'} doubly ({alpha}){left_out}."


def _amount(means: LesionMeans, drop: float) -> str:
    """A drop with its unit."""
    return f"{100 * drop + 0.0:.0f} points" if METRICS[means.metric] == "exact_match" else f"{drop:.3f} nats a token"
