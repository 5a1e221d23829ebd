"""Words that units promote: against weights by hand, and against what the model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model


@pytest.mark.parametrize("site", ["mlp.neurons", "mlp.out"])
def test_a_units_words_are_those_of_its_output_weights(demo_model, site):
    space = fbn.Scanner(demo_model, site=site).space
    found = fbn.networks.promoted_tokens(
        fbn.Network.from_indices(space, [space.index(2, 40), space.index(1, 3)], name="two"), demo_model, n_tokens=4
    )
    assert found[["layer", "unit"]].to_numpy().tolist() == [[-1, -1], [1, 3], [2, 40]]
    direction = demo_model.blocks[2].mlp.W_out[40] if site == "mlp.neurons" else torch.eye(96)[40]
    with torch.no_grad():
        base = demo_model.original_model.gpt_neox.final_layer_norm
        norm = getattr(base, "original_component", base)
        head = demo_model.original_model.get_output_embeddings()
        head = getattr(head, "original_component", head).weight
        logits = (direction - direction.mean()) * norm.weight @ head.T
    words = [demo_model.tokenizer.decode([int(token)]).strip() for token in logits.argsort(descending=True)]
    assert found.promotes[2].split(", ") == list(dict.fromkeys(words))[:4]


def test_the_networks_row_is_of_signed_units(demo_model):
    space = fbn.Scanner(demo_model).space
    index = space.index(2, 40)
    members = np.zeros(space.n_units, dtype=bool)
    members[index] = True
    network = fbn.Network(space, members, name="one", signs=np.where(members, -1, 0).astype(np.int8))
    found = fbn.networks.promoted_tokens(network, demo_model)
    assert found.promotes[0] == found.suppresses[1] and found.suppresses[0] == found.promotes[1]


def test_only_the_first_units_are_listed_and_all_count(demo_model):
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, [1, 2, 3, 800, 900], name="five")
    full = fbn.networks.promoted_tokens(network, demo_model)
    few = fbn.networks.promoted_tokens(network, demo_model, n_units=2)
    assert len(few) == 3 and few.equals(full[:3])


def test_what_has_no_words_is_refused(demo_model):
    space = fbn.Scanner(demo_model).space
    with pytest.raises(fbn.InputError, match=r'network "none" has no units'):
        fbn.networks.promoted_tokens(fbn.Network.from_indices(space, [], name="none"), demo_model)
    with pytest.raises(fbn.InputError, match="the model has no tokenizer"):
        model = tiny_model()
        fbn.networks.promoted_tokens(fbn.Network.from_indices(fbn.Scanner(model).space, [1], name="n"), model)
    heads = fbn.Scanner(demo_model, site="attn.heads").space
    with pytest.raises(fbn.InputError, match=r"units of attn\.heads have no direction"):
        fbn.networks.promoted_tokens(fbn.Network.from_indices(heads, [1], name="n"), demo_model)
    with pytest.raises(fbn.InputError, match="384"):
        other = fbn.UnitSpace("mlp.neurons", (5, 5, 5), model="other")
        fbn.networks.promoted_tokens(fbn.Network.from_indices(other, [1], name="n"), demo_model)


def test_a_number_of_words_is_at_least_one(demo_model):
    network = fbn.Network.from_indices(fbn.Scanner(demo_model).space, [3], name="n")
    for wrong in ({"n_tokens": 0}, {"n_tokens": -1}, {"n_units": -1}):
        with pytest.raises(fbn.InputError, match="is out of range; give an integer of at least"):
            fbn.networks.promoted_tokens(network, demo_model, **wrong)
