"""Prune: a new, smaller model without the units outside a network.

::

    small = fbn.prune(model, keep=network)                # a bridge again: small(ids) are logits
    small = fbn.prune(model, keep=network, compensate=recording)
    small.pruned                                          # what was removed: fbn.pruning.PruneReport
    small.save_pretrained("pruned/")                      # a plain Hugging Face folder; fbn.load_pruned reads it back

    network = fbn.pruning.keep_for_ratio(model, atlas, ratio=0.2, protect_first=3, protect_last=2)

Rows of the up (and gate) projection and columns of the down projection of removed neurons are cut out, so that a layer's
matrices are as small as what it keeps:

    removed parameters = sum over layers of (3 d + biases) x neurons removed       (2 d where there is no gate)

The result is not taken on trust: before it is returned, its logits are compared with those of the intact model with the
removed units held at zero (at their means, with ``compensate=``) on probe tokens, and a difference is an error.

Neurons at zero are not what the model is used to: their mean is a part of what the layer writes.
``compensate=`` puts it back as a bias (:mod:`tl_fbn.intervention.pruning.compensation`). Heads get no compensation.

Cost: a copy of the model, three forward passes over the probe, and with ``compensate=prompts`` one pass over the prompts for
each pruned layer. Not done here: retraining, mixtures of experts, layers as a whole, choosing the network; and nothing says that
the small model still does its task, which a :class:`tl_fbn.Battery` has to show beside random networks of the same size.

Source: functional network pruning, arXiv:2508.05239 (2025).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import HEADS, fits, resolve_site
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.intervention.pruning import head_surgery
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.intervention.pruning.checkpoint import equip
from tl_fbn.intervention.pruning.compensation import Means, held_at, means_of_recording, measured_means
from tl_fbn.intervention.pruning.logit_check import logits_of, not_the_weights, probe_ids, require_same_logits
from tl_fbn.intervention.pruning.prune_ratio import NEURONS, protected_layers, spread
from tl_fbn.intervention.pruning.prune_report import PruneReport
from tl_fbn.units import Network, UnitSpace

_WIDTHS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "inner_dim", "d_ff")


def prune(
    model: HookedModel,
    keep: Network | None = None,
    *,
    remove: Network | None = None,
    heads: Network | None = None,
    compensate: Recording | Sequence[Any] | None = None,
    protect_first: int = 0,
    protect_last: int = 0,
    probe: Sequence[Sequence[int]] | torch.Tensor | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> Any:
    """Cut everything outside a network out of a model.

    >>> small = prune(model, keep=network)                                     # doctest: +SKIP
    >>> small.pruned                                                           # doctest: +SKIP

    Args:
        model: A TransformerLens bridge; it stays as it is.
        keep: The neurons (site ``mlp.neurons``) that stay. Layers that its space leaves out stay whole.
        remove: The neurons that go, instead of ``keep``.
        heads: The attention heads (site ``attn.heads``) that stay, if heads are to be pruned; alone or with neurons. Their
            matrices get smaller as far as all layers share one layout of heads and the config can say it (Llama's family);
            what is beyond (one head fewer in one layer only, GPT-2) is silenced in place, which the report shows.
        compensate: Put the mean contribution of removed neurons back, as a bias of the down projection. A recording of
            ``mlp.neurons``: means of the intact model. A list of prompts (strings, or lists of token ids): means under the
            pruning and compensation of earlier layers, measured now, as in the paper.
        protect_first: Layers at the beginning that stay whole (paper: 3).
        protect_last: Layers at the end that stay whole (paper: 2).
        probe: Token ids (batch, pos) to verify on; two random sequences by default.
        batch_size: Prompts in a pass of ``compensate=``.
        progress: Show a bar.

    Returns:
        A bridge with the same hook points and unequal widths; ``.pruned`` is a :class:`PruneReport`, and
        ``.save_pretrained(folder)`` writes a plain Hugging Face folder.

    Raises:
        InputTypeError: The model is no bridge (an old HookedTransformer).
        InputError: Not exactly one of keep and remove (or heads alone), units of another space, a model that does
            not compute what its Hugging Face weights say (hooks, compatibility mode), or logits that differ from the masked model's.

    Source: functional network pruning, arXiv:2508.05239 (2025); bias from An et al. 2024 (FLAP).
    """
    surgery.require_bridge(model, "prune")
    host.require_eval(model, "prune")
    space = resolve_site(model, NEURONS).space
    protected = protected_layers(space.n_layers, protect_first, protect_last)
    removed = _removed(space, keep, remove, heads is not None, protected)
    no_heads = None if heads is None else _removed_heads(model, heads, protected)
    ids = probe_ids(model, probe)
    with torch.no_grad():
        intact = model(ids)
    plain = surgery.plain_copy(model, [layer for layer, width in enumerate(space.widths) if width])
    require_same_logits(logits_of(plain.model, ids), intact, not_the_weights(model))
    means, source = _means(model, removed, compensate, batch_size, progress)
    for layer, gone in enumerate(removed.by_layer()):
        if gone.any():
            if layer in means:
                surgery.add_bias(plain.module(plain.mlps[layer].down), np.flatnonzero(gone), means[layer])
            surgery.cut_mlp(plain, layer, np.flatnonzero(~gone))
    layout = None
    if no_heads is not None:
        head_surgery.silence_heads(plain, no_heads.space, no_heads.members)
        layout = head_surgery.cut_heads(plain, no_heads.space, no_heads.members)
    small = _bridge(model, plain, (~removed).per_layer(), layout)
    with torch.no_grad():
        heads_off = inhibit(model, no_heads).fwd_hooks() if no_heads is not None else []
        with model.hooks(fwd_hooks=[*held_at(model, removed, means), *heads_off]):
            wanted = model(ids)
        difference = require_same_logits(logits_of(small, ids), wanted, _not_equivalent(model))
    kept = ~removed
    name = keep.name if keep is not None else f"all but {remove.name}" if remove is not None else "all"
    given = keep if keep is not None else remove
    about = {
        "weights": host.weights_digest(model),
        "protected": sorted(protected),
        "network": {} if given is None else dict(given.provenance),
    }
    small.pruned = PruneReport(
        kept.rename(name),
        None if no_heads is None else (~no_heads).rename("heads kept"),
        surgery.n_parameters(model),
        surgery.n_parameters(small),
        difference,
        source,
        None if no_heads is None else (layout.n_heads if layout else max(no_heads.space.widths)),
        about,
    )
    equip(small)
    return small


def _removed(
    space: UnitSpace, keep: Network | None, remove: Network | None, heads: bool, protected: set[int]
) -> Network:
    given = [network for network in (keep, remove) if network is not None]
    if len(given) > 1 or not (given or heads):
        raise InputError("prune takes exactly one of keep= and remove=, networks of mlp.neurons (or heads= alone)")
    if not given:
        return Network(space, np.zeros(space.n_units, dtype=bool), name="none")
    (network,) = given
    if not fits(space, network.space):
        hint = " Heads are given as heads=." if network.space.site == HEADS else ""
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {space.describe()}. Record or localise on this "
            f"model first.{hint}"
        )
    members = spread(network.members ^ (keep is not None), network.space, space, False)
    return Network(space, members & ~np.isin(space.layer_of, list(protected)), name="removed")


def _removed_heads(model: HookedModel, heads: Network, protected: set[int]) -> Network:
    space = resolve_site(model, HEADS).space
    if not fits(space, heads.space):
        raise InputError(
            f"heads= lives in {heads.space.describe()}; this model offers {space.describe()}. Give a network of {HEADS}"
        )
    members = spread(~heads.members, heads.space, space, False)
    return Network(space, members & ~np.isin(space.layer_of, list(protected)), name="heads removed")


def _means(
    model: HookedModel, removed: Network, compensate: Recording | Sequence[Any] | None, batch_size: int, progress: bool
) -> tuple[Means, str]:
    if compensate is None:
        return {}, "none"
    if isinstance(compensate, Recording):
        one = compensate.site(NEURONS) if NEURONS in compensate.sites else compensate
        return means_of_recording(one, removed), "recording"
    return measured_means(model, removed, compensate, batch_size=batch_size, progress=progress), "prompts"


def _bridge(
    model: Any, plain: surgery.Plain, widths: Int[np.ndarray, " layer"], layout: head_surgery.HeadLayout | None
) -> Any:
    """A bridge around the cut model, configured as the intact one's."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    width = max(int(widths.max()), 1)
    config = getattr(plain.model, "config", None)
    for name in _WIDTHS:
        if config is not None and isinstance(vars(config).get(name, ()), (int, type(None))):  # not a list, one a layer
            setattr(config, name, width)
    settings = copy.deepcopy(model.cfg)
    settings.d_mlp = width
    if layout is not None:
        settings.n_heads = layout.n_heads
        settings.n_key_value_heads = layout.n_groups
    small = build_bridge_from_module(plain.model, model.adapter.cfg.architecture, tl_config=settings)
    small.tokenizer = model.tokenizer
    small.train(model.original_model.training)
    return small


def _not_equivalent(model: HookedModel) -> str:
    return (
        f"the pruned {host.model_label(model)} is not the masked one; its MLP does more with its neurons than a down projection. "
        "Use fbn.retain instead, and please report the architecture"
    )
