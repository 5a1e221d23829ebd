"""What a report says about a gradient score: the formula, what it was scored on, and what it is not."""

from __future__ import annotations

from tl_fbn.units import UnitMap

_VARIANTS = {
    "row_sum": "the sum of the weight gradient's row, as released by Song et al. (2024)",
    "row_l1": "the L1 norm of the weight gradient's row",
    "row_l2": "the L2 norm of the weight gradient's row",
    "grad_x_act": "gradient times activation",
    "grad": "the gradient of the activation",
}
_RIVALS = {
    "gradient_x_activation": "Gradient times activation: the log-likelihood that is lost, to first order, if the neuron is zero",
    "taylor": "First-order Taylor score of the outgoing weights, abs(dL/dw w) summed over items (Leng and Xiong 2024)",
    "integrated_gradients": "Integrated gradients from a silent layer to its activations (Dai et al. 2022)",
    "attribution_patching": "Attribution patching: the first-order effect of clean activations in corrupted prompts",
}
_TOKENS = {
    "special": "tokens of the chat template",
    "answer": "tokens of the answers",
    "content": "tokens of the questions",
    "all": "tokens",
    "random": "random tokens, as many as the template has",
    "given positions": "given positions",
}


def describe(result: UnitMap) -> str | None:
    """A paragraph about a gradient score; None for any other map."""
    about = result.provenance
    method = about.get("method")
    if method == "cgvst":
        first = f"CGVST, {_VARIANTS[about['variant']]}, aggregated by {about['aggregate']}"
    elif method in _RIVALS:
        first = _RIVALS[str(method)]
    else:
        return None
    sentences = [first]
    if "scored_positions" in about:
        skipped = about.get("skipped_as_too_long", 0)
        left_out = f" ({skipped:,} longer ones were left out)" if skipped else ""
        sentences.append(
            f"Scored are {about['scored_positions']:,} {_TOKENS[about['tokens']]} of {about['n_items']:,} items{left_out}"
        )
    if "variant_reason" in about:
        sentences.append(f"Note: {about['variant_reason']}")
    sentences.append(
        "The score compares no two tasks and proves no cause: contrast it with other tasks' scores, and silence what it finds"
    )
    return ". ".join(sentences) + "."
