"""What neurons of a real model write, read off their weights."""

from __future__ import annotations

import pytest

import tl_fbn as fbn

pytestmark = pytest.mark.real


def test_the_neuron_that_follows_plurals_promotes_what_goes_with_plurals(real_model):
    space = fbn.Scanner(real_model).space
    network = fbn.Network.from_indices(space, [(14, 1016), (17, 850)], name="of plurals")
    found = fbn.networks.promoted_tokens(network, real_model, n_tokens=5)
    assert {"themselves", "together", "respectively", "collectively", "were"} == set(found.promotes[1].split(", "))
    assert {"which", "many", "most"} < set(found.promotes[2].split(", "))
