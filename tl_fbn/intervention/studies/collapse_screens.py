"""Screens for units whose silencing may raise the loss of any text: a few passes that rank all MLP neurons.

No lesion is made here. Three numbers a unit, each blind where another sees:

============ ==========================================================================================================
``written``  what the unit adds to the residual stream at most, relative to that stream: the largest \\|activation\\| of
             any token, times the norm of its output weights, over the median norm of the stream behind its layer. A
             massive activation stands out here even where the loss does not fall along its gradient (in SmolLM2-135M
             neurons 1229 and 1487 of layer 11 are the first two of 46,080)
``gradient`` mean over texts of \\|sum over tokens of activation x gradient of the loss\\|: to first order what its
             zeroing changes, whatever its sign, as the second order may turn it round
``half``     what its zeroing would cost, to first order, in the model whose every MLP neuron is at half its
             activation, signed. Units that can stand in for each other have no gradient of their own while both are
             there; at half strength what they do together is no longer enough
============ ==========================================================================================================

Ranks by several screens are put together by taking turns (:func:`interleaved`), so that a unit which one screen ranks
k-th is among the first k times the number of screens.

Cost: one forward pass and two forward and backward passes over the texts; :func:`lesioned_screens` one of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from tl_fbn.acquisition.design.prompt_forms import checked_prompts
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.acquisition.model.contexts import beginning, digests_of
from tl_fbn.acquisition.model.direct_logits import outgoing_norms
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import ResolvedSite, resolve_site
from tl_fbn.acquisition.model.token_batches import token_batches, tokens_at_once
from tl_fbn.attribution.aggregation import Aggregate
from tl_fbn.attribution.cgvst import cgvst
from tl_fbn.attribution.loss_items import passages
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.interventions import amplify, inhibit
from tl_fbn.units import Network

SCREENS = ("written", "gradient", "half")
LEAST_TOKENS = 48  # scored ones; below, costs of units are noise
UnitScores = Float[np.ndarray, " unit"]
Beginnings = list[tuple[int, ...]]


def beginnings(
    model: HookedModel, texts: Sequence[Any], n: int | None, max_tokens: int
) -> tuple[Beginnings, dict[str, Any]]:
    """The first tokens of some texts, evenly spread over all that are given, and what a provenance says of them.

    Args:
        model: A TransformerLens model.
        texts: Strings, chats or lists of token ids.
        n: Largest number of texts; None takes all.
        max_tokens: Largest number of tokens that are taken of each.

    Raises:
        InputError: Fewer than two texts, a text of one token, too few tokens in all, or ids that the model lacks.
    """
    given = checked_prompts(texts, "texts")
    if len(given) < 2:
        raise InputError(f"costs have intervals over texts, which take at least two texts; got {len(given)}")
    chosen = np.unique(np.linspace(0, len(given) - 1, len(given) if n is None else min(n, len(given))).astype(int))
    tokenizer, d_vocab = host.tokenizer_of(model), host.vocabulary_size(model)
    layouts = Layouts(tokenizer, d_vocab=d_vocab, prepend_bos=host.prepends_bos(model, None))
    bos = beginning(tokenizer, d_vocab)
    ids: Beginnings = []
    digests: set[str] = set()
    for number in chosen.tolist():
        layout = layouts.of(given[number])
        ids.append(tuple(layout.ids[:max_tokens]))
        for text in (layout.ids, *layout.texts):  # of the whole text, as a battery would score it
            digests.update(digests_of(text, layout.ids, bos))
    ids = passages(model, ids)  # which checks lengths and ids
    n_scored = sum(map(len, ids)) - len(ids)
    if n_scored < LEAST_TOKENS:
        raise InputError(
            f"{len(ids)} texts of at most {max_tokens} tokens have {n_scored} that are predicted; costs of single "
            f"units need at least {LEAST_TOKENS}. Give more or longer texts, or raise max_tokens"
        )
    about = {"texts": len(ids), "tokens": n_scored, "max_tokens": max_tokens, "prompts": sorted(digests)}
    return ids, about


def screens(model: HookedModel, ids: Beginnings, batch_tokens: int) -> dict[str, UnitScores]:
    """All three screens of the model as it is.

    Args:
        model: A TransformerLens model in eval mode.
        ids: Token ids of every text.
        batch_tokens: Largest number of tokens in a pass, padding counted.

    Returns:
        Name of each of :data:`SCREENS` to (unit,) numbers, largest first to be looked at.

    Raises:
        InputError: The model has no MLP neurons, output weights that cannot be read, or no gradients.
    """
    site = resolve_site(model, "mlp.neurons")
    everything = ~Network.from_indices(site.space, [])
    found = {
        "written": written_size(model, site, ids, batch_tokens),
        "gradient": _gradients(model, ids, batch_tokens, "mean_abs"),
    }
    with amplify(model, everything, gain=0.5):
        # the gradient is the loss's, and zeroing goes against the activation
        found["half"] = -_gradients(model, ids, batch_tokens, "mean")
    return found


def lesioned_screens(
    model: HookedModel, ids: Beginnings, batch_tokens: int, silenced: Network
) -> dict[str, UnitScores]:
    """The screens ``written`` and ``gradient`` of the model without some units: what stands in for them.

    Args:
        model: A TransformerLens model in eval mode.
        ids: Token ids of every text.
        batch_tokens: Largest number of tokens in a pass, padding counted.
        silenced: The units that are zero; they rank last.
    """
    site = resolve_site(model, "mlp.neurons")
    with inhibit(model, silenced):
        found = {
            "written": written_size(model, site, ids, batch_tokens),
            "gradient": _gradients(model, ids, batch_tokens, "mean_abs"),
        }
    return {name: np.where(silenced.members, -np.inf, scores) for name, scores in found.items()}


def written_size(model: HookedModel, site: ResolvedSite, ids: Beginnings, batch_tokens: int) -> UnitScores:
    """Largest length that each unit adds to the residual stream at any token, over the stream's median norm there.

    Args:
        model: A TransformerLens model in eval mode.
        site: The model's MLP neurons.
        ids: Token ids of every text.
        batch_tokens: Largest number of tokens in a pass, padding counted.

    Raises:
        InputError: The model's output weights cannot be read.
    """
    norms = outgoing_norms(model, site.space)
    if norms is None:
        raise InputError(
            f"the weights of {host.model_label(model)} do not tell what its MLP neurons add to the residual stream; "
            "load it in float32 or bfloat16"
        )
    peaks = np.zeros(site.space.n_units)
    streams: dict[int, list[np.ndarray]] = {layer: [] for layer in site.hook_names}
    real = torch.zeros(0, 0, dtype=torch.bool)  # (batch, pos) of the running pass: False at padding

    def see_units(tensor: torch.Tensor, hook: Any, layer: int) -> None:
        largest = tensor.detach().abs().masked_fill(~real[..., None], 0).amax((0, 1))
        span = site.space.layer_slice(layer)
        peaks[span] = np.maximum(peaks[span], largest.float().cpu().numpy())

    def see_stream(tensor: torch.Tensor, hook: Any, layer: int) -> None:
        lengths = torch.linalg.vector_norm(tensor.detach(), dim=-1, dtype=torch.float32)
        streams[layer].append(lengths[real].cpu().numpy())

    behind = resolve_site(model, "resid.post").hook_names
    hooks = [(name, partial(see_units, layer=layer)) for layer, name in site.hook_names.items()]
    hooks += [(behind[layer], partial(see_stream, layer=layer)) for layer in site.hook_names]
    with hooked(model, hooks, "a screen"), torch.no_grad():
        for numbers in token_batches([len(one) for one in ids], tokens_at_once(model, batch_tokens)):
            tokens, mask, _ = host.pad_batch([ids[number] for number in numbers], host.model_device(model))
            real = mask.bool()
            host.forward(model, tokens, mask, return_type=None)
    sizes = peaks * norms
    for layer, lengths in streams.items():
        # of a stream that is 0 everywhere nothing is relative
        sizes[site.space.layer_slice(layer)] /= max(float(np.median(np.concatenate(lengths))), 1e-30)
    return sizes


def _gradients(model: HookedModel, ids: Beginnings, batch_tokens: int, aggregate: Aggregate) -> UnitScores:
    """Gradient of the mean loss times activation, summed over tokens, put together over texts."""
    found = cgvst(
        model,
        [list(one) for one in ids],
        tokens="all",
        groups=None,
        variant="grad_x_act",
        site="mlp.neurons",
        aggregate=aggregate,
        batch_tokens=batch_tokens,
        progress=False,
    )
    return np.asarray(found.values, dtype=float)


def interleaved(scores: Mapping[str, UnitScores], n: int) -> list[int]:
    """Units by turns from the top of several rankings, each unit once.

    >>> interleaved({"a": np.array([3.0, 2.0, 1.0, 0.0]), "b": np.array([0.0, 1.0, 2.0, 3.0])}, 3)
    [0, 3, 1]

    Args:
        scores: (unit,) numbers by name; the largest come first, -inf never.
        n: Number of units.
    """
    orders = [
        [int(unit) for unit in np.argsort(-one, kind="stable")[:n] if np.isfinite(one[unit])] for one in scores.values()
    ]
    turns = [order[place] for place in range(n) for order in orders if place < len(order)]
    return list(dict.fromkeys(turns))[:n]


def ranks(scores: UnitScores) -> np.ndarray:
    """(unit,) rank of each unit, 1 for the largest; ties by index.

    Args:
        scores: (unit,) numbers.
    """
    found = np.empty(len(scores), dtype=int)
    found[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return found
