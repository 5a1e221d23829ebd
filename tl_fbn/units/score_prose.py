"""Gradient scores in words: the formula, its source, and on what it was scored, read from provenance alone.

The keys below are values of the entries ``variant``, ``method`` and ``tokens`` that :mod:`tl_fbn.attribution` writes
into the provenance of its maps; the texts are parts of sentences for a methods section.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# how cgvst makes one number of a neuron's weight gradient
_VARIANTS = {
    "row_sum": "the sum of the weight gradient's row, as released by Song et al. (2024)",
    "row_l1": "the L1 norm of the weight gradient's row",
    "row_l2": "the L2 norm of the weight gradient's row",
    "grad_x_act": "gradient times activation",
    "grad": "the gradient of the activation",
}
# the other attribution methods, by the name of their function
_RIVALS = {
    "gradient_x_activation": (
        "Gradient times activation: the log-likelihood that is lost, to first order, if the neuron is zero"
    ),
    "taylor": "First-order Taylor score of the outgoing weights, abs(dL/dw w) summed over items (Leng and Xiong 2024)",
    "integrated_gradients": "Integrated gradients from a silent layer to its activations (Dai et al. 2022)",
    "attribution_patching": "Attribution patching: the first-order effect of clean activations in corrupted prompts",
}
# the positions whose loss was differentiated
_TOKENS = {
    "special": "tokens of the chat template",
    "answer": "tokens of the answers",
    "content": "tokens of the questions",
    "all": "tokens",
    "random": "random tokens, as many as the template has",
    "given positions": "given positions",
}


def describe(provenance: Mapping[str, Any]) -> str | None:
    """A paragraph about a gradient score; None for a map of any other kind.

    A score computed outside this package may bring its own words, as the entry ``description`` of its provenance.

    Args:
        provenance: Provenance of the map.
    """
    if "description" in provenance:
        return str(provenance["description"])
    formula = _formula(provenance)
    # not a gradient score
    if formula is None:
        return None
    sentences = [formula]
    if "scored_positions" in provenance:
        skipped = provenance.get("skipped_as_too_long", 0)
        left_out = f" ({skipped:,} longer ones were left out)" if skipped else ""
        tokens = _TOKENS[provenance["tokens"]]
        sentences.append(
            f"Scored are {provenance['scored_positions']:,} {tokens} of {provenance['n_items']:,} items{left_out}"
        )
    if "preamble_share" in provenance:
        sentences.append(
            f"{provenance['preamble_share']:.0%} of all tokens are what the chat template says by itself, such as a "
            "default system prompt; they count as no special tokens"
        )
    if "variant_reason" in provenance:
        sentences.append(f"Note: {provenance['variant_reason']}")
    return ". ".join(sentences) + "."


def _formula(provenance: Mapping[str, Any]) -> str | None:
    if provenance.get("method") == "cgvst":
        return f"CGVST, {_VARIANTS[provenance['variant']]}, aggregated by {provenance['aggregate']}"
    return _RIVALS.get(str(provenance.get("method")))
