"""Prune: a new, smaller model without the units outside a network.

::

    small = fbn.prune(model, keep=network)                # a bridge again: small(ids) are logits
    small = fbn.prune(model, keep=network, compensate=recording)
    small.pruned                                          # what was removed: fbn.pruning.PruneReport
    small.save_pretrained("pruned/")                      # a plain Hugging Face folder; fbn.load_pruned reads it back

    network = fbn.pruning.keep_for_ratio(model, atlas, ratio=0.2, protect_first=3, protect_last=2)

Rows of the up (and gate) projection and columns of the down projection that belong to removed neurons are cut out, so
that a layer's matrices are only as large as what it keeps. With d the width of the residual stream,

    removed parameters = sum over layers of (3 d + biases) x neurons removed       (2 d where there is no gate)

Every result is checked before it is returned: on probe tokens, the logits of the small model are compared with those
of the intact model whose removed units are held at zero (at their means, with ``compensate=``), and a difference
beyond rounding is an error.

A model is not used to neurons at zero: their mean activation is a part of what the layer writes. ``compensate=`` puts
this part back as a bias (:mod:`tl_fbn.intervention.pruning.compensation`). Attention heads get no compensation.

Cost: a copy of the model, four forward passes over the probe, and with ``compensate=prompts`` one pass over the prompts
for each pruned layer. Not done here: retraining, pruning of mixtures of experts or of whole layers, and choosing the
network. The check does not show that the small model still does its task; a :class:`tl_fbn.Battery` has to show that,
beside random networks of the same size.

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
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import HEADS, fits, resolve_site
from tl_fbn.acquisition.model.weights import weights_digest
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.intervention.hooks.references import require_same_weights
from tl_fbn.intervention.pruning import head_surgery
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.intervention.pruning.checkpoint import equip
from tl_fbn.intervention.pruning.compensation import Means, held_at, means_of_recording, measured_means
from tl_fbn.intervention.pruning.logit_check import logits_of, not_the_weights, probe_ids, require_same_logits
from tl_fbn.intervention.pruning.prune_ratio import NEURONS, protected_layers, spread
from tl_fbn.intervention.pruning.prune_report import PruneReport
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitSpace

# names that architectures give to the number of neurons of a layer in their configs
_CONFIG_WIDTHS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "inner_dim", "d_ff")


@checked
def prune(
    model: HookedModel,
    keep: Network | None = None,
    *,
    remove: Network | None = None,
    heads: Network | None = None,
    compensate: Recording | Sequence[Any] | None = None,
    allow_other_weights: bool = False,
    protect_first: int = 0,
    protect_last: int = 0,
    probe: Sequence[Sequence[int]] | torch.Tensor | None = None,
    batch_tokens: int = 8192,
    progress: bool = True,
) -> Any:
    """Cut everything outside a network out of a model's weights; the result is a smaller model.

    >>> keep = fbn.pruning.keep_for_ratio(model, atlas, ratio=0.2)
    >>> small = fbn.prune(model, keep=keep, compensate=recording, progress=False)
    >>> small.pruned  # doctest: +ELLIPSIS
    Pruned tl_fbn-demo: 785 of 1,152 neurons left, 353,760 to 282,929 parameters (-20.0%), means of the rest ...
    >>> battery.evaluate(small)[["task", "exact_match"]]
          task  exact_match
    0     sort          1.0
    1  reverse          0.9

    Args:
        model: A TransformerLens bridge; it stays as it is.
        keep: The neurons (site ``mlp.neurons``) that stay. Layers that the network's unit space leaves out stay whole.
        remove: The neurons that are removed; given instead of ``keep``.
        heads: The attention heads (site ``attn.heads``) that stay; None to prune no heads. It may be given alone or
            with neurons. The matrices of heads get smaller as far as all layers can share one layout of heads and the
            config can express it (models of Llama's kind). Other heads are silenced in place (one head fewer in one
            layer only; GPT-2); ``heads_stored`` of the report shows this.
        compensate: Puts the mean contribution of removed neurons back, as a bias of the down projection. A recording of
            ``mlp.neurons`` gives the means of the intact model. A list of prompts (strings, or lists of token ids)
            gives means that are measured now, with earlier layers pruned and compensated, as in the paper. None for no
            compensation: removed neurons count as 0.
        allow_other_weights: True takes a recording for ``compensate`` of other weights than this model's, which is an
            error otherwise.
        protect_first: Number of layers at the beginning that stay whole (paper: 3).
        protect_last: Number of layers at the end that stay whole (paper: 2).
        probe: Token ids (batch, pos) on which the logits are checked; by default two sequences of random tokens.
        batch_tokens: Largest number of tokens of ``compensate`` in a forward pass, padding counted; it changes speed
            and memory only.
        progress: Whether to show a progress bar while prompts of ``compensate`` are read.

    Returns:
        A bridge with the same hook points as the model, whose layers may have unequal widths. Its ``.pruned`` is a
        :class:`~tl_fbn.pruning.PruneReport`, and ``.save_pretrained(folder)`` writes a plain Hugging Face folder.

    Raises:
        InputTypeError: The model is no bridge (an old HookedTransformer).
        InputError: Not exactly one of ``keep`` and ``remove`` is given (or ``heads`` alone); the units are of another
            space; protected layers leave nothing to prune; no neuron is left of a layer of GPT-2's kind, which does not
            run without any; the model would drop out activations at random; its logits are not those of its Hugging
            Face weights (hooks, compatibility mode); or the logits of the small model differ from those of the masked
            one.

    Source: functional network pruning, arXiv:2508.05239 (2025); bias from An et al. 2024 (FLAP).
    """
    surgery.require_bridge(model, "prune")
    host.require_eval(model, "prune")
    space = resolve_site(model, NEURONS).space
    if isinstance(compensate, Recording):
        require_same_weights(model, compensate, allow_other_weights=allow_other_weights, argument="compensate")
    protected = protected_layers(space.n_layers, protect_first, protect_last)
    removed = _removed_neurons(space, keep, remove, heads is not None, protected)
    no_heads = None if heads is None else _removed_heads(model, heads, protected)
    # 1. a plain copy of the model, whose own weights must give the logits that the bridge gives
    ids = probe_ids(model, probe)
    with torch.no_grad():
        intact = model(ids)
    plain = surgery.plain_copy(model, [layer for layer, width in enumerate(space.widths) if width])
    require_same_logits(logits_of(plain.model, ids), intact, not_the_weights(model))
    surgery.require_neurons(plain, [layer for layer, gone in enumerate(removed.by_layer()) if gone.size and gone.all()])
    # 2. neurons: the bias first, because it needs the columns of the down projection that the cut takes away
    means, source = _means_and_source(model, removed, compensate, batch_tokens, progress)
    for layer, gone in enumerate(removed.by_layer()):
        if gone.any():
            if layer in means:
                surgery.add_bias(plain.module(plain.mlps[layer].down), np.flatnonzero(gone), means[layer])
            surgery.cut_mlp(plain, layer, np.flatnonzero(~gone))
    # 3. heads: all are silenced first, so that those that no smaller layout can leave out write nothing either
    layout = None
    if no_heads is not None:
        head_surgery.silence_heads(plain, no_heads.space, no_heads.members)
        layout = head_surgery.cut_heads(plain, no_heads.space, no_heads.members)
    small = _bridge_around(model, plain, (~removed).per_layer(), layout)
    # 4. the small model must equal the intact one with the same units held at zero, or at their means
    with torch.no_grad():
        heads_off = inhibit(model, no_heads).fwd_hooks() if no_heads is not None else []
        with hooked(model, [*held_at(model, removed, means), *heads_off], "pruning"):
            wanted = model(ids)
        difference = require_same_logits(logits_of(small, ids), wanted, _message_if_not_equal(model))
    kept = ~removed
    # the report calls the neurons that are left by what the caller named
    name = keep.name if keep is not None else f"all but {remove.name}" if remove is not None else "all"
    given = keep if keep is not None else remove
    about = {
        "weights": weights_digest(model),
        "model_dtype": host.number_type(model),
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


def _removed_neurons(
    space: UnitSpace, keep: Network | None, remove: Network | None, heads: bool, protected: set[int]
) -> Network:
    """The neurons to remove, in the space of all layers; ``heads`` says whether heads are pruned, too."""
    given = [network for network in (keep, remove) if network is not None]
    if len(given) > 1 or not (given or heads):
        raise InputError("prune takes exactly one of keep= and remove=, networks of mlp.neurons (or heads= alone)")
    if not given:
        return Network(space, np.zeros(space.n_units, dtype=bool), name="none")
    (network,) = given
    if not fits(space, network.space):
        hint = " Heads are given as heads=." if network.space.site == HEADS else ""
        raise InputError(
            f"network lives in {network.space.describe()}; this model offers {space.describe()}. "
            f"Record or localise on this model first.{hint}"
        )
    # xor with True is "not": members of keep= stay, members of remove= go; layers that the space lacks lose nothing
    members = spread(network.members ^ (keep is not None), network.space, space, False)
    return Network(space, members & ~np.isin(space.layer_of, list(protected)), name="removed")


def _removed_heads(model: HookedModel, heads: Network, protected: set[int]) -> Network:
    """The attention heads to remove: all but those of a network, and none of a protected layer."""
    space = resolve_site(model, HEADS).space
    if not fits(space, heads.space):
        raise InputError(
            f"heads= lives in {heads.space.describe()}; this model offers {space.describe()}. Give a network of {HEADS}"
        )
    members = spread(~heads.members, heads.space, space, False)
    return Network(space, members & ~np.isin(space.layer_of, list(protected)), name="heads removed")


def _means_and_source(
    model: HookedModel,
    removed: Network,
    compensate: Recording | Sequence[Any] | None,
    batch_tokens: int,
    progress: bool,
) -> tuple[Means, str]:
    """Means of removed neurons, and ``PruneReport.compensation``, which says where they are from."""
    if compensate is None:
        return {}, "none"
    if isinstance(compensate, Recording):
        # a recording may hold several sites
        one = compensate.site(NEURONS) if NEURONS in compensate.sites else compensate
        return means_of_recording(one, removed), "recording"
    return measured_means(model, removed, compensate, batch_tokens=batch_tokens, progress=progress), "prompts"


def _bridge_around(
    model: Any, plain: surgery.Plain, widths: Int[np.ndarray, " layer"], layout: head_surgery.HeadLayout | None
) -> Any:
    """A bridge around the pruned model, with the settings of the intact one's bridge except for sizes."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    # a config has one width for all layers: the largest, and at least 1 where no neuron is left
    width = max(int(widths.max()), 1)
    config = getattr(plain.model, "config", None)
    for name in _CONFIG_WIDTHS:
        # None is GPT-2's "4 d"; a config with a list, one width a layer, and one without the entry are left alone
        if config is not None and isinstance(vars(config).get(name, ()), (int, type(None))):
            setattr(config, name, width)
    settings = copy.deepcopy(model.cfg)
    settings.d_mlp = width
    if layout is not None:
        settings.n_heads = layout.n_heads
        settings.n_key_value_heads = layout.n_groups
    small = build_bridge_from_module(plain.model, model.adapter.cfg.architecture, tl_config=settings)
    host.follow_settings(small, model)
    small.tokenizer = model.tokenizer
    small.train(model.original_model.training)
    return small


def _message_if_not_equal(model: HookedModel) -> str:
    return (
        f"the pruned {host.model_label(model)} is not the masked one; "
        "its MLP does more with its neurons than a down projection. "
        "Use fbn.retain instead, and please report the architecture"
    )
