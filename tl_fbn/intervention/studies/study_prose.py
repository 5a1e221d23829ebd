"""Phrases that the methods sentences of several studies share: how activity was changed, what was scored, on how many
items.

Nothing here computes. The words are those of a paper's methods section, so that two studies that did the same say the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from tl_fbn.units.prose import NOT_RECORDED

# what silenced units were given instead of their activations, by the names of ``hooks.ReplacementMethod``
METHOD_IN_WORDS = {
    "zero": "set to zero",
    "mean": "set to their mean",
    "position_mean": "set to their mean at that position",
    "resample": "replaced by what they were in another text",
    "noise": "replaced by noise",
}
# what a score of an item is, by the names of ``item_statistics.METRICS``
METRIC_IN_WORDS = {
    "exact_match": "exact match (answers teacher-forced; of choices and pairs, whether the right one is the likeliest)",
    "log_likelihood": "log-likelihood in nats a token (of the answers; of choices and pairs, of the right one)",
}
# what the doses of a curve are, by the names of ``dose_response.DoseKind``; numbers follow
DOSES_IN_WORDS = {
    "gain": "activations multiplied by gains of",
    "add": "amounts added to activations (activation units) of",
    "add_sd": "amounts added (standard deviations of each unit) of",
    "size": "nested networks, of shares of all units of",
}
# which dose leaves the model as it is
UNTOUCHED_IN_WORDS = {
    "gain": "Activations of the network are multiplied by the gain; a gain of 1 is the untouched model.",
    "add": "The amount is added to every member; 0 is the untouched model.",
    "add_sd": "The amount is added to every member, in its standard deviations; 0 is the untouched model.",
    "size": "The dose is the share of all units that is changed.",
}


def method_in_words(provenance: Mapping[str, Any]) -> str:
    """How activity was changed.

    Args:
        provenance: Settings of a study; its ``method`` is looked up, and a method that is not known here stays as it
            is.
    """
    method = provenance.get("method")
    return METHOD_IN_WORDS.get(str(method), str(method or NOT_RECORDED))


def items_in_words(counts: Int[np.ndarray, " task"]) -> str:
    """How many items the tasks have, as one number where all have as many, and as a range where not.

    Args:
        counts: Number of items of each task.
    """
    sizes = sorted({int(n) for n in counts})
    return f"{sizes[0]} items each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} items each"


def intervals_in_words(provenance: Mapping[str, Any]) -> str:
    """How intervals over items are made, for each kind of score.

    Args:
        provenance: Settings of a study; its ``n_bootstrap`` is the number of draws.
    """
    return (
        "of shares of right answers by Wilson, of their changes by Tango, of log-likelihood by "
        f"bootstraps of Student's t, {provenance.get('n_bootstrap', NOT_RECORDED)} draws"
    )
