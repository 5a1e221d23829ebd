"""Collapse neurons of a real model: the two that write its massive activation, each harmless beside what both cost."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.intervention.studies.collapse import random_units

pytestmark = pytest.mark.real


def test_two_neurons_of_layer_eleven_cost_more_than_one_nat_together(real_model):
    texts = [text for name in ("topic/rest", "topic/food") for text in fbn.prompts(name)[:40]]
    found = fbn.collapse_neurons(real_model, texts, progress=False)
    space = found.space
    pair = [space.index(11, 1229), space.index(11, 1487)]
    assert found.network.members[pair].all() and 2 < len(found.network) < 30
    table = found.to_dataframe().set_index("units")
    both = table.loc["11.1229 + 11.1487"]
    assert both["found"] and both["cost"] > 1 and both["low"] > 0.5 and both["apart"] < 0.5
    assert found.random.max() < 0.1 and found.groups["cost"].max() > 1
    # random pairs of their layers, by the interventions that a user has
    battery = fbn.Battery.from_texts({"text": texts[:12]})
    untouched = battery.score(real_model)["text"].log_likelihood.mean()
    drawn = np.reshape(random_units(space, pair, 20, 1), (10, 2))
    for units in drawn:
        with fbn.inhibit(real_model, fbn.Network.from_indices(space, units)):
            assert untouched - battery.score(real_model)["text"].log_likelihood.mean() < 0.1
