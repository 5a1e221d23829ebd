"""Cutting attention heads out of a model's matrices.

A head has d_head rows in each of the query, key and value projections, and d_head columns in the output projection.
With grouped queries, several query heads share one key and value head (a group), which can be removed only when all of
its queries are. All layers must have the same layout, which is a number of groups and a number of queries in each,
because a config holds one layout for all. The layer that keeps most decides, and layers that keep fewer heads are
filled with heads of zeros.

:func:`silence_heads` works wherever there is an output projection: its columns of removed heads become zero, and no
matrix gets smaller. :func:`cut_heads` then removes what it can. It needs queries, keys and values in three separate
matrices (Llama, Mistral, Qwen, Gemma, GLM, OLMo, Phi), no norm that spans all heads (OLMo 2 has one), and a config that
has the size of a head as an entry of its own beside their number (GPT-2, OPT, GPT-J and Pythia do not).

Cost: one copy of the projections that are cut. Nothing here decides which heads are removed.
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
    """Set the output projection's columns of removed heads to zero, so that these heads write nothing.

    Args:
        plain: The copy of the model, which is changed in place.
        space: The unit space of its attention heads (site ``attn.heads``).
        removed: (unit,) booleans, True for the heads to silence.

    Raises:
        InputError: A layer with removed heads has no output projection that can be found.
    """
    for layer, n_heads in enumerate(space.widths):
        gone = np.flatnonzero(removed[space.layer_slice(layer)])
        if gone.size:
            if layer not in plain.outputs:
                raise InputError(
                    f"the attention of layer {layer} has no output projection that can be told; prune its MLPs only"
                )
            module = plain.module(plain.outputs[layer])
            axis = units_axis(module, rows=False)
            # inputs of the output projection: all heads side by side, so that each has an equal share of the axis
            columns = _coordinates_of_heads(gone, module.weight.shape[axis] // n_heads)
            with torch.no_grad():
                module.weight.index_fill_(axis, torch.from_numpy(columns).to(module.weight.device), 0)


def _coordinates_of_heads(
    heads: Sequence[int] | Int[np.ndarray, " head"], width: int
) -> Int[np.ndarray, " coordinate"]:
    """Rows (or columns) of some heads in a matrix in which every head has ``width`` of them, one head after another."""
    # (head, 1) first row of each head + (width,) rows within a head
    return (np.asarray(heads, np.int64)[:, None] * width + np.arange(width)).ravel()


@dataclass(frozen=True)
class HeadLayout:
    """How the heads of every layer are arranged.

    Args:
        n_groups: Number of key and value heads of a layer.
        per_group: Number of query heads that share each of them; 1 without grouped queries.
    """

    n_groups: int
    per_group: int

    @property
    def n_heads(self) -> int:
        """Number of query heads of a layer."""
        return self.n_groups * self.per_group


def head_layout(
    space: UnitSpace, removed: Bool[np.ndarray, " unit"], n_groups: int
) -> tuple[HeadLayout, list[list[list[int]]]]:
    """The smallest layout that holds what every layer keeps.

    Args:
        space: The unit space of the attention heads.
        removed: (unit,) booleans, True for the heads that are removed.
        n_groups: Number of key and value heads of a layer of the intact model.

    Returns:
        The layout, and for each layer its groups that are left, each as the numbers of its kept query heads.
    """
    layers = []
    for layer, n_heads in enumerate(space.widths):
        gone = removed[space.layer_slice(layer)]
        per_group = n_heads // n_groups
        # group g has the queries g x per_group to (g + 1) x per_group - 1
        groups = [
            [head for head in range(group * per_group, (group + 1) * per_group) if not gone[head]]
            for group in range(n_groups)
        ]
        # a group without a query left needs no key and value
        layers.append([group for group in groups if group])
    # the largest over layers, and at least 1: no config allows attention without a head
    most_groups = max([1, *(len(groups) for groups in layers)])
    most_per_group = max([1, *(len(group) for groups in layers for group in groups)])
    return HeadLayout(most_groups, most_per_group), layers


def cut_heads(plain: Plain, space: UnitSpace, removed: Bool[np.ndarray, " unit"]) -> HeadLayout | None:
    """Take removed heads out of q, k, v and o, as far as one layout for all layers allows.

    Args:
        plain: The copy of the model, in which removed heads are silent already; it and its config are changed in place.
        space: The unit space of its attention heads (site ``attn.heads``).
        removed: (unit,) booleans, True for the heads to remove.

    Returns:
        The layout, or None where nothing was cut: queries, keys and values are not three matrices, the config has no
        entry for the size of a head, or the layer that keeps most needs the whole layout.
    """
    # one layout for all layers can only be made smaller where all layers start from the same one
    config = getattr(plain.model, "config", None)
    n_heads = space.widths[0]
    if config is None or set(space.widths) != {n_heads} or set(plain.outputs) != set(range(space.n_layers)):
        return None
    n_groups = int(getattr(config, "num_key_value_heads", None) or n_heads)
    # configs without grouped queries have no number of keys: every query has its own
    layout, layers = head_layout(space, removed, n_groups)
    attentions = [plain.module(plain.outputs[layer].rsplit(".", 1)[0]) for layer in range(space.n_layers)]
    d_head = int(getattr(attentions[0], "head_dim", None) or 0)
    if layout == HeadLayout(n_groups, n_heads // n_groups) or not all(
        _has_separate_projections(attention, n_heads, d_head) for attention in attentions
    ):
        return None
    if not _config_can_express(plain, layout, d_head):
        return None
    for layer, groups in enumerate(layers):
        attention = attentions[layer]
        per_group = n_heads // n_groups
        # query h belongs to group h // per_group; k and v keep the groups that are left, then groups of zeros
        shared = _coordinates_of_heads([group[0] // per_group for group in groups], d_head)
        for name in ("k_proj", "v_proj"):
            select(getattr(attention, name), shared, rows=True, width=layout.n_groups * d_head)
        # query heads of the new layout, group by group, because query i reads key i // layout.per_group.
        # Number n_heads stands for a head of zeros: it fills each group, and then the groups that are missing
        slots = [head for group in groups for head in (*group, *[n_heads] * (layout.per_group - len(group)))]
        slots += [n_heads] * (layout.n_groups * layout.per_group - len(slots))
        for module, rows in ((attention.q_proj, True), (plain.module(plain.outputs[layer]), False)):
            # all heads and one of zeros behind them, of which the slots are then taken
            select(module, np.arange(n_heads * d_head), rows=rows, width=(n_heads + 1) * d_head)
            select(module, _coordinates_of_heads(slots, d_head), rows=rows)
        # modules that copied head counts from the config when they were built
        for name, value in _attributes_with_head_counts(layout):
            if name in attention.__dict__:
                setattr(attention, name, value)
    config.num_attention_heads = layout.n_heads
    config.num_key_value_heads = layout.n_groups
    config.head_dim = d_head
    return layout


def _has_separate_projections(attention: Any, n_heads: int, d_head: int) -> bool:
    """Whether queries, keys and values are three matrices of whole heads, without a norm that spans several heads."""
    if not d_head or not all(hasattr(attention, name) for name in ("q_proj", "k_proj", "v_proj")):
        return False
    norm = getattr(getattr(attention, "q_norm", None), "weight", None)  # that of OLMo 2 spans all heads
    return attention.q_proj.weight.shape[0] == n_heads * d_head and (norm is None or norm.shape[0] == d_head)


def _config_can_express(plain: Plain, layout: HeadLayout, d_head: int) -> bool:
    """Whether the model's config can express another number of heads, and builds a model with it."""
    smaller = copy.deepcopy(plain.model.config)
    smaller.num_attention_heads = layout.n_heads
    smaller.num_key_value_heads = layout.n_groups
    smaller.head_dim = d_head
    # tried, because a config may accept entries that it then ignores; from_dict as when it is read from disk
    try:
        built = empty_model(type(plain.model), type(smaller).from_dict(smaller.to_dict()))
        attention = built.get_submodule(plain.outputs[0].rsplit(".", 1)[0])
    except Exception:  # a config's or a module's own checks may raise anything
        return False
    rows = [getattr(attention, name).weight.shape[0] for name in ("q_proj", "k_proj")]
    return rows == [layout.n_heads * d_head, layout.n_groups * d_head]


def _attributes_with_head_counts(layout: HeadLayout) -> Iterator[tuple[str, int]]:
    """Names under which attention modules keep numbers of heads, with the numbers of a layout."""
    yield from (("num_heads", layout.n_heads), ("num_attention_heads", layout.n_heads))
    # transformers means by "groups" the number of queries that share a key
    yield from (("num_key_value_heads", layout.n_groups), ("num_key_value_groups", layout.per_group))
