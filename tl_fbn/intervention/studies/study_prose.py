"""What studies of behaviour say of themselves in common: how activity was changed, what was scored, on how many items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from tl_fbn.units.prose import NOT_RECORDED

METHOD_IN_WORDS = {
    "zero": "set to zero",
    "mean": "set to their mean",
    "position_mean": "set to their mean at that position",
    "resample": "replaced by what they were in another text",
    "noise": "replaced by noise",
}
METRIC_IN_WORDS = {
    "exact_match": "exact match (answers teacher-forced; of choices and pairs, whether the right one is the likeliest)",
    "log_likelihood": "log-likelihood in nats a token (of the answers; of choices and pairs, of the right one)",
}


def method_in_words(provenance: Mapping[str, Any]) -> str:
    """How activity was changed, by the ``method`` that provenance names."""
    method = provenance.get("method")
    return METHOD_IN_WORDS.get(str(method), str(method or NOT_RECORDED))


def items_in_words(counts: Int[np.ndarray, " task"]) -> str:
    """How many items each task has."""
    sizes = sorted({int(n) for n in counts})
    return f"{sizes[0]} items each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} items each"
