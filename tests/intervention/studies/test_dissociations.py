"""Double dissociations: the interaction by hand, both sides needed, and pairs that no p can be had of."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.lesions import made_up_study
from tests.helpers.models import own_words
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.dissociations import double_dissociations
from tl_fbn.intervention.studies.lesion_tables import lesion_means


def test_dissociation_is_the_interaction(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"x": own_words(model, seed=0), "y": own_words(model, seed=1)})
    networks = {"x": fbn.Network.from_indices(space, [(1, neuron)]), "y": fbn.Network.from_indices(space, [(0, 3)])}
    result = fbn.lesion_study(model, networks, battery, n_controls=30, seed=0, progress=False)
    drops, found = result.drops(), result.dissociation("x", "y")
    assert found["interaction"] == pytest.approx(drops[0, 0] - drops[0, 1] + drops[1, 1] - drops[1, 0])
    assert 1 / 31 <= found["p"] <= 1
    with pytest.raises(ValueError, match="'z' must name a network and a task"):
        result.dissociation("x", "z")


def test_a_double_dissociation_needs_both_sides():
    rng = np.random.default_rng(0)
    controls = (rng.random((2, 150, 2, 60)) < 0.1).astype(float)
    both = np.array([[0.8, 0.1], [0.1, 0.7]])
    one = np.array([[0.8, 0.1], [0.6, 0.65]])  # b's network hurts a as much as its own task
    for rates, expected in ((both, True), (one, False)):
        own = (rng.random((2, 2, 60)) < rates[:, :, None]).astype(float)
        found = made_up_study(own, controls).dissociation("a", "b")
        assert found["p"] < 0.01
        assert found["double"] is expected


def test_pairs_are_counted_as_the_table_says():
    rng = np.random.default_rng(1)
    rates = np.array([[0.8, 0.1, 0.7], [0.1, 0.7, 0.1], [0.1, 0.1, 0.8]])  # a's network hurts c, too
    own = (rng.random((3, 3, 60)) < rates[:, :, None]).astype(float)
    controls = (rng.random((3, 120, 3, 60)) < 0.1).astype(float)
    study = made_up_study(own, controls)
    table = study.dissociations()
    assert double_dissociations(lesion_means(study)) == (table["double"].sum(), 3) == (2, 3)
    # 99 controls give no p below .01, and neither do pairs of which one network's controls stopped
    assert double_dissociations(lesion_means(made_up_study(own, controls[:, :99]))) == (0, 0)
    study.control_scores["random"][2, 50:] = np.nan
    assert double_dissociations(lesion_means(study)) == (1, 1)
    assert "1 of 1 pairs dissociates doubly (p < 0.01); controls of the other 2 stopped." in study.verdict()
