"""Cutting attention heads out of a model's matrices.

Heads are rows of the query, key and value projections and columns of the output projection. With grouped queries several
query heads share a key and a value, which go only when all of their queries go. All layers must have one layout (so many keys,
each with so many queries), because configs know one: the widest layer decides, and what another layer has less is zeros.

:func:`silence_heads` works everywhere: the output projection's columns of removed heads become zero, nothing gets smaller.
:func:`cut_heads` then takes out what it can: it needs three separate matrices (Llama, Mistral, Qwen, Gemma, GLM, OLMo, Phi), no
norm across heads (OLMo 2), and a config that knows the size of a head beside their number (not GPT-2, OPT, GPT-J, Pythia).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning.mlp_surgery import Plain, empty_model, select, units_axis
from tl_fbn.units import UnitSpace


def silence_heads(plain: Plain, space: UnitSpace, removed: Bool[np.ndarray, " unit"]) -> None:
    """Set the output projection's columns of removed heads to zero."""
    for layer, n_heads in enumerate(space.widths):
        gone = np.flatnonzero(removed[space.layer_slice(layer)])
        if gone.size:
            if layer not in plain.outputs:
                raise InputError(
                    f"the attention of layer {layer} has no output projection that can be told; prune its MLPs only"
                )
            module = plain.module(plain.outputs[layer])
            axis = units_axis(module, rows=False)
            columns = _coordinates(gone, module.weight.shape[axis] // n_heads)
            with torch.no_grad():
                module.weight.index_fill_(axis, torch.from_numpy(columns).to(module.weight.device), 0)


def _coordinates(heads: Sequence[int] | Int[np.ndarray, " head"], width: int) -> Int[np.ndarray, " coordinate"]:
    return (np.asarray(heads, np.int64)[:, None] * width + np.arange(width)).ravel()


@dataclass(frozen=True)
class HeadLayout:
    """Heads of every layer: ``n_groups`` keys and values, each with ``per_group`` queries."""

    n_groups: int
    per_group: int

    @property
    def n_heads(self) -> int:
        return self.n_groups * self.per_group


def head_layout(
    space: UnitSpace, removed: Bool[np.ndarray, " unit"], n_groups: int
) -> tuple[HeadLayout, list[list[list[int]]]]:
    """The smallest layout that holds what every layer keeps, and each layer's kept heads by group."""
    layers = []
    for layer, n_heads in enumerate(space.widths):
        gone = removed[space.layer_slice(layer)]
        per = n_heads // n_groups
        groups = [[h for h in range(g * per, (g + 1) * per) if not gone[h]] for g in range(n_groups)]
        layers.append([group for group in groups if group])
    n, per = (max([1, *sizes]) for sizes in (map(len, layers), (len(group) for groups in layers for group in groups)))
    return HeadLayout(n, per), layers


def cut_heads(plain: Plain, space: UnitSpace, removed: Bool[np.ndarray, " unit"]) -> HeadLayout | None:
    """Take removed heads out of q, k, v and o, as far as one layout for all layers allows.

    Returns:
        The layout, or None where nothing was cut: queries, keys and values are not three matrices, the config has no head
        size of its own, or the widest layer keeps all.
    """
    config = getattr(plain.model, "config", None)
    n_heads = space.widths[0]
    if config is None or set(space.widths) != {n_heads} or set(plain.outputs) != set(range(space.n_layers)):
        return None
    n_groups = int(getattr(config, "num_key_value_heads", None) or n_heads)
    layout, layers = head_layout(space, removed, n_groups)
    attentions = [plain.module(plain.outputs[layer].rsplit(".", 1)[0]) for layer in range(space.n_layers)]
    d_head = int(getattr(attentions[0], "head_dim", None) or 0)
    if layout == HeadLayout(n_groups, n_heads // n_groups) or not all(
        _three(one, n_heads, d_head) for one in attentions
    ):
        return None
    if not _can_say(plain, layout, d_head):
        return None
    for layer, groups in enumerate(layers):
        attention = attentions[layer]
        per = n_heads // n_groups
        shared = _coordinates([group[0] // per for group in groups], d_head)
        for name in ("k_proj", "v_proj"):
            select(getattr(attention, name), shared, rows=True, width=layout.n_groups * d_head)
        # gaps are filled group by group: index n_heads stands for a head of zeros
        slots = [h for group in groups for h in (*group, *[n_heads] * (layout.per_group - len(group)))]
        slots += [n_heads] * (layout.n_groups * layout.per_group - len(slots))
        for module, rows in ((attention.q_proj, True), (plain.module(plain.outputs[layer]), False)):
            select(module, np.arange(n_heads * d_head), rows=rows, width=(n_heads + 1) * d_head)
            select(module, _coordinates(slots, d_head), rows=rows)
        for name, value in _head_counts(layout):
            if name in attention.__dict__:
                setattr(attention, name, value)
    config.num_attention_heads = layout.n_heads
    config.num_key_value_heads = layout.n_groups
    config.head_dim = d_head
    return layout


def _three(attention: Any, n_heads: int, d_head: int) -> bool:
    """Whether queries, keys and values are three matrices of whole heads."""
    if not d_head or not all(hasattr(attention, name) for name in ("q_proj", "k_proj", "v_proj")):
        return False
    norm = getattr(getattr(attention, "q_norm", None), "weight", None)  # OLMo 2's spans all heads
    return attention.q_proj.weight.shape[0] == n_heads * d_head and (norm is None or norm.shape[0] == d_head)


def _can_say(plain: Plain, layout: HeadLayout, d_head: int) -> bool:
    """Whether the model's config can say another number of heads, and builds such a model."""
    smaller = copy.deepcopy(plain.model.config)
    smaller.num_attention_heads = layout.n_heads
    smaller.num_key_value_heads = layout.n_groups
    smaller.head_dim = d_head
    try:
        built = empty_model(type(plain.model), type(smaller).from_dict(smaller.to_dict()))
        attention = built.get_submodule(plain.outputs[0].rsplit(".", 1)[0])
    except Exception:  # whatever a config's or a module's own checks raise
        return False
    rows = [getattr(attention, name).weight.shape[0] for name in ("q_proj", "k_proj")]
    return rows == [layout.n_heads * d_head, layout.n_groups * d_head]


def _head_counts(layout: HeadLayout) -> Iterator[tuple[str, int]]:
    yield from (("num_heads", layout.n_heads), ("num_attention_heads", layout.n_heads))
    yield from (("num_key_value_heads", layout.n_groups), ("num_key_value_groups", layout.per_group))
