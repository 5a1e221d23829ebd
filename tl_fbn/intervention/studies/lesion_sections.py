"""A lesion study as sections of a page, in words, as tables, as pictures, and as sentences of a methods section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tl_fbn.intervention.studies import lesion_tables
from tl_fbn.intervention.studies.dissociations import dissociations
from tl_fbn.intervention.studies.exclusion import exclusion_in_words
from tl_fbn.intervention.studies.lesion_tables import lesion_means
from tl_fbn.intervention.studies.lesion_verdicts import verdicts
from tl_fbn.intervention.studies.study_prose import METRIC_IN_WORDS, intervals_in_words, items_in_words, method_in_words
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy


def lesion_sections(study: LesionStudy) -> list[dict[str, Any]]:
    """The sections of a page on a lesion study, as :mod:`tl_fbn.reporting.page.section` takes them.

    Args:
        study: The study.
    """
    kinds = ", ".join(f"{array.shape[1]} {kind}" for kind, array in study.control_scores.items())
    where = study.provenance.get("positions", "all")
    means = lesion_means(study)  # once for all tables of the page
    # without a network that is named like a task there is no own task to show
    own = lesion_tables.own_tasks(means) if set(study.networks) & set(study.tasks) else None
    cells = lesion_tables.cells(means)
    text = (
        f"Each network was silenced ({study.provenance.get('method', 'zero')}, {where} positions) while every "
        f"task was scored by {study.metric}; beside it, for each network, {kinds} controls with as many units in "
        "each layer. "
        "Intervals are 95 % over items, paired. A significant map is not a causal one: what a network is needed "
        "for is shown here, against its controls and against the other tasks, or not at all. Isolation compares the "
        "own task with the worst other one: 1 where only the own task loses, .5 where it loses three times as much, 0 "
        "where another loses as much, below 0 where one loses more; its interval holds whichever task is truly the "
        "worst."
        "\n\n" + " ".join(verdicts(means))
    )
    drops = (
        "The drop is baseline minus lesioned. p is the share of matched random lesions that cost at least as much, "
        "counting the lesion itself among them; it is not corrected for the number of cells."
    )
    sections: list[dict[str, Any]] = [
        {"title": "What lesions show", "text": text, "picture": "lesion_controls", "table": own},
        {"title": "Lesion study", "text": drops, "picture": ("lesion_matrix", cells), "table": cells},
    ]
    if own is not None and len(own) > 1:  # at least one pair of networks that are named like tasks
        text = (
            "Each pair of networks on each other's tasks. Double: p < .01 and, both ways, the drop on the own "
            "task has an interval above that on the other's."
        )
        pairs = dissociations(means)
        sections.append({"title": "Double dissociations", "text": text, "picture": "dissociation", "table": pairs})
    if study.controls.shape[1] > 1:  # one control has no variance to test with
        margin = 0.05
        unit = "points / 100" if study.metric == "exact_match" else "nats a token"
        text = f"Two one-sided tests that random lesions change less than {margin:g} ({unit})."
        table = lesion_tables.equivalence(means, margin)
        sections.append({"title": "Do random lesions do nothing?", "text": text, "table": table})
    if study.excluded is not None:
        counts = study.provenance.get("excluded", {})
        text = exclusion_in_words(study.provenance)
        if "chance" in counts:
            text += (
                " Silencing these alone, or a few together, raises the loss of neutral text, and would break any task: "
                f"cost is that loss, in nats a token, and apart what the parts of a set cost. {counts['chance']}."
            )
        sections.append({"title": "Units that were taken out", "text": text, "table": study.excluded})
    if study.rivals:
        text = "Other chosen networks in the place of each: drops, and the difference with its interval."
        table = lesion_tables.rivals(means)
        sections.append({"title": "Other networks in its place", "text": text, "table": table})
    return sections


def lesion_methods(study: LesionStudy) -> str:
    """What was done in a study, as the methods section of a paper says it.

    Args:
        study: The study.
    """
    about = study.provenance
    sizes = np.asarray(study.sizes).sum(1)  # units of each network over all layers
    kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in study.control_scores.items())
    # networks that know their discovery prompts; an overlap would have been refused
    known = sum(kind == "disjoint" for kind in study.discovery.values())
    span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    matched = "of as many units in every layer"
    if "activity" in study.control_scores:
        matched += " (activity controls also of like mean activation and outgoing norm)"
    stop = about.get("stop")
    stopped = (
        ""
        if stop is None
        else (
            f"; controls of a network stop after {stop} that cost its own task as much, where p of that task is "
            f"{stop} over their number (Besag and Clifford 1991) and p of other tasks is not given"
        )
    )
    unknown = "" if known == len(study.discovery) else ", and unknown for the others"
    out = exclusion_in_words(about)
    model = f"Model: {about['model']}; site: {about['site']}." if {"model", "site"} <= set(about) else ""
    return (
        f"Activations of the members of {listed(study.networks)} ({span} units) were {method_in_words(about)} at "
        f"{about.get('positions', NOT_RECORDED)} positions, one network at a time, while {listed(study.tasks)} "
        f"({items_in_words(study.counts)}) were scored by {METRIC_IN_WORDS[study.metric]}. Beside each network stand "
        f"{kinds} control networks {matched}; {P_FORMULA}, one-sided, for each network and task, not corrected "
        f"for their number{stopped}; control seed {about.get('seed', NOT_RECORDED)}. Intervals are 95 % over "
        f"items, paired ({intervals_in_words(about)}). Prompts on which networks were found are "
        f"known and disjoint from the items for {known} of {len(study.discovery)} networks{unknown}. "
        f"{out + ' ' if out else ''}"
        f"{model or f'Model and site are {NOT_RECORDED} in this study.'}"
    )
