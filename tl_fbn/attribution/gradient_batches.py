"""Which items share a backward pass, so that no pass runs out of memory.

A backward pass holds what autograd keeps of the forward pass until the gradient has come by: for each token and layer
its normalised inputs, queries, keys and values, attention weights, and up to three numbers for every neuron. A pass
therefore holds at most ``batch_tokens`` tokens, padding counted, and never more than about :data:`KEPT_BYTES` (on a GPU
a quarter of its free memory, if that is more) by an estimate of what is kept, unless a single item is larger.
:func:`.plan_gradients` measures what the estimate only says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.token_batches import require_fit, token_batches, tokens_at_once
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.units import UnitSpace

KEPT_BYTES = 2**30


def gradient_batches(
    model: HookedModel, items: Sequence[LossItem], batch_tokens: int, space: UnitSpace, points: Mapping[int, str]
) -> list[list[int]]:
    """Numbers of the items that share a pass, a list for each pass; items of similar length share one.

    Args:
        model: The model that runs them.
        items: All items.
        batch_tokens: Largest number of tokens of a pass, padding counted.
        space: The model's MLP neurons.
        points: Number of each layer to the hook point at which its gradient is wanted; what lies before the first keeps
            nothing.

    Raises:
        InputError: An item has more tokens.
    """
    lengths = [len(item.ids) for item in items]
    require_fit(lengths, batch_tokens)
    device = host.model_device(model)
    room = KEPT_BYTES if device.type != "cuda" else max(KEPT_BYTES, torch.cuda.mem_get_info(device)[0] // 4)
    kept = _bytes_a_token(model, items, space, min(points))
    return token_batches(lengths, min(tokens_at_once(model, batch_tokens), room // kept))


def _bytes_a_token(model: HookedModel, items: Sequence[LossItem], space: UnitSpace, first: int) -> int:
    """About what a forward pass keeps for each token: in every layer from the first point on, and of the logits."""
    longest = max(len(item.ids) for item in items)
    width, heads = int(getattr(model.cfg, "d_model", 0)), int(getattr(model.cfg, "n_heads", 0))
    # weights are frozen, so that of a linear map nothing is kept; the activation function and the gate keep the rest
    numbers = 3 * sum(space.widths[first:])
    numbers += (len(space.widths) - first) * (4 * width + heads * longest)  # a weight for every token before
    # logits are computed at every column in which any item of a batch is scored, and their gradient in their place
    scored = len({column for item in items for column in item.at}) / longest
    numbers += int(scored * (host.vocabulary_size(model) or 0))
    return max(1, numbers * next(model.parameters()).element_size())
