"""What removed neurons contributed on average: the bias that stands in for them.

Removing the neurons R of a layer takes W_down[:, R] a_R off what the MLP writes, where a_R are their activations. The
mean of what the MLP writes stays the same if the bias of the down projection is changed to

    b += W_down[:, R] mu,        mu = mean over tokens of a_R,

which is the same as setting every removed neuron to its mean. The means, in activation units, can be had in two ways:

- :func:`means_of_recording` takes them from a recording of the intact model. This needs no forward pass, but ignores
  that pruning earlier layers changes the activations of later ones.
- :func:`measured_means` measures each layer in the model as pruned so far: the removed neurons of earlier layers are
  held at their means, so that the means are those of the pruned model. Cost: one forward pass over the prompts for
  each pruned layer, stopped at that layer.

Every token counts alike, the beginning-of-text token too. The paper's released code averages per text, so that tokens
of short texts count more, and measures all layers in one pass without the compensation of those before.

Source: bias compensation of An et al. (2024, FLAP, AAAI); functional network pruning (arXiv:2508.05239, 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.design.prompt_forms import checked_prompt, checked_prompts
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.contexts import encode
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.sites import Tap, fits, resolve_site
from tl_fbn.acquisition.model.token_batches import require_fit, token_batches, tokens_at_once
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan.forward_passes import Enough
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.layer_edit import LayerEdit
from tl_fbn.units import Network

# number of a layer to (member,) means of its removed units, in activation units
Means = dict[int, Float[np.ndarray, " member"]]


def held_at(
    model: HookedModel, removed: Network, means: Mapping[int, Float[np.ndarray, " member"]]
) -> list[tuple[str, Callable[..., torch.Tensor]]]:
    """The masked model, as hooks: removed units are zero, or at their means where those are given.

    Args:
        model: A TransformerLens model.
        removed: The units that are held.
        means: Number of a layer to (member,) values at which the removed units of that layer are held, in activation
            units. In a layer that is left out they are held at 0.

    Returns:
        (hook name, function) pairs, one for each layer in which units are removed.
    """
    hooks = []
    for layer, name in resolve_site(model, removed.space.site).hook_names.items():
        members = np.flatnonzero(removed.members[removed.space.layer_slice(layer)])
        if len(members):
            values = np.asarray(means.get(layer, np.zeros(len(members))), np.float64)
            hooks.append((name, LayerEdit("set", members, values)))
    return hooks


def means_of_recording(recording: Recording, removed: Network) -> Means:
    """Means of removed units over the rows of a recording of the intact model.

    Args:
        recording: A recording of the intact model at the removed units' site, with every layer in which units are
            removed.
        removed: The units that are removed.

    Returns:
        Number of a layer to (member,) means of its removed units, for the layers in which units are removed.

    Raises:
        InputError: The recording is of other units, or lacks a layer in which units are removed.
    """
    # either may lack layers: a recording of some layers, or a network of some
    if not fits(recording.space, removed.space) and not fits(removed.space, recording.space):
        raise InputError(
            f"compensate= is a recording of {recording.space.describe()}; the units removed live in "
            f"{removed.space.describe()}. Record that site"
        )
    means = recording.mean()
    found = {}
    for layer, gone in enumerate(removed.by_layer()):
        if gone.any():
            values = means[recording.space.layer_slice(layer)]
            # a layer that was not recorded has width 0
            if values.size != gone.size:
                raise InputError(f"compensate= has no layer {layer}, in which units are removed; record all layers")
            found[layer] = values[gone].astype(np.float64)
    return found


def measured_means(
    model: HookedModel, removed: Network, prompts: Sequence[Any], *, batch_tokens: int = 8192, progress: bool = True
) -> Means:
    """Means of removed units over the tokens of prompts, layer by layer in the model as pruned so far.

    Args:
        model: A TransformerLens model without hooks.
        removed: The units that are removed.
        prompts: Strings (with a beginning-of-text token in front where the host puts one there), chats, or lists of
            token ids (taken as they are).
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        progress: Whether to show a progress bar, one step a pruned layer.

    Returns:
        Number of a layer to (member,) means of its removed units, for the layers in which units are removed.

    Raises:
        InputError: There are no prompts, one is none of these, has no token or tokens outside the vocabulary, or is
            longer than the model's context.

    Source: functional network pruning, arXiv:2508.05239 (2025), with tokens as the weights.
    """
    batches = _prompt_batches(model, prompts, batch_tokens)
    taps = {tap.layer: tap for tap in resolve_site(model, removed.space.site).taps}
    means: Means = {}
    # first layer first: the means of earlier layers are needed to measure a later one
    for layer in tqdm(
        [i for i, gone in enumerate(removed.by_layer()) if gone.any()], desc="compensation", disable=not progress
    ):
        earlier = held_at(model, removed.restrict(layers=range(layer)), means)
        members = torch.from_numpy(np.flatnonzero(removed.by_layer()[layer]))
        sums = [_sum_of_batch(model, batch, taps[layer], members, earlier) for batch in batches]
        # mu = sum over tokens of a_R / number of tokens, padding not counted
        means[layer] = np.sum(sums, axis=0) / sum(map(len, chain.from_iterable(batches)))
    return means


def _sum_of_batch(
    model: HookedModel, batch: Sequence[Sequence[int]], tap: Tap, members: torch.Tensor, hooks: Sequence[Any]
) -> Float[np.ndarray, " member"]:
    """Activations of some units of a layer, summed over the tokens of a batch (float64)."""
    ids, mask, real = host.pad_batch(batch, host.model_device(model))
    total = np.zeros(len(members))
    stops = host.may_stop_early(model)

    def add_up(tensor: torch.Tensor, hook: Any) -> None:
        # (batch, pos, unit) -> (token, unit) -> real tokens -> members
        values = tap.read(tensor).flatten(0, 1).index_select(0, real).index_select(1, members.to(tensor.device))
        total[:] = values.double().sum(0).cpu().numpy()
        # later layers are of no interest; the exception ends the pass here
        if stops:
            raise Enough

    with hooked(model, [*hooks, (tap.hook_name, add_up)], "pruning"), torch.no_grad(), suppress(Enough):
        host.forward(model, ids, mask)
    return total


def _prompt_batches(model: HookedModel, prompts: Sequence[Any], batch_tokens: int) -> list[list[tuple[int, ...]]]:
    """Prompts as token ids, in batches of similar length."""
    given = checked_prompts(prompts, "compensate=")
    if not given:
        raise InputError("compensate= is no list of prompts but an empty one; give prompts, or a recording")
    checked = [checked_prompt(one, f"prompt {number} of compensate=") for number, one in enumerate(given)]
    size = host.vocabulary_size(model)
    settings = {"d_vocab": size, "prepend_bos": host.prepends_bos(model)}
    sequences = [encode(tokenizer_of(model), one, **settings) for one in checked]
    context = host.context_length(model) or max(map(len, sequences))
    for number, sequence in enumerate(sequences):
        if not 0 < len(sequence) <= context:
            raise InputError(
                f"prompt {number} of compensate= has {len(sequence)} tokens; the model takes 1 to {context}. "
                "Cut it, or leave it out"
            )
        if size is not None and not 0 <= min(sequence) <= max(sequence) < size:
            raise InputError(
                f"prompt {number} of compensate= has token ids {min(sequence)} to {max(sequence)}, the vocabulary is "
                f"0 to {size - 1}"
            )
    # the order of prompts does not change a sum over tokens
    lengths = list(map(len, sequences))
    require_fit(lengths, batch_tokens)
    batches = token_batches(lengths, tokens_at_once(model, batch_tokens))
    return [[sequences[number] for number in numbers] for numbers in batches]
