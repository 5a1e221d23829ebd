"""Attention with fewer heads: whole groups go, what cannot go is silent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2
from tests.helpers.pruning import IDS, close, half, logits
from tests.oracle.architectures import architecture
from tl_fbn.intervention.hooks.interventions import inhibit, retain
from tl_fbn.intervention.pruning.head_surgery import HeadLayout, head_layout, silence_heads
from tl_fbn.intervention.pruning.mlp_surgery import Plain
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.units import UnitSpace


def test_heads_with_grouped_queries_get_smaller_by_whole_groups():
    arch = architecture("Llama")
    plain = arch.build()
    model = arch.bridged(plain)
    space = fbn.Scanner(model, site="attn.heads").space
    for keep, stored in (
        ([(0, 0), (0, 1), (1, 2), (1, 3)], 2),  # one key and value each layer, both its queries
        ([(0, 0), (0, 2), (1, 1), (1, 3)], 2),  # both keys, one query each
        ([(0, 0), (1, 1)], 1),
        ([(0, 0), (1, 0), (1, 1), (1, 2)], 4),  # one layout cannot be smaller: silenced in place
    ):
        network = fbn.Network.from_indices(space, keep)
        small = prune(model, heads=network)
        off = [torch.from_numpy(layer) for layer in network.by_layer()]

        def edit(layer: int, value: torch.Tensor, off: list[torch.Tensor] = off) -> torch.Tensor:
            return value * off[layer].repeat_interleave(8)

        with arch.tapped(plain, "attn.heads", len(IDS), edit):
            assert close(logits(small), logits(plain))
        assert small.pruned.heads_stored == stored
        assert fbn.Scanner(small, site="attn.heads").space.widths == (stored, stored)
        assert small.pruned.heads == network
    assert (small.pruned.n_before == small.pruned.n_after) is True


def test_heads_and_neurons_together_and_heads_of_gpt2_in_place():
    model = bridged(tiny_gpt2())
    heads = fbn.Network.from_indices(fbn.Scanner(model, site="attn.heads").space, [(0, 1), (1, 0), (1, 2)])
    network = half(model)
    small = prune(model, keep=network, heads=heads)
    with inhibit(model, ~heads), retain(model, network):
        assert close(logits(small), logits(model))
    assert small.pruned.heads_stored == 4
    assert list(small.pruned.to_dataframe()["heads_kept"]) == [1, 2]


@pytest.mark.parametrize(
    ("kept", "n_groups", "layout", "layers"),
    [
        # 4 queries a layer; with 2 keys the queries 0, 1 share one and 2, 3 the other
        ([[0, 1], [2, 3]], 2, (1, 2), [[[0, 1]], [[2, 3]]]),
        ([[0, 2], [1]], 2, (2, 1), [[[0], [2]], [[1]]]),
        ([[0], [0, 1, 3]], 2, (2, 2), [[[0]], [[0, 1], [3]]]),
        ([[1, 3], [2]], 4, (2, 1), [[[1], [3]], [[2]]]),
        ([[], []], 2, (1, 1), [[], []]),  # something must be left
    ],
)
def test_the_widest_layer_decides_the_layout(kept, n_groups, layout, layers) -> None:
    space = UnitSpace("attn.heads", (4, 4))
    removed = np.ones(8, dtype=bool)
    removed[[4 * layer + head for layer, heads in enumerate(kept) for head in heads]] = False
    found, by_group = head_layout(space, removed, n_groups)
    assert found == HeadLayout(*layout) and found.n_heads == layout[0] * layout[1]
    assert by_group == layers


def test_attention_without_an_output_projection_is_named() -> None:
    with pytest.raises(ValueError, match="the attention of layer 1 has no output projection that can be told"):
        silence_heads(Plain(None, {}, {}), UnitSpace("attn.heads", (2, 2)), np.array([False, False, True, False]))
