"""Which sequences share a forward pass: neighbours in length, up to a number of tokens.

A pass of a batch costs what its tokens cost, those of the padding counted, and so does its memory. Batches are
therefore bounded by tokens and not by sequences. On a CPU a batch of several sequences holds no more than
:data:`CPU_TOKENS` whatever is asked for, because larger ones fall out of its caches and are slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError

CPU_TOKENS = 2048  # of a pass on a CPU


def tokens_at_once(model: HookedModel, batch_tokens: int) -> int:
    """Largest number of tokens of a batch of several sequences, where the model is.

    Args:
        model: The model.
        batch_tokens: Largest number of tokens that was asked for.
    """
    return min(batch_tokens, CPU_TOKENS) if host.model_device(model).type == "cpu" else batch_tokens


def require_fit(lengths: Iterable[int], batch_tokens: int) -> None:
    """Refuse sequences that are longer than a pass may be.

    Args:
        lengths: Number of tokens of each sequence; at least one.
        batch_tokens: Largest number of tokens of a pass.

    Raises:
        InputError: A sequence is longer.
    """
    longest = max(lengths)
    if longest > batch_tokens:
        raise InputError(
            f"batch_tokens={batch_tokens} is less than the longest item, of {longest} tokens; give at least that"
        )


def token_batches(
    lengths: Sequence[int], at_once: int, *, costs: Sequence[int] | None = None, most: int = 0
) -> list[list[int]]:
    """Numbers of the sequences that share a pass, a list for each pass, shortest first.

    Args:
        lengths: Number of tokens of each sequence.
        at_once: Largest number of tokens of a batch of several sequences, padding counted.
        costs: A second number of each sequence, whose sum over a batch of several is bounded, too; None bounds none.
        most: The bound of that sum.
    """
    batches: list[list[int]] = []
    cost = 0
    # a sequence is padded to the longest of its batch, so neighbours in length waste the least; the last is the longest
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        own = 0 if costs is None else costs[number]
        cost += own
        if batches and (len(batches[-1]) + 1) * lengths[number] <= at_once and (costs is None or cost <= most):
            batches[-1].append(number)
        else:
            batches.append([number])
            cost = own
    return batches
